"""Shards to samples by number: any tar that webdataset reads, local or at any fsspec URL, through its byte index.

`NAME.tar` has its index in `NAME.index.jsonl` beside it. A tar without one (img2dataset's, video2dataset's) is scanned once, and its index kept in the
user's cache folder (XDG), under a name made of the tar's URL, size and etag.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from fsspec.core import url_to_fs

from schemas.errors import InputError, ShardError, SurroundingsError
from schemas.shard import INDEX_SUFFIX, IndexEntry, Sample, cut_sample, decode_index, encode_index, index_tar

T = TypeVar("T")

ATTEMPTS = 3  # ours: of a read that fails; a second lies between the first two, then two
_INDEXES = 64  # ours: a set's streams have a block of shards each in hand; a megabyte of index a shard


def find_shards(patterns: Iterable[str]) -> list[str]:
    """The tars that patterns name, sorted: files, globs, or folders, at any fsspec URL.

    Raises:
        InputError: a pattern names none.
    """
    found: set[str] = set()
    for pattern in patterns:
        fs, path = url_to_fs(os.path.expanduser(pattern))
        inside = _passing(partial(_tars, fs, path))
        if not inside:
            raise InputError(f"{pattern}: no shards here; name tars, a glob or a folder of tars")
        found.update(fs.unstrip_protocol(one) for one in inside)
    return sorted(found)


def _tars(fs: Any, path: str) -> list[str]:
    return list(fs.glob(f"{path.rstrip('/')}/*.tar" if fs.isdir(path) else path))


class Shards:
    """The samples of a list of tars; `counts` says how many each holds.

    Raises:
        ShardError: a tar is cut, or is not the one that its index was made for.
        SurroundingsError: a store or disk still fails at the last attempt.
    """

    def __init__(self, urls: list[str]) -> None:
        self.urls = urls
        self._index = lru_cache(maxsize=_INDEXES)(self._load_index)
        self.counts = [len(self._index(number)) for number in range(len(urls))]

    def __getstate__(self) -> dict[str, Any]:
        return {"urls": self.urls, "counts": self.counts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._index = lru_cache(maxsize=_INDEXES)(self._load_index)

    @property
    def fingerprint(self) -> str:
        """Changes when the list of shards or what they hold does; where they lie is no part of it."""
        names = [(url.rpartition("/")[2], count) for url, count in zip(self.urls, self.counts, strict=True)]
        return hashlib.sha256(repr(names).encode()).hexdigest()[:32]

    def read(self, shard: int, sample: int) -> Sample:
        """One sample, by one read of its bytes."""
        entry = self._index(shard)[sample]
        fs, path = url_to_fs(self.urls[shard])
        block = _passing(lambda: fs.cat_file(path, entry.offset, entry.offset + entry.length))
        if len(block) != entry.length:
            raise ShardError(
                f"{self.urls[shard]}: sample {entry.key} was cut; the shard changed since its index was made"
            )
        return cut_sample(block, entry)

    def _load_index(self, number: int) -> list[IndexEntry]:
        url = self.urls[number]
        fs, path = url_to_fs(url)
        info = _passing(lambda: fs.info(path))
        beside = path.removesuffix(".tar") + INDEX_SUFFIX
        if not _passing(lambda: fs.exists(beside)):
            return self._own_index(url, info)
        head, entries = decode_index(_passing(lambda: fs.cat_file(beside)))
        if head.tar_bytes != info["size"]:
            raise ShardError(f"{url} has {info['size']} bytes, its index was made for one of {head.tar_bytes}")
        return entries

    def _own_index(self, url: str, info: dict[str, Any]) -> list[IndexEntry]:
        tag = info.get("ETag") or info.get("etag") or info.get("mtime") or ""
        name = hashlib.sha256(f"{url}\0{info['size']}\0{tag}".encode()).hexdigest()[:32]
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        kept = Path(caches).expanduser() / "m3w" / "indexes" / f"{name}{INDEX_SUFFIX}"
        if kept.exists():
            return decode_index(kept.read_bytes())[1]
        fs, path = url_to_fs(url)
        with fs.open(path, "rb") as file:
            entries = index_tar(file)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_suffix(f".{os.getpid()}")
        part.write_bytes(encode_index(entries, info["size"]))
        part.replace(kept)
        return entries


def _passing(read: Callable[[], T]) -> T:
    """The result of a read that may fail for a passing reason."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return read()
        except FileNotFoundError as error:
            raise InputError(f"{error}: no such shard") from error
        except OSError as error:
            if attempt == ATTEMPTS:
                raise SurroundingsError(f"still failing at attempt {attempt}: {error}") from error
            time.sleep(attempt)
    raise AssertionError("unreachable")
