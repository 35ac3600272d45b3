"""--runner flink without Flink: our words as Beam's options, a job server that is not there, one that still has a job of ours, a worker with other software."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.local_job_service import BeamJob, LocalJobServicer
from apache_beam.utils.timestamp import Timestamp

from jobs.cli import main
from jobs.engine import Engine
from jobs.flink import JobServer, flink_options, job_name
from pipeline.software import check_software, software
from pipeline.stages.extract import extract_slice
from pipeline.transforms.spread import InChild
from schemas.errors import SurroundingsError, UsageError
from tests import crawls

STATES = beam_job_api_pb2.JobState


class Job(BeamJob):  # type: ignore[misc]
    """A job of which only name and state are known."""

    def __init__(self, name: str, state: int) -> None:
        self._name, self.state_now = name, state

    def to_runner_api(self) -> beam_job_api_pb2.JobInfo:
        """What a list of jobs tells of it."""
        return beam_job_api_pb2.JobInfo(job_id=self._name, job_name=self._name, state=self.state_now)

    def get_state(self) -> tuple[int, Timestamp]:
        """What it is asked while somebody waits for it."""
        return self.state_now, Timestamp.now()


@pytest.fixture
def server() -> Iterator[tuple[LocalJobServicer, str]]:
    """Beam's own job server in this process, and its address."""
    servicer = LocalJobServicer()
    yield servicer, f"localhost:{servicer.start_grpc_server(0)}"
    servicer._server.stop(0)


def test_our_words_are_beams_options() -> None:
    """An endpoint and a number of workers are enough for a pool at the usual place."""
    assert [
        "--runner=PortableRunner",
        "--job_endpoint=flink:8099",
        "--environment_type=EXTERNAL",
        "--environment_config=localhost:50000",
        "--parallelism=2",
        "--environment_cache_millis=1000",
    ] == flink_options("flink:8099", "localhost:50000", 2)


@pytest.mark.parametrize(
    ("endpoint", "pool", "workers", "line"),
    [
        ("", "localhost:1", 2, "--endpoint is HOST:PORT"),
        ("http://flink:8099", "localhost:1", 2, "not 'http://flink:8099'"),
        ("flink:8099", "localhost", 2, "--worker-pool is HOST:PORT, not 'localhost'"),
        ("flink:8099", "localhost:1", None, "--workers N"),
    ],
)
def test_what_is_missing_is_named(endpoint: str, pool: str, workers: int | None, line: str) -> None:
    """Addresses without a port, with a scheme, or not there; no number of workers."""
    with pytest.raises(UsageError, match=line):
        flink_options(endpoint, pool, workers)


def test_a_dead_endpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody listens there: exit 3 before the output folder is touched."""
    crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 1))
    crawl, out = f"file://{tmp_path}/a.warc.gz", tmp_path / "out"
    command = ["extract", crawl, "--out", f"file://{out}", "--runner", "flink", "--endpoint", "localhost:1"]

    assert 3 == main([*command, "--workers", "1"])
    lines = capsys.readouterr().err.strip().splitlines()
    assert 1 == len(lines)
    assert lines[0].startswith("m3w: no job server of Beam's answers at localhost:1 (")
    assert not out.exists()


def test_a_disk_that_workers_do_not_see_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Input and output on a cluster are URLs; a disk that all share is named as one."""
    crawl = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 1))
    command = ["--runner", "flink", "--endpoint", "localhost:1", "--workers", "1"]

    assert 2 == main(["extract", str(crawl), "--out", f"file://{tmp_path}/out", *command])
    assert f"m3w: {crawl} is on this machine's disk" in capsys.readouterr().err
    assert 2 == main(["extract", f"file://{crawl}", "--out", str(tmp_path / "out"), *command])
    assert f"m3w: {tmp_path}/out is on this machine's disk" in capsys.readouterr().err


