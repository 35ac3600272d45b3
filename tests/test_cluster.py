"""The parts of the development cluster that need no Java: what its processes are told, and which of them are ours to end."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import msgspec
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2

from jobs.cluster import start, state, worker_pool
from jobs.cluster.__main__ import main
from jobs.cluster.configuration import Ports, commands, flink_config, hosts, task_manager_flags
from jobs.cluster.state import Cluster, Process
from jobs.cluster.worker_pool import WorkerPool
from schemas.errors import SurroundingsError

PORTS = Ports(job=1, artifact=2, expansion=3, rest=4, rpc=5, blob=6, workers=7, s3=8)


def sleeper() -> tuple[subprocess.Popen[bytes], int]:
    """A process that leads a session of its own, and the id of its child."""
    inner = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as printed:
        return process, int(printed.readline())


def test_flink_listens_on_the_loopback_only() -> None:
    """Every address of the configuration is of this machine; a task manager is one slot; the ports are those that were found."""
    settings = dict(line.split(": ") for line in flink_config(Path("/x"), PORTS, 2).splitlines())

    assert {"127.0.0.1"} == {value for key, value in settings.items() if key.endswith((".address", "host", "-address"))}
    assert ("4", "5", "6") == tuple(settings[key] for key in ("rest.port", "jobmanager.rpc.port", "blob.server.port"))
    assert "1" == settings["taskmanager.numberOfTaskSlots"]


def test_a_task_manager_has_a_pool_of_its_own() -> None:
    """Each takes another loopback address for localhost, and a pool listens there; Flink's flags are those that it computed."""
    printed = "log line\nBASH_JAVA_UTILS_EXEC_RESULT:-Xmx1m -Xms1m\nBASH_JAVA_UTILS_EXEC_RESULT:-D a=b\n"
    of = commands(Path("/x"), PORTS, 2, task_manager_flags(printed))

    assert ["127.0.0.1:7", "127.0.0.2:7"] == [of[f"workers-{number}"][-1] for number in (1, 2)]
    assert "127.0.0.2 localhost here\n" == hosts(2, "here")
    assert "-Djdk.net.hosts.file=/x/conf/hosts-2" in of["task-manager-2"]
    assert {"-Xmx1m", "-D", "a=b"} <= set(of["task-manager-1"])
    assert ["s3", "job-manager", "workers-1", "task-manager-1", "workers-2", "task-manager-2", "job-server"] == list(of)


def test_stop_ends_our_processes_with_their_children_and_no_other(tmp_path: Path) -> None:
    """A process that has the id of one of ours, but was born at another moment, is somebody else's."""
    (ours, child), (other, _) = sleeper(), sleeper()
    try:
        processes = {
            "ours": Process(pid=ours.pid, born=state.born(ours.pid)),
            "other": Process(pid=other.pid, born="1"),
        }
        state.write(tmp_path, Cluster(ports=PORTS, task_managers=2, processes=processes))

        assert ["other"] == state.read(tmp_path).missing()  # type: ignore[union-attr]
        assert start.stop(tmp_path)
        assert ours.wait(timeout=5) < 0
        until = time.monotonic() + 10
        while state.born(child) and time.monotonic() < until:  # it has its signal, and ends when it is given time
            time.sleep(0.01)
        assert "" == state.born(child)
        assert other.poll() is None
        assert not start.stop(tmp_path)
    finally:
        for process in (ours, other):
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()


def test_no_process_is_born_at_no_moment() -> None:
    """What is not there has no birth; what is, has one that stays."""
    assert "" == state.born(2**22 + 1)
    assert "" != state.born(os.getpid()) == state.born(os.getpid())


def test_state_of_something_else_is_one_line(tmp_path: Path) -> None:
    """A state that cannot be read names its file, and nothing is ended."""
    (tmp_path / state.STATE).write_bytes(msgspec.json.encode({"x": 1}))

    with pytest.raises(SurroundingsError, match=r"state\.json is not the state of a cluster"):
        start.stop(tmp_path)


