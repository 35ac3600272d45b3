"""m3w demo --train: from the bundled crawl and drawn pictures to a model that captions, by the commands that a user would type, in minutes on two cores.

The crawl's ten pages are trained on as any pages are, and show nothing: a loss that falls on so few is a text model's. What shows whether a model looks are
pictures whose captions nothing else predicts (`drawn`), held out, beside the same captions with one another's pictures.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import chdir
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from jobs.demo.drawn import SIDE, SOURCES, write_table
from jobs.held_out import last, table
from trainer.heldout import HeldOut

PICTURES = 2304  # a source: 9 in 10 to train on
NEW = 2  # a source: pictures of no table, to be captioned at the end
CUT = ["--set", "shard.target_bytes=1000000"]  # small shards, so that one in ten can be held out

Command = Callable[[list[str]], None]


def run(run_command: Command, out: str, workers: int) -> None:
    """Runs, and prints, the commands in the folder `out`; what an earlier run has finished is not done again.

    Raises:
        M3wError: as the commands themselves.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    began = time.monotonic()
    Path(out).mkdir(parents=True, exist_ok=True)
    print(f"\n$ cd {out}")
    with as_file(files("jobs") / "demo" / "crawl") as crawl, chdir(out):
        _make(run_command, crawl, ["--workers", str(workers)])
        _caption(run_command)
        print(f"\n{report(last(Path('model')))}")
    print(
        f"\n{time.monotonic() - began:,.0f} s in all. The model is in {out}/model, its log and configuration beside it."
    )


def _make(run_command: Command, crawl: Path, workers: list[str]) -> None:
    """Shards, then frozen models, then the model."""
    _shown(run_command, ["crawl", str(crawl), "--out", "pages", *CUT, *workers])
    for seed, name in enumerate(SOURCES):
        if not Path("drawn", name, "captions.csv").exists():
            write_table(Path("drawn", name), name, PICTURES, seed)
        _shown(run_command, ["pairs", f"drawn/{name}/captions.csv", "--out", name, *CUT, *workers])
    for what in ("language", "vision"):
        if not Path(what, "config.json").exists():
            _shown(run_command, ["pretrain", what, f"demo-{what}", "--out", what])
    _shown(run_command, ["train", "demo", "--out", "model", "--resume"])


def _caption(run_command: Command) -> None:
    """The model's words about pictures that are in no table."""
    for seed, (name, source) in enumerate(SOURCES.items(), len(SOURCES)):
        rng = np.random.default_rng(seed)
        for number in range(NEW):
            image, caption = source.draw(rng, SIDE)
            path = f"drawn/new-{name}-{number}.png"
            image.save(path)
            _shown(run_command, ["generate", "model", path])
            print(f"({path} was drawn as: {caption})")


def _shown(run_command: Command, arguments: list[str]) -> None:
    print(f"\n$ m3w {' '.join(arguments)}\n", flush=True)
    run_command(arguments)


def report(found: Mapping[str, HeldOut]) -> str:
    """The held-out losses, and what they say and do not say."""
    lines = [table(found), ""]
    for name, source in SOURCES.items():
        one = found[name]
        looks = one.exchanged is not None and one.right < source.entropy < one.exchanged
        lines.append(
            f"{name}: the captions have an entropy of {source.entropy:.3f} nats, below which nobody comes who does not look. "
            + ("The model looks." if looks else "The model is not seen to look.")
        )
    few = " and ".join(f"{one.examples} of {name}" for name, one in found.items() if name not in SOURCES)
    lines.append(
        f"{few}, from a crawl of ten documents: too few to show anything, whatever their numbers. Nor do drawn pictures say how good "
        "a model of photographs would be: this shows that the way from crawl to caption works, and no more."
    )
    return "\n".join(lines)
