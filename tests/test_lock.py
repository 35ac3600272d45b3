"""One writer a folder: a lock on disk, a lease in a store, and what becomes of who has lost it."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import lock
from pipeline.claim import under
from pipeline.lock import LEASE_S, LOCK, locked
from pipeline.runfolder import RunFolder
from pipeline.store import Store
from schemas.errors import OutputError


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run") if request.param == "disk" else f"memory://{tmp_path.name}/run")


@pytest.fixture
def leased(tmp_path: Path) -> Store:
    """A folder whose lock is a lease."""
    return Store(f"memory://{tmp_path.name}/leased")


def lease(holder: str, host: str, pid: int, left_s: float, space: str | None = None) -> bytes:
    """A lease of a process of this container, or of that of another `space`."""
    place = {"host": host, "space": lock._space() if space is None else space, "pid": pid}
    return json.dumps({"id": holder, **place, "until": time.time() + left_s}).encode()


def test_a_second_writer_is_refused(store: Store) -> None:
    """While one holds the folder another is refused; afterwards it is free."""
    with locked(store), pytest.raises(OutputError, match="another m3w"):
        locked(store).__enter__()
    with locked(store):
        pass


def test_a_lease_runs_out(leased: Store) -> None:
    """In a store a killed holder's lease ends by time, or at once where its process is known to be dead."""
    for host, pid, left_s in (("elsewhere", 1, -1), (os.uname().nodename, 2**22 + 1, LEASE_S)):
        leased.write(LOCK, lease("x", host, pid, left_s))
        with locked(leased):
            pass
    leased.write(LOCK, lease("x", "elsewhere", 1, LEASE_S))
    with pytest.raises(OutputError, match="process 1 on elsewhere"):
        locked(leased).__enter__()


def test_a_process_of_another_container_is_not_taken_for_dead(leased: Store) -> None:
    """Containers may have one host's name, and ids of their own; a lease among them ends by time alone."""
    leased.write(LOCK, lease("x", os.uname().nodename, 2**22 + 1, LEASE_S, space="pid:[1]"))
    with pytest.raises(OutputError, match="another m3w"):
        locked(leased).__enter__()


WRITES: dict[str, Callable[[Store], object]] = {
    "write": lambda store: store.write("stages/a.json", b"late"),
    "remove": lambda store: store.remove(["stages/a.json"]),
    "remove folder": lambda store: store.remove_folder("stages"),
    "finish": lambda store: RunFolder(store.url).finish("extract", "late", []),
}


@pytest.mark.parametrize("write", WRITES)
def test_who_has_lost_the_lease_writes_nothing(leased: Store, write: str) -> None:
    """A holder that was paused for too long stops at the next thing it writes or deletes, and leaves the lease to who has it now."""
    leased.write("stages/a.json", b"")
    with pytest.raises(OutputError, match="a later command has taken this folder over"), locked(leased):
        leased.write("stages/a.json", b"in time")
        with under(None):
            leased.write(LOCK, lease("another", "elsewhere", 1, LEASE_S))
        files = leased.files()
        WRITES[write](leased)

    assert files == leased.files()
    assert b"in time" == leased.read("stages/a.json")
    assert "another" == json.loads(leased.read(LOCK))["id"]


def test_a_lease_is_renewed_while_it_stands(leased: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another holder has written is left as it is, and so is a lease that is no more."""
    monkeypatch.setattr(lock, "RENEW_S", 0.01)
    with locked(leased):
        before, until = leased.read(LOCK), time.monotonic() + 10
        while before == leased.read(LOCK):
            assert time.monotonic() < until
        with under(None):
            leased.write(LOCK, theirs := lease("another", "elsewhere", 1, LEASE_S))
        time.sleep(0.1)
        assert theirs == leased.read(LOCK)
    assert theirs == leased.read(LOCK)