def test_missing_software_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No Java, one without a compiler, no jars: what is missing, and how to come by it; a cluster that nobody started is none to stop."""
    for modules, line in (
        (None, "Java 17"),
        ("java.base@17", "without its compiler"),
        ("jdk.compiler@17", "make cluster"),
    ):
        if modules:
            (tmp_path / "java").write_text(f"#!/bin/sh\necho {modules}\n")
            (tmp_path / "java").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["cluster", "start", str(tmp_path)])
        assert 3 == main()
        assert line in capsys.readouterr().err
    for command, code in (("status", 3), ("stop", 0)):
        monkeypatch.setattr(sys, "argv", ["cluster", command, str(tmp_path)])
        assert code == main()
        assert "no cluster" in capsys.readouterr().out


class Call:
    """A request's context."""

    def __init__(self, is_active: bool = True) -> None:
        self.is_active = lambda: is_active


@pytest.fixture
def task_manager() -> Iterator[str]:
    """The address of a server that takes connections."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def start_request(address: str) -> beam_fn_api_pb2.StartWorkerRequest:
    """What a task manager asks of its pool."""
    endpoint = endpoints_pb2.ApiServiceDescriptor(url=address)
    return beam_fn_api_pb2.StartWorkerRequest(worker_id="1-1", control_endpoint=endpoint)


def test_a_worker_is_there_when_the_pool_says_so(
    task_manager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has connected, with a folder of its own, and its threads share their memory; who stops it ends it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    pool = WorkerPool(beam_fn_api_pb2)
    answer = pool.StartWorker(start_request(task_manager), Call())
    (worker,) = pool._workers.values()

    assert "" == answer.error  # type: ignore[attr-defined]
    assert worker.is_alive()
    assert [Path(worker.own)] == list(tmp_path.iterdir())
    assert b"MALLOC_ARENA_MAX=1" in Path(f"/proc/{worker.process.pid}/environ").read_bytes().split(b"\0")
    pool.StopWorker(beam_fn_api_pb2.StopWorkerRequest(worker_id="1-1"), Call())
    assert not worker.is_alive()
    assert not list(tmp_path.iterdir())


def test_a_worker_ends_with_its_pool(task_manager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only a living pool holds open is closed; its task manager would keep a worker of a pool that nobody asks any more."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pool = WorkerPool(beam_fn_api_pb2)
    pool.StartWorker(start_request(task_manager), Call())
    (worker,) = pool._workers.values()
    worker.process.stdin.close()

    assert 1 == worker.process.wait(timeout=10)


def test_a_worker_that_ends_at_once_is_started_again(
    task_manager: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task manager would wait without end for one that was killed before it has connected."""
    first = f"import os, sys, time\ntry: os.rmdir({str(tmp_path / 'first')!r}); os.kill(os.getpid(), 9)\nexcept FileNotFoundError: pass\n"
    (tmp_path / "first").mkdir()
    monkeypatch.setattr(worker_pool, "_WORK", f"{first}os.write(int(sys.argv[3]), b'1'); time.sleep(60)")
    pool = WorkerPool(beam_fn_api_pb2)

    assert "" == pool.StartWorker(start_request(task_manager), Call()).error  # type: ignore[attr-defined]
    (worker,) = pool._workers.values()
    assert worker.is_alive()
    worker.end()


@pytest.mark.parametrize(
    ("work", "is_active"),
    [("raise SystemExit(7)", True), ("import os, sys, time; os.write(int(sys.argv[3]), b'1'); time.sleep(60)", False)],
)
def test_a_worker_that_is_of_no_use_is_told_and_gone(
    work: str, is_active: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that cannot be started; one that nobody waits for any more."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(worker_pool, "_WORK", work)
    answer = WorkerPool(beam_fn_api_pb2).StartWorker(start_request("127.0.0.1:1"), Call(is_active))

    assert answer.error.startswith("Python workers end with exit code ")  # type: ignore[attr-defined]
    assert not list(tmp_path.iterdir())
