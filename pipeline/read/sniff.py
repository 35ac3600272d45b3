"""What bytes are, by their first ones.

In: the first 512 bytes or more, or a stated media type. Out: a media type of those that readers care about, or an empty string; or a family of them. After the WHATWG MIME Sniffing standard
(mimesniff.spec.whatwg.org), with the formats that it leaves to the header.
"""

import re

_MAGIC = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"\xff\x0a", "image/jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"OggS\x00", "video/ogg"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"WEBVTT", "text/vtt"),
    (b"\xef\xbb\xbfWEBVTT", "text/vtt"),
    (b"wOFF", "font/woff"),
    (b"wOF2", "font/woff2"),
)
_FTYP = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
}
_SPACE_AND_COMMENTS = re.compile(rb"(?:\xef\xbb\xbf)?(?:\s+|<!--.*?-->|<\?xml[^>]*\?>)*", re.DOTALL)
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE)
_SVG = re.compile(rb"(?:<!doctype\s+svg[^>]*>\s*)?<svg[\s>]", re.IGNORECASE)
_FAMILIES = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("html", r"html"),
        ("css", r"^text/css"),
        ("javascript", r"javascript|ecmascript"),
        ("json", r"json"),
        ("feed", r"rss|atom"),
        ("image", r"^image/"),
        ("xml", r"xml"),
        ("pdf", r"pdf"),
        ("font", r"font|woff"),
        ("video", r"^video/"),
        ("audio", r"^audio/"),
        ("archive", r"zip|compressed|x-tar|x-7z|x-rar"),
        ("text", r"^text/"),
    )
)


def sniff(first: bytes) -> str:
    """The media type of what begins with `first`; empty where the bytes do not say."""
    for magic, mime in _MAGIC:
        if first.startswith(magic):
            return mime
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return "image/webp"
    if first[4:8] == b"ftyp":
        return _FTYP.get(first[8:12], "video/mp4")
    skipped = _SPACE_AND_COMMENTS.match(first)
    at = skipped.end() if skipped else 0
    if _HTML.match(first, at):
        return "text/html"
    if _SVG.match(first, at):
        return "image/svg+xml"
    return ""


def family(mime: str) -> str:
    """The kind of thing that a media type is, in a word out of few: what counts are kept by."""
    for name, pattern in _FAMILIES:
        if pattern.search(mime):
            return name
    return "other"
