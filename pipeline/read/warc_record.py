"""One WARC record: its form, and our own parser, which believes nothing.

In: a `Source` that stands at a record. Out: a `WarcRecord`, with the source behind it, or `Damage`. A record is believed when it is as long as it says
and a line end follows; so one that lies about its length loses itself, never a neighbour.
"""

import re

import msgspec

from pipeline.read.members import BLANKS, MAX_HEAD_BYTES, Plain, peek_head
from pipeline.read.source import Damage, Source, Write
from schemas.drops import DropReason

USED_TYPES = ("response", "resource", "revisit")  # the blocks of all others are passed over

_SLACK_BYTES = 64  # ours: by so much a Content-Length may be too short, when a record follows then
_CLOSE = b"\r\n\r\n"
_FOLD = re.compile(rb"\r?\n[ \t]+")
_NEXT = re.compile(rb"\r?\n\r?\nWARC/\d")
_LENGTH = re.compile(r"\d{1,18}", re.ASCII)


class WarcRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One record: `headers` by lower-case name, the first bytes of its block (none of a type that is not used), and the block's whole length.

    `offset`, `length` are of the packed record in the file. `alone` is False where it shares a gzip member with others, and so cannot be read by offset;
    `truncated` where bytes of the block stand behind its stated end.
    """

    offset: int
    length: int
    headers: dict[str, str]
    block: bytes
    block_length: int
    alone: bool = True
    truncated: bool = False

    @property
    def type(self) -> str:
        """The WARC-Type, in lower case."""
        return self.headers["warc-type"].lower()


def parse_record(text: Source, keep_bytes: int, rest: Write | None = None) -> WarcRecord:
    """The record at `text`, which moves behind it and its line ends; its offset is that in `text`, its length not known yet.

    What its block has beyond `keep_bytes` is given to `rest`.

    Raises:
        Damage: no head, no length, a block shorter than stated, or one that is followed by something else than a line end.
    """
    offset = text.position
    _skip_line_ends(text)
    head = peek_head(text)
    while head is None and text.extend():
        head = peek_head(text)
    if head is None or not head.startswith(Plain.magic):
        raise Damage(DropReason.BAD_RECORD, f"no WARC head within {MAX_HEAD_BYTES} bytes")
    text.skip(len(head))
    headers = parse_fields(head)
    length = stated_length(headers)
    kept = min(length, keep_bytes) if headers["warc-type"].lower() in USED_TYPES else 0
    block = text.read(kept)
    while len(block) < kept and text.extend():
        block += text.read(kept - len(block))
    present = len(block) + text.skip(length - len(block), rest)
    while present < length and text.extend():
        present += text.skip(length - present, rest)
    if present < length:
        raise Damage(DropReason.TRUNCATED, f"{present} of {length} bytes of the block")
    truncated = _skip_to_end(text, length)
    return WarcRecord(offset=offset, length=0, headers=headers, block=block, block_length=length, truncated=truncated)


def stated_length(headers: dict[str, str]) -> int:
    """The Content-Length of a record.

    Raises:
        Damage: there is none, or no WARC-Type, without which nothing is a record.
    """
    if "warc-type" not in headers:
        raise Damage(DropReason.BAD_RECORD, "no WARC-Type")
    stated = headers.get("content-length", "")
    if not _LENGTH.fullmatch(stated):
        raise Damage(DropReason.BAD_RECORD, f"Content-Length is {stated[:40]!r}")
    return int(stated)


def _skip_line_ends(text: Source) -> int:
    tail = text.peek(_SLACK_BYTES)
    return text.skip(len(tail) - len(tail.lstrip(BLANKS)))


def _skip_to_end(text: Source, length: int) -> bool:
    """Moves over the line ends that close a record (two by the standard; none, or more, in the wild); True where some of the block stood before them."""
    tail = text.peek(_SLACK_BYTES)
    ends = len(tail) - len(tail.lstrip(BLANKS))
    if ends >= len(_CLOSE) or len(tail) == ends or tail[ends:].startswith(Plain.magic):
        text.skip(ends)
        return False
    if found := _NEXT.search(tail):
        text.skip(found.end() - len(b"WARC/1"))
        return True
    raise Damage(DropReason.BAD_RECORD, f"the block is not {length} bytes long")


def parse_fields(head: bytes) -> dict[str, str]:
    """The fields of a WARC or HTTP head by lower-case name, values stripped; of equal names the first counts.

    The first line is left out, folded lines are joined; what is not UTF-8 is taken for Latin-1, line by line.
    """
    if b"\n " in head or b"\n\t" in head:
        head = _FOLD.sub(b" ", head)
    try:
        lines = head.decode().split("\n")
    except UnicodeDecodeError:
        lines = [_text(line) for line in head.split(b"\n")]
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")
