"""m3w train --dry-run: what would be trained, in numbers of parameters, without a weight in memory."""

from trainer.config import TrainConfig
from trainer.load import outline
from trainer.sizes import sizes

# Flamingo Table 5; `all` is the size in the model's name.
PAPER = {
    "flamingo-3b": {"vision": 435e6, "language": 1.4e9, "resampler": 194e6, "gated layers": 1.2e9, "all": 3.2e9},
    "flamingo-9b": {"vision": 435e6, "language": 7.1e9, "resampler": 194e6, "gated layers": 1.6e9, "all": 9.3e9},
    "flamingo-80b": {"vision": 435e6, "language": 70e9, "resampler": 194e6, "gated layers": 10e9, "all": 80e9},
}
# Why ours is another count: found by trying what comes to the paper's.
RESAMPLER = """\
The paper's resampler is 194 M, though its numbers (6 layers of 1536, heads of 96) come to 170 M and a projection from the encoder's width. Heads of 128
behind NFNet-F6's 3,072 channels would come to 193.6 M. Here heads are of 96, as it says."""
LANGUAGE = """\
Chinchilla's blocks have a fifth square matrix, for relative positions: 13 d^2 a layer and one table of 32,000 rows come to the paper's {}. GPT-NeoX's
blocks, which stand in, have 12 d^2 and two tables."""
NINE = """\
The paper's 40 layers of 4,096 come to more than its 7.1 B and 1.6 B with any blocks; a width of 3,840 would come to both (12 d^2 a layer)."""
EIGHTY = """\
12 gated layers of 8,192 come to 8.4 B, not 10 B; 14 would come to 9.7 B, but every seventh of 80 is 12."""
NOTES = {
    "flamingo-3b": (RESAMPLER, LANGUAGE.format("1.4 B")),
    "flamingo-9b": (RESAMPLER, NINE),
    "flamingo-80b": (RESAMPLER, LANGUAGE.format("70 B"), EIGHTY),
}


def run(config: TrainConfig, name: str) -> None:
    """Prints a line a part, beside the paper's where the configuration is a preset of it."""
    found = sizes(outline(config.model).named_parameters())
    paper = PAPER.get(name, {})
    rows = [(part, size.trained, size.frozen, paper.get(part)) for part, size in found.items()]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows), paper.get("all")))
    print(f"{'':14}{'trained':>10}{'frozen':>10}" + (f"{'paper':>10}" if paper else ""))
    for part, trained, frozen, theirs in rows:
        print(f"{part:14}{count(trained):>10}{count(frozen):>10}" + (f"{count(theirs):>10}" if theirs else ""))
    for note in NOTES.get(name, ()):
        print(note)
    for key, one in config.sets.items():
        print(f"{key}: {one.batch} examples of {one.example.tokens} tokens a batch, lambda {one.weight:g}")


def count(number: float) -> str:
    """Three digits, in thousands, millions or billions."""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {letter}"
    return f"{number:.0f}"
