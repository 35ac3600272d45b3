"""What a training run tells: its line, its speed and the time left, its file, spikes of the loss, boards where they are asked for."""

import sys
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import msgspec
import pytest

from jobs.train_line import line, scalars
from jobs.train_log import train_log
from schemas.errors import SurroundingsError
from trainer.config import TrainConfig
from trainer.heldout import HeldOut
from trainer.step import Step

CONFIG = TrainConfig(sets={}, updates=12)
STEP = Step(
    number=9,
    losses={"pages": 700.25, "pairs": 41.5},
    norm=0.5,
    lr=1e-4,
    examples=8,
    images=6,
    tokens=400,
    gates=[0.0, -0.25],
    seconds=2.0,
    waited=0.5,
    memory_gb=1.5,
    faults=["abc: no picture"],
    samples={"pairs": [(float(number), f"pairs epoch 0 y.tar {number}") for number in range(20)]},
)


def step_of(number: int, loss: float = 41.5) -> Step:
    """The same as another update."""
    return msgspec.structs.replace(STEP, number=number, losses={"pages": 700.25, "pairs": loss})


def written(out: Path) -> list[dict[str, Any]]:
    """The lines of the file."""
    return [msgspec.json.decode(text) for text in (out / "log.jsonl").read_bytes().splitlines()]


def test_the_line() -> None:
    """Losses by set, the gates from the least to the most open, speed and waiting over the seconds since the last line, and the time left."""
    since = {"examples": 80, "images": 60, "tokens": 4000, "seconds": 20.0, "waited": 5.0, "faults": 1}
    shown = line(STEP, 1000, since, 3725)

    for part in ("10 of 1,000", "pages 700.250", "pairs 41.500", "|g| 0.50", "lr 1.0e-04", "gates 0.000-0.250"):
        assert part in shown
    assert "MFU" not in shown
    assert "MFU 41%" in line(msgspec.structs.replace(STEP, mfu=0.412), 1000, since, 3725)
    for part in ("4 examples/s", "3 images/s", "200 tokens/s", "waits 25%", "1.5 GB", "1 h 2 min left", "1 broken"):
        assert part in shown


def test_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what the updates since the start took, checkpoints and all, for those that are left; where there is no terminal, lines are ten seconds apart, and the last is there."""
    clock = iter([100.0, 104.0, 108.0, 112.0])
    monkeypatch.setattr("jobs.train_log.time.monotonic", lambda: next(clock))
    with train_log(CONFIG, tmp_path, 9) as log:
        for number in (9, 10, 11):
            log.take(step_of(number))
    shown = capsys.readouterr().out.splitlines()

    assert ["10 of 12  8 s left", "12 of 12  0 s left"] == [text[:18] for text in shown]
    assert "2 broken samples" in shown[1]
    assert [9, 10, 11] == [one["number"] for one in written(tmp_path)]


def test_a_terminal_has_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written over and cut to the terminal's width, but for the last."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "30")
    with train_log(CONFIG, tmp_path, 10) as log:
        log.take(step_of(10))
        log.take(step_of(11))
    first, second = capsys.readouterr().out.split("\r\x1b[2K")[1:]

    assert 29 == len(first)
    assert second.endswith("broken samples\n")


def test_what_was_lost_with_a_killed_run_goes(tmp_path: Path) -> None:
    """A run that goes on from update 8 cuts off what its file has of later ones, and half a line."""
    with train_log(CONFIG, tmp_path) as log:
        for number in range(11):
            log.take(step_of(number))
    with (tmp_path / "log.jsonl").open("ab") as file:
        file.write(b'{"number": 11, "los')
    with train_log(CONFIG, tmp_path, 8) as log:
        log.take(step_of(8))

    assert list(range(9)) == [one["number"] for one in written(tmp_path)]


def test_a_spike_names_its_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A loss far above those before it, also above those before a resume: the first samples are shown, all are in the file."""
    with train_log(CONFIG, tmp_path) as log:
        for number in range(40):
            assert {} == log.spikes(step_of(number, 40 + number % 5))
            log.take(step_of(number, 40 + number % 5))
    capsys.readouterr()
    with train_log(CONFIG, tmp_path, 40) as log:
        step = step_of(40, 90)
        spikes = log.spikes(step)
        log.take(step, spikes, step.samples)
    shown, record = capsys.readouterr().out, written(tmp_path)[-1]

    assert "update 41: the loss of pairs is 90.000, 32 deviations above 42.000, the median before; " in shown
    assert "the samples, the worst first: 19.0 pairs epoch 0 y.tar 19; 18.0 pairs epoch 0 y.tar 18; " in shown
    assert "12.0 pairs epoch 0 y.tar 12; 12 more in" in shown
    assert {"pairs"} == set(record["spikes"])
    assert [list(one) for one in reversed(step.samples["pairs"])] == record["spikes"]["pairs"]["samples"]
    assert "samples" not in record
    assert "spikes" not in written(tmp_path)[0]


