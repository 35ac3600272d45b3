"""The user's list files: lines and texts, or an error that names the file and the line.

In: a path or an fsspec URL, .gz or not. Out: its entries in order. A list that cannot be read as a whole stops the job before it starts: half a block
list is worse than none.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.compression import compr
from fsspec.core import get_compression, url_to_fs

from pipeline.retry import passing
from pipeline.store import steady, surroundings_blamed
from schemas.errors import InputError

MAX_LINE_CHARS = 4 << 20  # ours: a record of an evaluation set may hold a chapter; a line without an end is no list


class Entry(NamedTuple):
    """One entry of a list, stripped, and where it stands, for messages."""

    text: str
    where: str


def entries(url: str) -> Iterator[Entry]:
    """The entries of a list: its lines, without comments and blank ones.

    Raises:
        InputError: no such file, not UTF-8, binary, or nothing in it.
        SurroundingsError: the disk or the store refuses.
    """
    found = False
    for number, line in _lines(url):
        text = line.strip()
        if text and not text.startswith("#"):
            found = True
            yield Entry(text, f"{url}, line {number}")
    if not found:
        raise InputError(f"{url}: the list is empty")


def texts(url: str) -> Iterator[str]:
    """The texts of an evaluation set: the lines of a .txt, every string of a .jsonl, .csv, .tsv or .parquet.

    Raises:
        InputError: another kind of file, or one that is not what its name says.
        SurroundingsError: the disk or the store refuses.
    """
    name = url.split("?")[0].lower().removesuffix(".gz")
    kind = name.rpartition(".")[2]
    if kind == "parquet":
        yield from _parquet_texts(url)
    elif kind == "jsonl":
        for number, line in _lines(url):
            if line.strip():
                yield from _strings(_json(line, f"{url}, line {number}"))
    elif kind in ("csv", "tsv"):
        yield from _table_texts(url, "\t" if kind == "tsv" else ",")
    elif kind == "txt":
        for _, line in _lines(url):
            yield line
    else:
        raise InputError(f"{url}: not a file of texts; known are .txt, .jsonl, .csv, .tsv (each .gz too) and .parquet")


@contextmanager
def _opened(url: str, compression: str | None) -> Iterator[BinaryIO]:
    with surroundings_blamed(url):
        try:
            fs, path = url_to_fs(url)
        except (ValueError, ImportError) as error:  # no such protocol, or none that is installed
            raise InputError(f"{url or 'a list without a name'}: cannot be read: {error}") from None
        try:
            with steady(passing(lambda: fs.open(path, "rb")), url) as file:
                kind = get_compression(path, compression)
                yield compr[kind](file, mode="rb") if kind else file
        except FileNotFoundError:
            raise InputError(f"{url}: no such file") from None
        except IsADirectoryError:
            raise InputError(f"{url}: a folder, not a file") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(f"{url}: broken gzip: {error}") from None


def content(url: str) -> bytes:
    """The bytes of a whole file.

    Raises:
        InputError: no such file.
        SurroundingsError: the disk or the store refuses.
    """
    with _opened(url, None) as file:
        return file.read()


def _lines(url: str) -> Iterator[tuple[int, str]]:
    number = 0
    with _opened(url, "infer") as file:
        lines = TextIOWrapper(file, encoding="utf-8-sig", newline=None)
        try:
            while line := lines.readline(MAX_LINE_CHARS):
                number += 1
                if "\0" in line:
                    raise InputError(f"{url}, line {number}: binary, or UTF-16; a list is a text file in UTF-8")
                if len(line) == MAX_LINE_CHARS:
                    raise InputError(f"{url}, line {number}: longer than {MAX_LINE_CHARS:,} characters")
                yield number, line
        except UnicodeDecodeError as error:
            wrong = error.object[error.start : error.start + 8]
            raise InputError(f"{url}, after line {number}: not UTF-8: {error.reason} at {wrong!r}") from None


def _json(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {error}") from None


def _table_texts(url: str, delimiter: str) -> Iterator[str]:
    rows = csv.reader((line for _, line in _lines(url)), delimiter=delimiter)
    try:
        for row in rows:
            yield from row
    except csv.Error as error:
        raise InputError(f"{url}, line {rows.line_num}: not a table: {error}") from None


def _parquet_texts(url: str) -> Iterator[str]:
    with _opened(url, None) as file:
        try:
            for batch in pq.ParquetFile(file).iter_batches(1024):
                for row in batch.to_pylist():
                    yield from _strings(row)
        except pa.ArrowInvalid as error:
            raise InputError(f"{url}: not a Parquet file: {error}") from None


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, whatever holds it."""
    stack = [value]
    while stack:
        match stack.pop():
            case str(text):
                yield text
            case dict() as fields:
                stack.extend(fields.values())
            case list() as items:
                stack.extend(items)
