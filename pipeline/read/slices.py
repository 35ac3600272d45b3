"""Slices: the pieces of an input that workers read independently of each other.

In: an `Input`. Out: its slices, whose records together are the input's, each record in one slice.
"""

from collections.abc import Iterator

import msgspec

from pipeline.read.files import opened
from pipeline.read.inputs import Input
from pipeline.read.parquet import row_groups
from pipeline.read.source import Damage
from pipeline.read.wacz import entries
from schemas.errors import InputError

SLICE_BYTES = 64 << 20  # ours: about 2,000 pages, a minute of work


class Slice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The records of `input` that start in [start, end) (None: up to its end).

    Bytes of a WARC, or of the WARC `member` of a WACZ; row groups of a Parquet file; a batch of HTML files is one slice.
    """

    input: Input
    start: int = 0
    end: int | None = None
    member: str = ""


def slices(input: Input, *, slice_bytes: int = SLICE_BYTES) -> list[Slice]:
    """The slices of one input, in order, of about `slice_bytes` each.

    A file that is one gzip member may be cut too: all of its records are the first slice's then.

    Raises:
        InputError: a broken WACZ, a Parquet file that is broken or has not the columns that are needed.
        SurroundingsError: the disk, store or server refuses.
    """
    match input.kind:
        case "warc":
            size = input.size if input.ranges else 0
            return [Slice(input=input, start=start, end=end) for start, end in _cuts(size, slice_bytes)]
        case "wacz":
            return list(_wacz_slices(input, slice_bytes))
        case "parquet":
            return [
                Slice(input=input, start=start, end=end)
                for start, end in neighbours(row_groups(input.url), slice_bytes)
            ]
        case "html" | "csv" | "tsv" | "jsonl":
            return [Slice(input=input)]


def _wacz_slices(input: Input, slice_bytes: int) -> Iterator[Slice]:
    try:
        with opened(input.url) as outer:
            found = entries(outer)
    except Damage as damage:
        raise InputError(f"{input.url}: {damage.detail}") from None
    for entry in found:
        for start, end in _cuts(entry.size if entry.origin is not None else 0, slice_bytes):
            yield Slice(input=input, start=start, end=end, member=entry.name)


def _cuts(size: int, slice_bytes: int) -> list[tuple[int, int | None]]:
    """Ranges of `slice_bytes`; the last one is open, because what it ends with may be longer than it."""
    starts = list(range(0, size, slice_bytes)) or [0]
    return list(zip(starts, [*starts[1:], None], strict=True))


def neighbours(sizes: list[int], slice_bytes: int) -> list[tuple[int, int | None]]:
    """Neighbouring row groups together, up to `slice_bytes`."""
    starts, filled = [0], 0
    for index, size in enumerate(sizes):
        if filled and filled + size > slice_bytes:
            starts.append(index)
            filled = 0
        filled += size
    return list(zip(starts, [*starts[1:], len(sizes)], strict=True))
