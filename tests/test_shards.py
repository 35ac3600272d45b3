"""Shards of others: img2dataset's and video2dataset's as they are, any tar, from a web server; scanned once, broken only where they are."""

import http.server
import io
import pickle
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from schemas.errors import ConfigError, InputError, ShardError, SurroundingsError
from schemas.shard import Sample
from tests import img2dataset_folders
from tests.streams import PAIRS, SIDE, TOKENS, pair, png, take, write
from tests.videos import video
from trainer.data import retry
from trainer.data.shards import Shards, find_shards
from trainer.data.stream import SetConfig, Stream

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's indexes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "m3w" / "indexes"


def tar(path: Path, members: list[tuple[str, bytes]], format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar by Python's own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def samples(one: Shards) -> dict[str, dict[str, bytes]]:
    """All samples."""
    read = (one.read(shard, number) for shard, count in enumerate(one.counts) for number in range(count))
    return {sample.key: sample.members for sample in read}


def stream(*folders: Path, batch: int, **options: Any) -> Stream:
    """Pairs of folders."""
    sets = {"pairs": SetConfig(shards=list(map(str, folders)), batch=batch, example=PAIRS)}
    return Stream(sets, TOKENS, SIDE, **options)


def test_img2dataset_and_video2dataset(tmp_path: Path) -> None:
    """Their folders are trained on as they are, beside tables and counts that are no shards; a picture whose text is missing is an empty slot."""
    captioned = [("000000000.jpg", png((1, 2, 3))), ("000000000.txt", b"a heron"), ("000000000.json", b'{"url": "x"}')]
    tar(tmp_path / "pictures" / "00000.tar", captioned)
    bare = img2dataset_folders.success("https://a.example/b.jpg", png((4, 5, 6)))
    img2dataset_folders.write_shard(
        tmp_path / "pictures", 1, [bare, img2dataset_folders.failed("https://a.example/c", "404")]
    )
    clip = [("000020000.mp4", video(2.5)), ("000020000.txt", b"a square"), ("000020000.json", b'{"clips": [[0, 1]]}')]
    tar(tmp_path / "clips" / "00002.tar", clip)
    tar(tmp_path / "clips" / "00003.tar", [("000030000.JPG", png((7, 8, 9))), ("000030000.txt", b"by hand")])
    (batch,) = next(iter(stream(tmp_path / "pictures", tmp_path / "clips", batch=4)))

    assert {"000000000", "000010000", "000020000", "000030000"} == set(batch.keys)
    assert ["000010000"] == [fault.partition(":")[0] for fault in batch.faults]
    assert [2, 1] == [len(group) for group in batch.pixels]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_kind(tmp_path: Path, format: int) -> None:
    """Long names, folders, letters of any script and bytes that are none; folders and links beside files are passed over."""
    long = "a" * 150
    members = [
        (f"{long}.txt", b"1"),
        (f"{long}.json", b"{}"),
        ("folder/b.txt", b"2"),
        ("reiher-é.txt", b"3"),
        ("c.txt", b""),
    ]
    path = tar(tmp_path / "0.tar", members, format)
    with tarfile.open(path, "a", format=format, encoding="latin-1") as file:
        for name, kind in (
            ("folder", tarfile.DIRTYPE),
            ("link.txt", tarfile.SYMTYPE),
            ("caf\xe9.txt", tarfile.REGTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            file.addfile(info)
    found = samples(Shards(find_shards([str(path)])))

    assert {
        long: {"txt": b"1", "json": b"{}"},
        "folder/b": {"txt": b"2"},
        "reiher-é": {"txt": b"3"},
        "c": {"txt": b""},
    } == {key: members for key, members in found.items() if not key.startswith("caf")}
    assert 5 == len(found)


class Bomb:
    """Raises where it is unpickled."""

    def __reduce__(self) -> Any:
        """What unpickling calls."""
        return pytest.fail, ("unpickled",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    """Members of other kinds stand beside a pair unread, also those that webdataset unpickles."""
    bomb = pickle.dumps(Bomb())
    others = dict.fromkeys(("pyd", "pickle", "pth", "pt", "npy", "npz"), bomb)
    write(tmp_path, "0", [Sample("a", {**others, **pair(1).members})])
    (batch,) = next(iter(stream(tmp_path, batch=1)))

    assert [] == batch.faults
    with pytest.raises(pytest.fail.Exception):
        pickle.loads(bomb)


def test_empty_shards_and_few(tmp_path: Path) -> None:
    """Shards without a sample are no hindrance, neither is one sample for many streams, ranks and workers."""
    for number in range(3):
        tar(tmp_path / "data" / f"{number}.tar", [])
    write(tmp_path / "data", "3", [pair(0)])
    for options in ({}, {"rank": 1, "ranks": 4}, {"workers": 3}):
        assert [["000000"] * (4 // options.get("ranks", 1))] * 2 == take(
            stream(tmp_path / "data", batch=4, **options), 2
        )


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "twice", "gz"])
def test_what_is_no_tar(tmp_path: Path, kept: Path, damage: str) -> None:
    """A tar that is cut, empty, compressed or none, or has a member twice, is named in the error, and no index of it is kept."""
    path = tar(tmp_path / "0.tar", [("a.txt", b"x" * 2000), ("b.txt", b"y" * 2000)])
    whole = path.read_bytes()
    broken = {"cut": whole[:1500], "empty": b"", "text": b"no tar" * 1000, "gz": b"\x1f\x8b" + whole}.get(damage)
    path.write_bytes(broken) if broken is not None else tar(path, [("a.txt", b"1"), ("a.txt", b"2")])
    with pytest.raises(ShardError, match=r"0\.tar: not a whole tar"):
        Shards(find_shards([str(path)]))
    assert [] == list(kept.glob("*.jsonl"))


def test_numbers_in_patterns(tmp_path: Path) -> None:
    """{000..011} is each of these numbers, for stores that list nothing; a kind of URL that nobody knows is an error in one line."""
    for number in (0, 1, 2, 11):
        write(tmp_path, f"{number:03}", [pair(number)])
    assert 4 == len(find_shards([f"{tmp_path}/{{000..002}}.tar", f"{tmp_path}/{{011..011}}.tar"]))
    with pytest.raises(InputError, match="no such shard"):
        Shards(find_shards([f"{tmp_path}/{{000..003}}.tar"]))
    with pytest.raises(ConfigError, match="nosuch"):
        find_shards(["nosuch://shards"])


class Web(http.server.BaseHTTPRequestHandler):
    """Files with ranges and tags; `ill` is how many answers are 503 first; what was asked for is noted."""

    files: ClassVar[dict[str, tuple[bytes, str]]] = {}
    asked: ClassVar[list[str]] = []
    ill = 0

    def do_HEAD(self) -> None:
        """Headers alone."""
        self.do_GET()

    def do_GET(self) -> None:
        """A file or a range of it."""
        span = self.headers.get("Range")
        self.asked.append(f"{self.command} {self.path}{' range' if span else ''}")
        if Web.ill:
            Web.ill -= 1
            self.send_error(503)
            return
        if self.path not in self.files:
            self.send_error(404)
            return
        data, tag = self.files[self.path]
        first, last = (int(end) for end in span.removeprefix("bytes=").split("-")) if span else (0, len(data) - 1)
        part = data[first : last + 1]
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", f"bytes {first}-{first + len(part) - 1}/{len(data)}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is written."""


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server on the loopback with one tar of eight pairs, without an index."""
    path = Path(write(tmp_path, "0", [pair(number) for number in range(8)], index=False))
    monkeypatch.setattr(Web, "files", {"/0.tar": (path.read_bytes(), '"1"')})
    monkeypatch.setattr(Web, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{{0..0}}.tar"
        server.shutdown()


def test_a_web_server(web: str, kept: Path, tmp_path: Path) -> None:
    """A tar is scanned once, read by ranges after that, by worker processes too, and never fetched as a whole to look for links in it."""
    sets = {"pairs": SetConfig(shards=[web], batch=4, example=PAIRS)}
    expected = take(stream(tmp_path, batch=4, seed=3), 2)
    assert expected == take(Stream(sets, TOKENS, SIDE, seed=3), 2)
    assert 2 == len(list(kept.glob("*.jsonl")))  # of the file and of the web's
    Web.asked.clear()

    assert expected == take(Stream(sets, TOKENS, SIDE, seed=3, workers=1), 2)
    assert "GET /0.tar" not in Web.asked
    assert "GET /0.tar range" in Web.asked
    assert 2 == len(list(kept.glob("*.jsonl")))


def test_a_web_server_that_falters(web: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked twice more and then the run stops; what it gives under another tag is another tar."""
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    Shards(find_shards([web]))
    one = Shards(find_shards([web]))
    monkeypatch.setattr(Web, "ill", 4)  # fsspec asks twice, HEAD and GET
    assert "000000" == one.read(0, 0).key
    assert [1, 2] == waits
    monkeypatch.setattr(Web, "ill", 9)
    with pytest.raises(SurroundingsError, match="still failing at attempt 6"):
        one.read(0, 1)
    monkeypatch.setattr(Web, "ill", 0)
    other = Shards(find_shards([web]))
    Web.files["/0.tar"] = (Web.files["/0.tar"][0], '"2"')
    with pytest.raises(ShardError, match="changed under the run"):
        other.read(0, 0)
