"""Kills processes of a cluster while a command runs on it, starts them again, and writes down what followed.

A victim is found anew for each kill: task managers, pools and the job manager in the cluster's state; workers, and the children that do their work, as
what the pools have started.
"""

import json
import logging
import os
import random
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from jobs.cluster import state
from jobs.cluster.configuration import HOST
from jobs.cluster.start import start
from jobs.flink import job_name
from schemas.errors import SurroundingsError
from tests.cluster.running import ROOT, Running

VICTIMS: Final = ("task-manager", "worker", "child", "pool", "job-manager")
JOBS: Final = ("extract", "select", "fetch", "assemble", "shards")  # of a crawl
AWAY_S: Final = 3.0  # until whoever looks after a process starts it again
LOG: Final = logging.getLogger("kills")  # what was seen, a kill a line
_FEW_TASKS: Final = 20  # Flink's of a job of one step; assemble has more


class Kill(msgspec.Struct, kw_only=True):
    """A kill: so many seconds after its job began to run, or to run again, and with so many parts of the stage committed."""

    victim: str
    job: str
    moment_s: float
    parts: int
    at: float
    went_on_s: float | None = None  # until a further part was committed, or the next job ran


def run_with_kills(
    cluster: Running, arguments: Sequence[str], run: str, victim: str, moments: Mapping[str, Sequence[float]], seed: int
) -> tuple[list[Kill], int]:
    """Sends a command and kills a victim at some moments (s) of its jobs; sends it again when it has failed after a kill.

    Returns:
        The kills, and how many commands it took.
    """
    killing = _Killing(cluster, run, victim, moments, seed)
    for sent in range(1, 2 + sum(map(len, moments.values()))):
        with open(cluster.folder / "tmp" / f"{run}.told", "w+") as errors:
            process = subprocess.Popen(
                cluster.command(*arguments), cwd=ROOT, env=cluster.environment, stdout=subprocess.DEVNULL, stderr=errors
            )
            try:
                while process.poll() is None:
                    killing.look()
                    time.sleep(0.3)
            finally:
                process.kill()
                exit_code = process.wait()
            errors.seek(0)
            told = (errors.read().splitlines() or [""])[-1]
        if exit_code == 0:
            LOG.warning("%s: ended with command %d", run, sent)
            return killing.kills, sent
        assert killing.kills, told
        assert exit_code == SurroundingsError.exit_code, told
        LOG.warning("%s: command %d: %s", run, sent, told)
        start(cluster.folder)
    raise AssertionError(f"{run}: fails without being killed, too: {told}")


class _Killing:
    def __init__(
        self, cluster: Running, run: str, victim: str, moments: Mapping[str, Sequence[float]], seed: int
    ) -> None:
        self.kills: list[Kill] = []
        self._cluster, self._run, self._victim = cluster, run, victim
        self._left = {job: list(moments[job]) for job in moments}
        self._draw = random.Random(seed)
        self._began: dict[
            str, float
        ] = {}  # when a job, by Flink's id, began to run or a process of it was started again

    def look(self) -> None:
        """Kills if it is time to, and starts again what was killed."""
        flink_id, job = self._running_job()
        self._note_progress(job)
        left = self._left.get(job)
        if not left or time.monotonic() - self._began.setdefault(flink_id, time.monotonic()) < left[0]:
            return
        if pids := sorted(_pids(self._cluster.folder, self._victim)):
            parts = self._parts(job)
            os.kill(self._draw.choice(pids), signal.SIGKILL)
            kill = Kill(victim=self._victim, job=job, moment_s=left.pop(0), parts=parts, at=time.monotonic())
            self.kills.append(kill)
            LOG.warning("%s: %s in %s after %.0f s, at %d parts", self._run, self._victim, job, kill.moment_s, parts)
            time.sleep(AWAY_S)
            start(self._cluster.folder)
            self._began[flink_id] = time.monotonic()

    def _note_progress(self, job: str) -> None:
        """A kill is got over when there is more than there was, or the next job runs."""
        if not self.kills or self.kills[-1].went_on_s is not None or not job:
            return
        kill = self.kills[-1]
        if job != kill.job or self._parts(job) > kill.parts:
            kill.went_on_s = time.monotonic() - kill.at
            LOG.warning("%s: went on after %.0f s", self._run, kill.went_on_s)

    def _running_job(self) -> tuple[str, str]:
        prefix = job_name(f"s3://runs/{self._run}", "")
        jobs = []
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"http://{HOST}:{self._cluster.ports.rest}/jobs/overview", timeout=5) as answer,
        ):
            jobs = json.load(answer)["jobs"]
        for one in jobs:
            if one["name"].startswith(prefix) and one["state"] == "RUNNING":
                stage = one["name"].removeprefix(prefix)
                second = "shards" if one["tasks"]["total"] < _FEW_TASKS else "assemble"
                return one["jid"], second if stage == "shard" else stage
        return "", ""

    def _parts(self, job: str) -> int:
        stage = "shard" if job in ("assemble", "shards") else job
        return len(self._cluster.store.find(f"runs/{self._run}/commits/{stage}"))


def _pids(folder: Path, victim: str) -> Iterator[int]:
    cluster = state.read(folder)
    assert cluster is not None
    started = {name: process.pid for name, process in cluster.processes.items()}
    pools = [pid for name, pid in started.items() if name.startswith("workers-")]
    if victim == "pool":
        yield from pools
    elif victim == "worker":
        yield from _children(pools)
    elif victim == "child":
        yield from _children(list(_children(pools)))
    else:
        yield from (pid for name, pid in started.items() if name.startswith(victim))


def _children(parents: list[int]) -> Iterator[int]:
    told = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    for line in told.splitlines():
        pid, parent, stat = line.split()
        if int(parent) in parents and not stat.startswith("Z"):
            yield int(pid)
