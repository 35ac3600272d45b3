"""m3w demo --train: what is drawn, which commands are run, what is said at the end; and, slowly, the whole of it."""

import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.cli import _parser, main
from jobs.demo import training
from jobs.demo.drawn import SIDE, SOURCES, write_table
from jobs.held_out import write
from trainer.heldout import HeldOut


@pytest.mark.parametrize("name", SOURCES)
def test_captions_are_as_likely_as_one_another(name: str) -> None:
    """Of many draws all captions are there, about as often each, so their entropy is the logarithm of how many there are; the picture shows its noise and a colour."""
    rng, source = np.random.default_rng(0), SOURCES[name]
    captions = Counter(source.draw(rng, 8)[1] for _ in range(8_000))
    assert math.log(len(captions)) == pytest.approx(source.entropy)
    expected = 8_000 / len(captions)
    assert all(abs(count - expected) < 6 * math.sqrt(expected) for count in captions.values())
    image, _ = source.draw(rng, SIDE)
    assert (SIDE, SIDE) == image.size


def test_a_table_of_drawn_pictures(tmp_path: Path) -> None:
    """Paths and captions, the same for a seed."""
    rows = write_table(tmp_path / "a", "digits", 3, seed=1)
    assert rows == write_table(tmp_path / "b", "digits", 3, seed=1) != write_table(tmp_path / "c", "digits", 3, seed=2)
    lines = (tmp_path / "a" / "captions.csv").read_text().splitlines()
    assert ["image,caption", *(",".join(row) for row in rows)] == lines
    with Image.open(tmp_path / "a" / rows[0][0]) as image:
        assert "PNG" == image.format


def found(right: float) -> dict[str, HeldOut]:
    """A held-out loss of each source, with the right pictures."""
    return {name: HeldOut(examples=9, right=right, exchanged=9.0, z=3.0) for name in ("pages", "pairs", *SOURCES)}


def test_the_commands_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command is shown as it is run and is one that m3w knows, in an order in which each finds what it names; run again, models that are there are not made again."""
    asked: list[list[str]] = []

    def command(arguments: list[str]) -> None:
        _parser().parse_args(arguments)
        asked.append(arguments)
        if arguments[0] == "pretrain":
            Path(arguments[1]).mkdir()
            (Path(arguments[1]) / "config.json").write_text("{}")
        if arguments[0] == "train":
            Path("model").mkdir(exist_ok=True)
            write(Path("model"), 1, found(1.0))
        assert arguments[0] != "generate" or Path(arguments[2]).is_file()

    monkeypatch.setattr(training, "PICTURES", 2)
    training.run(command, str(tmp_path / "out"), workers=1)
    assert ["crawl", "pairs", "pairs", "pretrain", "pretrain", "train"] == [one[0] for one in asked[:6]]
    assert {"generate"} == {one[0] for one in asked[6:]}
    shown = capsys.readouterr().out
    assert all(f"$ m3w {' '.join(one)}\n" in shown for one in asked)
    assert 2 == shown.count("The model looks.")

    asked.clear()
    training.run(command, str(tmp_path / "out"), workers=1)
    assert "pretrain" not in {one[0] for one in asked}


def test_what_is_not_seen_is_not_said() -> None:
    """A loss above the captions' entropy is no sign of looking, and few pages never are."""
    said = training.report(found(right=7.0))
    assert 2 == said.count("not seen to look")
    assert "9 of pages and 9 of pairs" in said


@pytest.mark.slow
def test_from_the_demo_to_a_caption(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole of it: held out, the right pictures bring the loss below the captions' entropy, exchanged ones above."""
    assert 0 == main(["demo", "--train", "--out", str(tmp_path), "--workers", "2"])
    sets = json.loads((tmp_path / "model" / "held_out.jsonl").read_text())["sets"]
    for name, source in SOURCES.items():
        assert sets[name]["examples"] >= 200
        assert sets[name]["right"] < source.entropy - 1 < source.entropy + 0.5 < sets[name]["exchanged"]
    captions = re.findall(r"\n(.+)\n\(drawn/new-\S+ was drawn as: (.+)\)", capsys.readouterr().out)
    assert training.NEW * len(SOURCES) == len(captions)
