"""Contestants side by side: rounds in which each has its turn, and ratios within a round, so that a busy machine slows all of them alike.

Two rates are taken: of the clock, which is what a user sees, and of the CPU time of this process and those that it started, which stays what it is where others
have the machine, too.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

from tests.bench.processes import tree


class Rates(NamedTuple):
    """Samples a second of the clock, and of CPU time."""

    clock: float
    cpu: float


Turn = Callable[[], Rates]


class Stopwatch:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self._cpu_s, self._began = cpu_s(), time.perf_counter()

    def rates(self, samples: int) -> Rates:
        """Of so many samples since."""
        return Rates(samples / (time.perf_counter() - self._began), samples / (cpu_s() - self._cpu_s))


def cpu_s() -> float:
    """CPU seconds of this process and its living children, finer than `processes.cpu_s` counts them."""
    children = [pid for pid in tree(os.getpid()) if pid != os.getpid()]
    return time.process_time() + sum(_scheduled_s(pid) for pid in children)


def _scheduled_s(pid: int) -> float:
    spent_ns = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            spent_ns += int(task.read_text().split()[0])
        except OSError:
            continue
    return spent_ns / 1e9


def contest(title: str, turns: dict[str, Turn], rounds: int) -> None:
    """Has every contestant take its turn in each round, after one that is not counted, and prints a row for each; the first is ours."""
    names = list(turns)
    for name in names:
        turns[name]()
    rates: dict[str, list[Rates]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            rates[name].append(turns[name]())
    print(f"\n{title:24}{'samples/s':>12}{'a CPU second':>14}   {'ours / theirs (quartiles)':28}of CPU time")
    for name in names:
        clock, cpu = (median(column) for column in zip(*rates[name], strict=True))
        row = f"{name:24}{clock:12,.1f}{cpu:14,.1f}"
        if name != names[0]:
            ratios = zip(
                *[_ratio(own, other) for own, other in zip(rates[names[0]], rates[name], strict=True)], strict=True
            )
            row += "   " + "".join(f"{_spread(one):28}" for one in ratios)
        print(row.rstrip())


def _ratio(own: Rates, other: Rates) -> Rates:
    return Rates(own.clock / other.clock, own.cpu / other.cpu)


def _spread(values: Sequence[float]) -> str:
    """Median, and lower and upper quartile."""
    low, _, high = quantiles(values, n=4)
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"
