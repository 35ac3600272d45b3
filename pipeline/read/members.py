"""How records are packed in a WARC file: a gzip member or a Zstandard frame each, or plainly one after the other.

A packing says whether a record starts where a source stands (the same test for a cut file, for a resync after damage and for the next record, so that
all slices agree), how to find the next such place, and gives the record's own bytes.
"""

import io
import re
import zlib

import zstandard

from pipeline.read.source import CHUNK_BYTES, Damage, Source
from schemas.drops import DropReason

MAX_HEAD_BYTES = 1 << 20  # ours: real WARC heads are under 10 KB, the longest URLs 2 MB are no pages

BLANKS = b" \t\r\n\f"  # what FastWARC passes over between records

_FILLER_BYTES = 64
_PEEKED_BYTES = 1 << 10
_SEARCHED_BYTES = 1 << 20  # ours: so much of a file may be damaged at its start
_ZSTD_BLOCK_BYTES = 128 << 10  # RFC 8878, 3.1.1.2.4: nothing comes out before a whole block went in
_MAX_WINDOW_BYTES = 128 << 20  # what the zstd tool takes without being asked
_MAX_DICTIONARY_BYTES = 16 << 20  # ours: trained dictionaries are about 1 MB

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_NEXT_HEAD = re.compile(rb"\nWARC/\d+\.\d+\s*\n")
_VERSION = re.compile(rb"WARC/\d+\.\d+\s*\n")
_TYPE = re.compile(rb"\nwarc-type[ \t]*:", re.IGNORECASE)
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:", re.IGNORECASE)


def peek_head(source: Source) -> bytes | None:
    """The bytes up to and with the first blank line, without moving; None where there is none within `MAX_HEAD_BYTES`, or another head begins before."""
    size = 1 << 11
    while True:
        data = source.peek(size)
        found = _HEAD_END.search(data)
        if (another := _NEXT_HEAD.search(data, 1)) and (not found or another.start() < found.start()):
            return None
        if found:
            return data[: found.end()]
        if len(data) < size or size >= MAX_HEAD_BYTES:
            return None
        size <<= 3


class Packing:
    """One way to pack records; `magic` are the bytes that every record begins with, `checks_cheaply` says whether `first` costs less than reading."""

    magic: bytes
    checks_cheaply = True

    def first(self, source: Source, size: int) -> bytes:
        """Up to `size` of the first unpacked bytes of the member at `source`, which stays where it is; none where there is no member."""
        raise NotImplementedError

    def starts(self, source: Source) -> bool:
        """Whether a record starts where `source` stands; line ends of the one before may be in front of it in its member."""
        return self.first(source, len(Plain.magic) + _FILLER_BYTES).lstrip(BLANKS).startswith(Plain.magic)

    def unpacked(self, source: Source) -> Source:
        """The bytes of the member at `source`, or `source` itself."""
        raise NotImplementedError

    def skip_filler(self, source: Source) -> bool:
        """Moves over what is neither a record nor damage; False where there is no such thing."""
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

    def first(self, source: Source, size: int) -> bytes:
        """The next bytes."""
        return source.peek(size)

    def starts(self, source: Source) -> bool:
        """A version line, and the two fields that no record can do without."""
        if not _VERSION.match(source.peek(32)):
            return False
        head = peek_head(source)
        return head is not None and bool(_TYPE.search(head)) and bool(_LENGTH.search(head))

    def unpacked(self, source: Source) -> Source:
        """The source itself."""
        return source

    def skip_filler(self, source: Source) -> bool:
        """Line ends."""
        tail = source.peek(_FILLER_BYTES)
        return source.skip(len(tail) - len(tail.lstrip(BLANKS))) > 0


class Gzip(Packing):
    """A gzip member for each record, or for many, or many for one."""

    magic = b"\x1f\x8b\x08"

    def first(self, source: Source, size: int) -> bytes:
        """What the first bytes inflate to."""
        if source.peek(3) != self.magic:
            return b""
        try:
            return zlib.decompressobj(wbits=31).decompress(source.peek(max(size, _PEEKED_BYTES)), size)
        except zlib.error:
            return b""

    def unpacked(self, source: Source) -> Source:
        """The member's bytes; reading them to the end verifies the CRC and moves `source` behind it."""
        member = _GzipMember(source)

        def extend() -> bool:
            return source.peek(3) == self.magic and not self.starts(source) and member.extend()

        return Source(member, extend=extend)

    def skip_filler(self, source: Source) -> bool:
        """A small member of line ends or nothing (some writers close a file, or each record, so)."""
        packed = source.peek(_PEEKED_BYTES)
        inflate = zlib.decompressobj(wbits=31)
        try:
            if packed[:3] != self.magic or inflate.decompress(packed, _FILLER_BYTES).strip(BLANKS):
                return False
        except zlib.error:
            return False
        return inflate.eof and source.skip(len(packed) - len(inflate.unused_data)) > 0


