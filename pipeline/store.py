"""Files by fsspec URL: whole or not at all.

A `Store` is a folder on disk or in an object store. What is written is spooled first and then goes to its place in one step: a rename on disk, one
upload elsewhere (a stream that is closed after an exception would publish a cut object). Who works under a claim (pipeline/claim.py) looks at it before.

What a store fails in passing is asked again (pipeline/retry.py), and what it gives is measured against what was asked for. How long it may be silent is its
client's to say: s3fs gives up a connection after 5 s and an answer after 15 s without a byte, five times each, unless fsspec's own configuration says
otherwise (FSSPEC_S3='{"config_kwargs": {"read_timeout": 60}}').
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import groupby
from typing import Any, BinaryIO, TypeVar, cast

import fsspec
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from pipeline.claim import check
from pipeline.retry import of_client, passing
from schemas.errors import SurroundingsError

SPOOL = ".spool"  # inside a local folder, so that a rename stays on one file system
UPLOAD_S = 120.0  # ours: clients have no time limit for bytes that a store does not take,
UPLOAD_BYTES_PER_S = 100_000  # so this is the slowest upload that is not taken for a stalled one

T = TypeVar("T")


class Store:
    """A folder by URL. Paths are posix, below it.

    All methods raise SurroundingsError where the disk, the network or the store refuses, naming the file.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") or "/"

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The file system (fsspec keeps one instance a process)."""
        return url_to_fs(self.url)[0]

    @property
    def root(self) -> str:
        """The folder's path on its file system."""
        return cast(str, url_to_fs(self.url)[1])

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a disk of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        """A name's full path on the file system."""
        return f"{self.root}/{name}" if name else self.root

    def _blamed(self, name: str) -> AbstractContextManager[None]:
        return surroundings_blamed(f"{self.url}/{name}".rstrip("/"))

    def _asked(self, name: str, call: Callable[[], T]) -> T:
        """What a call gives that can be made again."""
        with self._blamed(name):
            return call() if self.is_local else passing(call)

    @property
    def _at_once(self) -> dict[str, int]:
        """s3fs asks for the size of what it reads whole, so as to read large files in pieces side by side: two requests for one."""
        return {"max_concurrency": 1} if "s3" in self.fs.protocol else {}

    def exists(self, name: str = "") -> bool:
        """Whether there is such a file (or, on disk, folder)."""
        self.fs.invalidate_cache()
        return self._asked(name, lambda: bool(self.fs.exists(self.path(name))))

    def files(self, folder: str = "") -> dict[str, int]:
        """All files below a folder with their sizes in bytes; names are below the store's root. An absent folder is empty."""
        self.fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = self._asked(folder, lambda: self.fs.find(self.path(folder), detail=True))
        cut = len(self.fs._strip_protocol(self.root)) + 1
        return {name[cut:]: info["size"] for name, info in sorted(found.items()) if not name[cut:].startswith(SPOOL)}

    def open(self, name: str) -> BinaryIO:
        """A seekable stream of a file's bytes."""
        return self._asked(name, lambda: steady(self.fs.open(self.path(name), "rb"), f"{self.url}/{name}"))

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        return self._asked(name, lambda: cast(bytes, self.fs.cat_file(self.path(name), **self._at_once)))

    def read_all(self, names: list[str]) -> list[bytes]:
        """The bytes of many small files; a store is asked for them side by side."""
        if not names:
            return []
        paths = [self.path(name) for name in names]
        whole = [None] * len(paths)  # a range of an empty file, even from 0 on, is an error to S3
        return self._asked(names[0], lambda: self.fs.cat_ranges(paths, whole, whole, on_error="raise", **self._at_once))

    def read_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        """The bytes of (name, offset, length) ranges; a store is asked for them side by side."""
        if not ranges:
            return []
        read = self._local_ranges if self.is_local else self._remote_ranges
        return self._asked(ranges[0][0], lambda: list(read(ranges)))

    def _remote_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        paths = [self.path(name) for name, _, _ in ranges]
        starts = [offset for _, offset, _ in ranges]
        ends = [offset + length for _, offset, length in ranges]
        found: list[bytes] = self.fs.cat_ranges(paths, starts, ends, on_error="raise")
        return [_whole(data, length) for data, (_, _, length) in zip(found, ranges, strict=True)]

    def _local_ranges(self, ranges: list[tuple[str, int, int]]) -> Iterator[bytes]:
        for name, run in groupby(ranges, key=lambda one: one[0]):
            with open(self.path(name), "rb") as file:
                for _, offset, length in run:
                    file.seek(offset)
                    yield file.read(length)

    def write(self, name: str, data: bytes) -> None:
        """Puts bytes to their place, whole."""
        check(self)
        with self.spool(name) as file:
            file.write(data)

    @contextmanager
    def spool(self, name: str) -> Iterator[BinaryIO]:
        """A local file that goes to its place when the block ends; after an exception nothing is left."""
        with self._blamed(name):
            folder = self.path(SPOOL) if self.is_local else tempfile.gettempdir()
            os.makedirs(folder, exist_ok=True)
            handle, spooled = tempfile.mkstemp(dir=folder, prefix="m3w-")
            try:
                with os.fdopen(handle, "w+b") as file:
                    yield cast(BinaryIO, file)
                    file.flush()
                    if self.is_local:
                        os.fsync(file.fileno())
                self._publish(spooled, name)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(spooled)

    def _publish(self, spooled: str, name: str) -> None:
        target = self.path(name)
        if self.is_local:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.chmod(spooled, 0o644)
            os.replace(spooled, target)
        else:
            passing(partial(_upload, self.fs, spooled, target))

    def remove(self, names: list[str]) -> None:
        """Deletes files; those already gone are fine."""
        if names:
            check(self)
        for name in names:
            self._asked(name, partial(self._rm, name, recursive=False))

    def remove_folder(self, folder: str) -> None:
        """Deletes a folder with all that is in it; one already gone is fine."""
        check(self)
        self._asked(folder, partial(self._rm, folder, recursive=True))

    def _rm(self, name: str, *, recursive: bool) -> None:
        with suppress(FileNotFoundError):
            if recursive:
                self.fs.rm(self.path(name), recursive=True)
            else:
                self.fs.rm_file(self.path(name))

    def clear_spool(self) -> None:
        """Deletes what a killed writer left in the spool. Only the folder's one writer may."""
        if self.is_local:
            with self._blamed(SPOOL):
                shutil.rmtree(self.path(SPOOL), ignore_errors=True)


