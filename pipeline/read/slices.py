"""Slices: the pieces of an input that workers read independently of each other.

In: an `Input`. Out: its slices, whose records together are the input's, each record in one slice.
"""

import msgspec

from pipeline.read.inputs import Input

SLICE_BYTES = 64 << 20  # ours: about 2,000 pages, a minute of work


class Slice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The records of `input` that start in [start, end) (None: up to its end).

    Bytes of a WARC, row groups of a Parquet file. `member` is the WACZ entry that the slice is of.
    """

    input: Input
    start: int = 0
    end: int | None = None
    member: str = ""


def slices(input: Input, *, slice_bytes: int = SLICE_BYTES) -> list[Slice]:
    """The slices of one input, in order."""
    if input.kind == "warc":
        cuts = [*range(0, input.size, slice_bytes), None]
        return [Slice(input=input, start=a or 0, end=b) for a, b in zip(cuts, cuts[1:], strict=False)]
    return [Slice(input=input)]
