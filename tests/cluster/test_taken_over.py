"""A job on Flink whose command is gone, and whose run a later command has taken: it publishes nothing, and Flink says why."""

import subprocess
import time

import pytest

from jobs.flink import JobServer, job_name
from jobs.flink_rest import Flink
from pipeline.claim import claim_job
from pipeline.store import Store
from tests.cluster.running import ROOT, Running

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # of boto and of Beam
PATIENCE_S = 300


def test_a_job_that_was_taken_over_publishes_nothing(cluster: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent, then left alone, by a command that was killed; it ends as failed after Flink's tries, with nothing in the run's folder."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    run, until = "s3://runs/taken", time.monotonic() + PATIENCE_S
    crawl = ROOT / "jobs/demo/crawl/distill-growing-ca.warc.gz"
    cluster.store.put_file(str(crawl), f"crawl/taken/{crawl.name}")
    command = cluster.command("extract", f"s3://crawl/taken/{crawl.name}", "--out", run)
    sender = subprocess.Popen(command, cwd=ROOT, env=cluster.environment, stderr=subprocess.DEVNULL)
    server = JobServer(f"127.0.0.1:{cluster.ports.job}")
    while not server.running(run):
        assert sender.poll() is None
        time.sleep(0.1)
    sender.kill()
    sender.wait()
    claim_job(Store(run))

    flink, said = Flink(f"127.0.0.1:{cluster.ports.rest}"), set[str]()
    while not said or flink.running(run):
        assert time.monotonic() < until
        if flink.running(run):
            said.add(flink.says(job_name(run, "extract")))
        time.sleep(0.5)
    assert any(f"{run}: a later command has taken this folder over" in one for one in said)
    folders = {name.split("/")[2] for name in cluster.store.find("runs/taken")}
    assert not folders & {"commits", "documents", "drops"}
