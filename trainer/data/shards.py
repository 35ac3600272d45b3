"""Shards to samples by number: any tar that webdataset reads, local or at any fsspec URL, through its byte index.

A tar on a disk is mapped into memory, where one copy of its bytes is enough; one in a store is read by ranges, or fetched whole into the cache.
"""

import hashlib
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from glob import has_magic
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from fsspec.core import url_to_fs

from schemas.errors import ConfigError, InputError, ShardError, SurroundingsError
from schemas.shard import IndexEntry, Sample, cut_block, cut_sample
from trainer.data.cache import cached
from trainer.data.index import Index, Tar, index_of, is_local, look, look_at_all
from trainer.data.order import Place
from trainer.data.retry import passing

Opened: TypeAlias = "tuple[Index, _Mapped | _Ranges]"

_OPEN = 64  # ours: shards of which the index is in memory, a megabyte each
_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SIDE_BY_SIDE = 16  # ours: reads of a store by one process
_AT_ONCE = 64  # ours: samples that are in memory before they are made into examples


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
        self._is_local = all(map(is_local, urls))
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

    def read_all(self, places: Sequence[Place]) -> Iterator[Sample]:
        """The samples at these places in their order, some at once; those of a store are asked for side by side."""
        if self._is_local:
            for first in range(0, len(places), _AT_ONCE):
                yield from self._read(places[first : first + _AT_ONCE])
            return
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            for first in range(0, len(places), _AT_ONCE):
                some = places[first : first + _AT_ONCE]
                list(pool.map(self._opened, sorted({place.shard for place in some})))
                yield from pool.map(lambda place: self.read(place.shard, place.sample), some)

    def read(self, shard: int, sample: int) -> Sample:
        """One sample, by one read of its bytes."""
        return self._read([Place(0, shard, sample)])[0]

    def _read(self, places: Sequence[Place]) -> list[Sample]:
        """Samples at once, so that nothing else is done between the look at their tars' sizes and the reads."""
        opened = {shard: self._opened(shard) for shard in {place.shard for place in places}}
        for shard, (_, tar) in opened.items():
            if not tar.is_whole():
                raise ShardError(f"{self.urls[shard]} changed under the run; it no longer has the size that it had")
        samples: list[Sample] = []
        for place in places:
            index, tar = opened[place.shard]
            try:
                samples.append(tar.read(index[place.sample]))
            except ShardError as error:
                raise ShardError(f"{self.urls[place.shard]}: {error}") from error
        return samples

    def _open(self, shard: int) -> Opened:
        tar = self._tars[shard]
        if look(tar.url, anew=True) != tar:
            raise ShardError(f"{tar.url} changed under the run; the order of samples was made for what it was")
        index, bytes_of = index_of(tar), passing(lambda: _bytes_of(tar, self._cache_bytes))
        if (index.head.tar_bytes, index.head.samples) != (tar.size, self.counts[shard]):
            raise ShardError(f"{tar.url}: its index was made for another tar, of {index.head.tar_bytes} bytes")
        return index, bytes_of


class _Mapped:
    """A tar in memory. Where it was cut since, a read of what is gone would end the process, so its size is asked for before each run of reads."""

    def __init__(self, path: str | Path) -> None:
        with open(path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def is_whole(self) -> bool:
        """Whether the file has the size that was mapped."""
        return self._map.size() == len(self._map)

    def read(self, entry: IndexEntry) -> Sample:
        """The sample, copied."""
        return cut_sample(self._map, entry)


class _Ranges:
    """A tar of a store."""

    def __init__(self, fs: Any, path: str) -> None:
        self._fs, self._path = fs, path

    def is_whole(self) -> bool:
        """Each read of a range tells by itself."""
        return True

    def read(self, entry: IndexEntry) -> Sample:
        """The sample, asked for as one range."""
        end = entry.offset + entry.length
        block = bytes(passing(lambda: self._fs.cat_file(self._path, start=entry.offset, end=end)))
        if len(block) > entry.length:
            raise SurroundingsError(f"{self._path}: its server gives whole files and no ranges; set cache_bytes")
        return cut_block(block, entry)


def _bytes_of(tar: Tar, cache_bytes: int) -> _Mapped | _Ranges:
    """The bytes of a tar: mapped where they are on this disk."""
    fs, path = url_to_fs(tar.url)
    if is_local(tar.url):
        return _Mapped(path)
    with suppress(FileNotFoundError):  # others may have needed its room before it was opened here
        kept = cached(fs, path, tar.name, tar.size, cache_bytes) if tar.size <= cache_bytes else None
        if kept is not None:
            return _Mapped(kept)
    return _Ranges(fs, path)
