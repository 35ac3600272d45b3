"""Files by fsspec URL, opened to be read: the one place of `pipeline.read` that touches disks, stores and servers.

In: a local path or any fsspec URL. Out: what is known of the file, and its bytes from an offset on. A server that cannot give ranges is read from its
start, once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import fsspec
from fsspec.core import split_protocol, url_to_fs

from pipeline.read.source import CHUNK_BYTES
from pipeline.retry import may_pass, passing
from pipeline.store import steady, surroundings_blamed
from schemas.errors import InputError, SurroundingsError

_PROBE_BYTES = 8
# fsspec's own. With s3fs' (50 MiB) a slice of 64 MiB reads 157 MB and its process takes 425 MB at its peak; so 74 and 309.
BLOCK_BYTES = 5 << 20


class Opened:
    """An open file that can be read from any offset; one that cannot seek is opened anew to go back."""

    def __init__(self, url: str, *, ranges: bool) -> None:
        self._url = url
        self._ranges = ranges
        self.file = self._open()

    def at(self, offset: int) -> BinaryIO:
        """The file, at `offset`."""
        if self._ranges:
            self.file.seek(offset)
            return self.file
        if offset < self.file.tell():
            self.file.close()
            self.file = self._open()
        while (left := offset - self.file.tell()) > 0 and self.file.read(min(left, CHUNK_BYTES)):
            pass
        return self.file

    def _open(self) -> BinaryIO:
        fs, path = filesystem(self._url)
        options = {"block_size": BLOCK_BYTES if self._ranges else 0}
        return steady(passing(lambda: cast(BinaryIO, fs.open(path, "rb", **options))), self._url)


def filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of a URL, and the path on it.

    Raises:
        InputError: the URL's scheme is unknown, or needs a package that is not there.
    """
    try:
        fs, path = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise InputError(f"{url}: {error}") from None
    return fs, cast(str, path)


def path_type(fs: fsspec.AbstractFileSystem, path: str) -> str | None:
    """What a path leads to: "file", "directory" or nothing; fsspec's own questions take every failure for a no.

    Raises:
        Exception: what the client raises where the store does not say.
    """
    try:
        return str(passing(lambda: fs.info(path))["type"])
    except (FileNotFoundError, NotADirectoryError) as error:
        if may_pass(error):
            raise
        return None


def is_local(url: str) -> bool:
    """Whether a URL or path is on a disk of this machine."""
    return split_protocol(url)[0] in (None, "file", "local")


@contextmanager
def blamed(url: str) -> Iterator[None]:
    """Turns what disks, stores and servers raise into one line that names the file.

    Raises:
        InputError: there is no such file.
        SurroundingsError: all else.
    """
    with surroundings_blamed(url):
        try:
            yield
        except FileNotFoundError as error:
            if may_pass(error):  # of a web server fsspec says so whatever the answer was, which is the cause
                raise SurroundingsError(f"{url}: {error.__cause__}") from error
            raise InputError(f"{url}: no such file") from None


@contextmanager
def opened(url: str, *, ranges: bool = True) -> Iterator[Opened]:
    """An open file.

    Raises:
        InputError, SurroundingsError: as `blamed`, also later while it is read.
    """
    with blamed(url):
        file = Opened(url, ranges=ranges)
        try:
            yield file
        finally:
            file.file.close()


def has_ranges(url: str) -> bool:
    """Whether any part of a file can be asked for; servers that ignore Range are found out by asking for the end of the file."""
    fs, path = filesystem(url)
    if split_protocol(url)[0] not in ("http", "https"):
        return True
    info = passing(lambda: fs.info(path))
    size = info.get("size")
    if not size or not info.get("partial", True):
        return False
    with passing(lambda: fs.open(path, "rb", cache_type="none")) as file:
        try:
            file.seek(max(0, size - _PROBE_BYTES))
            return bool(len(file.read(_PROBE_BYTES)) == min(size, _PROBE_BYTES))
        except ValueError:
            return False
