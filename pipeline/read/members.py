"""How records are packed in a WARC file: a gzip member each, or plainly one after the other.

A packing says whether a record starts where a source stands (the same test for a cut file, for a resync after damage and for the next record, so that
all slices agree), how to find the next such place, and gives the record's own bytes.
"""

import re
import zlib

from pipeline.read.source import CHUNK_BYTES, Damage, Readable, Source
from schemas.drops import DropReason

MAX_HEAD_BYTES = 1 << 20  # ours: real WARC heads are under 10 KB, the longest URLs 2 MB are no pages

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_VERSION = re.compile(rb"WARC/\d+\.\d+\s*\n")
_TYPE = re.compile(rb"\nwarc-type[ \t]*:", re.IGNORECASE)
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:", re.IGNORECASE)


def peek_head(source: Source) -> bytes | None:
    """The bytes up to and with the first blank line, without moving; None where there is none within `MAX_HEAD_BYTES`."""
    size = 1 << 11
    while True:
        data = source.peek(size)
        if found := _HEAD_END.search(data):
            return data[: found.end()]
        if len(data) < size or size >= MAX_HEAD_BYTES:
            return None
        size <<= 3


class Packing:
    """One way to pack records; `magic` are the bytes that every record begins with."""

    magic: bytes

    def starts(self, source: Source) -> bool:
        """Whether a record starts where `source` stands."""
        raise NotImplementedError

    def unpacked(self, source: Source) -> Source:
        """The bytes of the member at `source`, or `source` itself."""
        raise NotImplementedError

    def find(self, source: Source) -> bool:
        """Moves to the next record start, at or after where `source` stands; False, and to the end, where there is none."""
        while source.find(self.magic):
            if self.starts(source):
                return True
            source.skip(1)
        return False


class Plain(Packing):
    """Records one after the other."""

    magic = b"WARC/"

    def starts(self, source: Source) -> bool:
        """A version line, and the two fields that no record can do without."""
        if not _VERSION.match(source.peek(32)):
            return False
        head = peek_head(source)
        return head is not None and bool(_TYPE.search(head)) and bool(_LENGTH.search(head))

    def unpacked(self, source: Source) -> Source:
        """The source itself."""
        return source


class Gzip(Packing):
    """A gzip member for each record (or one for all)."""

    magic = b"\x1f\x8b\x08"

    def starts(self, source: Source) -> bool:
        """A gzip header whose first bytes inflate to the start of a record."""
        if source.peek(3) != self.magic:
            return False
        try:
            return zlib.decompressobj(wbits=31).decompress(source.peek(4096), 5) == b"WARC/"
        except zlib.error:
            return False

    def unpacked(self, source: Source) -> Source:
        """The member's bytes; reading them to the end verifies the CRC and moves `source` to the member's end."""
        return Source(_GzipMember(source))


class _GzipMember:
    """Inflates one member, in chunks that are bounded whatever the ratio."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(wbits=31)

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the member's end."""
        inflate = self._inflate
        while not inflate.eof:
            packed = inflate.unconsumed_tail or self._source.chunk()
            try:
                data = inflate.decompress(packed, max(size, CHUNK_BYTES))
            except zlib.error as error:
                raise Damage(DropReason.BAD_RECORD, f"gzip member: {error}") from None
            if inflate.eof:
                self._source.unread(inflate.unused_data)
            if data:
                return data
            if not packed:
                raise Damage(DropReason.TRUNCATED, "the file ends inside a gzip member")
        return b""


def packing_of(first: bytes) -> Packing | None:
    """The packing of a file that begins with `first` (4 bytes or more); None where it is no WARC."""
    if first.startswith(Gzip.magic):
        return Gzip()
    if first.startswith(Plain.magic):
        return Plain()
    return None


__all__ = ["Damage", "Gzip", "Packing", "Plain", "Readable", "packing_of", "peek_head"]
