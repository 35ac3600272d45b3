"""How a training run stops and goes on: told to stop, it saves what it has; hanging or failing, it ends with a line; told to go on, it takes its latest checkpoint."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import OutputError, SurroundingsError
from trainer.checkpoint import checkpoints
from trainer.data.stream import lost_worker
from trainer.ranks import Ranks, joined


@contextmanager
def ranks_of(out: Path, hang_s: float) -> Iterator[Ranks]:
    """This process among those that train into `out`; a watchdog, which says more, has to give up before they do.

    Raises:
        SurroundingsError: a disk, a store, a device, a worker process or another rank failed.
    """
    try:
        with joined(2 * hang_s) as ranks:
            yield ranks
    except RuntimeError as error:
        raise lost_worker(error) from error
    except OSError as error:
        raise SurroundingsError(f"{out}: {error}") from error


def latest(folder: str | Path, resume: bool) -> str | None:
    """The checkpoint to go on from, where there is one.

    Raises:
        OutputError: there is one, and nobody said to go on from it.
    """
    before = checkpoints(folder)
    if before and not resume:
        raise OutputError(
            f"{folder} holds {len(before)} checkpoints; go on from them with --resume, or give another folder"
        )
    return before[-1] if before else None


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM has come since, or Ctrl-C, of which a second one ends the run at once."""
    came: list[int] = []

    def take(number: int, _: object) -> None:
        if number == signal.SIGINT and number in came:
            raise KeyboardInterrupt
        came.append(number)

    before = {number: signal.signal(number, take) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def give_up(line: str) -> None:
    """Says what is wrong and ends the process, from a thread beside the one that hangs."""
    print(f"m3w: {line}", file=sys.stderr, flush=True)
    os._exit(SurroundingsError.exit_code)
