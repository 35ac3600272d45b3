"""A running cluster as tests use it: commands on it, its store, other pools of workers beside it."""

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

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Running:
    """A cluster that runs: its ports, and what a process needs to reach its store."""

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
