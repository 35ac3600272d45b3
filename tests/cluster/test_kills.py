"""kill -9 of whatever runs on a cluster: the job ends by itself or with the same command, with the bytes of an undisturbed local run and nothing left over.

`make test-cluster` kills once in each job of a crawl; `make test-cluster-kills` ten times each of all kinds of process, twice in each job.
"""

import random
from pathlib import Path

import pytest

from tests.cluster.kills import JOBS, VICTIMS, run_with_kills
from tests.cluster.running import FINE, Running, whole

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # of boto and of Beam
STAGES = {"extract": 0, "select": 1, "fetch": 2, "assemble": 3, "shards": 3}
LIFE_S = {
    "extract": 20.0,
    "select": 20.0,
    "fetch": 15.0,
    "assemble": 15.0,
    "shards": 10.0,
}  # of a job in Flink, at least


@pytest.mark.parametrize(
    ("victim", "job"),
    [
        ("task-manager", "extract"),
        ("job-manager", "select"),
        ("worker", "fetch"),
        ("pool", "assemble"),
        ("child", "shards"),
    ],
)
def test_a_stage_outlives_a_kill(cluster: Running, crawl: Path, local: dict[str, str], victim: str, job: str) -> None:
    """One kill in one job; the stages before and after it are run on this machine, on the same store."""
    run = f"{victim}-{job}"
    out = ["--out", f"s3://runs/{run}", *FINE]
    stages = [["extract", "s3://crawl/*.warc.gz"], ["select"], ["fetch"], ["shard"]]

    for stage in stages[: STAGES[job]]:
        cluster.run_here(*stage, *out)
    kills, sent = run_with_kills(cluster, [*stages[STAGES[job]], *out], run, victim, {job: [5.0]}, 1)
    for stage in stages[STAGES[job] + 1 :]:
        cluster.run_here(*stage, *out)

    assert 1 == len(kills)
    assert sent <= (2 if victim == "job-manager" else 1), kills
    assert local == whole(cluster, run)


@pytest.mark.slow
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_crawl_outlives_ten_kills(cluster: Running, crawl: Path, local: dict[str, str], victim: str) -> None:
    """Two in each job, at moments drawn over its life; what was seen is logged, a kill a line."""
    draw = random.Random(victim)
    moments = {job: [draw.uniform(0, LIFE_S[job]) for _ in range(2)] for job in JOBS}
    command = ["crawl", "s3://crawl/*.warc.gz", "--out", f"s3://runs/ten-{victim}", *FINE]
    kills, sent = run_with_kills(cluster, command, f"ten-{victim}", victim, moments, 1)

    assert len(kills) > len(JOBS)  # a job may end before its moment has come
    assert sent <= 1 + len(kills), kills
    assert local == whole(cluster, f"ten-{victim}")
