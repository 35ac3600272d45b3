"""The quick way through a sound WARC: FastWARC, believed only as far as it can be checked.

In: an open file and a range. Out: records, each held back until two more are known to start behind it, and at the end the offset from where on the
careful parser has to look for itself. FastWARC finds and unpacks the records; their heads are parsed by us, as in the careful parser. Checks are needed because FastWARC 2.0 hands out a last record that is cut short as if it were whole, stops at
damage, and gives records that share a gzip member offsets where no record stands.
"""

import re
from collections import deque
from collections.abc import Generator

import msgspec
from fastwarc import ArchiveIterator
from fastwarc import WarcRecord as FastRecord

from pipeline.read.members import MAX_HEAD_BYTES, Packing
from pipeline.read.source import Damage, Readable, Source
from pipeline.read.warc_record import USED_TYPES, WarcRecord, parse_fields, stated_length
from schemas.drops import DropReason

_HELD = 2  # a record in a shared member can be given the offset of the member behind it: only the record after that one tells
_KEPT_CHUNKS = 32  # of 64 KB: FastWARC was seen to read 9 chunks ahead of the record that it hands out
_PIECE_BYTES = 2 << 10
_HEAD_SIZES = (1 << 10, 64 << 10)
_CLEAN_HEAD = re.compile(rb"WARC/1\.[01]\r\n(?:[A-Za-z][A-Za-z0-9-]*:[ \t][^\r\n]+\r\n)+\r\n")


class _Tee:
    """Passes reads on, and keeps the last of them, so that what FastWARC says about them can be checked."""

    def __init__(self, file: Readable, position: int) -> None:
        self._file = file
        self._chunks: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_CHUNKS)
        self.position = position

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes of the file."""
        data = self._file.read(size)
        if data:
            self._chunks.append((self.position, data))
            self.position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Not possible: FastWARC asks for it to be there, but reads straight on."""
        raise OSError("cannot seek")

    def close(self) -> None:
        """Leaves the file open: it is not this object's."""

    def tell(self) -> int:
        """The absolute offset of the next byte: FastWARC counts from there."""
        return self.position

    def kept_from(self, offset: int) -> Source:
        """What is kept of the bytes from `offset` on; nothing where they are gone."""
        index = len(self._chunks) - 1
        while index >= 0 and self._chunks[index][0] > offset:
            index -= 1
        return Source(_Kept(self._chunks, index, offset))


class _Kept:
    """The kept chunks from `offset` in the one at `index` on, in small pieces: most checks need few bytes."""

    def __init__(self, chunks: deque[tuple[int, bytes]], index: int, offset: int) -> None:
        self._chunks = chunks
        self._index = index
        self._offset = offset

    def read(self, size: int, /) -> bytes:
        """Up to 2 KB; none at the end of what is kept."""
        if not 0 <= self._index < len(self._chunks):
            return b""
        begin, chunk = self._chunks[self._index]
        data = chunk[self._offset - begin : self._offset - begin + min(size, _PIECE_BYTES)]
        self._offset += len(data)
        self._index += self._offset == begin + len(chunk)
        return data


def sound_records(
    file: Readable, packing: Packing, start: int, end: int | None, keep_bytes: int
) -> Generator[WarcRecord, None, int | None]:
    """The records from `start` (a record start) up to `end`, as long as nothing is wrong.

    Returns the offset of the first record that is in doubt; None where all of the range was read. The last records of a file are always in doubt.
    """
    tee = _Tee(file, start)
    held: deque[WarcRecord] = deque()
    try:
        for fast in ArchiveIterator(tee, parse_http=False, max_header_len=MAX_HEAD_BYTES, strict_mode=False):
            offset = fast.stream_pos
            if held and offset <= held[-1].offset:
                break
            head = _clean_head(packing, tee.kept_from(offset))
            if head is None:
                break
            if len(held) == _HELD:
                record = held.popleft()
                if end is not None and record.offset >= end:
                    return None
                yield msgspec.structs.replace(record, length=held[0].offset - record.offset)
            held.append(_record(fast, offset, head, keep_bytes))
    except (Damage, OSError, ValueError):
        pass
    return held[0].offset if held else start


def _clean_head(packing: Packing, member: Source) -> bytes | None:
    """The head of the record at `member`; None where it is not of the plainest form, on which no two parsers differ, or no record's at all."""
    for size in _HEAD_SIZES:
        head = packing.first(member, size)
        if found := _CLEAN_HEAD.match(head):
            return found[0]
        if len(head) < size:
            return None
    return None


def _record(fast: FastRecord, offset: int, head: bytes, keep_bytes: int) -> WarcRecord:
    headers = parse_fields(head)
    length = stated_length(headers)
    kept = min(length, keep_bytes) if headers["warc-type"].lower() in USED_TYPES else 0
    block = fast.reader.read(kept) if kept else b""
    present = len(block) + (fast.reader.consume() if len(block) < length else 0)
    if present != length:
        raise Damage(DropReason.TRUNCATED, f"{present} of {length} bytes of the block")
    return WarcRecord(offset=offset, length=0, headers=headers, block=block, block_length=length)
