"""What bench_cluster reads: Flink's answers about jobs, and the kernel's about processes."""

import os
import signal
import subprocess
import sys

from tests.bench.flink_jobs import FlinkJob, flink_job
from tests.bench.sessions import Meter, Seen, seen

TICKS = os.sysconf("SC_CLK_TCK")


def vertex(name: str, milliseconds: int, read: int, wrote: int) -> dict[str, object]:
    return {"name": name, "duration": milliseconds, "metrics": {"read-bytes": read, "write-bytes": wrote}}


def test_what_flink_tells_of_a_job() -> None:
    """Bytes are shuffled where a GroupByKey takes them in; what other vertices hand on is only sent."""
    vertices = [
        vertex("DataSource (Impulse)", 1500, 0, 18),
        vertex("CHAIN Map (Key Extractor) -> GroupCombine (GroupCombine at GroupByUrl)", 2500, 18, 700),
        vertex("GroupReduce (GroupReduce at GroupByUrl)", 3500, 716, 690),
    ]
    told = {"jid": "a1", "name": "m3w-b6c9a1f283b0-select", "duration": 4250, "vertices": vertices}

    seconds = dict(zip((one["name"] for one in vertices), (1.5, 2.5, 3.5), strict=True))
    expected = FlinkJob(id="a1", stage="select", seconds=4.25, vertices=seconds, shuffled=716, sent=1408)  # type: ignore[arg-type]
    assert expected == flink_job(told)


def test_a_process_by_any_name() -> None:
    """The name of a process may hold blanks and brackets; what stands behind it is found."""
    stat = f"7 (a) b (c) S 1 6 5 0 -1 4194560 10 0 0 0 {3 * TICKS} {TICKS} 0 0 20 0 1 0 4711 1000 200"

    assert Seen(pid=7, born="4711", session=5, cpu_s=4.0) == seen(7, stat)


def test_what_outlives_its_parent_counts_with_its_session() -> None:
    """A leader's child has worked for half a second when its parent is gone; it is the session's, and we are not."""
    work = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {work!r}])"
    meter = Meter({})
    with meter.measured() as took:
        leader = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
        meter.add("ours", leader.pid)
        assert leader.stdout is not None
        with leader.stdout as said:
            said.readline()
    os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()

    assert ["ours"] == list(took.cpu_s)
    assert 0.5 <= took.cpu_s["ours"] < 5