def test_tensorboard(tmp_path: Path) -> None:
    """Each number of an update is an event of its name and step; what a resumed run does anew takes the place of what was there."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = msgspec.structs.replace(CONFIG, tensorboard=True)
    for first, last in ((0, 10), (8, 12)):
        with train_log(config, tmp_path, first) as log:
            for number in range(first, last):
                log.take(step_of(number))
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()

    assert set(scalars(STEP)) == set(events.Tags()["scalars"])
    for name, value in scalars(STEP).items():
        found = events.Scalars(name)
        assert list(range(12)) == [event.step for event in found]
        assert value == pytest.approx(found[9].value)


def test_held_out_losses_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table for people, and each number by set for boards."""
    drawn: dict[str, float] = {}
    monkeypatch.setattr("jobs.train_log.boards", lambda *_: nullcontext(lambda numbers, _: drawn.update(numbers)))
    with train_log(CONFIG, tmp_path) as log:
        log.held_out(9, {"pairs": HeldOut(examples=4, right=40.0, exchanged=44.5, z=5.0)})

    assert {"examples": 4, "right": 40.0, "exchanged": 44.5, "z": 5.0} == {
        name.removeprefix("held_out/pairs/"): value for name, value in drawn.items()
    }
    assert "44.500" in capsys.readouterr().out


def test_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project, the whole configuration, and each update's numbers under its number; a resumed run is the same one."""
    runs: list[Run] = []
    module = ModuleType("wandb")
    monkeypatch.setattr(module, "init", lambda **given: runs.append(Run(given)) or runs[-1], raising=False)
    monkeypatch.setattr(module, "Error", ValueError, raising=False)
    monkeypatch.setitem(sys.modules, "wandb", module)
    config = msgspec.structs.replace(CONFIG, wandb="herons")
    for start in (9, 10):
        with train_log(config, tmp_path, start) as log:
            log.take(step_of(start))

    assert [[(scalars(STEP), 9)], [(scalars(STEP), 10)]] == [run.logged for run in runs]
    assert [True, True] == [run.ended for run in runs]
    first, second = (run.given for run in runs)
    assert first == second
    assert ("herons", "allow", 12) == (first["project"], first["resume"], first["config"]["updates"])
    monkeypatch.setattr(module, "init", refused)
    with pytest.raises(SurroundingsError, match="wandb = herons: no API key"), train_log(config, tmp_path):
        pass


class Run:
    """As much of a run of Weights & Biases as is asked."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.logged: list[tuple[dict[str, float], int]] = []
        self.ended = False

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended = True

    def log(self, numbers: dict[str, float], step: int) -> None:
        """Keeps an update."""
        self.logged.append((numbers, step))


def refused(**_: object) -> None:
    """What it says to who has not logged in."""
    raise ValueError("no API key")


@pytest.mark.parametrize(("setting", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_a_board_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, module: str
) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    config = msgspec.structs.replace(CONFIG, **{setting: "herons" if setting == "wandb" else True})
    with pytest.raises(SurroundingsError, match=f"pip install {setting}"), train_log(config, tmp_path):
        pass
