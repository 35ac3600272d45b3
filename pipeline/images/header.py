"""Headers: what the first bytes of a file say, before anything is decoded.

In: the bytes of a picture. Out: a `Header` with its format, size, orientation, depth and whether it moves. It is read by hand, because it decides whether a decoder may see the file at all: a header
costs microseconds, whatever size it promises. Nothing here raises, and nothing reads further than a bounded number of parts.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from pipeline.images.formats import PictureFormat, sniff
from pipeline.images.segments import Segment, walk

_MAX_BOXES = 1_000  # ours: a camera's AVIF has some fifty boxes and properties
_MAX_GIF_BLOCKS = 200_000  # ours: a full block holds 255 bytes, so one frame of 50 MB
_MAX_IFD_ENTRIES = 1_000  # ours: cameras write some forty

_JPEG_FRAMES = frozenset(bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))

_TAG_WIDTH, _TAG_HEIGHT, _TAG_ORIENTATION = 256, 257, 274


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a picture's header states; nothing of it is checked against the pixels.

    `width` and `height` are px as stored, before orientation, 0 where the header does not say. `orientation` is EXIF's, 1 to 8.
    `components` and `bits` are colour components a pixel and bits a component, 0 where unknown; four components of a JPEG are CMYK, or YCCK where
    Adobe's marker says so (`ycck`). `metadata`: EXIF, XMP, a comment or text is there. `lossless` is known of WebP only.
    """

    format: PictureFormat
    width: int = 0
    height: int = 0
    orientation: int = 1
    animated: bool = False
    components: int = 0
    bits: int = 0
    ycck: bool = False
    icc: bool = False
    metadata: bool = False
    lossless: bool = False


def read_header(data: bytes, segments: Iterable[Segment] | None = None) -> Header | None:
    """The header of a picture; None where `sniff` finds no picture (an SVG has no pixels, so none either).

    `segments` are those of `walk`, where they are known: looking for the ends of scans is most of what a JPEG's header costs.
    """
    format = sniff(data)
    parts = walk(data, format or "") if segments is None else segments
    match format:
        case "jpeg":
            return _jpeg(data, parts)
        case "png":
            return _png(data, parts)
        case "webp":
            return _webp(data, parts)
        case "gif":
            width, height = _little(data, 6, 2), _little(data, 8, 2)
            return Header(format="gif", width=width, height=height, animated=_gif_moves(data))
        case "bmp":
            return _bmp(data)
        case "tiff":
            width, height, orientation = _ifd(data)
            return Header(format="tiff", width=width, height=height, orientation=orientation)
        case "ico":
            return Header(format="ico", width=data[6] or 256, height=data[7] or 256)
        case "avif":
            width, height = _largest_extent(data)
            return Header(format="avif", width=width, height=height, animated=data[8:12] == b"avis")
        case "heic":
            width, height = _largest_extent(data)
            return Header(format="heic", width=width, height=height)
        case "jp2":
            return Header(format="jp2")
        case "jxl":
            return Header(format="jxl")
        case _:
            return None


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")


def _jpeg(data: bytes, segments: Iterable[Segment]) -> Header:
    width = height = components = bits = 0
    orientation = 1
    ycck = icc = metadata = False
    for kind, _, _, body, body_end in segments:
        if kind in _JPEG_FRAMES and body_end - body >= 6:
            bits, components = data[body], data[body + 5]
            height, width = int.from_bytes(data[body + 1 : body + 3]), int.from_bytes(data[body + 3 : body + 5])
        elif kind == b"\xe1" and data[body : body + 6] == b"Exif\x00\x00" and orientation == 1:
            orientation = _ifd(data[body + 6 : body_end])[2]
        elif kind == b"\xe2" and data[body : body + 12] == b"ICC_PROFILE\x00":
            icc = True
            continue
        elif kind == b"\xee" and data[body : body + 5] == b"Adobe" and body_end - body >= 12:
            ycck = data[body + 11] == 2
        elif kind == b"\xda":
            break
        metadata = metadata or kind == b"\xfe" or (kind[0] & 0xF0 == 0xE0 and kind not in (b"\xe0", b"\xee"))
    return Header(
        format="jpeg",
        width=width,
        height=height,
        orientation=orientation,
        components=components,
        bits=bits,
        ycck=ycck and components == 4,
        icc=icc,
        metadata=metadata,
    )


def _png(data: bytes, segments: Iterable[Segment]) -> Header:
    width = height = bits = components = 0
    orientation = 1
    animated = icc = metadata = pixels_seen = False
    for kind, _, _, body, body_end in segments:
        if kind == b"IHDR" and body_end - body >= 13:
            width, height = int.from_bytes(data[body : body + 4]), int.from_bytes(data[body + 4 : body + 8])
            bits, components = data[body + 8], {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(data[body + 9], 0)
        elif kind == b"acTL":
            animated = animated or (not pixels_seen and int.from_bytes(data[body : body + 4]) > 1)
        elif kind == b"IDAT":
            pixels_seen = True
        elif kind == b"iCCP":
            icc = True
        elif kind == b"eXIf":
            orientation = _ifd(data[body:body_end])[2]
        metadata = metadata or kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"tIME")
    return Header(
        format="png",
        width=width,
        height=height,
        orientation=orientation,
        animated=animated,
        components=components,
        bits=bits,
        icc=icc,
        metadata=metadata,
    )


