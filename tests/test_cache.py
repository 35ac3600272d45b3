"""Shards of a store: read by ranges or fetched whole, kept within a limit, safe among processes; shards that change, stores that fail."""

import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from schemas.errors import ShardError, SurroundingsError
from schemas.shard import Sample, encode_index, write_shard
from trainer.data import retry
from trainer.data.cache import cached
from trainer.data.order import Place
from trainer.data.shards import Shards, find_shards

SIZE = 1 << 16


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "m3w" / "shards"


@pytest.fixture
def store() -> Iterator[str]:
    """Four shards of three samples each in a store."""
    fs = fsspec.filesystem("memory")
    for shard in range(4):
        samples = [Sample(f"{shard}{number}", {"txt": bytes([shard, number]) * 9000}) for number in range(3)]
        with fs.open(f"/run/{shard}.tar", "wb") as file:
            entries = write_shard(samples, file)
            size = file.tell()
        fs.pipe_file(f"/run/{shard}.index.jsonl", encode_index(entries, size))
    yield "memory://run"
    fs.rm("/run", recursive=True)


def keys(one: Shards) -> list[str]:
    """All samples' keys, after a look at what they hold."""
    samples = [one.read(shard, number) for shard, count in enumerate(one.counts) for number in range(count)]
    assert all(int(one.key[1]) == one.members["txt"][1] for one in samples)
    return [one.key for one in samples]


def test_ranges_and_files_give_the_same(store: str, kept: Path) -> None:
    """Nothing is kept by default; with a limit tars lie on the disk, never more than fit; what is larger than the limit is read by ranges."""
    urls = find_shards([store])
    expected = keys(Shards(urls))
    assert not kept.exists()
    tar = Shards(urls)._tars[0].size

    assert expected == keys(Shards(urls, cache_bytes=2 * tar + 100))
    assert [tar, tar] == [one.stat().st_size for one in kept.glob("*.tar")]
    assert not list(kept.glob("*.part"))
    assert expected == keys(Shards(urls, cache_bytes=tar - 1))


