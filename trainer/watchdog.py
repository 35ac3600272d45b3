"""Which rank hangs? Ranks wait for one another in every update: when one stands still all do, and none knows which it is.

    rank 0   has begun 7 things, the last: adds up numbers of all ranks    ──▶ store ──▶ every rank
    rank 1   has begun 6 things, the last: reads the batch of update 3     ──▶

Each rank counts what it begins (`Ranks.at`), the same as all others in the same order; a thread of its own writes the count into the process group's store.
Who waits has begun more than those whom it waits for, so the ranks with the lowest count are those that hang, be they asleep, stopped or dead. Time is
how long a rank's own count has stood still by its own monotonic clock; clocks of machines are never compared.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from trainer.ranks import Ranks

_POLL_S = 5.0  # ours: between two looks at the count; a write to the store a rank, where it has changed
_NAMED = 8  # ours: ranks that the line names


@contextmanager
def watched(ranks: Ranks, limit_s: float, give_up: Callable[[str], None]) -> Iterator[None]:
    """Within it a rank that begins nothing new for `limit_s` seconds ends by `give_up(line)`, which another thread calls, and which must end the process."""
    watch = _Watch(ranks, limit_s, give_up)
    thread = threading.Thread(target=watch.run, daemon=True, name="watchdog")
    thread.start()
    try:
        yield
    finally:
        watch.done.set()
        thread.join()


class _Watch:
    """The watchdog of one rank."""

    def __init__(self, ranks: Ranks, limit_s: float, give_up: Callable[[str], None]) -> None:
        self._ranks, self._limit_s, self._give_up = ranks, limit_s, give_up
        self._store = _store(ranks)
        self.done = threading.Event()

    def run(self) -> None:
        """Looks at the count until it is done, or has stood still for too long."""
        told, since = None, time.monotonic()
        while not self.done.wait(min(_POLL_S, self._limit_s / 4)):
            begun = self._ranks.pulse.begun
            if told != begun:
                told, since = begun, time.monotonic()
                self._tell(f"{begun[0]} {begun[1]}")
            elif time.monotonic() - since > self._limit_s:
                self._give_up(line(self._all(), self._limit_s))
                return

    def _tell(self, begun: str) -> None:
        if self._store is not None:
            with suppress(RuntimeError):  # its host has gone; the rank will hear of that where it waits
                self._store.set(str(self._ranks.rank), begun)

    def _all(self) -> dict[int, tuple[int, str]]:
        """What each rank has begun, as it has said last."""
        if self._store is None:
            return {0: self._ranks.pulse.begun}
        try:
            return {rank: _read(self._store, rank) for rank in range(self._ranks.ranks)}
        except RuntimeError:
            gone = (-1, "has gone, and with it what the ranks tell one another")
            return {0: gone, self._ranks.rank: self._ranks.pulse.begun}


def line(begun: dict[int, tuple[int, str]], limit_s: float) -> str:
    """What is wrong, of the ranks' counts and what each is at.

    >>> line({0: (7, "adds up"), 1: (6, "reads")}, 600)
    'no rank went on for 600 s (hang_s): rank 1 hangs, it reads; the others wait, rank 0 adds up'
    """
    least, most = min(begun.values()), max(begun.values())
    behind = [rank for rank, one in begun.items() if one[0] == least[0]]
    ahead = next(rank for rank, one in begun.items() if one == most)
    said = f"no rank went on for {limit_s:g} s (hang_s): "
    if len(begun) == 1:
        return f"{said}rank 0 hangs, it {least[1]}"
    if len(behind) == len(begun):
        return f"{said}all {len(begun)} ranks stand at one point, each {least[1]}"
    named = ", ".join(map(str, behind[:_NAMED])) + (f" and {len(behind) - _NAMED} more" * (len(behind) > _NAMED))
    hang = f"rank {named} hangs, it" if len(behind) == 1 else f"ranks {named} hang, the first"
    return f"{said}{hang} {least[1]}; the others wait, rank {ahead} {most[1]}"


def _read(store: Store, rank: int) -> tuple[int, str]:
    """What a rank has said last; asking for a key that is not there would wait."""
    if not store.check([str(rank)]):
        return -1, "has begun nothing"
    count, _, doing = store.get(str(rank)).decode().partition(" ")
    return int(count), doing


def _store(ranks: Ranks) -> Store | None:
    """A connection of its own to the store of the process group, since one that waits holds up whoever shares it."""
    if ranks.ranks == 1:
        return None
    assert dist.group.WORLD is not None
    store: Store = dist.group.WORLD.get_group_store().clone()
    return PrefixStore("watchdog", store)
