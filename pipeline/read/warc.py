"""WARC records of a byte range of a file, whatever its state.

In: a function that opens the file at an offset, and a range [start, end). Out: every record that starts in the range, in order, and a `Gap` for every
stretch that is none. FastWARC reads as long as all is well; at the first sign of damage our own parser takes over from the last record that is beyond
doubt, because FastWARC ends at damage, and hands out a last record that is cut short without a word.

A record is believed when it is complete and what follows it is a record, or the end. So one that lies about its length loses itself, never a neighbour.
"""

import re
from collections.abc import Iterator

import msgspec

from pipeline.read.members import MAX_HEAD_BYTES, Packing, Plain, peek_head
from pipeline.read.source import Damage, OpenAt, Source
from schemas.drops import DropReason

_FOLD = re.compile(rb"\r?\n[ \t]+")
_NEWLINES = b"\r\n"


class WarcRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record: `headers` by lower-case name, the first `keep_bytes` of its block, and the block's whole length.

    `offset`, `length` are of the packed record in the file. `alone` is False where it shares a gzip member with others, and so cannot be read by offset.
    """

    offset: int
    length: int
    headers: dict[str, str]
    block: bytes
    block_length: int
    alone: bool = True

    @property
    def type(self) -> str:
        """The WARC-Type, in lower case."""
        return self.headers["warc-type"].lower()


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the file that are no record that could be read."""

    offset: int
    length: int
    reason: DropReason
    detail: str


def warc_records(
    open_at: OpenAt, packing: Packing, start: int, end: int | None, *, keep_bytes: int
) -> Iterator[WarcRecord | Gap]:
    """The records that start in [start, end); None is the end of the file.

    A stretch without a record belongs to the range of the record before it; one at the very start of the file to the range that starts there.
    """
    source = Source(open_at(start), start)
    if start > 0 and not packing.find(source):
        return
    while not source.at_end():
        offset = source.position
        if not packing.starts(source):
            packing.find(source)
            detail = f"no WARC record in {source.position - offset} bytes"
            yield Gap(offset=offset, length=source.position - offset, reason=DropReason.BAD_RECORD, detail=detail)
            continue
        if end is not None and offset >= end:
            return
        try:
            yield from _member(source, packing, keep_bytes)
        except Damage as damage:
            source = Source(open_at(offset + 1), offset + 1)
            packing.find(source)
            yield Gap(offset=offset, length=source.position - offset, reason=damage.reason, detail=damage.detail)


def _member(source: Source, packing: Packing, keep_bytes: int) -> Iterator[WarcRecord]:
    """The records of one member; of a plain file, the one at `source`."""
    offset = source.position
    text = packing.unpacked(source)
    held = parse_record(text, keep_bytes)
    if text is source:
        yield msgspec.structs.replace(held, offset=offset, length=source.position - offset)
        return
    alone = True
    while not text.at_end():
        alone = False
        yield msgspec.structs.replace(held, offset=offset, alone=False)
        held = parse_record(text, keep_bytes)
    yield msgspec.structs.replace(held, offset=offset, length=source.position - offset, alone=alone)


def parse_record(text: Source, keep_bytes: int) -> WarcRecord:
    """The record at `text`, which moves behind it and its line ends.

    Raises:
        Damage: no head, no length, a block shorter than stated, or one that is followed by something else than a line end.
    """
    head = peek_head(text)
    if head is None or not head.startswith(Plain.magic):
        raise Damage(DropReason.BAD_RECORD, f"no WARC head within {MAX_HEAD_BYTES} bytes")
    text.skip(len(head))
    headers = parse_fields(head)
    stated = headers.get("content-length", "")
    if not stated.isascii() or not stated.isdigit() or len(stated) > 18 or "warc-type" not in headers:
        raise Damage(DropReason.BAD_RECORD, f"WARC-Type or Content-Length is missing or wrong: {stated[:40]!r}")
    length = int(stated)
    block = text.read(min(length, keep_bytes))
    present = len(block) + text.skip(length - len(block))
    if present < length:
        raise Damage(DropReason.TRUNCATED, f"{present} of {length} bytes")
    _skip_line_ends(text, length)
    return WarcRecord(offset=0, length=0, headers=headers, block=block, block_length=length)


def _skip_line_ends(text: Source, length: int) -> None:
    """Moves over the line ends that close a record (two by the standard; none, or more, in the wild)."""
    tail = text.peek(64)
    ends = len(tail) - len(tail.lstrip(_NEWLINES))
    text.skip(ends)
    if ends < 2 and len(tail) > ends and not tail[ends:].startswith(Plain.magic):
        raise Damage(DropReason.BAD_RECORD, f"the block is not {length} bytes long")


def parse_fields(head: bytes) -> dict[str, str]:
    """The named fields of a WARC or HTTP head (first line left out), by lower-case name; of equal names the first counts."""
    fields: dict[str, str] = {}
    for line in _FOLD.sub(b" ", head).split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(_text(name).strip().lower(), _text(value).strip())
    return fields


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
