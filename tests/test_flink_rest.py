"""--flink: what Flink says of a job, played by a small server; a job that only Flink knows; words for what works here."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from apache_beam.runners.portability.local_job_service import LocalJobServicer

from jobs import engine
from jobs.cli import main
from jobs.flink import job_name
from jobs.flink_rest import Flink
from pipeline.runfolder import RunFolder
from pipeline.transforms.spread import forget_steps, step_at_work
from schemas.errors import SurroundingsError
from tests import crawls
from tests.test_flink import STATES, Job

ENDED = ("FINISHED", "FAILED", "CANCELED")


class FakeFlink:
    """What Flink's REST interface answers: jobs, and the stack traces of failures."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.traces: list[str] = []

    def job(self, name: str, state: str, **tasks: int) -> dict[str, Any]:
        """One more job; what is changed of it is told."""
        number = len(self.jobs)
        all_tasks = {"total": 10, "created": 0, "scheduled": 0, "deploying": 0, "running": 0, "finished": 0} | tasks
        self.jobs.append({"jid": f"f{number}", "name": name, "start-time": number, "state": state, "tasks": all_tasks})
        return self.jobs[-1]

    def answer(self, path: str) -> bytes:
        """The body for a path."""
        if path == "/jobs/overview":
            return json.dumps({"jobs": self.jobs}).encode()
        entries = [{"exceptionName": "java.lang.Exception", "stacktrace": trace} for trace in self.traces]
        return json.dumps({"exceptionHistory": {"entries": entries}}).encode()


@pytest.fixture
def fake() -> Iterator[tuple[FakeFlink, str]]:
    """It, and its address."""
    flink = FakeFlink()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = flink.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield flink, f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("state", "tasks", "words"),
    [
        ("INITIALIZING", {}, "Flink: initializing"),
        ("RUNNING", {"scheduled": 10}, "Flink: waits for slots"),
        ("RUNNING", {"scheduled": 6, "finished": 4}, "Flink: waits for slots"),
        ("RUNNING", {"running": 4, "finished": 6}, "Flink: 6 of 10 tasks done"),
        ("RUNNING", {"running": 1, "scheduled": 2, "finished": 7}, "Flink: 7 of 10 tasks done"),
        ("RESTARTING", {"finished": 6}, "Flink: restarting"),
        *((state, {"finished": 10}, "not in Flink yet") for state in ENDED),
    ],
)
def test_a_job_in_words(fake: tuple[FakeFlink, str], state: str, tasks: dict[str, int], words: str) -> None:
    """One that restarts or waits does not look like one that works; one that has ended is of an earlier command."""
    flink, address = fake
    flink.job("ours", "RUNNING", finished=1)
    flink.job("ours", state, **tasks)
    flink.job("another", "RUNNING", finished=2)

    assert words == Flink(address).says("ours")


def test_failures_are_told_while_flink_tries_again(fake: tuple[FakeFlink, str]) -> None:
    """How many there were, and the latest in our words, where it has some."""
    flink, address = fake
    flink.job("ours", "RUNNING", running=4)
    flink.traces = ["java.lang.RuntimeException: [m3w SurroundingsError] s3://a/b:\n refused [/m3w] at x", "lost"]

    assert "Flink: 0 of 10 tasks done, failures: 2, of late: s3://a/b: refused" == Flink(address).says("ours")
    flink.traces.pop(0)
    assert "Flink: 0 of 10 tasks done, failures: 1, of late: Exception" == Flink(address).says("ours")


def test_a_dead_flink_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read or written; what only shows progress goes on without it."""
    assert "Flink does not answer" == Flink("127.0.0.1:1").says("ours")
    assert "" == Flink("127.0.0.1:1").how_to_end("ours")
    with pytest.raises(SurroundingsError, match=r"Flink does not answer at 127\.0\.0\.1:1 \("):
        Flink("127.0.0.1:1").check()
    crawl = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 1))
    for address, code, line in (
        ("127.0.0.1:1", 3, "Flink does not answer at"),
        ("http://x", 2, "--flink is HOST:PORT"),
    ):
        assert code == main(["extract", str(crawl), "--out", str(tmp_path / "run"), "--flink", address])
        assert line in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_is_no_flink_is_one_line(fake: tuple[FakeFlink, str]) -> None:
    """Something else that speaks HTTP and JSON."""
    flink, address = fake
    flink.jobs = [{"jid": 1}]
    with pytest.raises(SurroundingsError, match="is it the port of its REST interface"):
        Flink(address).check()


def test_a_job_is_found_though_its_job_server_was_started_anew(
    fake: tuple[FakeFlink, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server knows nothing, Flink has it: it is waited for. Jobs of other folders are not, nor what has ended."""
    flink, address = fake
    run = str(tmp_path / "run")
    ours = flink.job(job_name(run, "select"), "RUNNING", running=10)
    flink.job(job_name(f"{run}2", "select"), "RUNNING", running=10)
    for state in ENDED:
        flink.job(job_name(run, "extract"), state)

    assert ["select"] == Flink(address).running(f"{run}/")
    assert f"flink cancel -m {address} f0" == Flink(address).how_to_end(job_name(run, "select"))
    threading.Timer(0.5, lambda: ours.update(state="FAILED")).start()
    assert 0 == _extract(tmp_path, run, address)
    assert "select: still runs on the cluster" in capsys.readouterr().err
    assert [] == Flink(address).running(run)


def test_a_job_that_flink_has_lost_is_not_waited_for_long(
    fake: tuple[FakeFlink, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job server that says RUNNING for ever of a job that failed when its sender was gone; one that is on its way to Flink is waited for."""
    monkeypatch.setattr(engine, "ARRIVAL_S", 0.5)
    monkeypatch.setattr(engine, "POLL_S", 0.1)
    flink, address = fake
    run = str(tmp_path / "run")
    name = job_name(run, "extract")
    flink.job(name, "FAILED")
    began = time.monotonic()
    assert 0 == _extract(tmp_path, run, address, Job(name, STATES.RUNNING))
    assert time.monotonic() - began > 0.5
    assert RunFolder(run).stage("extract")

    began = time.monotonic()
    threading.Timer(0.2, lambda: flink.job(name, "RUNNING")).start()
    threading.Timer(1.5, lambda: flink.jobs[-1].update(state="FINISHED")).start()
    assert 0 == _extract(tmp_path, run, address, Job(name, STATES.RUNNING))
    assert time.monotonic() - began > 1.5


def _extract(folder: Path, run: str, flink: str, *jobs: Job) -> int:
    """A crawl's extract by a job server of its own, which knows these jobs."""
    crawl = crawls.write_warc(folder / "a.warc.gz", crawls.site("a.example", 1))
    servicer = LocalJobServicer()
    endpoint = f"localhost:{servicer.start_grpc_server(0)}"
    servicer._jobs.update({job._name: job for job in jobs})
    beam = ["--", "--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
    try:
        return main(["extract", str(crawl), "--out", run, "--flink", flink, *beam])
    finally:
        servicer._server.stop(0)


def test_a_stage_of_several_steps_tells_the_one_at_work(tmp_path: Path) -> None:
    """In this process by the function that was done last; nothing where parts say the same, and of no pipeline."""
    crawl = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 2))
    run = str(tmp_path / "run")
    assert 0 == main(["extract", str(crawl), "--out", run])
    assert "" == step_at_work()
    assert 0 == main(["select", "--out", run])
    assert "at write_selected, 1 done" == step_at_work()
    forget_steps()
    assert "" == step_at_work()