def steady(file: BinaryIO, where: str) -> BinaryIO:
    """A store's file whose ranges are asked for again as `passing` does; nothing changes for files that are not read in ranges.

    Raises:
        SurroundingsError: later, from its reads.
    """
    cache = getattr(file, "cache", None)  # fsspec's, which asks for all that is read
    fetch, size = getattr(cache, "fetcher", None), getattr(file, "size", None)
    if cache is None or fetch is None:
        return file

    def asked(start: int, end: int) -> bytes:
        with surroundings_blamed(where):
            last = end if size is None else min(end, size)
            return passing(lambda: _whole(_told(fetch, start, end), last - start))

    cache.fetcher = asked
    return file


def _told(fetch: Callable[[int, int], bytes], start: int, end: int) -> bytes:
    try:
        return fetch(start, end)
    except IndexError as error:  # s3fs looks for the number of an OSError that has none: its time-out
        raise error.__context__ or error from None


def _whole(data: bytes, size: int) -> bytes:
    if len(data) < size:
        raise OSError(errno.EIO, f"only {len(data):,} of {size:,} bytes came")
    return data


def _upload(fs: fsspec.AbstractFileSystem, source: str, target: str) -> None:
    if isinstance(fs, AsyncFileSystem):
        limit = UPLOAD_S + os.path.getsize(source) / UPLOAD_BYTES_PER_S
        sync(fs.loop, fs._put_file, source, target, timeout=limit)
    else:
        fs.put_file(source, target)


@contextmanager
def surroundings_blamed(where: str) -> Iterator[None]:
    """Turns what disks, networks and stores raise into one line that names the file or URL.

    Raises:
        SurroundingsError: in place of OSError, ImportError (a store's package) and the errors of stores' clients.
    """
    try:
        yield
    except OSError as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else None
        raise SurroundingsError(f"{where}: {full or error.strerror or str(error) or type(error).__name__}") from error
    except ImportError as error:
        hint = "install the extra for this kind of URL (m3w[s3], m3w[gcs])"
        raise SurroundingsError(f"{where}: {error}; {hint}") from error
    except Exception as error:
        if of_client(error):
            raise SurroundingsError(f"{where}: {type(error).__name__}: {error}") from error
        raise
