"""Pictures exchanged: none stays with its example; the loss is compared over what shows a picture."""

from pathlib import Path

import pytest
import torch

from jobs.held_out import last, table
from jobs.held_out import write as write_line
from schemas.errors import InputError
from schemas.shard import Sample
from tests.streams import PAIRS, SIDE, document, pair, write
from tests.tiny_models import flamingo, tokenizer
from trainer.data.batch import Batch, collate
from trainer.data.example import ExampleConfig, example_of
from trainer.data.stream import SetConfig
from trainer.data.tokens import tokens_of
from trainer.heldout import exchanged, held_out
from trainer.loop import nll_of
from trainer.ranks import Ranks

TOKENS = tokens_of(tokenizer(), 300)


def pages(pictures: list[int]) -> Batch:
    """A batch of pages with so many pictures each, no two pages with the same."""
    samples = [document(number, count) for number, count in enumerate(pictures)]
    config = ExampleConfig(tokens=256)
    return collate("pages", [example_of(one, TOKENS, config, SIDE, (0, 0)) for one in samples], SIDE.side)


def shown(batch: Batch) -> list[set[int]]:
    """The media of each row."""
    counts = batch.phi_BL.amax(1).tolist()
    return [set(slots[:count].tolist()) for slots, count in zip(batch.slots_BK, counts, strict=True)]


@pytest.mark.parametrize("pictures", [[1, 1], [2, 1, 3, 0, 1, 2], [1] * 7])
def test_every_medium_is_another_examples(pictures: list[int]) -> None:
    """Each row shows as many media as before, and none of its own; the text stays."""
    batch = pages(pictures)
    other = exchanged(batch)

    assert other is not None
    assert all(not before & after for before, after in zip(shown(batch), shown(other), strict=True))
    assert torch.equal(batch.ids_BL, other.ids_BL)
    assert exchanged(pages([2, 0, 1])) is None
    assert exchanged(pages([0, 0])) is None


def write_pairs(folder: Path, count: int) -> dict[str, SetConfig]:
    """A set of so many pairs in batches of 4."""
    write(folder, "0", [pair(number) for number in range(count)])
    return {"pairs": SetConfig(shards=[str(folder)], batch=4, example=PAIRS)}


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    """Bytes to -1..1."""
    return pixels.float() / 127.5 - 1


def test_held_out_loss(tmp_path: Path) -> None:
    """Every sample counts once, whatever the batch; gates at 0 make both losses the same, open ones tell them apart."""
    sets = write_pairs(tmp_path, 11)
    closed, opened = (
        held_out(flamingo(vocabulary=300, alpha=alpha), sets, TOKENS, SIDE, scaled)["pairs"] for alpha in (0.0, 1.0)
    )
    assert 11 == closed.examples == opened.examples
    assert closed.right == pytest.approx(closed.exchanged, rel=1e-6)
    assert opened.exchanged is not None
    assert abs(opened.right - opened.exchanged) > 1e-6

    examples = [example_of(pair(number), TOKENS, PAIRS, SIDE, (0, 0)) for number in range(11)]
    model = flamingo(vocabulary=300).eval()
    expected = nll_of(model, collate("pairs", examples, SIDE.side), scaled).mean()
    assert float(expected.detach()) == pytest.approx(closed.right, rel=1e-5)


def test_ranks_share_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What two ranks have adds up to what one finds, and both go through the model equally often."""
    sets = write_pairs(tmp_path, 14)
    model = flamingo(vocabulary=300, alpha=1.0)
    alone = held_out(model, sets, TOKENS, SIDE, scaled)["pairs"]
    parts: list[torch.Tensor] = []
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))

    def add(_: Ranks, values: torch.Tensor) -> torch.Tensor:
        parts.append(values)
        return torch.stack(parts).sum(0)

    monkeypatch.setattr(Ranks, "add", add)
    found = [held_out(model, sets, TOKENS, SIDE, scaled, ranks=Ranks(rank=rank, ranks=2))["pairs"] for rank in (0, 1)]

    assert 8 == len(calls)  # three batches, twice each, and one of them again
    assert 0 < found[0].examples < 14 == found[1].examples
    for one in ("right", "exchanged", "z"):
        assert getattr(alone, one) == pytest.approx(getattr(found[1], one), rel=1e-5)


@pytest.mark.parametrize("pictures", [[0] * 6, [2]])
def test_nothing_to_exchange(tmp_path: Path, pictures: list[int]) -> None:
    """Pages without pictures, or with too few, have their loss; there is none with exchanged ones, and the table says so."""
    model = flamingo(vocabulary=300, alpha=1.0)
    config = ExampleConfig(tokens=256)
    write(tmp_path, "0", [document(number, count) for number, count in enumerate(pictures)])
    sets = {"pages": SetConfig(shards=[str(tmp_path)], batch=4, example=config)}
    found = held_out(model, sets, TOKENS, SIDE, scaled)

    assert (len(pictures), None, None) == (found["pages"].examples, found["pages"].exchanged, found["pages"].z)
    expected = nll_of(model.eval(), pages(pictures), scaled).mean()
    assert float(expected.detach()) == pytest.approx(found["pages"].right, rel=1e-5)
    write_line(tmp_path, 7, found)
    assert found == last(tmp_path)
    assert table(found).splitlines()[1].endswith("  no media to exchange")


def test_nothing_to_measure(tmp_path: Path) -> None:
    """A set of which no sample can be read is an error that names it."""
    write(tmp_path, "0", [Sample("x", {"json": b"{}"})])
    sets = {"pages": SetConfig(shards=[str(tmp_path)], batch=4)}
    with pytest.raises(InputError, match=r"held_out\.pages: no sample has a text"):
        held_out(flamingo(vocabulary=300), sets, TOKENS, SIDE, scaled)