class _GzipMember:
    """Inflates one member, in chunks that are bounded whatever the ratio; `extend` goes on into the next."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(wbits=31)

    def extend(self) -> bool:
        """Goes on into the member behind this one; False where this one is not at its end."""
        if not self._inflate.eof:
            return False
        self._inflate = zlib.decompressobj(wbits=31)
        return True

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


class Zstd(Packing):
    """A Zstandard frame for each record, after an optional dictionary in a skippable frame at the start of the file.

    Source: the IIPC's draft "Use of Zstandard compression for WARC" 1.0.
    """

    magic = b"\x28\xb5\x2f\xfd"
    checks_cheaply = False  # a block is unpacked whole, and most records are one block

    def __init__(self, dictionary: bytes = b"") -> None:
        self.has_dictionary = bool(dictionary)
        data = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self._decompressor = zstandard.ZstdDecompressor(dict_data=data, max_window_size=_MAX_WINDOW_BYTES)

    def first(self, source: Source, size: int) -> bytes:
        """What the first block holds."""
        if source.peek(4) != self.magic:
            return b""
        peeked = _PEEKED_BYTES
        while True:
            packed = source.peek(peeked)
            try:
                data = self._decompressor.stream_reader(packed).read(size)
            except zstandard.ZstdError:
                return b""
            if data or len(packed) < peeked or peeked > _ZSTD_BLOCK_BYTES:
                return data
            peeked <<= 2

    def unpacked(self, source: Source) -> Source:
        """The frame's bytes; reading them to the end moves `source` behind it."""
        return Source(_ZstdFrame(source, self._decompressor))

    def skip_filler(self, source: Source) -> bool:
        """A skippable frame."""
        head = source.peek(8)
        if len(head) < 8 or not _is_skippable(head):
            return False
        return source.skip(8 + int.from_bytes(head[4:8], "little")) > 0


class _ZstdFrame:
    """Decompresses one frame. Of 1 KB no more than 32 MB can come out, so what is fed is small."""

    def __init__(self, source: Source, decompressor: zstandard.ZstdDecompressor) -> None:
        self._source = source
        self._frame = decompressor.decompressobj()

    def read(self, size: int, /) -> bytes:
        """What the next bytes hold, whatever `size`; none at the frame's end."""
        while not self._frame.eof:
            packed = self._source.read(1 << 10)
            if not packed:
                raise Damage(DropReason.TRUNCATED, "the file ends inside a zstd frame")
            try:
                data = self._frame.decompress(packed)
            except zstandard.ZstdError as error:
                raise Damage(DropReason.BAD_RECORD, f"zstd frame: {error}") from None
            if self._frame.eof:
                self._source.unread(self._frame.unused_data)
            if data:
                return data
        return b""


def packing_of(source: Source) -> Packing | None:
    """The packing of the file at whose start `source` stands; None where there is no record in the first `_SEARCHED_BYTES`.

    Raises:
        Damage: a dictionary that cannot be read.
    """
    if _is_skippable(source.peek(4)):
        return Zstd(_zstd_dictionary(source))
    packings: tuple[Packing, ...] = (Gzip(), Zstd(), Plain())  # small frames hold plain text: look for frames first
    for packing in packings:
        if packing.starts(source):
            return packing
    searched = source.peek(_SEARCHED_BYTES)
    for packing in packings:
        if packing.find(Source(io.BytesIO(searched))):
            return packing
    return None


def _is_skippable(first: bytes) -> bool:
    return len(first) >= 4 and first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50


def _zstd_dictionary(source: Source) -> bytes:
    """The dictionary in the first skippable frame, itself compressed or not; none where the frame holds something else."""
    head = source.peek(8)
    length = int.from_bytes(head[4:8], "little")
    if head[0] != 0x5D or length > _MAX_DICTIONARY_BYTES:
        return b""
    data = source.peek(8 + length)[8:]
    try:
        if data.startswith(Zstd.magic):
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_DICTIONARY_BYTES)
        zstandard.ZstdCompressionDict(data)
    except (zstandard.ZstdError, MemoryError) as error:
        raise Damage(DropReason.BAD_RECORD, f"the file's zstd dictionary: {error}") from None
    return data
