"""Shards to samples by number: any tar that webdataset reads, local or at any fsspec URL, through its byte index.

`NAME.tar` has its index in `NAME.index.jsonl` beside it. A tar without one (img2dataset's, video2dataset's) is scanned once, and its index kept in the
user's cache folder (XDG), under a name made of the tar's URL, size and etag. A tar on a disk is mapped into memory, where one copy of its bytes is enough; one
in a store is read by ranges, or fetched whole into the cache.
"""

import hashlib
import mmap
import os
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from glob import has_magic
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec
import numpy as np
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from schemas.errors import ConfigError, InputError, ShardError, SurroundingsError
from schemas.shard import INDEX_SUFFIX, IndexEntry, IndexHead, Sample, cut_sample, encode_index, index_tar
from trainer.data.cache import cache_folder, cached, locked

T = TypeVar("T")
Block: TypeAlias = tuple[
    bytes | mmap.mmap, int
]  # bytes of a tar, or all of it, and the offset in the tar at which they begin

ATTEMPTS = 3  # ours: of a read that fails; a second lies between the first two, then two
_OPEN = 64  # ours: shards of which the index is in memory, a megabyte each
_AT_ONCE = 16  # ours: shards that are asked for their size side by side
_CLIENTS = ("aiohttp", "aiobotocore", "botocore", "gcsfs", "google")  # they raise what is no OSError
_GONE = (404, 410)
_TAGS = ("ETag", "etag", "mtime", "Last-Modified")  # as stores, disks and web servers call it
_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_HEAD_BYTES = 512  # ours: more than an index's first line
_ENTRY = msgspec.json.Decoder(IndexEntry)
_EXTENDED = b"LKxg"  # type flags of headers that hold the name, or part of it, of the next


def find_shards(patterns: Iterable[str]) -> list[str]:
    """The tars that patterns name, sorted: files, globs, or folders, at any fsspec URL; `{000..127}` stands for each of these numbers.

    Raises:
        InputError: a pattern names none.
        ConfigError: a kind of URL for which nothing is installed.
    """
    found: set[str] = set()
    for pattern in chain.from_iterable(map(_numbered, patterns)):
        try:
            fs, path = url_to_fs(os.path.expanduser(pattern))
        except (ImportError, ValueError) as error:
            raise ConfigError(f"{pattern}: {error}") from error
        inside = _passing(partial(_tars, fs, path))
        if not inside:
            raise InputError(f"{pattern}: no shards here; name tars, a glob or a folder of tars")
        found.update(fs.unstrip_protocol(one) for one in inside)
    return sorted(found)


def _numbered(pattern: str) -> list[str]:
    """A pattern with each of the numbers that it stands for."""
    found = _NUMBERS.search(pattern)
    if found is None:
        return [pattern]
    first, last = found.groups()
    numbers = (f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1))
    return [
        one for number in numbers for one in _numbered(f"{pattern[: found.start()]}{number}{pattern[found.end() :]}")
    ]


def _tars(fs: Any, path: str) -> list[str]:
    if path.endswith(".tar") and not has_magic(path):
        return [path]  # to a web server, any file may be a folder: it would be fetched to look for links in it
    return list(fs.glob(f"{path.rstrip('/')}/*.tar" if fs.isdir(path) else path))


class _Tar(NamedTuple):
    """What a tar is known by: size in bytes, and etag, or mtime on a disk."""

    size: int
    tag: str


class _Index:
    """The entries of a shard, decoded one by one when they are asked for: as text they take a fraction of the memory that they take as structs."""

    def __init__(self, data: bytes, url: str) -> None:
        self._data, self._url = data, url
        self._ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).data
        self.head = _head(data, url)
        if len(self._ends) != self.head.samples + 1:
            raise ShardError(f"{url}: the index has {len(self._ends) - 1} samples, its head says {self.head.samples}")

    def __getitem__(self, sample: int) -> IndexEntry:
        line = self._data[self._ends[sample] + 1 : self._ends[sample + 1]]
        try:
            return _ENTRY.decode(line)
        except msgspec.MsgspecError as error:
            raise ShardError(f"{self._url}: line {sample + 2} of its index: {error}") from error


