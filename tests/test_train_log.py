"""What a training run tells: its line, its speed and the time left, TensorBoard where it is installed."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from jobs.train_log import line, scalars, train_log
from schemas.errors import SurroundingsError
from trainer.loop import Step

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
)


def test_the_line() -> None:
    """Losses by set, the gates from the least to the most open, speed and waiting over the seconds since the last line, and the time left."""
    since = {"examples": 80, "images": 60, "tokens": 4000, "seconds": 20.0, "waited": 5.0, "faults": 1}
    shown = line(STEP, 1000, since, 3725)

    for part in ("10 of 1,000", "pages 700.250", "pairs 41.500", "|g| 0.50", "lr 1.0e-04", "gates 0.000-0.250"):
        assert part in shown
    for part in ("4 examples/s", "3 images/s", "200 tokens/s", "waits 25%", "1.5 GB", "1 h 2 min left", "1 broken"):
        assert part in shown


def test_the_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is what the updates so far took, for those that are left; the last update is always shown."""
    with train_log(tmp_path, 12, tensorboard=False) as log:
        log.take(STEP)
    assert "4 s left" in capsys.readouterr().out
    with train_log(tmp_path, 10, tensorboard=False) as log:
        log.take(STEP)
    assert "0 s left" in capsys.readouterr().out
    assert 2 == len((tmp_path / "log.jsonl").read_bytes().splitlines())


def test_tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number of an update is an event of its name and step; where TensorBoard is not installed, that is said."""
    board = Board()
    module = ModuleType("torch.utils.tensorboard")
    monkeypatch.setattr(module, "SummaryWriter", board.at, raising=False)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with train_log(tmp_path, 10, tensorboard=True) as log:
        log.take(STEP)

    assert {(name, value, 9) for name, value in scalars(STEP).items()} == board.events
    assert {("loss/pages", 700.25, 9), ("gate/1", -0.25, 9), ("data_wait", 0.25, 9)} <= board.events
    assert str(tmp_path) == board.folder
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SurroundingsError, match="pip install tensorboard"), train_log(tmp_path, 10, tensorboard=True):
        pass


class Board:
    """As much of TensorBoard's writer as is asked."""

    def __init__(self) -> None:
        self.events: set[tuple[str, float, int]] = set()
        self.folder = ""

    def at(self, folder: str) -> "Board":
        """The writer of a folder."""
        self.folder = folder
        return self

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """Keeps an event."""
        self.events.add((name, value, step))

    def close(self) -> None:
        """Nothing to close."""
