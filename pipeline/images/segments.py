"""Segments of JPEG, PNG and WebP files, and what can be done with them without decoding a pixel.

In: the bytes of a file. Out: its segments in order, its colour profile, and the same picture without metadata. All three formats are a
row of labelled parts, and the picture itself stands in few of them; the rest (EXIF, XMP, IPTC, ICC, comments, thumbnails, a second picture
after the first) can be left out without touching what is shown. Every walk is bounded by `MAX_SEGMENTS` and ends where the framing breaks.
"""

import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAX_SEGMENTS = 20_000  # ours: a PNG of 20 MB in parts of 1 KB
MAX_PROFILE_BYTES = 4_000_000  # ours: CMYK press profiles are 0.5 to 3 MB
_INFLATED_BYTES = 1_000_000

_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff])", re.DOTALL)
_JPEG_SCAN_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_SOI, _SOS, _EOI, _COMMENT = b"\xd8", b"\xda", b"\xd9", b"\xfe"
_STANDALONE = frozenset(bytes([marker]) for marker in (0x01, *range(0xD0, 0xD9)))
_JFIF_BYTES = 14  # a JFIF segment without a thumbnail
# What a PNG decoder needs, and colour and density hints that say nothing of where the picture came from.
_PNG_KEPT = frozenset(
    {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sRGB", b"gAMA", b"cHRM", b"sBIT", b"bKGD", b"hIST", b"pHYs"}
)
_WEBP_KEPT = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH"})
_WEBP_ICC, _WEBP_EXIF, _WEBP_XMP = 0x20, 0x08, 0x04


class Segment(NamedTuple):
    """One part of a file: `data[start:end]` is all of it, `data[body:body_end]` its payload.

    `kind` is the byte after 0xFF in a JPEG (a start-of-scan segment includes the scan), the four letters in PNG and WebP.
    """

    kind: bytes
    start: int
    end: int
    body: int
    body_end: int


def walk(data: bytes, format: str) -> Iterator[Segment]:
    """The segments of a JPEG, PNG or WebP file, until its end or until the framing breaks; none for other formats."""
    match format:
        case "jpeg":
            yield from _jpeg(data)
        case "png":
            yield from _png(data)
        case "webp":
            yield from _webp(data)


def _jpeg(data: bytes) -> Iterator[Segment]:
    yield Segment(_SOI, 0, 2, 2, 2)
    at = 2
    for _ in range(MAX_SEGMENTS):
        marker = _JPEG_MARKER.match(data, at)
        if marker is None or marker[1] in _STANDALONE:
            return
        body = marker.end() + 2
        if marker[1] == _EOI:
            yield Segment(_EOI, at, marker.end(), marker.end(), marker.end())
            return
        end = body_end = marker.end() + int.from_bytes(data[marker.end() : body])
        if body_end < body or body_end > len(data):
            return
        if marker[1] == _SOS:
            scan_end = _JPEG_SCAN_END.search(data, body_end)
            end = scan_end.start() if scan_end else len(data)
        yield Segment(marker[1], at, end, body, body_end)
        at = end


def _png(data: bytes) -> Iterator[Segment]:
    at = 8
    for _ in range(MAX_SEGMENTS):
        body = at + 8
        body_end = body + int.from_bytes(data[at : at + 4])
        if body_end + 4 > len(data):
            return
        kind = data[at + 4 : body]
        yield Segment(kind, at, body_end + 4, body, body_end)
        at = body_end + 4
        if kind == b"IEND":
            return


def _webp(data: bytes) -> Iterator[Segment]:
    riff_end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    at = 12
    for _ in range(MAX_SEGMENTS):
        body = at + 8
        body_end = body + int.from_bytes(data[at + 4 : body], "little")
        end = body_end + body_end % 2
        if body > riff_end or body_end > riff_end:
            return
        yield Segment(data[at : at + 4], at, min(end, len(data)), body, body_end)
        at = end


def is_complete(data: bytes, format: str, segments: list[Segment]) -> bool:
    """Whether the segments reach the end that the format asks for: EOI, IEND, or the length that the RIFF header states."""
    match format:
        case "jpeg":
            return segments[-1].kind == _EOI
        case "png":
            return bool(segments) and segments[-1].kind == b"IEND"
        case "webp":
            stated = 8 + int.from_bytes(data[4:8], "little")
            return bool(segments) and stated <= len(data) and segments[-1].end >= stated - 1
        case _:
            return False


def has_all_rows(data: bytes, segments: list[Segment]) -> bool:
    """Whether the pixel data of a PNG inflates to every row that its header promises.

    Pillow takes a deflate stream that ends early for a picture whose rest is black.
    """
    head = segments[0].body
    if data[head + 12]:  # interlaced: Pillow notices by itself
        return True
    width, height = int.from_bytes(data[head : head + 4]), int.from_bytes(data[head + 4 : head + 8])
    components = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[data[head + 9]]
    missing = height * (1 + (width * components * data[head + 8] + 7) // 8)
    inflater = zlib.decompressobj()
    for part in segments:
        deflated = data[part.body : part.body_end] if part.kind == b"IDAT" else b""
        while deflated and missing > 0 and not inflater.eof:
            missing -= len(inflater.decompress(deflated, _INFLATED_BYTES))
            deflated = inflater.unconsumed_tail
    return missing <= 0


def colour_profile(data: bytes, segments: list[Segment]) -> bytes:
    """The embedded ICC profile, empty where there is none, or none that can be read within `MAX_PROFILE_BYTES`."""
    parts: dict[int, bytes] = {}
    for kind, _, _, body, body_end in segments:
        if kind == b"\xe2" and data[body : body + 12] == b"ICC_PROFILE\x00":
            parts[data[body + 12] if body + 12 < body_end else 0] = data[body + 14 : body_end]
        elif kind == b"iCCP":
            return _inflated(data[body:body_end].partition(b"\x00")[2][1:])
        elif kind == b"ICCP":
            parts[0] = data[body:body_end]
    profile = b"".join([parts[number] for number in sorted(parts)])
    return profile if len(profile) <= MAX_PROFILE_BYTES else b""


def _inflated(deflated: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(deflated, MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if inflater.eof else b""


def stripped(data: bytes, format: str, segments: list[Segment]) -> bytes:
    """The same picture without metadata, bit for bit the same pixels; `data` itself where nothing has to go.

    Goes: EXIF, XMP, IPTC, ICC, comments, text chunks, thumbnails, private chunks, everything after the picture's end. Stays: JFIF and
    Adobe markers, which say how the components are to be read, and PNG's colour and density hints. The segments must be complete.
    """
    match format:
        case "jpeg":
            kept = [data[part.start : part.end] for part in segments if _stays_in_jpeg(data, part)]
        case "png":
            kept = [data[:8], *(data[part.start : part.end] for part in segments if part.kind in _PNG_KEPT)]
        case _:
            kept = [_webp_chunk(data, part) for part in segments if part.kind in _WEBP_KEPT]
            length = 4 + sum(map(len, kept))
            kept = [b"RIFF", length.to_bytes(4, "little"), b"WEBP", *kept]
    joined = b"".join(kept)
    return data if joined == data else joined


def _stays_in_jpeg(data: bytes, part: Segment) -> bool:
    if part.kind == b"\xe0":
        return data[part.body : part.body + 5] == b"JFIF\x00" and part.body_end - part.body == _JFIF_BYTES
    if part.kind == b"\xee":
        return data[part.body : part.body + 5] == b"Adobe"
    return part.kind != _COMMENT and not 0xE0 <= part.kind[0] <= 0xEF


def _webp_chunk(data: bytes, part: Segment) -> bytes:
    chunk = data[part.start : part.end]
    if part.kind == b"VP8X" and len(chunk) > 8:
        flags = chunk[8] & ~(_WEBP_ICC | _WEBP_EXIF | _WEBP_XMP)
        return chunk[:8] + bytes([flags]) + chunk[9:]
    return chunk + b"\x00" * (len(chunk) % 2)
