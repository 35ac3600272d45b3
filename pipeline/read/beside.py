"""Files beside a table: the media that its rows name by a path, not by a URL.

In: a table's URL and the path in a cell. Out: the file's bytes, or the `Drop`. A table comes from somebody else, and what it names goes into a data set that is
published: so a path may lead to nothing but plain files in the table's own folder and below it, links followed.
"""

import os
import posixpath
from typing import cast
from urllib.parse import quote, urljoin

from pipeline.read.files import blamed, filesystem, is_local, path_type
from pipeline.retry import passing
from schemas.drops import Drop, DropReason


class Beside:
    """The files in the folder of a table, on disk or in a store."""

    def __init__(self, table_url: str, max_bytes: int) -> None:
        self._fs, path = filesystem(table_url)
        self._folder = path.rpartition("/")[0]
        self._is_local = is_local(table_url)
        self._max_bytes = max_bytes

    def read(self, path: str) -> bytes | Drop:
        """The bytes of a file by its path from the table.

        Raises:
            SurroundingsError: the store refuses. A file on disk that is there, but may not be read, is a drop.
        """
        inside = posixpath.normpath(path)
        if "://" in path or posixpath.isabs(path) or inside.split("/")[0] == "..":
            return _drop(DropReason.OUTSIDE_FOLDER, path)
        whole = f"{self._folder}/{inside}"
        if self._is_local:
            return self._read_local(path, whole)
        with blamed(whole):
            if path_type(self._fs, whole) != "file":
                return _drop(DropReason.MISSING_FILE, path)
            if (size := passing(lambda: self._fs.size(whole)) or 0) > self._max_bytes:
                return _drop(DropReason.TOO_MANY_BYTES, path, size, self._max_bytes)
            return passing(lambda: cast(bytes, self._fs.cat_file(whole)))

    def _read_local(self, path: str, whole: str) -> bytes | Drop:
        try:
            real, folder = os.path.realpath(whole), os.path.realpath(self._folder or "/")
            if os.path.commonpath([real, folder]) != folder:
                return _drop(DropReason.OUTSIDE_FOLDER, path)
            if not os.path.isfile(real):  # a pipe would hold the job for ever
                return _drop(DropReason.MISSING_FILE, path)
            if (size := os.path.getsize(real)) > self._max_bytes:
                return _drop(DropReason.TOO_MANY_BYTES, path, size, self._max_bytes)
            with open(real, "rb") as file:
                return file.read(self._max_bytes)
        except (FileNotFoundError, PermissionError, ValueError) as error:  # ValueError: a path that no file can have
            return _drop(DropReason.MISSING_FILE, path, detail=str(error))


def url_beside(table_url: str, path: str) -> str | Drop:
    """The URL of a path in a table that came over HTTP: below the table's folder, asked for like any other."""
    url = urljoin(table_url, quote(path))
    if "://" in path or not url.startswith(table_url.rpartition("/")[0] + "/"):
        return _drop(DropReason.OUTSIDE_FOLDER, path)
    return url


def _drop(
    reason: DropReason, path: str, value: float | None = None, threshold: float | None = None, detail: str = ""
) -> Drop:
    return Drop(kind="pair", reason=reason, medium_url=path, value=value, threshold=threshold, detail=detail[:200])