def _webp(data: bytes, segments: Iterable[Segment]) -> Header:
    width = height = 0
    orientation = 1
    animated = icc = metadata = lossless = False
    for kind, _, _, body, body_end in segments:
        if kind == b"VP8X" and body_end - body >= 10:
            animated = animated or bool(data[body] & 0x02)
            width, height = 1 + _little(data, body + 4, 3), 1 + _little(data, body + 7, 3)
        elif kind == b"VP8 " and not width:
            width, height = _little(data, body + 6, 2) & 0x3FFF, _little(data, body + 8, 2) & 0x3FFF
        elif kind == b"VP8L":
            lossless = True
            if not width:
                sizes = _little(data, body + 1, 4)
                width, height = 1 + (sizes & 0x3FFF), 1 + (sizes >> 14 & 0x3FFF)
        elif kind in (b"ANIM", b"ANMF"):
            animated = True
        elif kind == b"ICCP":
            icc = True
        elif kind == b"EXIF":
            orientation = _ifd(data[body:body_end].removeprefix(b"Exif\x00\x00"))[2]
        metadata = metadata or kind in (b"EXIF", b"XMP ")
    return Header(
        format="webp",
        width=width,
        height=height,
        orientation=orientation,
        animated=animated,
        bits=8,
        icc=icc,
        metadata=metadata,
        lossless=lossless,
    )


def _bmp(data: bytes) -> Header:
    if _little(data, 14, 4) in (12, 16):
        return Header(format="bmp", width=_little(data, 18, 2), height=_little(data, 20, 2))
    height = int.from_bytes(data[22:26], "little", signed=True)  # negative: rows from top to bottom
    return Header(format="bmp", width=_little(data, 18, 4), height=abs(height))


def _gif_moves(data: bytes) -> bool:
    """Whether a GIF has more than one frame: its blocks are walked, not decoded."""
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    frames = blocks = 0
    while blocks < _MAX_GIF_BLOCKS:
        match data[at : at + 1]:
            case b"\x2c":
                frames += 1
                if frames > 1:
                    return True
                flags = data[at + 9] if at + 9 < len(data) else 0
                at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
            case b"\x21":
                at += 2
            case _:
                return False
        while at < len(data) and data[at] and blocks < _MAX_GIF_BLOCKS:
            at += 1 + data[at]
            blocks += 1
        at += 1
        blocks += 1
    return False


def _ifd(tiff: bytes) -> tuple[int, int, int]:
    """Width, height and orientation (0, 0 and 1 where not stated) from the first directory of a TIFF file or EXIF block."""
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"
    if tiff[:4] not in (b"II*\x00", b"MM\x00*"):
        return 0, 0, 1
    at = int.from_bytes(tiff[4:8], order)
    found: dict[int, int] = {}
    for entry in range(min(int.from_bytes(tiff[at : at + 2], order), _MAX_IFD_ENTRIES)):
        start = at + 2 + 12 * entry
        length = {3: 2, 4: 4}.get(int.from_bytes(tiff[start + 2 : start + 4], order), 0)
        tag = int.from_bytes(tiff[start : start + 2], order)
        found.setdefault(tag, int.from_bytes(tiff[start + 8 : start + 8 + length], order))
    orientation = found.get(_TAG_ORIENTATION, 1)
    return found.get(_TAG_WIDTH, 0), found.get(_TAG_HEIGHT, 0), orientation if 1 <= orientation <= 8 else 1


def _largest_extent(data: bytes) -> tuple[int, int]:
    """Width and height of the largest image of an AVIF or HEIC file (0, 0 if not stated): a grid is larger than its tiles."""
    start, end = 0, len(data)
    for kind, skip in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        inner = next(((body, stop) for name, body, stop in _boxes(data, start, end) if name == kind), None)
        if inner is None:
            return 0, 0
        start, end = inner[0] + skip, inner[1]
    extents = [
        (int.from_bytes(data[body + 4 : body + 8]), int.from_bytes(data[body + 8 : body + 12]))
        for name, body, _ in _boxes(data, start, end)
        if name == b"ispe"
    ]
    return max(extents, key=lambda extent: extent[0] * extent[1], default=(0, 0))


def _boxes(data: bytes, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """Name, start and end of the payload of each box in `data[start:end]`."""
    boxes: list[tuple[bytes, int, int]] = []
    while start + 8 <= end and len(boxes) < _MAX_BOXES:
        length, head = int.from_bytes(data[start : start + 4]), 8
        if length == 1:
            length, head = int.from_bytes(data[start + 8 : start + 16]), 16
        stop = min(end, start + length) if length else end
        if stop < start + head:
            break
        boxes.append((data[start + 4 : start + 8], start + head, stop))
        start = stop
    return boxes
