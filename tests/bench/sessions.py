"""What sessions of processes take, sampled from /proc: a process leads its session, and all that comes of it stays in there, also when its parent has died."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tests.bench.processes import pss_mb

CPU_EVERY_S = 0.25  # what a process takes after that and before its end is missed
MEMORY_EVERY_S = 1.0  # the kernel walks all pages of a Java process for it
TICKS = os.sysconf("SC_CLK_TCK")


class Seen(NamedTuple):
    """A process as /proc/PID/stat tells of it; `born` makes it another one than an earlier process of that id."""

    pid: int
    born: str
    session: int
    cpu_s: float


class Took(NamedTuple):
    """CPU seconds and peak of memory (proportional set size, MiB) by the name of the session."""

    cpu_s: dict[str, float]
    peak_mb: dict[str, float]


def seen(pid: int, stat: str) -> Seen:
    """A line of /proc/PID/stat; the name in it may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return Seen(pid, fields[19], int(fields[3]), (int(fields[11]) + int(fields[12])) / TICKS)


def processes() -> Iterator[Seen]:
    """All processes of the machine."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with suppress(OSError), open(f"/proc/{name}/stat") as stat:
                yield seen(int(name), stat.read())


class Meter:
    """Watches the sessions of these leaders; others may be added while it runs."""

    def __init__(self, leaders: dict[str, int]) -> None:
        self._names = {pid: name for name, pid in leaders.items()}
        self._cpu: dict[tuple[int, str], tuple[str, float]] = {}
        self._peak: dict[str, float] = defaultdict(float)

    def add(self, name: str, pid: int) -> None:
        """Another leader."""
        self._names[pid] = name

    @contextmanager
    def measured(self) -> Iterator[Took]:
        """What is taken while the block runs; filled in at its end."""
        self._look()
        before = {key: cpu_s for key, (_, cpu_s) in self._cpu.items()}
        took, done = Took({}, {}), threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,))
        watcher.start()
        try:
            yield took
        finally:
            done.set()
            watcher.join()
            self._look()
            for key, (name, cpu_s) in self._cpu.items():
                took.cpu_s[name] = took.cpu_s.get(name, 0.0) + cpu_s - before.get(key, 0.0)
            took.peak_mb.update(self._peak)

    def _watch(self, done: threading.Event) -> None:
        weighed = 0.0
        while not done.wait(CPU_EVERY_S):
            found = self._look()
            if time.monotonic() - weighed >= MEMORY_EVERY_S:
                self._weigh(found)
                weighed = time.monotonic()

    def _look(self) -> list[tuple[int, str]]:
        """(process, name of its session) of all that are watched; keeps their CPU seconds."""
        found = [(one, self._names[one.session]) for one in processes() if one.session in self._names]
        self._cpu.update({(one.pid, one.born): (name, one.cpu_s) for one, name in found})
        return [(one.pid, name) for one, name in found]

    def _weigh(self, found: list[tuple[int, str]]) -> None:
        sizes: dict[str, float] = defaultdict(float)
        for pid, name in found:
            sizes[name] += pss_mb(pid)
        for name, size in sizes.items():
            self._peak[name] = max(self._peak[name], size)
