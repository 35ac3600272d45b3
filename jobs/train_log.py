"""What a training run tells: a line on the terminal now and then, a line of log.jsonl an update, numbers for boards.

A line of log.jsonl is a `Step` of the loop, and where a loss stood out, `spikes`: of each such set the `Spike`, and the samples of its batch, the worst first, with the loss of
each and where it was read.
"""

import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import msgspec

from jobs.boards import Config, Draw, boards
from jobs.held_out import table
from jobs.train_line import line, scalars
from schemas.settings import write_settings
from trainer.heldout import HeldOut
from trainer.ranks import Ranks
from trainer.spikes import Spike, Spikes
from trainer.step import Step

Samples: TypeAlias = list[tuple[float, str]]  # the loss of an example, and where it was read

_REWRITE_S = 1.0  # a terminal's one line
_LINE_S = 10.0  # where there is no terminal: a line now and then
_NAMED = 8  # ours: samples that a line names


class TrainLog:
    """Takes each update as it is done, from `start` on; `updates` is how many there will be in all."""

    def __init__(self, file: IO[bytes], draw: Draw, spikes: Spikes, updates: int, start: int) -> None:
        self._file, self._draw, self._spikes = file, draw, spikes
        self._updates, self._start = updates, start
        self._live = sys.stdout.isatty()
        self._since: defaultdict[str, float] = defaultdict(float)  # what was done since the last line
        self._began, self._shown = time.monotonic(), float("-inf")

    def spikes(self, step: Step) -> dict[str, Spike]:
        """The losses of an update that stand out from those before it; each update is asked about once, in order."""
        return self._spikes.take(step.losses)

    def take(self, step: Step, spikes: Mapping[str, Spike] = {}, samples: Mapping[str, Samples] = {}) -> None:
        """Writes an update down, and shows it where the last line was a while ago; `samples` are those of all ranks, of the sets in `spikes`."""
        record = msgspec.structs.asdict(step)
        del record["samples"]
        worst = {name: sorted(samples[name], reverse=True) for name in spikes}
        if spikes:
            record["spikes"] = {
                name: {**msgspec.structs.asdict(one), "samples": worst[name]} for name, one in spikes.items()
            }
        self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.flush()
        self._draw(scalars(step), step.number)
        for name, one in spikes.items():
            self.say(f"update {step.number + 1:,}: {self._words(name, one, worst[name])}")
        self._since["faults"] += len(step.faults)
        for what in ("examples", "images", "tokens", "seconds", "waited"):
            self._since[what] += getattr(step, what)
        now, is_last = time.monotonic(), step.number + 1 == self._updates
        if is_last or now - self._shown > (_REWRITE_S if self._live else _LINE_S):
            left = (self._updates - step.number - 1) * (now - self._began) / (step.number + 1 - self._start)
            self._show(line(step, self._updates, self._since, left), is_last)
            self._since.clear()
            self._shown = now

    def held_out(self, number: int, found: Mapping[str, HeldOut]) -> None:
        """What was found after an update: a table, and numbers for boards."""
        self.say(table(found))
        numbers = {
            f"held_out/{name}/{key}": value
            for name, one in found.items()
            for key, value in msgspec.structs.asdict(one).items()
            if value is not None
        }
        self._draw(numbers, number)

    def say(self, news: str) -> None:
        """A line that stays."""
        print(f"\r\x1b[2K{news}" if self._live else news, flush=True)

    def _show(self, text: str, is_last: bool) -> None:
        if self._live and not is_last:
            print(f"\r\x1b[2K{text[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
        else:
            self.say(text)

    def _words(self, name: str, spike: Spike, worst: Samples) -> str:
        named = "; ".join(f"{nll:.1f} {origin}" for nll, origin in worst[:_NAMED])
        more = f"; {len(worst) - _NAMED} more in {self._file.name}" if len(worst) > _NAMED else ""
        return (
            f"the loss of {name} is {spike.loss:.3f}, {spike.deviations:.0f} deviations above {spike.median:.3f}, "
            f"the median before; the samples, the worst first: {named}{more}"
        )


@contextmanager
def train_log(config: Config, out: Path, start: int = 0) -> Iterator[TrainLog]:
    """The log of a run in its folder, beside its configuration; what it holds of the update `start` and later ones was lost with a run that was killed, and goes.

    Raises:
        SurroundingsError: a board is asked for and not installed, or does not take the run.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(write_settings(config))
    with (out / "log.jsonl").open("ab+") as file:
        file.seek(0)
        size, spikes = 0, Spikes()
        for text, record in _before(file, start):
            size += len(text)
            spikes.take(record["losses"])
        file.truncate(size)
        with boards(config, out, start) as draw:
            yield TrainLog(file, draw, spikes, config.updates, start)


def noted(step: Step, log: TrainLog | None, told: Callable[[], bool], ranks: Ranks) -> bool:
    """Writes an update down, with the samples of all ranks where its loss stands out; whether some rank was told to stop. All ranks call it, one has the log."""
    spikes = log.spikes(step) if log is not None else {}
    stops, *spiked = ranks.counts([told(), *(name in spikes for name in step.losses)])
    samples = {name: ranks.all(step.samples[name]) for name, one in zip(step.losses, spiked, strict=True) if one}
    if log is not None:
        log.take(step, spikes, samples)
    return stops > 0


def _before(lines: Iterable[bytes], start: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """The lines of updates before one, up to the first that is not whole."""
    for text in lines:
        try:
            record = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return
        if record["number"] >= start:
            return
        yield text, record