def test_counts_are_kept(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start asks the store for no index; one that says otherwise when its tar is opened is refused."""
    urls, fs = find_shards([store]), fsspec.filesystem("memory")
    expected = Shards(urls).counts
    with monkeypatch.context() as patched:
        patched.setattr(type(fs), "cat_file", lambda *_, **__: pytest.fail("asked"))
        again = Shards(urls)
    assert [3] * 4 == expected == again.counts
    fs.pipe_file("/run/2.index.jsonl", encode_index([], fs.info("/run/2.tar")["size"]))
    assert "10" == again.read(1, 0).key
    with pytest.raises(ShardError, match="its index was made for another tar"):
        again.read(2, 0)


def test_a_kept_tar_is_fetched_once(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run finds what the first one fetched."""
    urls = find_shards([store])
    expected = keys(Shards(urls, cache_bytes=1 << 30))
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", lambda *_: pytest.fail("fetched again"))

    assert expected == keys(Shards(urls, cache_bytes=1 << 30))


def test_the_one_used_longest_ago_makes_room(store: str, kept: Path) -> None:
    """Opening a tar counts as use."""
    fs = fsspec.filesystem("memory")
    size = fs.info("/run/0.tar")["size"]
    for name in "aba":
        path = cached(fs, "/run/0.tar", name, size, 2 * size)
        assert path is not None
        os.utime(path, ns=(0, 1 if name == "b" else 2))
    cached(fs, "/run/1.tar", "c", size, 2 * size)

    assert {"a.tar", "c.tar"} == {one.name for one in kept.glob("*.tar")}


def test_what_a_killed_process_left_is_cleared(store: str, kept: Path) -> None:
    """A part that nobody holds is deleted, and takes no room."""
    kept.mkdir(parents=True)
    (kept / f"dead.{1 << 40}.part").write_bytes(b"x")
    keys(Shards(find_shards([store]), cache_bytes=1 << 20))

    assert not list(kept.glob("*.part"))
    assert 4 == len(list(kept.glob("*.tar")))


class Slow:
    """A store that notes who fetches, and takes its time."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def get_file(self, path: str, target: str) -> None:
        """Bytes, in two goes."""
        with self._notes.open("a") as notes:
            notes.write(f"{path}\n")
        with open(target, "wb") as file:
            file.write(bytes(SIZE // 2))
            file.flush()
            multiprocessing.Event().wait(0.05)
            file.write(bytes(SIZE // 2))


def _fetch(notes: Path, names: str, limit: int) -> None:
    for name in names:
        path = cached(Slow(notes), name, name, SIZE, limit)
        if path is not None and path.exists():  # others may have needed its room
            assert SIZE == path.stat().st_size


def test_processes_share_the_cache(tmp_path: Path, kept: Path) -> None:
    """Processes that want the same tars fetch each once, and never keep more than the limit."""
    spawn, notes = multiprocessing.get_context("spawn"), tmp_path / "notes"
    others = [spawn.Process(target=_fetch, args=(notes, "abc", 1 << 30)) for _ in range(2)]
    for one in others:
        one.start()
    for one in others:
        one.join()

    assert [0, 0] == [one.exitcode for one in others]
    assert ["a", "b", "c"] == sorted(notes.read_text().split())
    _fetch(notes, "de", 2 * SIZE)
    assert {"d.tar", "e.tar"} == {one.name for one in kept.glob("*.tar")}


def test_a_cut_fetch_is_not_kept(store: str, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came in another size is an error, and leaves nothing behind."""

    def short(self: Any, path: str, target: str) -> None:
        Path(target).write_bytes(b"half")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", short)
    with pytest.raises(ShardError, match="4 bytes came"):
        Shards(find_shards([store]), cache_bytes=1 << 30).read(0, 0)
    assert not [one for one in kept.iterdir() if one.suffix in (".tar", ".part")]


def test_a_passing_error_is_tried_again(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice a failing store is asked again; a third time stops the run."""
    one, fs = Shards(find_shards([store])), type(fsspec.filesystem("memory"))
    one.read(0, 0)
    calls, read, waits = iter([OSError("busy"), OSError("busy")]), fs.cat_file, []

    def failing(self: Any, path: str, **place: int) -> bytes:
        for error in calls:
            raise error
        return bytes(read(self, path, **place))

    monkeypatch.setattr(fs, "cat_file", failing)
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    assert "01" == one.read(0, 1).key
    assert [1, 2] == waits
    calls = iter([OSError("busy")] * 6)
    with pytest.raises(SurroundingsError, match="still failing at attempt 6: busy"):
        one.read(0, 2)


def test_samples_of_a_store_are_read_side_by_side(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch costs about one wait, not one a sample, and comes in its order; an error in it is raised as it is."""
    one, fs = Shards(find_shards([store])), type(fsspec.filesystem("memory"))
    places = [Place(0, shard, number) for number in (2, 0, 1) for shard in (3, 1, 0, 2)]
    expected = [one.read(place.shard, place.sample) for place in places]
    read, together = fs.cat_file, threading.Barrier(6, timeout=20)

    def slow(self: Any, path: str, **place: int) -> bytes:
        together.wait()  # for six reads at once
        return bytes(read(self, path, **place))

    monkeypatch.setattr(fs, "cat_file", slow)
    assert expected == list(one.read_all(places))
    monkeypatch.setattr(fs, "cat_file", lambda self, path, start, end: b"other" * 9)
    with pytest.raises(ShardError, match="is not where it was"):
        list(one.read_all(places))


def test_a_server_without_ranges(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files where a range was asked for are no samples; the error says what helps."""
    one, fs = Shards(find_shards([store])), type(fsspec.filesystem("memory"))
    read = fs.cat_file
    monkeypatch.setattr(fs, "cat_file", lambda self, path, **_: read(self, path))
    with pytest.raises(SurroundingsError, match="set cache_bytes"):
        one.read(0, 0)
    assert "00" == Shards(one.urls, cache_bytes=1 << 20).read(0, 0).key


def test_a_shard_that_changes_under_the_run(tmp_path: Path) -> None:
    """Another size or time of change, or other bytes in a sample's place, is an error and not another sample."""
    path = tmp_path / "0.tar"
    with path.open("wb") as file:
        entries = write_shard([Sample("a", {"txt": b"a"}), Sample("b", {"txt": b"b"})], file)
        size = file.tell()
    (tmp_path / "0.index.jsonl").write_bytes(encode_index(entries, size))
    before, read = (Shards([f"file://{path}"]) for _ in range(2))
    read.read(0, 0)
    with path.open("r+b") as file:
        write_shard([Sample("a", {"txt": b"a"}), Sample("c", {"txt": b"b"})], file)
    os.utime(path, (1, 1))

    with pytest.raises(ShardError, match="changed under the run"):
        before.read(0, 0)
    with pytest.raises(ShardError, match="sample b is not where it was"):
        read.read(0, 1)
    with path.open("r+b") as file:
        file.truncate(0)
    with pytest.raises(ShardError, match="no longer has the size"):  # a read of the map would end the process
        list(read.read_all([Place(0, 0, 0)]))


def test_a_damaged_index(tmp_path: Path) -> None:
    """A line that is none is an error when its sample is asked for; a line too few when the shard is opened."""
    with (tmp_path / "0.tar").open("wb") as file:
        entries = write_shard([Sample("a", {"txt": b"a"}), Sample("b", {"txt": b"b"})], file)
        lines = encode_index(entries, file.tell()).splitlines(keepends=True)
    index = tmp_path / "0.index.jsonl"
    index.write_bytes(lines[0] + lines[1] + b"{}\n")
    one = Shards(find_shards([str(tmp_path)]))
    assert "a" == one.read(0, 0).key
    with pytest.raises(ShardError, match="line 3 of its index"):
        one.read(0, 1)
    index.write_bytes(lines[0] + lines[1])
    with pytest.raises(ShardError, match="has 1 samples, its head says 2"):
        Shards(find_shards([str(tmp_path)])).read(0, 0)
    index.write_bytes(b"[]")
    with pytest.raises(ShardError, match="its index is none"):
        Shards(find_shards([str(tmp_path)]))
