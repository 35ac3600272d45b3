"""How a training run is ended from outside: told to stop, it saves what it has; hanging, it ends at once."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from schemas.errors import SurroundingsError


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
