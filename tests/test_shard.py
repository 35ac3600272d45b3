"""The shard form: tars, their index, and foreign readers and writers."""

import io
import tarfile
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ShardError
from schemas.shard import (
    Sample,
    decode_index,
    encode_index,
    index_tar,
    read_sample,
    read_shard,
    sample_key,
    ustar_header,
    write_shard,
)

names = st.sampled_from(["json", "txt", "000.jpg", "001.png", "002.webp", "jpg"])
samples = st.lists(
    st.builds(
        Sample,
        st.integers(0, 10**6).map(lambda n: sample_key(str(n))),
        st.dictionaries(names, st.binary(max_size=1200), min_size=1),
    ),
    unique_by=lambda sample: sample.key,
    max_size=5,
)


def tar_of(items: list[Sample]) -> io.BytesIO:
    file = io.BytesIO()
    write_shard(items, file)
    return file


@given(samples)
def test_what_is_written_is_read(items: list[Sample]) -> None:
    """Samples come back with their keys, members and order."""
    assert list(read_shard(tar_of(items))) == items


@given(samples)
def test_the_index_is_that_of_a_scan(items: list[Sample]) -> None:
    """The writer's index says what a scan of the tar finds, and survives its file form."""
    file = io.BytesIO()
    entries = write_shard(items, file)
    head, decoded = decode_index(encode_index(entries, file.tell()))

    assert index_tar(file) == entries == decoded
    assert (len(file.getvalue()), len(items)) == (head.tar_bytes, head.samples)


@given(samples)
def test_one_read_gives_one_sample(items: list[Sample]) -> None:
    """Each sample can be read by its entry alone, in any order."""
    file = tar_of(items)

    assert [read_sample(file, entry) for entry in reversed(index_tar(file))] == items[::-1]


def test_bytes_depend_on_the_samples_alone() -> None:
    """Two writers of the same samples write the same bytes, and headers hold no time and no owner."""
    one = [Sample("ab" * 16, {"json": b"{}", "000.jpg": b"x" * 700})]

    assert tar_of(one).getvalue() == tar_of(one).getvalue()
    with tarfile.open(fileobj=io.BytesIO(tar_of(one).getvalue())) as tar:
        assert {(0, 0, 0, "", "", 0o644)} == {(i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) for i in tar}


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # webdataset leaves closing to the collector
def test_webdataset_reads_our_tars(tmp_path: Path) -> None:
    """Plain webdataset groups and names members as we do."""
    items = [Sample(sample_key(str(n)), {"json": b'{"n":%d}' % n, "000.jpg": b"x", "010.png": b"y"}) for n in range(3)]
    path = tmp_path / "00000.tar"
    path.write_bytes(tar_of(items).getvalue())
    read = list(webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False))

    assert [(item.key, item.members) for item in items] == [
        (sample["__key__"], {name: data for name, data in sample.items() if not name.startswith("__")})
        for sample in read
    ]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_tars_of_others_are_read(form: int) -> None:
    """PAX, GNU and ustar tars with folders and long names give samples with offsets that hold."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name in ("deep/" * 10 + "0001.jpg", "deep/" * 10 + "0001.txt", "0002.seg.json"):
            info = tarfile.TarInfo(name)
            info.size = len(name)
            tar.addfile(info, io.BytesIO(name.encode()))

    assert [("deep/" * 10 + "0001", ["jpg", "txt"]), ("0002", ["seg.json"])] == [
        (s.key, list(s.members)) for s in read_shard(file)
    ]
    assert all(f"{s.key}.{n}".encode() == data for s in read_shard(file) for n, data in s.members.items())


def test_a_cut_tar_is_an_error() -> None:
    """A tar that ends inside a sample is no shard."""
    whole = tar_of([Sample("ab" * 16, {"json": b"{}", "000.jpg": b"x" * 5000})]).getvalue()

    with pytest.raises(ShardError):
        index_tar(io.BytesIO(whole[:3000]))
    with pytest.raises(ShardError):
        index_tar(io.BytesIO(b"<html>no tar" * 100))


def test_a_sample_in_two_places_is_an_error() -> None:
    """A key whose members stand apart, or a member twice, would be two samples to some readers and one to others."""
    file = io.BytesIO()
    for name in ("a.jpg", "b.jpg", "a.txt"):
        file.write(ustar_header(name, 0))
    file.write(bytes(1024))
    twice = io.BytesIO(ustar_header("a.jpg", 0) * 2 + bytes(1024))

    for bad in (file, twice):
        with pytest.raises(ShardError):
            index_tar(bad)


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "x" * 100])
def test_keys_that_would_be_split_elsewhere_are_refused(key: str) -> None:
    """webdataset ends a key at the first dot; ustar ends a name at 100 bytes."""
    with pytest.raises(ShardError):
        write_shard([Sample(key, {"json": b""})], io.BytesIO())


def test_a_key_is_written_once() -> None:
    """The same key twice is a fault of the caller."""
    with pytest.raises(ShardError):
        write_shard([Sample("a", {"json": b""}), Sample("a", {"json": b""})], io.BytesIO())


@pytest.mark.parametrize(
    "data", [b"", b"{}\n", b'{"tar_bytes":0,"samples":1,"version":1}\n', b'{"tar_bytes":0,"samples":0,"version":2}\n']
)
def test_what_is_no_index_is_refused(data: bytes) -> None:
    """Another form, another version or another number of lines than the head says."""
    with pytest.raises(ShardError):
        decode_index(data)