class Shards:
    """The samples of a list of tars; `counts` says how many each holds. Tars of a store are kept on this disk within `cache_bytes`; 0 keeps none.

    `in_hand` of them are open at a time: a set's streams have a block of shards each in hand.

    Raises:
        ShardError: a tar is cut, is not the one that its index was made for, or changed since it was listed here.
        SurroundingsError: a store or disk still fails at the last attempt.
    """

    def __init__(self, urls: list[str], cache_bytes: int = 0, in_hand: int = _OPEN) -> None:
        self.urls = urls
        self._cache_bytes, self._in_hand = cache_bytes, in_hand
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._tars = list(pool.map(_look, urls))
            self.counts = list(pool.map(_count, urls, self._tars))
        self._opened = lru_cache(maxsize=self._in_hand)(self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened = lru_cache(maxsize=self._in_hand)(self._open)

    @property
    def fingerprint(self) -> str:
        """Changes when the list of shards or what they hold does; where they lie is no part of it."""
        names = [(url.rpartition("/")[2], count) for url, count in zip(self.urls, self.counts, strict=True)]
        return hashlib.sha256(repr(names).encode()).hexdigest()[:32]

    def read(self, shard: int, sample: int) -> Sample:
        """One sample, by one read of its bytes."""
        index, read = self._opened(shard)
        entry = index[sample]
        block, start = read(entry.offset, entry.length)
        if not block or not _begins(block, entry.offset - start, entry.key):
            raise ShardError(
                f"{self.urls[shard]}: sample {entry.key} is not where it was; the shard changed since its index was made"
            )
        return cut_sample(block, entry, start)

    def _open(self, shard: int) -> tuple[_Index, Callable[[int, int], Block]]:
        url, tar = self.urls[shard], self._tars[shard]
        if _look(url, anew=True) != tar:
            raise ShardError(f"{url} changed under the run; the order of samples was made for what it was")
        read = _passing(lambda: _reader(url, tar, self._cache_bytes))
        return _index(url, tar), read


class _Mapped:
    """A file in memory. Where it was cut since, a read of what is gone would end the process, so its size is asked for at each."""

    def __init__(self, path: str | Path) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(self, offset: int, length: int) -> Block:
        """All of the file, or nothing where it no longer has those bytes."""
        return (self._map, 0) if offset + length <= self._map.size() else (b"", offset)


def _reader(url: str, tar: _Tar, cache_bytes: int) -> Callable[[int, int], Block]:
    """What gives at least `length` bytes from `offset` on, or nothing."""
    fs, path = url_to_fs(url)
    if isinstance(fs, LocalFileSystem):
        return _Mapped(path).read
    with suppress(FileNotFoundError):  # others may have needed its room before it was opened here
        kept = cached(fs, path, _name(url, tar), tar.size, cache_bytes) if tar.size <= cache_bytes else None
        if kept is not None:
            return _Mapped(kept).read
    return partial(_range, fs, path)


def _range(fs: Any, path: str, offset: int, length: int) -> Block:
    block = bytes(_passing(lambda: fs.cat_file(path, start=offset, end=offset + length)))
    if len(block) > length:
        raise SurroundingsError(f"{path}: its server gives whole files and no ranges; set cache_bytes")
    return (block, offset) if len(block) == length else (b"", offset)


def _look(url: str, anew: bool = False) -> _Tar:
    """What a tar is known by, `anew` even where its store's listing was kept."""
    fs, path = url_to_fs(url)
    if anew:
        fs.invalidate_cache(path)
    info = _passing(lambda: fs.info(path))
    if info["size"] is None:
        raise SurroundingsError(f"{url}: its server does not say how large it is")
    return _Tar(info["size"], str(next((info[key] for key in _TAGS if info.get(key)), "")))


def _name(url: str, tar: _Tar) -> str:
    return hashlib.sha256(f"{url}\0{tar.size}\0{tar.tag}".encode()).hexdigest()[:32]


def _count(url: str, tar: _Tar) -> int:
    """How many samples a tar holds, by its index's first line."""
    beside = _beside(url, _HEAD_BYTES)
    head = _own_index(url, tar).head if beside is None else _head(beside, url)
    if head.tar_bytes != tar.size:
        raise ShardError(f"{url} has {tar.size} bytes, its index was made for one of {head.tar_bytes}")
    return head.samples


def _index(url: str, tar: _Tar) -> _Index:
    beside = _beside(url)
    return _own_index(url, tar) if beside is None else _Index(beside, url)


def _head(data: bytes, url: str) -> IndexHead:
    try:
        return msgspec.json.decode(data.partition(b"\n")[0], type=IndexHead)
    except msgspec.MsgspecError as error:
        raise ShardError(f"{url}: its index is none: {error}") from error


def _beside(url: str, end: int | None = None) -> bytes | None:
    """The index beside a tar, up to a byte of it; None where there is none."""
    fs, path = url_to_fs(url.removesuffix(".tar") + INDEX_SUFFIX)
    try:
        return bytes(_passing(lambda: fs.cat_file(path, start=0, end=end)))
    except InputError:
        return None


def _own_index(url: str, tar: _Tar) -> _Index:
    """The index of a tar that has none beside it: the kept one, or a new one."""
    kept = cache_folder("indexes") / f"{_name(url, tar)}{INDEX_SUFFIX}"
    part = kept.with_suffix(".part")
    if not kept.exists():
        with locked(part):  # one process of this machine scans, the others wait for it
            if kept.exists():
                part.unlink()
            else:
                part.write_bytes(encode_index(_passing(partial(_scan, url)), tar.size))
                part.replace(kept)
    return _Index(kept.read_bytes(), url)


def _scan(url: str) -> list[IndexEntry]:
    fs, path = url_to_fs(url)
    with fs.open(path, "rb") as file:
        try:
            return index_tar(file)
        except ShardError as error:
            raise ShardError(f"{url}: {error}") from error


def _begins(block: bytes | mmap.mmap, at: int, key: str) -> bool:
    """Whether the header there names a sample, as far as one header can tell."""
    name = key.rpartition("/")[2].partition("\\")[0].encode()  # from a backslash on stands what is no UTF-8
    return block.find(name, at, at + 100) >= 0 or block[at + 156 : at + 157] in _EXTENDED


def _passing(read: Callable[[], T]) -> T:
    """The result of a read that may fail for a passing reason."""
    for attempt in count(1):
        try:
            return read()
        except Exception as error:
            # Of a web server fsspec says "not found" whatever the answer was, which is the cause.
            answer = error.__cause__ if _client(error.__cause__) == "aiohttp" else None
            if isinstance(error, FileNotFoundError) and (answer is None or getattr(answer, "status", None) in _GONE):
                raise InputError(f"{error}: no such shard") from error
            if not isinstance(error, OSError) and _client(error) not in _CLIENTS:
                raise
            if attempt == ATTEMPTS:
                raise SurroundingsError(f"still failing at attempt {attempt}: {error}") from error
            time.sleep(attempt)
    raise AssertionError("unreachable")


def _client(error: BaseException | None) -> str:
    """The package whose error it is."""
    return type(error).__module__.partition(".")[0]
