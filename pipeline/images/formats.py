"""Formats: what a file is by its own first bytes.

In: the bytes that a server gave for an image URL; what it called them is not asked, as it is wrong often enough. Out: a name. Besides pictures, it
knows what stands in their place on the web: videos, SVG (also gzipped), and HTML pages that report an error.
"""

import re
import zlib
from typing import Literal, TypeAlias

PictureFormat: TypeAlias = Literal["jpeg", "png", "webp", "gif", "avif", "bmp", "tiff", "ico", "heic", "jp2", "jxl"]
VideoFormat: TypeAlias = Literal["mp4", "webm", "ogg", "avi"]
Format: TypeAlias = PictureFormat | VideoFormat | Literal["svg", "html"]

_MARKUP_BYTES = 65_536  # ours: an editor's comments and entity declarations before <svg> are 1 to 4 KB
_MAGIC: list[tuple[bytes, Format]] = [
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"II+\x00", "tiff"),
    (b"MM\x00+", "tiff"),
    (b"\x1a\x45\xdf\xa3", "webm"),
    (b"OggS", "ogg"),
    (b"\xff\x0a", "jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "jp2"),
    (b"\xff\x4f\xff\x51", "jp2"),
]
_RIFF: dict[bytes, Format] = {b"WEBP": "webp", b"AVI ": "avi"}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset(
    {b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif2"}
)
_BMP_HEADER_BYTES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_SVG_TAG = re.compile(rb"<(?:[a-z_][\w.-]{0,63}:)?svg[\s>/]")
_HTML_TAG = re.compile(
    rb"<(?:!doctype\s+html|(?:html|head|body|title|meta|script|style|link|div|p|h1|table|a|br)[\s>/])"
)
_SPACE = re.compile(rb"\s+")
_DOCTYPE_END = re.compile(rb"\]\s*>")


def sniff(data: bytes) -> Format | None:
    """The format that the bytes have by their own look; None for what is neither picture, video nor page."""
    for magic, format in _MAGIC:
        if data.startswith(magic):
            return format
    if data[4:8] == b"ftyp":
        return _by_brand(data)
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12])
    if data.startswith(b"BM") and _little(data, 14, 4) in _BMP_HEADER_BYTES:
        return "bmp"
    if data[:4] in (b"\x00\x00\x01\x00", b"\x00\x00\x02\x00") and _little(data, 4, 2) and data[9:10] == b"\x00":
        return "ico"
    return _by_markup(data)


def _little(data: bytes, at: int, length: int) -> int:
    return int.from_bytes(data[at : at + length], "little")


def _by_brand(data: bytes) -> Format:
    """AVIF, HEIC or a video, by the brands of an ISO base media file."""
    length = min(int.from_bytes(data[:4]), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, length, 4))]
    if brands[0] in _AVIF_BRANDS or (brands[0] in _HEIF_BRANDS and not _AVIF_BRANDS.isdisjoint(brands)):
        return "avif"
    return "heic" if brands[0] in _HEIF_BRANDS else "mp4"


def _by_markup(data: bytes) -> Format | None:
    """SVG or HTML: the first tag after byte order mark, declarations, comments and doctype; gzip is looked into."""
    head = data[:_MARKUP_BYTES]
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, _MARKUP_BYTES)
        except zlib.error:
            return None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        head = head.decode("utf-16", "ignore").encode()
    head = head.removeprefix(b"\xef\xbb\xbf").lower()
    at = 0
    while True:
        if space := _SPACE.match(head, at):
            at = space.end()
        if head.startswith(b"<!doctype", at) and not _HTML_TAG.match(head, at):
            if head[at + 9 : at + 32].split()[:1] == [b"svg"]:
                return "svg"
            bracket, close = head.find(b"[", at), head.find(b">", at)
            subset_end = _DOCTYPE_END.search(head, bracket) if -1 < bracket < close else None
            end = subset_end.end() if subset_end else close + 1
        elif head.startswith(b"<!--", at):
            end = head.find(b"-->", at + 4) + 3
        elif head.startswith(b"<?", at):
            end = head.find(b"?>", at) + 2
        else:
            break
        if end <= at:
            return None
        at = end
    if _SVG_TAG.match(head, at):
        return "svg"
    return "html" if _HTML_TAG.match(head, at) else None
