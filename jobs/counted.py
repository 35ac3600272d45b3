"""A folder on disk that behaves like an object store and counts what it is asked for: how `m3w plan` learns the requests of a run.

`m3wplan:///folder` is a file system of fsspec's. Its requests are those of any store that fsspec's buffered files read: a GET for each block that is
read, one PUT for a file, a LIST for each thousand names. They are counted by kind and by the folder of the run that they are about.
"""

import os
import shutil
import threading
from collections import Counter
from typing import Any

import fsspec
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

PROTOCOL = "m3wplan"
NAMES_PER_LIST = 1000  # S3
AHEAD_BYTES = 50 << 20  # s3fs: of tables and tars, which a `Store` opens; pipeline/read/files.py has the inputs'
_lock = threading.Lock()
_counts: Counter[str] = Counter()


def counted_url(folder: str) -> str:
    """The URL by which requests for a folder on disk are counted."""
    fsspec.register_implementation(PROTOCOL, CountedFileSystem, clobber=True)
    return f"{PROTOCOL}://{folder}"


def take_counts() -> Counter[str]:
    """The requests since the last call, such as {"GET documents": 3, "PUT commits": 1}."""
    with _lock:
        taken = Counter(_counts)
        _counts.clear()
    return taken


class CountedFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """What `pipeline.store` asks of a store, on a folder on disk."""

    protocol = PROTOCOL
    root_marker = "/"

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """A HEAD."""
        path = self._strip_protocol(path)
        _count("HEAD", path)
        kind = "directory" if os.path.isdir(path) else "file"
        return {"name": path, "size": os.stat(path).st_size, "type": kind}

    def find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, **options: Any) -> Any:
        """A LIST a thousand names."""
        root = self._strip_protocol(path)
        files = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
        _count("LIST", root, 1 + len(files) // NAMES_PER_LIST)
        found = {name: {"name": name, "size": os.stat(name).st_size, "type": "file"} for name in sorted(files)}
        return found if options.get("detail") else list(found)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """A GET, of a range or of all."""
        path = self._strip_protocol(path)
        _count("GET", path)
        with open(path, "rb") as file:
            file.seek(start or 0)
            return file.read() if end is None else file.read(end - file.tell())

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """A PUT."""
        rpath = self._strip_protocol(rpath)
        _count("PUT", rpath)
        os.makedirs(os.path.dirname(rpath), exist_ok=True)
        shutil.copyfile(lpath, rpath)

    def rm_file(self, path: str) -> None:
        """A DELETE."""
        path = self._strip_protocol(path)
        _count("DELETE", path)
        os.unlink(path)

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """A LIST, and a DELETE a file."""
        for name in self.find(path):
            self.rm_file(name)

    def _open(self, path: str, mode: str = "rb", **options: Any) -> "_CountedFile":
        return _CountedFile(self, self._strip_protocol(path), mode, **options | {"block_size": AHEAD_BYTES})


class _CountedFile(AbstractBufferedFile):  # type: ignore[misc]
    def _fetch_range(self, start: int, end: int) -> bytes:
        return self.fs.cat_file(self.path, start, end)  # type: ignore[no-any-return]


def _count(kind: str, path: str, number: int = 1) -> None:
    """Counts by the run's folder (`.../run/<folder>/...`), or by the file's own name at its top."""
    below = path.rstrip("/").partition("/run/")[2] or "."
    with _lock:
        _counts[f"{kind} {below.partition('/')[0]}"] += number
