"""What a tar is known by, and where its samples lie in it: the index beside it, or one that is made by a scan and kept.

A tar without `NAME.index.jsonl` (img2dataset's, video2dataset's) is scanned once, by one process of each machine, and its index kept in the user's cache folder (XDG), under
a name made of the tar's URL, size and etag. So are the numbers of samples of a list of tars in a store, which would be asked for one by one.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from fsspec.core import url_to_fs

from schemas.errors import InputError, ShardError, SurroundingsError
from schemas.shard import INDEX_SUFFIX, IndexEntry, IndexHead, encode_index, index_tar
from trainer.data.cache import cache_folder, made_once
from trainer.data.retry import passing

_AT_ONCE = 16  # ours: tars that are asked for side by side
_HEAD_BYTES = 512  # ours: more than an index's first line
_TAGS = ("ETag", "etag", "mtime", "Last-Modified")  # as stores, disks and web servers call it
_ENTRY = msgspec.json.Decoder(IndexEntry)


class Tar(NamedTuple):
    """What a tar is known by: size in bytes, and etag, or mtime on a disk."""

    url: str
    size: int
    tag: str

    @property
    def name(self) -> str:
        """For files that are made of it."""
        return hashlib.sha256(f"{self.url}\0{self.size}\0{self.tag}".encode()).hexdigest()[:32]


class Index:
    """The entries of a shard, decoded one by one when they are asked for: as text they take a fraction of the memory that they take as structs."""

    def __init__(self, data: bytes, url: str) -> None:
        self._data = data
        self._ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).data
        self.head = _head(data, url)
        if len(self._ends) != self.head.samples + 1:
            raise ShardError(f"{url}: the index has {len(self._ends) - 1} samples, its head says {self.head.samples}")

    def __getitem__(self, sample: int) -> IndexEntry:
        line = self._data[self._ends[sample] + 1 : self._ends[sample + 1]]
        try:
            return _ENTRY.decode(line)
        except msgspec.MsgspecError as error:
            raise ShardError(f"line {sample + 2} of its index: {error}") from error


def is_local(url: str) -> bool:
    """Whether a URL, as `find_shards` gives it, is of this machine's disk."""
    return url.startswith("file://") or "://" not in url


def look(url: str, anew: bool = False) -> Tar:
    """What a tar is known by, `anew` even where its store's listing was kept.

    Raises:
        SurroundingsError: its server does not tell.
    """
    fs, path = url_to_fs(url)
    if anew:
        fs.invalidate_cache(path)
    info = passing(lambda: fs.info(path))
    if info["size"] is None:
        raise SurroundingsError(f"{url}: its server does not say how large it is")
    return Tar(url, info["size"], str(next((info[key] for key in _TAGS if info.get(key)), "")))


def look_at_all(urls: Sequence[str]) -> tuple[list[Tar], list[int]]:
    """What tars are known by, and how many samples each holds.

    Raises:
        ShardError: a tar is none, or is not the one that its index was made for.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tars = list(pool.map(look, urls))
        if all(map(is_local, urls)):
            return tars, list(pool.map(_count, tars))
        name = hashlib.sha256("".join(tar.name for tar in tars).encode()).hexdigest()[:32]
        kept = cache_folder("indexes") / f"{name}.counts.json"
        return tars, msgspec.json.decode(
            made_once(kept, lambda: msgspec.json.encode(list(pool.map(_count, tars)))), type=list[int]
        )


def index_of(tar: Tar) -> Index:
    """Where a tar's samples lie.

    Raises:
        ShardError: it is no tar, or its index is none.
    """
    beside = _beside(tar.url)
    return _own_index(tar) if beside is None else Index(beside, tar.url)


def _count(tar: Tar) -> int:
    """How many samples a tar holds, by its index's first line."""
    beside = _beside(tar.url, _HEAD_BYTES)
    head = _own_index(tar).head if beside is None else _head(beside, tar.url)
    if head.tar_bytes != tar.size:
        raise ShardError(f"{tar.url} has {tar.size} bytes, its index was made for one of {head.tar_bytes}")
    return head.samples


def _head(data: bytes, url: str) -> IndexHead:
    try:
        return msgspec.json.decode(data.partition(b"\n")[0], type=IndexHead)
    except msgspec.MsgspecError as error:
        raise ShardError(f"{url}: its index is none: {error}") from error


def _beside(url: str, end: int | None = None) -> bytes | None:
    """The index beside a tar, up to a byte of it; None where there is none."""
    fs, path = url_to_fs(url.removesuffix(".tar") + INDEX_SUFFIX)
    try:
        return bytes(passing(lambda: fs.cat_file(path, start=0, end=end)))
    except InputError:
        return None


def _own_index(tar: Tar) -> Index:
    """The index of a tar that has none beside it: the kept one, or a new one."""
    kept = cache_folder("indexes") / f"{tar.name}{INDEX_SUFFIX}"
    return Index(made_once(kept, lambda: encode_index(passing(partial(_scan, tar.url)), tar.size)), tar.url)


def _scan(url: str) -> list[IndexEntry]:
    fs, path = url_to_fs(url)
    with fs.open(path, "rb") as file:
        try:
            return index_tar(file)
        except ShardError as error:
            raise ShardError(f"{url}: {error}") from error
