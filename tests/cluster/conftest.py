"""A cluster of their own for the tests beside it: two task managers, each with a pool of workers, and a store. Jars are those that `make cluster` keeps."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.cluster.configuration import environment
from jobs.cluster.start import start, stop
from tests.cluster.running import CRAWLS, FINE, ROOT, Running, on_disk


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster in a folder of its own."""
    jars, folder = Path(os.environ.get("M3W_CLUSTER", ROOT / ".cluster")), tmp_path_factory.mktemp("cluster")
    for name in ("flink", "job-server"):
        (folder / name).symlink_to(jars / name)
    ports = start(folder).ports
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment(ports).items():
                patch.setenv(name, value)
            running = Running(folder, ports, dict(os.environ))
            for bucket in ("crawl", "runs"):
                running.store.mkdir(bucket)
            yield running
    finally:
        stop(folder)


@pytest.fixture(scope="session")
def crawl(cluster: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real crawls, on disk and, under the same names, in the store's bucket `crawl`."""
    folder = tmp_path_factory.mktemp("crawl")
    for path in CRAWLS:
        shutil.copy(path, folder)
        cluster.store.put_file(str(path), f"crawl/{path.name}")
    return folder


@pytest.fixture(scope="session")
def local(cluster: Running, crawl: Path) -> dict[str, str]:
    """The digests of an undisturbed run on one machine, with FINE."""
    cluster.run_here("crawl", f"{crawl}/*.warc.gz", "--out", str(crawl / "run"), *FINE)
    return on_disk(crawl / "run")
