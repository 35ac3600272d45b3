"""A cluster of their own for the tests beside it: two task managers, each with a pool of workers, and a store. Jars are those that `make cluster` keeps."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cluster.configuration import environment
from jobs.cluster.start import start, stop
from tests.cluster.running import ROOT, Running


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster in a folder of its own."""
    jars, folder = Path(os.environ.get("M3W_CLUSTER", ROOT / ".cluster")), tmp_path_factory.mktemp("cluster")
    for name in ("flink", "job-server"):
        (folder / name).symlink_to(jars / name)
    ports = start(folder).ports
    try:
        running = Running(ports, os.environ | environment(ports))
        for bucket in ("crawl", "runs"):
            running.store.mkdir(bucket)
        yield running
    finally:
        stop(folder)
