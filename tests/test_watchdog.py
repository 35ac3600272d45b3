"""The watchdog: a rank that stands still is named, and the run ends."""

import os
import queue
import sys
import time
from pathlib import Path

from tests.processes import exit_codes
from trainer.ranks import Ranks, joined
from trainer.watchdog import line, watched


def give_up(said: str) -> None:
    """Ends the process, as m3w train does."""
    print(said, file=sys.stderr, flush=True)  # noqa: T201
    os._exit(3)


def one_of_two(rank: int, folder: Path) -> None:
    """Two updates; in the second rank 1 reads for ever."""
    sys.stderr = (folder / f"{rank}.txt").open("w")
    with joined() as ranks, watched(ranks, 1.0, give_up):
        for update in range(2):
            ranks.at(f"reads the batch of update {update}")
            if (rank, update) == (1, 1):
                time.sleep(60)
            ranks.counts([1])


def test_the_rank_that_hangs_is_named(tmp_path: Path) -> None:
    """Of two ranks one sleeps: within seconds both end with an error, and what they say names the one that sleeps and what it was at."""
    codes = exit_codes(2, one_of_two, tmp_path)
    said = "".join((tmp_path / f"{rank}.txt").read_text() for rank in (0, 1))

    assert not {0, None} & {*codes}
    assert "rank 1 hangs, it reads the batch of update 1; the others wait, rank 0 adds up numbers" in said


def test_a_rank_that_goes_on_is_left_alone() -> None:
    """Beginning something is enough, however long the whole takes; standing still is not."""
    said: queue.Queue[str] = queue.Queue()
    ranks = Ranks()
    with watched(ranks, 1.5, said.put):
        for number in range(10):
            ranks.at(f"computes update {number}")
            time.sleep(0.2)
        assert said.empty()
        assert "no rank went on for 1.5 s (hang_s): rank 0 hangs, it computes update 9" == said.get(timeout=60)


def test_the_line() -> None:
    """Those that are behind hang; where all are at one point, that is said; a rank that never came is named, too."""
    at = dict.fromkeys(range(12), (7, "adds up"))
    assert "all 12 ranks stand at one point, each adds up" in line(at, 60)
    assert "rank 3 hangs, it reads; the others wait, rank 0 adds up" in line(at | {3: (6, "reads")}, 60)
    assert "rank 5 hangs, it has begun nothing" in line(at | {5: (-1, "has begun nothing")}, 60)
    most = dict.fromkeys(range(11), (6, "reads"))
    assert "ranks 0, 1, 2, 3, 4, 5, 6, 7 and 3 more hang, the first reads" in line(at | most, 60)
