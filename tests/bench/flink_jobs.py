"""What Flink tells of jobs that have ended: how long they and their vertices took, and what went from one vertex to the next."""

import json
import urllib.request
from typing import Any, NamedTuple


class FlinkJob(NamedTuple):
    """A job: its id, the stage that its name ends with, seconds, seconds of its vertices by name, and bytes.

    `shuffled` are those that went to where their key is joined, `sent` all that vertices handed on: the same byte comes by several of them.
    """

    id: str
    stage: str
    seconds: float
    vertices: dict[str, float]
    shuffled: int
    sent: int


def ended_jobs(address: str, known: set[str]) -> list[FlinkJob]:
    """The jobs of a job manager whose ids are not known yet."""
    ids = {one["jid"] for one in _asked(f"{address}/jobs/overview")["jobs"]}
    return [flink_job(_asked(f"{address}/jobs/{new}")) for new in sorted(ids - known)]


def flink_job(told: dict[str, Any]) -> FlinkJob:
    """An answer of /jobs/ID."""
    vertices = told["vertices"]
    return FlinkJob(
        id=told["jid"],
        stage=told["name"].rpartition("-")[2],
        seconds=told["duration"] / 1000,
        vertices={one["name"]: one["duration"] / 1000 for one in vertices},
        shuffled=sum(one["metrics"]["read-bytes"] for one in vertices if one["name"].startswith("GroupReduce")),
        sent=sum(one["metrics"]["write-bytes"] for one in vertices),
    )


def _asked(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
