"""What a training run tells: a line on the terminal every second, a line of JSON an update, TensorBoard's events if asked."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import SurroundingsError
from trainer.loop import Step

_SHOW_EVERY_S = 1.0


class TrainLog:
    """Takes each update as it is done; `updates` is how many there will be in all."""

    def __init__(self, file: Any, board: Any, updates: int) -> None:
        self._file, self._board, self._updates = file, board, updates
        self._since: defaultdict[str, float] = defaultdict(float)  # what was done since the last line
        self._done, self._seconds, self._shown = 0, 0.0, 0.0

    def take(self, step: Step) -> None:
        """Writes an update down, and shows it where the last line was a second ago."""
        self._file.write(msgspec.json.encode(step) + b"\n")
        self._file.flush()
        if self._board is not None:
            for name, value in scalars(step).items():
                self._board.add_scalar(name, value, step.number)
        self._since["faults"] += len(step.faults)
        for what in ("examples", "images", "tokens", "seconds", "waited"):
            self._since[what] += getattr(step, what)
        self._done += 1
        self._seconds += step.seconds
        if time.monotonic() - self._shown > _SHOW_EVERY_S or step.number + 1 == self._updates:
            left = (self._updates - step.number - 1) * self._seconds / self._done
            print(line(step, self._updates, dict(self._since), left), flush=True)
            self._since.clear()
            self._shown = time.monotonic()


@contextmanager
def train_log(out: Path, updates: int, tensorboard: bool) -> Iterator[TrainLog]:
    """The log of a run in its folder, which goes on from what is there.

    Raises:
        SurroundingsError: TensorBoard is asked for and not installed.
    """
    board = _board(out) if tensorboard else None
    with (out / "log.jsonl").open("ab") as file:
        yield TrainLog(file, board, updates)
    if board is not None:
        board.close()


def line(step: Step, updates: int, since: dict[str, float], left_s: float) -> str:
    """One update for people, with the speed since the last line and the time left."""
    seconds = max(since["seconds"], 1e-9)
    speed = "  ".join(f"{since[what] / seconds:,.0f} {what}/s" for what in ("examples", "images", "tokens"))
    gates = [abs(gate) for gate in step.gates] or [0.0]
    parts = [
        f"{step.number + 1:,} of {updates:,}",
        *(f"{name} {loss:.3f}" for name, loss in step.losses.items()),
        f"|g| {step.norm:.2f}",
        f"lr {step.lr:.1e}",
        f"gates {min(gates):.3f}-{max(gates):.3f}",
        speed,
        f"waits {since['waited'] / seconds:.0%}",
        f"{step.memory_gb:.1f} GB",
        f"{_time(left_s)} left",
    ]
    if since["faults"]:
        parts.append(f"{since['faults']:.0f} broken samples")
    return "  ".join(parts)


def scalars(step: Step) -> dict[str, float]:
    """An update as named numbers."""
    named = {f"loss/{name}": loss for name, loss in step.losses.items()}
    named |= {f"gate/{number}": gate for number, gate in enumerate(step.gates)}
    named |= {
        f"{what}_per_s": getattr(step, what) / max(step.seconds, 1e-9) for what in ("examples", "images", "tokens")
    }
    return named | {
        "gradient_norm": step.norm,
        "lr": step.lr,
        "data_wait": step.waited / max(step.seconds, 1e-9),
        "memory_gb": step.memory_gb,
    }


def _board(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SurroundingsError(
            "tensorboard = true needs TensorBoard; pip install tensorboard, or leave it off"
        ) from error
    return SummaryWriter(str(out))


def _time(seconds: float) -> str:
    """Whole hours, minutes and seconds, the two largest that there are."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
