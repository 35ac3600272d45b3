"""Rows out of CSV, TSV and JSONL, packed with gzip or not.

In: a file. Out: each row as a mapping of columns to values, or the `Drop` of a line that is none. Text is UTF-8 (with or without a byte order mark) or UTF-16
with one. Such a file is read as one stream, since a line feed inside quotes is no end of a row; memory is bounded by the longest line that is taken.
"""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import msgspec

from pipeline.read.files import Opened, opened
from schemas.drops import Drop, DropReason
from schemas.errors import InputError

TextTableKind: TypeAlias = Literal["csv", "tsv", "jsonl"]
Numbered: TypeAlias = tuple[int, dict[str, Any] | Drop]

MAX_LINE_CHARS = (
    1 << 24
)  # ours: a longer line is no row and is read in pieces of this length; nor are more lines in quotes
_DELIMITERS: dict[TextTableKind, str] = {"csv": ",", "tsv": "\t"}
_BOMS = (b"\xff\xfe", b"\xfe\xff")


def text_rows(url: str, name: str, kind: TextTableKind, *, ranges: bool = True) -> Iterator[Numbered]:
    """(number of the row from 0 on, its values or its drop); `name` stands in the drops.

    Quotes are those of RFC 4180, in TSV too. Blank lines are no rows.

    Raises:
        InputError: the text is in another encoding, the header has a column twice, or the gzip stream is broken; with the line.
        SurroundingsError: the disk, store or server refuses.
    """
    with opened(url, ranges=ranges) as handle, _blamed(url):
        lines = _Lines(_unpacked(handle), url, newline="\n" if kind == "jsonl" else "")
        rows = _json_rows(lines) if kind == "jsonl" else _delimited_rows(lines, _DELIMITERS[kind])
        for number, (line, row) in enumerate(rows):
            if isinstance(row, str):
                detail = f"{name}, line {line}: {row}"
                yield (
                    number,
                    Drop(kind="pair", reason=DropReason.BAD_RECORD, detail=detail, source=name, offset=number),
                )
            else:
                yield number, row


def _unpacked(handle: Opened) -> BinaryIO:
    packed = handle.at(0).read(2) == b"\x1f\x8b"
    file = handle.at(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if packed else file


@contextmanager
def _blamed(url: str) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{url}: the gzip stream is broken: {error}") from None


class _Lines:
    """The lines of a file as text, and how many there were so far."""

    def __init__(self, file: BinaryIO, url: str, newline: str) -> None:
        buffered = io.BufferedReader(cast(io.RawIOBase, file))
        encoding = "utf-16" if buffered.peek(2)[:2] in _BOMS else "utf-8-sig"
        self._text = io.TextIOWrapper(buffered, encoding, newline=newline)
        self.url = url
        self.count = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        try:
            line = self._text.readline(MAX_LINE_CHARS)
        except UnicodeError as error:
            raise InputError(
                f"{self.url}, line {self._broken_line(error)}: not UTF-8, and not UTF-16 with a byte order mark ({error}); "
                "convert the file first (iconv -t utf-8)"
            ) from None
        if not line:
            raise StopIteration
        self.count += 1
        return line

    def _broken_line(self, error: UnicodeError) -> int:
        before = error.object[: error.start] if isinstance(error, UnicodeDecodeError) else b""
        return self.count + 1 + before.count(b"\n")


class _RowLines:
    """Lines for the CSV parser, which asks for more as long as a row is open; a row of too many characters is an error."""

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self.chars = 0

    def __iter__(self) -> "_RowLines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.chars += len(line)
        if self.chars > 2 * MAX_LINE_CHARS:
            raise csv.Error(f"a row of more than {2 * MAX_LINE_CHARS} characters")
        return line


def _delimited_rows(lines: _Lines, delimiter: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(line at which the row ends, its values or what is wrong with it)."""
    csv.field_size_limit(MAX_LINE_CHARS)
    row_lines = _RowLines(lines)
    records = csv.reader(row_lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        row_lines.chars = 0
        try:
            fields = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise InputError(f"{lines.url}, line {lines.count}: the header cannot be read: {error}") from None
            yield lines.count, str(error)
            continue
        if not fields:
            continue
        if header is None:
            header = _header(fields, lines.url)
        elif len(fields) != len(header):
            yield lines.count, f"{len(fields)} fields, but the header has {len(header)}"
        else:
            yield lines.count, dict(zip(header, fields, strict=True))


def _header(fields: list[str], url: str) -> list[str]:
    if twice := [name for name, count in Counter(fields).items() if count > 1]:
        raise InputError(f"{url}: the header has the column {twice[0]!r} more than once")
    if any("\0" in name for name in fields):
        raise InputError(f"{url}: the header holds NUL characters; is it UTF-16 without a byte order mark, or no text?")
    return fields


def _json_rows(lines: _Lines) -> Iterator[tuple[int, dict[str, Any] | str]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for line in lines:
        if line.isspace():
            continue
        try:
            yield lines.count, decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            yield lines.count, f"no JSON object: {error}"
