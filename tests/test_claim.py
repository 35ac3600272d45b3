"""The job of a command whose place was taken stops: on a cluster, where it outlives the command, and here, where the lease ran out."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from apache_beam.runners.portability.local_job_service import LocalJobServicer

from jobs.engine import Engine
from jobs.job import Job
from jobs.progress import Progress
from pipeline.claim import JOB, Claim, Holder, check, claim_job, held, under
from pipeline.config import Config
from pipeline.isolate import Note
from pipeline.lock import LOCK, locked
from pipeline.runfolder import RunFolder
from pipeline.store import Store
from pipeline.transforms.spread import InChild, Spread
from schemas.errors import OutputError

LINE = "a later command has taken this folder over"


class Task(msgspec.Struct):
    """A part of a run; `taken` is the file by which another command takes the run while the part is written."""

    run_url: str
    part: str
    taken: str = ""


def work(task: Task, note: Note, skip: frozenset[int]) -> None:
    folder = RunFolder(task.run_url)
    with folder.part("extract", task.part) as part:
        part.file(f"documents/{task.part}.parquet").write(b"x")
        if task.taken:
            with under(None):
                folder.store.write(task.taken, msgspec.json.encode(Holder(id="another")))


@pytest.fixture
def cluster() -> Iterator[Engine]:
    """Beam's portable runner with workers in this process."""
    servicer = LocalJobServicer()
    endpoint = f"localhost:{servicer.start_grpc_server(0)}"
    yield Engine(1, ["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"])
    servicer._server.stop(0)


def send(engine: Engine, task: Task) -> None:
    job = Job(RunFolder(task.run_url), Config(), engine, Progress())
    job.send(lambda pipeline: pipeline | Spread([task], work, engine.processes), "extract")


def test_a_job_whose_place_was_taken_publishes_nothing(cluster: Engine, tmp_path: Path) -> None:
    """Neither a file nor a record; the line says why. The job that is sent next works."""
    store = Store(str(tmp_path))
    with pytest.raises(OutputError, match=LINE):
        send(cluster, Task(str(tmp_path), "late", JOB))
    assert [JOB] == list(store.files())

    send(cluster, Task(str(tmp_path), "later"))
    assert ["commits/extract/later.json", "documents/later.parquet", JOB] == list(store.files())


def test_a_lost_lease_stops_workers_of_this_machine(tmp_path: Path) -> None:
    """A command that writes to a store and was paused too long: its workers look at the lease before a part goes to its place."""
    store = Store(f"memory://{tmp_path.name}/run")
    engine = Engine(1, [], [store.url])
    with pytest.raises(OutputError, match=LINE), locked(store):
        send(engine, Task(store.url, "in-time"))
        send(engine, Task(store.url, "late", LOCK))

    assert ["commits/extract/in-time.json", "documents/in-time.parquet"] == [
        name for name in store.files() if name != LOCK
    ]


def test_a_worker_that_comes_after_its_job_was_replaced_refuses(tmp_path: Path) -> None:
    """An engine that starts a replaced job again gets no further than the set-up; the reason is in words that the submitter finds again."""
    store = Store(str(tmp_path))
    steps = []
    for _ in range(2):
        with under(claim_job(store)):
            steps.append(InChild(work, 1))
    step, later = steps
    later.setup()

    with pytest.raises(RuntimeError, match=rf"\[m3w OutputError\] {tmp_path}: {LINE}.* \[/m3w\]"):
        step.setup()


def test_a_claim_is_about_its_folder_while_its_block_runs(tmp_path: Path) -> None:
    """Other folders are written to freely; a claim ends with its block; one whose file is gone is lost."""
    ours, other = Store(str(tmp_path / "ours")), Store(str(tmp_path / "other"))
    with under(Claim(url=ours.url, name=JOB, id="x")):
        other.write("a", b"")
        with pytest.raises(OutputError, match=LINE):
            check(ours)
    assert held() is None
    ours.write("a", b"")
