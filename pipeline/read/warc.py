"""WARC records of a byte range of a file, whatever its state.

In: a function that opens the file at an offset, and a range [start, end). Out: every record that starts in the range, in order, and a `Gap` for every
stretch that is none. FastWARC reads as long as all is well (`fast`); at the first doubt our own parser takes over from the last record that is sure.

Ranges agree on who owns what, because where a record starts is decided by one test on the bytes at that place alone (`Packing.starts`): cut a file
anywhere, and each record and each gap is in one range. A gap belongs to the range of the record before it, one at the very start to the first range.
"""

from collections.abc import Iterator

import msgspec

from pipeline.read.fast import sound_records
from pipeline.read.members import Packing
from pipeline.read.source import Damage, OpenAt, Source, Write
from pipeline.read.warc_record import WarcRecord, parse_record
from schemas.drops import DropReason


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the file that are no record that could be read."""

    offset: int
    length: int
    reason: DropReason
    detail: str


def warc_records(
    open_at: OpenAt, packing: Packing, start: int, end: int | None, *, keep_bytes: int, trust: bool = True
) -> Iterator[WarcRecord | Gap]:
    """The records that start in [start, end) (None: the end of the file), blocks up to `keep_bytes`.

    Without `trust` only our own parser reads: for sources where going back to what is in doubt means reading all again.
    """
    source = Source(open_at(start), start)
    if start > 0 and not packing.find(source):
        return
    if not trust or not packing.checks_cheaply or not packing.starts(source):
        yield from careful_records(open_at, packing, source.position, end, keep_bytes=keep_bytes)
        return
    at = source.position
    if end is not None and at >= end:
        return
    resume = yield from sound_records(open_at(at), packing, at, end, keep_bytes)
    if resume is not None:
        yield from careful_records(open_at, packing, resume, end, keep_bytes=keep_bytes)


def careful_records(
    open_at: OpenAt, packing: Packing, start: int, end: int | None, *, keep_bytes: int
) -> Iterator[WarcRecord | Gap]:
    """The same from a record start (or the start of the file) on, without FastWARC."""
    source = Source(open_at(start), start)
    while not source.at_end():
        offset = source.position
        if not packing.starts(source):
            if packing.skip_filler(source):
                continue
            packing.find(source)
            length = source.position - offset
            yield Gap(
                offset=offset,
                length=length,
                reason=DropReason.BAD_RECORD,
                detail=f"{length} bytes that are no WARC record",
            )
            continue
        if end is not None and offset >= end:
            return
        try:
            yield from _member(source, packing, keep_bytes)
        except Damage as damage:
            source = Source(open_at(offset + 1), offset + 1)
            packing.find(source)
            yield Gap(offset=offset, length=source.position - offset, reason=damage.reason, detail=damage.detail)


def _member(source: Source, packing: Packing, keep_bytes: int, rest: Write | None = None) -> Iterator[WarcRecord]:
    """The records of one member; of a plain file, the one at `source`. `rest` is for the first one."""
    offset = source.position
    text = packing.unpacked(source)
    held = parse_record(text, keep_bytes, rest)
    if text is source:
        yield msgspec.structs.replace(held, length=source.position - offset)
        return
    alone = True
    while not text.at_end():
        alone = False
        yield msgspec.structs.replace(held, offset=offset, alone=False)
        held = parse_record(text, keep_bytes)
    yield msgspec.structs.replace(held, offset=offset, length=source.position - offset, alone=alone)


def read_at(source: Source, packing: Packing, keep_bytes: int, rest: Write | None = None) -> WarcRecord:
    """The one record at `source`, which has its packed bytes to itself; what its block has beyond `keep_bytes` is given to `rest`.

    Raises:
        Damage: there is none, or more than one.
    """
    (record,) = _member(source, packing, keep_bytes, rest)
    return record
