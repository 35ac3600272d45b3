"""Turns: who may be asked when.

URLs queue by host. A host is asked `per_host` at a time, its requests start at least its delay apart, and a host that asks to wait is left
alone so long. Nothing here waits or looks at a clock: `take` is told the time and gives what may be asked now, `wake_at` when to come again.
Hosts take turns, so that a host with a million URLs does not keep the others waiting.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Host(Generic[T]):
    __slots__ = ("active", "delay_s", "failures", "limit", "listed", "name", "next_at", "queue")

    def __init__(self, name: str, delay_s: float) -> None:
        self.name = name
        self.queue: deque[T] = deque()
        self.active = 0
        self.limit = 1  # until robots.txt has said how many
        self.delay_s = delay_s
        self.next_at = 0.0
        self.failures = 0
        self.listed = False  # stands among the ready or the resting


class Turns(Generic[T]):
    """Queues of what is to be asked. Times are seconds of one monotonic clock."""

    def __init__(self, per_host: int, delay_s: float) -> None:
        self._per_host = per_host
        self._delay_s = delay_s
        self._hosts: dict[str, _Host[T]] = {}
        self._ready: deque[_Host[T]] = deque()
        self._resting: list[tuple[float, int, _Host[T]]] = []
        self._later: list[tuple[float, int, str, T]] = []
        self._serial = itertools.count()

    def add(self, host: str, item: T, not_before: float = 0.0) -> None:
        """Queues an item; one with a time goes before all others of its host when the time has come."""
        if not_before:
            heapq.heappush(self._later, (not_before, next(self._serial), host, item))
        else:
            of = self._host(host)
            of.queue.append(item)
            self._list(of)

    def take(self, now: float) -> T | None:
        """What may be asked now; the host's `done` has to follow."""
        while self._later and self._later[0][0] <= now:
            _, _, name, item = heapq.heappop(self._later)
            host = self._host(name)
            host.queue.appendleft(item)
            self._list(host)
        while self._resting and self._resting[0][0] <= now:
            self._ready.append(heapq.heappop(self._resting)[2])
        while self._ready:
            host = self._ready.popleft()
            host.listed = False
            if not host.queue or host.active >= host.limit:
                continue
            if host.next_at > now:
                host.listed = True
                heapq.heappush(self._resting, (host.next_at, next(self._serial), host))
                continue
            host.active += 1
            host.next_at = now + host.delay_s
            item = host.queue.popleft()
            self._list(host)
            return item
        return None

    def wake_at(self) -> float | None:
        """When `take` may have something that it does not have now, if nobody calls `done` or `add` before."""
        times = [heap[0][0] for heap in (self._resting, self._later) if heap]
        return min(times, default=None)

    def queued(self, name: str) -> bool:
        """Whether something of the host waits for its turn."""
        return bool(self._host(name).queue)

    def done(self, name: str, connected: bool) -> int:
        """A turn of the host is over; returns how many of its connections in a row have failed."""
        host = self._host(name)
        host.active -= 1
        host.failures = 0 if connected else host.failures + 1
        self._list(host)
        return host.failures

    def pace(self, name: str, crawl_delay_s: float | None, now: float) -> None:
        """Sets a host's pace, once its robots.txt is known; a crawl delay means one at a time."""
        host = self._host(name)
        host.limit = self._per_host if crawl_delay_s is None else 1
        if crawl_delay_s is not None:
            host.delay_s = max(self._delay_s, crawl_delay_s)
            host.next_at = now + host.delay_s
        self._list(host)

    def rest(self, name: str, until: float) -> None:
        """Leaves a host alone until then."""
        host = self._host(name)
        host.next_at = max(host.next_at, until)

    def drain(self, name: str | None = None) -> Iterator[T]:
        """Takes out everything that is queued, of one host or of all."""
        for host in list(self._hosts.values()) if name is None else [self._host(name)]:
            while host.queue:
                yield host.queue.popleft()
        kept = [entry for entry in self._later if name is not None and entry[2] != name]
        gone = [entry for entry in self._later if name is None or entry[2] == name]
        self._later = kept
        heapq.heapify(self._later)
        for _, _, _, item in sorted(gone, key=lambda entry: entry[:2]):
            yield item

    def _host(self, name: str) -> _Host[T]:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name, self._delay_s)
        return host

    def _list(self, host: _Host[T]) -> None:
        if not host.listed and host.queue and host.active < host.limit:
            host.listed = True
            self._ready.append(host)
