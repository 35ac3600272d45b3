"""A running cluster as tests use it: commands on it, its store, what runs have written, other pools of workers beside it."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import s3fs

from jobs.cluster.configuration import HOST, Ports, node_address
from jobs.cluster.start import listens
from pipeline.report import CARD, MANIFEST
from pipeline.runfolder import FOLDERS, RunFolder

ROOT = Path(__file__).parents[2]
FINE = ("--set", "extract.slice_bytes=1048576", "--set", "shard.target_bytes=4000000")  # so that there are many parts
KEPT = {"m3w.json", "config.toml", "inputs.json", "stages/job.json"}  # of a run, beside what records name
_SHARED = sorted((ROOT.parent / "shared/data/warc").glob("*.warc.gz"))
CRAWLS = _SHARED or sorted((ROOT / "jobs/demo/crawl").glob("*.warc.gz"))


@dataclass(frozen=True)
class Running:
    """A cluster that runs: its folder, its ports, and what a process needs to reach its store."""

    folder: Path
    ports: Ports
    environment: dict[str, str]

    @property
    def store(self) -> s3fs.S3FileSystem:
        """Its store, from this process."""
        return s3fs.S3FileSystem(
            key="m3w", secret="m3w", endpoint_url=self.environment["AWS_ENDPOINT_URL"], use_listings_cache=False
        )

    def command(self, *arguments: str, pool: int | None = None) -> list[str]:
        """A command of m3w that runs on it, perhaps with workers of the pools at another port."""
        flink = ["--runner", "flink", "--endpoint", f"127.0.0.1:{self.ports.job}", "--workers", "2"]
        return [
            sys.executable,
            "-m",
            "jobs",
            *arguments,
            *flink,
            "--worker-pool",
            f"localhost:{pool or self.ports.workers}",
        ]

    def run(self, *arguments: str, pool: int | None = None) -> subprocess.CompletedProcess[str]:
        """Runs such a command to its end."""
        command = self.command(*arguments, pool=pool)
        return subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)

    def run_here(self, *arguments: str) -> None:
        """Runs a command on this machine, on the same store; it must go well."""
        subprocess.run([sys.executable, "-m", "jobs", *arguments], cwd=ROOT, env=self.environment, check=True)

    @contextmanager
    def pools(self, path: str) -> Iterator[int]:
        """Other pools beside the task managers, whose Python finds this path first; gives their port."""
        with ExitStack() as stack:
            with socket.socket() as free:
                free.bind((HOST, 0))
                port = free.getsockname()[1]
            for number in (1, 2):
                address = f"{node_address(number)}:{port}"
                pool = subprocess.Popen(
                    [sys.executable, "-P", ROOT / "jobs/cluster/worker_pool.py", address],
                    env=self.environment | {"PYTHONPATH": path},
                    cwd="/",
                    start_new_session=True,
                )
                stack.callback(pool.wait)
                stack.callback(os.killpg, pool.pid, signal.SIGKILL)
                while not listens(node_address(number), port):
                    assert pool.poll() is None
            yield port


def on_disk(run: Path) -> dict[str, str]:
    """Digests of shards, index, manifest and card by name."""
    files = [path for path in (run / "shards").rglob("*") if path.is_file()]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def in_store(cluster: Running, run: str) -> dict[str, str]:
    """The same of a run in the bucket `runs`."""
    names = cluster.store.find(f"runs/{run}/shards")
    return {
        name.removeprefix(f"runs/{run}/"): hashlib.sha256(cluster.store.cat_file(name)).hexdigest() for name in names
    }


def whole(cluster: Running, run: str) -> dict[str, str]:
    """`in_store` of a crawl with FINE that has ended; that there is nothing left to do and nothing left over is asserted."""
    again = cluster.run("crawl", "s3://crawl/*.warc.gz", "--out", f"s3://runs/{run}", *FINE)
    assert ["nothing to do"] * 4 == [line.split(": ")[1] for line in again.stderr.splitlines()]
    assert not leftovers(RunFolder(f"s3://runs/{run}"))
    return in_store(cluster, run)


def leftovers(run: RunFolder) -> set[str]:
    """Files in a finished run's folder that no current record names, and that are no record."""
    commits = [commit for stage in FOLDERS for commit in run.commits(stage)]
    named = {file.path for commit in commits for file in commit.files}
    records = {f"commits/{commit.stage}/{commit.part}.json" for commit in commits}
    stages = {f"stages/{commit.stage}.json" for commit in commits}
    return set(run.store.files()) - named - records - stages - {MANIFEST, CARD} - KEPT
