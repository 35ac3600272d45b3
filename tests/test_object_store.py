"""The same job with input and output on an object store: an S3 server on the loopback."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem

from jobs.cli import main
from pipeline.lock import LOCK
from pipeline.read.files import BLOCK_BYTES, opened
from pipeline.store import Store
from pipeline.transforms.spread import stop_children
from schemas.shard import Sample, encode_index, write_shard
from tests import crawls
from trainer.data.shards import Shards, find_shards

pytestmark = pytest.mark.filterwarnings("ignore")  # of boto and of the server


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An empty bucket; children of the job find the server by the same environment."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("ENDPOINT_URL", f"http://{host}:{port}"),
            ("ACCESS_KEY_ID", "x"),
            ("SECRET_ACCESS_KEY", "x"),
        ):
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        stop_children()  # those of other tests do not know this environment
        fsspec.filesystem("s3").mkdir("test-bucket")
        yield "s3://test-bucket"
        fsspec.filesystem("s3").clear_instance_cache()
        stop_children()
    server.stop()


def test_store_and_disk_give_the_same_bytes(bucket: str, tmp_path: Path) -> None:
    """Shards, index, manifest and card; a second run finds nothing to do; the lease is gone."""
    store = fsspec.filesystem("s3")
    for name in ("a", "b"):
        path = crawls.write_warc(tmp_path / f"{name}.warc.gz", crawls.site(f"{name}.example", 4, first=ord(name)))
        store.put_file(str(path), f"{bucket}/crawl/{path.name}")
    local, remote = str(tmp_path / "run"), f"{bucket}/run"
    assert main(["crawl", f"{tmp_path}/*.warc.gz", "--out", local]) == 0
    assert main(["crawl", f"{bucket}/crawl/*.warc.gz", "--out", remote]) == 0
    assert main(["crawl", f"{bucket}/crawl/*.warc.gz", "--out", remote]) == 0
    store.invalidate_cache()

    on_disk = {
        str(p.relative_to(local)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in Path(local, "shards").rglob("*")
        if p.is_file()
    }
    in_store = {
        name.split("/run/")[1]: hashlib.sha256(store.cat_file(name)).hexdigest()
        for name in store.find(f"{remote}/shards")
    }
    assert on_disk == in_store
    assert len(on_disk) == 4
    assert not store.exists(f"{remote}/{LOCK}")


def test_a_store_that_refuses_is_one_line(bucket: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A bucket that is not there is the surroundings' fault, said in one line."""
    crawl = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 1))
    assert main(["crawl", str(crawl), "--out", "s3://no-such-bucket/run"]) == 3
    lines = capsys.readouterr().err.strip().splitlines()

    assert len(lines) == 1
    assert "no-such-bucket" in lines[0]


def test_shards_are_trained_on_from_a_store(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples by ranges and from the cache are those of the disk, with an index beside the tar and without."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "shards").mkdir()
    for shard in range(2):
        with (tmp_path / "shards" / f"{shard}.tar").open("wb") as file:
            entries = write_shard([Sample(f"{shard}{one}", {"txt": bytes([one]) * 3000}) for one in range(9)], file)
            index = encode_index(entries, file.tell())
        if shard:
            (tmp_path / "shards" / f"{shard}.index.jsonl").write_bytes(index)
    fsspec.filesystem("s3").put(f"{tmp_path}/shards", f"{bucket}/trained", recursive=True)
    urls = find_shards([str(tmp_path / "shards")]), find_shards([f"{bucket}/trained"])
    disk, ranges, cached = Shards(urls[0]), Shards(urls[1]), Shards(urls[1], cache_bytes=1 << 20)

    for one in (disk, ranges, cached):
        assert [9, 9] == one.counts
    for place in ((shard, sample) for shard in range(2) for sample in range(9)):
        assert disk.read(*place) == ranges.read(*place) == cached.read(*place)
    assert 2 == len(list((tmp_path / "cache" / "m3w" / "shards").glob("*.tar")))


def test_many_files_are_read_whole(bucket: str) -> None:
    """Empty ones too: the index of a part without pairs is one. Each is a request, and no file is asked for its size."""
    store = Store(f"{bucket}/many")
    for name, data in (("a", b"1234"), ("b", b""), ("c", b"5")):
        store.write(name, data)

    with patch.object(S3FileSystem, "_call_s3", autospec=True, side_effect=S3FileSystem._call_s3) as calls:
        assert [b"1234", b"", b"5"] == store.read_all(["a", "b", "c"])
        assert b"1234" == store.read("a")
    assert ["get_object"] * 4 == [call.args[1] for call in calls.call_args_list]


def test_an_input_is_read_a_block_ahead(bucket: str) -> None:
    """A piece of a file costs little more than itself, however much a store's client would read ahead."""
    data = bytes(3 * BLOCK_BYTES)
    fsspec.filesystem("s3").pipe_file(f"{bucket}/large", data)

    asked = patch.object(S3FileSystem, "_call_s3", autospec=True, side_effect=S3FileSystem._call_s3)
    with asked as calls, opened(f"{bucket}/large") as file:
        assert data[:1000] == file.at(BLOCK_BYTES).read(1000)
    ranges = [call.kwargs["Range"] for call in calls.call_args_list if call.args[1] == "get_object"]
    assert [f"bytes={BLOCK_BYTES}-{2 * BLOCK_BYTES + 999}"] == ranges
