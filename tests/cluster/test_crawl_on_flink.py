"""m3w on a Flink cluster: two task managers, everything on a store; the bytes of a local run, and one line where a worker is not as it must be."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.flink import JobServer
from tests.cluster.running import CRAWLS, ROOT, Running, in_store, on_disk

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # of boto and of Beam


def test_a_crawl_gives_the_bytes_of_a_local_run(cluster: Running, crawl: Path, tmp_path: Path) -> None:
    """Shards, index, manifest and card; the same summary; the same command again finds nothing to do."""
    assert main(["crawl", str(crawl / "*.warc.gz"), "--out", str(tmp_path / "run")]) == 0
    done = cluster.run("crawl", "s3://crawl/*.warc.gz", "--out", "s3://runs/whole")
    again = cluster.run("crawl", "s3://crawl/*.warc.gz", "--out", "s3://runs/whole")

    assert 0 == done.returncode, done.stderr
    assert on_disk(tmp_path / "run") == in_store(cluster, "whole")
    assert "documents with" in done.stdout
    assert done.stdout == again.stdout
    assert ["nothing to do"] * 4 == [line.split(": ")[1] for line in again.stderr.splitlines()]


def test_each_stage_alone(cluster: Running, crawl: Path, tmp_path: Path) -> None:
    """Four commands, one after the other, as one."""
    name = CRAWLS[0].name
    assert main(["crawl", str(crawl / name), "--out", str(tmp_path / "run")]) == 0
    out = ["--out", "s3://runs/stages"]
    for command in (["extract", f"s3://crawl/{name}"], ["select"], ["fetch"], ["shard"]):
        done = cluster.run(*command, *out)
        assert 0 == done.returncode, done.stderr

    assert on_disk(tmp_path / "run") == in_store(cluster, "stages")


@pytest.mark.parametrize("by", ["SIGKILL", "SIGINT"])
def test_a_command_that_was_ended_joins_its_job(cluster: Running, crawl: Path, by: str) -> None:
    """The job on the cluster goes on; the same command waits for it, and does not do it twice."""
    run = f"s3://runs/joined-{by}"
    command = ("extract", "s3://crawl/*.warc.gz", "--out", run)
    first = subprocess.Popen(cluster.command(*command), cwd=ROOT, env=cluster.environment, stderr=subprocess.DEVNULL)
    server = JobServer(f"127.0.0.1:{cluster.ports.job}")
    while not server.running(run):
        assert first.poll() is None
        time.sleep(0.5)
    first.send_signal(signal.Signals[by])
    assert {"SIGKILL": -9, "SIGINT": 130}[by] == first.wait()
    second = cluster.run(*command)

    assert 0 == second.returncode, second.stderr
    assert second.stderr.startswith("extract: still runs on the cluster")
    assert 1 == sum(line.startswith("extract:") and " parts, " in line for line in second.stderr.splitlines()[-1:])
    assert [] == server.running(run)
    assert "nothing to do" in cluster.run(*command).stderr


def test_a_worker_without_m3w_is_one_line(cluster: Running, crawl: Path, tmp_path: Path) -> None:
    """Its Python has Beam, but cannot import what the job calls; what is to be installed is named."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nclass Without:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('pipeline', 'schemas'):\n            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    with cluster.pools(str(tmp_path)) as pool:
        refused = cluster.run("extract", "s3://crawl/*.warc.gz", "--out", "s3://runs/none", pool=pool)

    assert 3 == refused.returncode
    assert refused.stderr.splitlines()[-1].startswith(
        "m3w: a worker has no m3w (No module named 'pipeline'); install m3w "
    )
    assert not cluster.store.find("runs/none/documents")


def test_a_worker_with_another_version_is_one_line(cluster: Running, crawl: Path, tmp_path: Path) -> None:
    """Code that differs by a comment is another version; it is refused before it has a page."""
    for package in ("schemas", "pipeline"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "pipeline/urls.py").open("a") as file:
        file.write("# another version\n")
    with cluster.pools(str(tmp_path)) as pool:
        refused = cluster.run("extract", "s3://crawl/*.warc.gz", "--out", "s3://runs/other", pool=pool)

    assert 3 == refused.returncode
    assert "install the same m3w with the same libraries on both" in refused.stderr.splitlines()[-1]
    assert not cluster.store.find("runs/other/documents")


def test_no_worker_pool_is_one_line(cluster: Running, crawl: Path) -> None:
    """Nobody listens where the task managers are told to find their workers."""
    refused = cluster.run("extract", "s3://crawl/*.warc.gz", "--out", "s3://runs/pool", pool=1)

    assert 3 == refused.returncode
    assert "no worker pool answers at localhost:1" in refused.stderr.splitlines()[-1]
