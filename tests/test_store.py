"""Files whole or not at all, on disk and in memory."""

import os
from pathlib import Path

import pytest

from pipeline.store import SPOOL, Store, surroundings_blamed
from schemas.errors import SurroundingsError


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path / "run") if request.param == "disk" else f"memory://{tmp_path.name}/run")


def test_what_is_written_is_there(store: Store) -> None:
    """Bytes, listing with sizes, ranges, removal."""
    store.write("a/b.bin", b"0123456789")
    store.write("c", b"")

    assert store.read("a/b.bin") == b"0123456789"
    assert {"a/b.bin": 10, "c": 0} == store.files()
    assert store.read_ranges([("a/b.bin", 2, 3), ("a/b.bin", 0, 1)]) == [b"234", b"0"]
    store.remove(["a/b.bin", "never"])
    assert not store.exists("a/b.bin")


def test_nothing_is_published_after_an_exception(store: Store) -> None:
    """A writer that fails leaves the old file as it was, and no other."""
    store.write("a", b"old")
    with pytest.raises(RuntimeError), store.spool("a") as file:
        file.write(b"half")
        raise RuntimeError

    assert (b"old", ["a"]) == (store.read("a"), list(store.files()))


def test_a_full_disk_is_one_line() -> None:
    """ENOSPC names the file and says what it is."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with (
        pytest.raises(SurroundingsError, match="a/b: the disk is full"),
        surroundings_blamed("a/b"),
        open("/dev/full", "wb", buffering=0) as file,
    ):
        file.write(b"x")


def test_a_missing_file_is_the_surroundings_fault(store: Store) -> None:
    """The message names the file."""
    with pytest.raises(SurroundingsError, match="nothing-here"):
        store.read("nothing-here")


def test_the_spool_of_a_killed_writer_is_cleared(tmp_path: Path) -> None:
    """What a kill left in the spool is no file of the folder, and goes."""
    store = Store(str(tmp_path))
    (tmp_path / SPOOL).mkdir()
    (tmp_path / SPOOL / "m3w-left").write_bytes(b"half")

    assert store.files() == {}
    store.clear_spool()
    assert not (tmp_path / SPOOL).exists()
