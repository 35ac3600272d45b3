"""Shards to samples by number: any tar that webdataset reads, local or at any fsspec URL, through its byte index.

A tar on a disk is mapped into memory, where one copy of its bytes is enough; one in a store is read by ranges, or fetched whole into the cache.
"""

import hashlib
import mmap
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from glob import has_magic
from itertools import chain, starmap
from pathlib import Path
from typing import Any, TypeAlias

from fsspec.core import url_to_fs

from schemas.errors import ConfigError, InputError, ShardError, SurroundingsError
from schemas.shard import Sample, cut_sample
from trainer.data.cache import cached
from trainer.data.index import Index, Tar, index_of, is_local, look, look_at_all
from trainer.data.retry import passing

Block: TypeAlias = tuple[
    bytes | mmap.mmap, int
]  # bytes of a tar, or all of it, and the offset in the tar at which they begin

_OPEN = 64  # ours: shards of which the index is in memory, a megabyte each
_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SIDE_BY_SIDE = 16  # ours: reads of a store by one process
_AT_ONCE = 64  # ours: samples of a store that are in memory before they are made into examples
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
        inside = passing(partial(_tars, fs, path))
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
        self._tars, self.counts = look_at_all(urls)
        self._opened = lru_cache(maxsize=self._in_hand)(self._open)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_opened"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._opened = lru_cache(maxsize=self._in_hand)(self._open)

    @property
    def fingerprint(self) -> str:
        """Changes when the list of shards or what they hold does; where they lie is no part of it."""
        tars = zip(self._tars, self.counts, strict=True)
        names = [(tar.url.rpartition("/")[2], tar.size, count) for tar, count in tars]
        return hashlib.sha256(repr(names).encode()).hexdigest()[:32]

    def read_all(self, places: Sequence[tuple[int, int]]) -> Iterator[Sample]:
        """The samples at these places, (shard, sample) each, in their order; those of a store are asked for side by side."""
        if all(is_local(self.urls[shard]) for shard, _ in places):
            yield from starmap(self.read, places)
            return
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for first in range(0, len(places), _AT_ONCE):
                shards, samples = zip(*places[first : first + _AT_ONCE], strict=True)
                list(pool.map(self._opened, sorted(set(shards))))
                yield from pool.map(self.read, shards, samples)

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

    def _open(self, shard: int) -> tuple[Index, Callable[[int, int], Block]]:
        tar = self._tars[shard]
        if look(tar.url, anew=True) != tar:
            raise ShardError(f"{tar.url} changed under the run; the order of samples was made for what it was")
        index, read = index_of(tar), passing(lambda: _reader(tar, self._cache_bytes))
        if (index.head.tar_bytes, index.head.samples) != (tar.size, self.counts[shard]):
            raise ShardError(f"{tar.url}: its index was made for another tar, of {index.head.tar_bytes} bytes")
        return index, read


class _Mapped:
    """A file in memory. Where it was cut since, a read of what is gone would end the process, so its size is asked for at each."""

    def __init__(self, path: str | Path) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def read(self, offset: int, length: int) -> Block:
        """All of the file, or nothing where it no longer has those bytes."""
        return (self._map, 0) if offset + length <= self._map.size() else (b"", offset)


def _reader(tar: Tar, cache_bytes: int) -> Callable[[int, int], Block]:
    """What gives at least `length` bytes from `offset` on, or nothing."""
    fs, path = url_to_fs(tar.url)
    if is_local(tar.url):
        return _Mapped(path).read
    with suppress(FileNotFoundError):  # others may have needed its room before it was opened here
        kept = cached(fs, path, tar.name, tar.size, cache_bytes) if tar.size <= cache_bytes else None
        if kept is not None:
            return _Mapped(kept).read
    return partial(_range, fs, path)


def _range(fs: Any, path: str, offset: int, length: int) -> Block:
    block = bytes(passing(lambda: fs.cat_file(path, start=offset, end=offset + length)))
    if len(block) > length:
        raise SurroundingsError(f"{path}: its server gives whole files and no ranges; set cache_bytes")
    return (block, offset) if len(block) == length else (b"", offset)


def _begins(block: bytes | mmap.mmap, at: int, key: str) -> bool:
    """Whether the header there names a sample, as far as one header can tell."""
    name = key.rpartition("/")[2].partition("\\")[0].encode()  # from a backslash on stands what is no UTF-8
    return block.find(name, at, at + 100) >= 0 or block[at + 156 : at + 157] in _EXTENDED
