"""Bytes of a page to UTF-8: byte order mark, then what is valid UTF-8, then the labels, then a detector.

A label is a claim, and the bytes are the evidence: text beyond ASCII that decodes as UTF-8 is UTF-8 whatever its label says, and a label
under which the bytes do not decode, or come out as garbage, is overridden. So no page is lost to a wrong label.
"""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

MAX_META_BYTES = 4096  # ours: the HTML standard looks at 1024, real pages have it later
MAX_DETECT_BYTES = 65_536  # ours: a detector learns nothing more from the rest
MAX_DAMAGE = (
    0.02  # ours: broken characters per byte beyond ASCII (a cut comment, a foreign widget) that a label survives
)
MAX_WESTERN_RUN = 3  # ours: mean length of runs of bytes beyond ASCII; in Western text such letters stand alone

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(
    rb"""<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([a-z0-9_:.-]+)|<\?xml[^>]*?\bencoding\s*=\s*["']([a-z0-9_:.-]+)""",
    re.IGNORECASE,
)
_NON_ASCII = re.compile(rb"[\x80-\xff]+")
# Python's codecs that hold all that browsers read under the left name (WHATWG Encoding, 4.2).
_SUPERSETS = {"gbk": "gb18030", "euc-kr": "cp949", "euc_kr": "cp949", "shift_jis": "cp932", "big5": "big5hkscs"}
_WESTERN = frozenset({"cp1252", "iso8859-15"})


def to_utf8(html: bytes, charset: str | None) -> bytes:
    """The page in UTF-8 without its byte order mark, from any bytes; `charset` is the label of the HTTP header."""
    for bom, encoding in _BOMS:
        if html.startswith(bom):
            return _recode(html[len(bom) :], encoding)
    if html[:512].count(0) * 3 > len(html[:512]):  # ASCII in UTF-16: every other byte is a NUL
        return _recode(html, "utf-16-le" if html[1:2] == b"\0" else "utf-16-be")
    if b"\x1b" not in html and _is_utf8(html):  # ISO-2022-JP escapes its way through ASCII
        return html
    label = _codec(charset) or _codec(_meta_label(html))
    if label != "iso2022_jp" and _is_utf8(html):
        return html
    runs = _NON_ASCII.findall(html[:MAX_DETECT_BYTES])
    beyond = sum(map(len, runs))
    if label and not (label in _WESTERN and beyond > MAX_WESTERN_RUN * len(runs)):
        text = html.decode(label, "replace")
        if text.count("\ufffd", 0, MAX_DETECT_BYTES) <= MAX_DAMAGE * beyond:
            return text.encode("utf-8", "replace")
    detected = _codec(detect_encoding(html[:MAX_DETECT_BYTES]))
    # That it is not UTF-8 is known; most of what no detector knows is Western.
    return _recode(html, detected if detected not in ("", "utf-8") else "cp1252")


def _is_utf8(html: bytes) -> bool:
    try:
        html.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _recode(html: bytes, encoding: str) -> bytes:
    return html.decode(encoding, "replace").encode("utf-8", "replace")


def _meta_label(html: bytes) -> str | None:
    match = _META.search(html, 0, MAX_META_BYTES)
    return (match[1] or match[2]).decode("ascii") if match else None


def _codec(label: str | None) -> str:
    """Python's name of an encoding label as browsers take it, or "" for one that they do not know."""
    name = map_encoding_to_html5(label.strip(), fallback_utf8=False) if label else None
    if not name:
        return ""
    name = _SUPERSETS.get(name.lower(), name)
    try:
        name = codecs.lookup(name).name
    except LookupError:
        return ""
    # A label that can be read as ASCII is not UTF-16 (HTML 13.2.3.2).
    return "utf-8" if name.startswith("utf-16") else name
