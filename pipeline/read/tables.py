"""Captions tables: Parquet, CSV, TSV and JSONL with a medium and a text about it in each row.

In: the arguments of a command. Out: an `Input` a table, with the columns that hold medium and caption, then slices, then rows. Each table is looked into
before a job starts: what cannot be read, or has not the columns, is refused while nothing has been written. Columns of bytes are not read.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.read.arguments import Located
from pipeline.read.files import opened
from pipeline.read.inputs import Digests, Input, find_inputs
from pipeline.read.kinds import InputKind
from pipeline.read.slices import Slice, neighbours
from pipeline.read.text_tables import text_rows
from schemas.drops import Drop
from schemas.errors import InputError, UsageError

MEDIA_COLUMNS = ("url", "image", "image_url", "file", "path")
CAPTION_COLUMNS = ("caption", "text", "alt")
HEAD_ROWS = 1000  # ours: rows of a JSONL file whose keys are its columns
_BATCH_ROWS = 64  # ours: a batch is held in memory

_NAMES: tuple[tuple[re.Pattern[str], InputKind], ...] = (
    (re.compile(r"\.csv(?:\.gz)?$", re.IGNORECASE), "csv"),
    (re.compile(r"\.(?:tsv|tab)(?:\.gz)?$", re.IGNORECASE), "tsv"),
    (re.compile(r"\.(?:jsonl|ndjson|jsonlines)(?:\.gz)?$", re.IGNORECASE), "jsonl"),
    (re.compile(r"\.parquet$", re.IGNORECASE), "parquet"),
)


class Columns(msgspec.Struct, frozen=True):
    """The names of the two columns of a table that make its pairs."""

    media: str
    caption: str


class Table(msgspec.Struct, frozen=True):
    """A captions table: the file, and its columns."""

    input: Input
    columns: Columns


def find_tables(
    arguments: Sequence[str], *, media: str = "", caption: str = "", digests: Digests | None = None
) -> list[Table]:
    """The tables that `arguments` stand for, sorted by name; `media` and `caption` name the columns, empty: one of the usual names.

    Raises:
        InputError: no file, no table, another encoding, no row.
        UsageError: a table has not the columns, or they hold no text.
        SurroundingsError: a disk, store or server refuses.
    """
    tables = []
    for input in find_inputs(arguments, digests=digests, kind=_table_kind):
        names = columns_of(input)
        chosen = Columns(
            media=choose(names, media, MEDIA_COLUMNS, input.url, "media"),
            caption=choose(names, caption, CAPTION_COLUMNS, input.url, "caption"),
        )
        _check_types(input, chosen)
        tables.append(Table(input, chosen))
    return tables


def choose(columns: Sequence[str], wanted: str, usual: Sequence[str], url: str, what: str) -> str:
    """The column with the wanted name, or, where none is wanted, with the first of the usual names, in any case.

    Raises:
        UsageError: there is none; the message lists the columns.
    """
    if wanted in columns:
        return wanted
    by_name = {column.lower().strip(): column for column in reversed(columns)}
    for name in [wanted] if wanted else usual:
        if name.lower() in by_name:
            return by_name[name.lower()]
    missing = f"no column {wanted!r}" if wanted else f"no column named {', '.join(usual)}"
    raise UsageError(f"{url}: {missing}; say --{what} COLUMN, one of: {', '.join(columns)}")


def columns_of(input: Input) -> list[str]:
    """The columns of a table, in its order; of JSONL the keys of its first thousand rows.

    Raises:
        InputError: it cannot be read, or has no row.
    """
    if input.kind == "parquet":
        with opened(input.url, ranges=input.ranges) as handle, _blamed(input.url):
            file = pq.ParquetFile(handle.file)
            names, rows = list(file.schema_arrow.names), file.metadata.num_rows
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise InputError(f"{input.url}: the table has the column {twice[0]!r} more than once")
        if not rows:
            raise InputError(f"{input.url}: the table has no rows")
        return names
    found: dict[str, None] = {}
    first_drop: Drop | None = None
    for _, values in islice(_text_rows(input), HEAD_ROWS):
        if isinstance(values, Drop):
            first_drop = first_drop or values
        else:
            found.update(dict.fromkeys(values))
    if not found:
        why = f"none of its first rows can be read: {first_drop.detail}" if first_drop else "the table has no rows"
        raise InputError(f"{input.url}: {why}")
    return list(found)


def _check_types(input: Input, columns: Columns) -> None:
    """Refuses a Parquet file whose rows could all be nothing but drops: a picture in a struct, a list of captions.

    Raises:
        UsageError: a column of the two is nested.
    """
    if input.kind != "parquet":
        return
    with opened(input.url, ranges=input.ranges) as handle, _blamed(input.url):
        schema = pq.ParquetFile(handle.file).schema_arrow
    for what, name in (("media", columns.media), ("caption", columns.caption)):
        if (kind := schema.field(name).type).num_fields:
            wanted = "URLs, or paths of files beside the table" if what == "media" else "texts"
            raise UsageError(f"{input.url}: the column {name!r} is {kind}, not {wanted}; say --{what} COLUMN")


def table_slices(input: Input, *, slice_bytes: int) -> list[Slice]:
    """The slices of a table: neighbouring row groups of a Parquet file; any other file is one."""
    if input.kind != "parquet":
        return [Slice(input=input)]
    with opened(input.url, ranges=input.ranges) as handle, _blamed(input.url):
        metadata = pq.ParquetFile(handle.file).metadata
        sizes = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
    return [Slice(input=input, start=start, end=end) for start, end in neighbours(sizes, slice_bytes)]


def table_rows(slice: Slice, columns: Columns) -> Iterator[tuple[int, dict[str, Any] | Drop]]:
    """(number of the row in its table, its values, or its drop).

    Raises:
        InputError: the table is broken from here on; with the line, where there are lines.
        SurroundingsError: the disk, store or server refuses.
    """
    if slice.input.kind == "parquet":
        yield from _parquet_rows(slice, columns)
    else:
        yield from _text_rows(slice.input)


def _table_kind(file: Located, ranges: bool) -> InputKind:
    path = file.url.split("?")[0]
    for pattern, kind in _NAMES:
        if pattern.search(path):
            return kind
    with opened(file.url, ranges=ranges) as handle:
        if handle.file.read(4) == b"PAR1":
            return "parquet"
    raise InputError(
        f"{file.url}: no captions table; its name ends neither in .parquet nor in .csv, .tsv, .jsonl (or these with .gz)"
    )


def _text_rows(input: Input) -> Iterator[tuple[int, dict[str, Any] | Drop]]:
    match input.kind:
        case "csv" | "tsv" | "jsonl":
            return text_rows(input.url, input.name, input.kind, ranges=input.ranges)
        case _:
            raise InputError(f"{input.url}: a {input.kind} file is no captions table")


def _parquet_rows(slice: Slice, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    with opened(slice.input.url, ranges=slice.input.ranges) as handle, _blamed(slice.input.url):
        file = pq.ParquetFile(handle.file)
        groups = list(range(slice.start, file.metadata.num_row_groups if slice.end is None else slice.end))
        number = sum(file.metadata.row_group(index).num_rows for index in range(slice.start))
        taken = [
            field.name
            for field in file.schema_arrow
            if field.name in (columns.media, columns.caption) or not _has_bytes(field.type)
        ]
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, row_groups=groups, columns=taken):
            for values in batch.to_pylist():
                yield number, values
                number += 1


def _has_bytes(kind: pa.DataType) -> bool:
    """Whether values of a type hold bytes, which JSON has no place for: an embedded picture would be megabytes of text in each row."""
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return True
    return any(_has_bytes(kind.field(index).type) for index in range(kind.num_fields))


@contextmanager
def _blamed(url: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(
            f"{url}: not a Parquet file, or a broken one: {(str(error).splitlines() or [''])[0]}"
        ) from None