def test_a_job_server_runs_a_stage_under_its_name(
    server: tuple[LocalJobServicer, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beam's portable runner with workers in this process; the documents are those of a local run."""
    crawl = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 3))
    servicer, endpoint = server
    runs = [tmp_path / "here", tmp_path / "there"]
    beam = ["--", "--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
    for run, options in zip(runs, ([], beam), strict=True):
        assert 0 == main(["extract", str(crawl), "--out", str(run), *options])

    here, there = ({path.name: path.read_bytes() for path in run.glob("documents/*")} for run in runs)
    assert here == there
    assert 1 == len(here)
    assert [job_name(str(runs[1]), "extract")] == [
        job._pipeline_options["beam:option:job_name:v1"] for job in servicer._jobs.values()
    ]


def test_a_command_sent_again_joins_its_job(
    server: tuple[LocalJobServicer, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What still runs of the run's folder is waited for; what has ended, and jobs of others, are not."""
    crawl = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 1))
    servicer, endpoint = server
    run = str(tmp_path / "run")
    ours = Job(job_name(run, "select"), STATES.RUNNING)
    others = [Job(job_name(f"{run}2", "extract"), STATES.RUNNING), Job(job_name(run, "extract"), STATES.FAILED)]
    for job in (ours, *others):
        servicer._jobs[job._name] = job
    threading.Timer(0.5, lambda: setattr(ours, "state_now", STATES.DONE)).start()
    began = time.monotonic()
    beam = ["--", "--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]

    assert ["select"] == JobServer(endpoint).running(f"{run}/")
    assert 0 == main(["extract", str(crawl), "--out", run, *beam])
    assert time.monotonic() - began > 0.5
    said = [line for line in capsys.readouterr().err.splitlines() if "still runs" in line]
    assert ["select: still runs on the cluster, sent by a command that is gone; waiting for it"] == said


def test_what_is_no_job_server_is_one_line() -> None:
    """A gRPC server of another kind answers, but not to our question."""
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("localhost:0")
    other.start()

    with pytest.raises(
        SurroundingsError, match=rf"no job server of Beam's answers at localhost:{port} \(UNIMPLEMENTED"
    ):
        JobServer(f"localhost:{port}").check()
    other.stop(0)


def test_a_worker_with_other_software_refuses() -> None:
    """m3w by its code, Python, and every library; what differs is named, m3w first."""
    check_software(software())
    for other, line in (
        ({"m3w": "0.1.0-0"}, r"m3w 0\.1\.0-[0-9a-f]{8}, and who submits has 0\.1\.0-0;"),
        ({"Python": "2.7"}, "Python 3"),
        ({"pillow": "1", "m3w": "0"}, "has m3w"),
        ({"more": "1"}, "has more not at all"),
    ):
        with pytest.raises(SurroundingsError, match=line):
            check_software(software() | other)


def test_set_up_refuses_before_any_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker compares what it has with what came with the job; the runner gets the reason in words that the submitter finds again."""
    step = InChild(extract_slice, 1)
    step.setup()
    monkeypatch.setattr(step, "_software", {"m3w": "0"})

    with pytest.raises(RuntimeError, match=r"\[m3w SurroundingsError\] a worker on .* \[/m3w\]"):
        step.setup()


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("FlinkJobNotFoundException: Could not find Flink job (5)", r"Flink has lost the job \(.*\)"),
        ("StatusRuntimeException: CANCELLED: client cancelled", "the cluster has given the job up: Status.* cancelled"),
    ],
)
def test_a_job_that_the_cluster_does_not_end_is_one_line(told: str, line: str) -> None:
    """A job manager that was started anew knows no earlier job; tries are used up. The way out is the same command."""

    def fails(_: object) -> None:
        raise RuntimeError(f"Pipeline m3w-1-select failed in state FAILED: {told}")

    with pytest.raises(SurroundingsError, match=rf"^{line}; the same command goes on with what is left$"):
        Engine(1, ["--runner=PortableRunner", "--environment_type=LOOPBACK"]).run(fails, "m3w-1-select")
