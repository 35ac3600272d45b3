"""Pictures that are none: blanks that scripts replace, tracking pixels, decoration, and what the page itself says is tiny.

An absolute URL and its element's attributes come in, a drop reason or None goes out. Words are compared with whole words of the path and of
class and id (`logo` is decoration, `logotherapy` is not), cut at anything that is no letter and at a change to upper case.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from pipeline.urls import MAX_DATA_URL_CHARS
from schemas.drops import DropReason

MIN_SIDE_PX = 64  # Flamingo A.3.1
PIXEL_SIDE_PX = 2  # ours: a pixel is 1x1, some are declared 2x2 or 1x2
MIN_DATA_BYTES = (
    1024  # ours: the blurred stand-ins that pages inline are 200 to 900 bytes, pictures of 64x64 and more are longer
)

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
# Words that tell wherever they stand in the file's name.
_PLACEHOLDER_WORDS = frozenset(
    "placeholder placeholders spacer lazyload lazyloader noimage nophoto nopicture noimg nopic lqip".split()
)
# Words that tell when the whole name is of their kind: `loading-icon.gif` and `blank.png`, not `loading-dock.jpg`.
_BLANK_WORDS = frozenset(
    "blank empty transparent loading loader lazy spinner dummy missing shim clear trans grey gray none nothing".split()
)
_PIXEL_WORDS = frozenset("pixel pixels beacon webbeacon tracker tracking track hitcounter counter webbug".split())
_PIXEL_HOST = re.compile(
    r"https?://(?:[^/.]+\.)*?(?:pixel|pixels|px|beacon|tracking|tracker|track|stats|analytics|counter|metrics)\d*\."
)
# Decoration by any word of the path, but for file names that are sentences (slugs of news: `style-icon-of-the-year-dies.jpg`).
_DECORATION_WORDS = frozenset(
    "logo logos logotype sitelogo headerlogo footerlogo icon icons ico favicon favicons avatar avatars gravatar userpic userpics sprite "
    "sprites emoji emojis emoticon emoticons smiley smileys smilies captcha addthis addtoany buttons badges arrows bullets glyphs".split()
)
_SLUG_WORDS = 5  # ours: more words than in the names of nearly all logos and icons
_DECORATION_NAMES = _DECORATION_WORDS | frozenset(
    "facebook twitter instagram linkedin pinterest youtube whatsapp telegram reddit tumblr xing flickr rss feed email mail print share "
    "sharing fb button btn badge bullet arrow chevron hamburger social search menu close play prev next glyph divider separator".split()
)
_NAME_FILLER = frozenset(
    "a the on off small big large mini round square circle white black grey gray blue red dark light color img image images photo picture "
    "pic thumb thumbnail x px sm lg xs up down left right top default bg".split()
)
_DECORATION_CLASSES = _DECORATION_WORDS - {"buttons", "badges", "arrows", "bullets"}

_NAME_SIZE = re.compile(r"(?<![0-9a-zA-Z])(\d{1,4})x(\d{1,4})(?![0-9a-zA-Z])")
_PX = re.compile(r"\s*(\d{1,6})(?:\.\d*)?\s*(?:px)?\s*", re.IGNORECASE)
_STYLE_PX = re.compile(r"(?:^|[;\s])(?:max-)?(?:width|height)\s*:\s*(\d{1,6})(?:\.\d*)?px", re.IGNORECASE)
_DRAWN = re.compile(rb"<(?:path|image|text|circle|ellipse|poly|line|use|foreignObject)\b", re.IGNORECASE)
_BASE64_SPACE = re.compile(rb"[\t\n\f\r ]+")


def placeholder_reason(url: str, attributes: Mapping[str, str | None]) -> DropReason | None:
    """Why the picture at an absolute URL is no content, by URL and its element's attributes alone; None where nothing speaks against it.

    Attributes say what the page declares: sides below `MIN_SIDE_PX` are a reason, percentages and `amp-img` ratios are not.
    """
    reason = url_reason(url)
    if reason is not None:
        return reason
    side = declared_side(attributes)
    if side is not None and side < MIN_SIDE_PX:
        return DropReason.TRACKING_PIXEL if side <= PIXEL_SIDE_PX else DropReason.DECLARED_TOO_SMALL
    for name in ("class", "id"):
        value = attributes.get(name)
        if value and not _DECORATION_CLASSES.isdisjoint(_words(value)):
            return DropReason.DECORATION
    return None


def declared_side(attributes: Mapping[str, str | None]) -> int | None:
    """The shorter side in px that width, height or style state; None where they state none, or a ratio (`layout` of an `amp-img`)."""
    if attributes.get("layout") in ("responsive", "fill", "intrinsic"):
        return None
    sides = [side for side in (pixels(attributes.get("width")), pixels(attributes.get("height"))) if side is not None]
    style = attributes.get("style")
    if style and "px" in style:
        sides += [int(side) for side in _STYLE_PX.findall(style)]
    sides = [side for side in sides if side > 0]
    return min(sides) if sides else None


def pixels(value: str | None) -> int | None:
    """The px that a width or height attribute states; None for percentages and what is no number."""
    if not value:
        return None
    match = _PX.fullmatch(value)
    return int(match[1]) if match else None


@lru_cache(maxsize=4096)
def url_reason(url: str) -> DropReason | None:
    """What of `placeholder_reason` the URL alone tells."""
    if url.startswith("data:"):
        return _data_reason(url)
    path = url.partition("?")[0].partition("#")[0]
    start = path.find("/", 8)
    name = path[path.rfind("/") + 1 :]
    if name.lower().endswith((".svg", ".svgz")):
        return DropReason.SVG
    if _PIXEL_HOST.match(url):
        return DropReason.TRACKING_PIXEL
    words = _WORD.findall(name.rpartition(".")[0] or name)
    names = {word.lower() for word in words}
    told = names - _NAME_FILLER
    if not _PLACEHOLDER_WORDS.isdisjoint(names) or (told and told <= _BLANK_WORDS):
        return DropReason.PLACEHOLDER
    if told and told <= _PIXEL_WORDS:
        return DropReason.TRACKING_PIXEL
    if (told and told <= _DECORATION_NAMES) or (len(words) < _SLUG_WORDS and not _DECORATION_WORDS.isdisjoint(names)):
        return DropReason.DECORATION
    if not _DECORATION_WORDS.isdisjoint(_words(path[start : -len(name) or None])):
        return DropReason.DECORATION
    return _size_reason(name)


def _size_reason(name: str) -> DropReason | None:
    size = _NAME_SIZE.search(name)
    if size is None:
        return None
    width, height = int(size[1]), int(size[2])
    if width == height == 1:
        # `1x1.gif` is a pixel, `story-1x1.jpg` a square crop
        return DropReason.TRACKING_PIXEL if name.lower().endswith((".gif", ".png")) else None
    is_ratio = max(width, height) <= 21  # 16x9, 21x9
    if 0 < min(width, height) < MIN_SIDE_PX and (not is_ratio or width == height):
        return DropReason.DECLARED_TOO_SMALL
    return None


def _words(text: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(text)}


def _data_reason(url: str) -> DropReason | None:
    decoded = decode_data_url(url)
    if decoded is None:
        return DropReason.PLACEHOLDER
    mime, data = decoded
    if mime == "image/svg+xml":
        return DropReason.SVG if _DRAWN.search(data) else DropReason.PLACEHOLDER
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        sides = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    elif data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        sides = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    else:
        return None if len(data) >= MIN_DATA_BYTES else DropReason.PLACEHOLDER
    return DropReason.PLACEHOLDER if min(sides) < MIN_SIDE_PX or len(data) < MIN_DATA_BYTES // 4 else None


def decode_data_url(url: str) -> tuple[str, bytes] | None:
    """Media type (lower case, without parameters) and bytes of a `data:` URL (Fetch standard, "data: URL processor").

    None where it is none, has no comma, is longer than `MAX_DATA_URL_CHARS`, or its base64 cannot be decoded.

    >>> decode_data_url("data:image/gif;base64,R0lGODlh")
    ('image/gif', b'GIF89a')
    """
    if url[:5].lower() != "data:" or len(url) > MAX_DATA_URL_CHARS:
        return None
    head, comma, body = url[5:].partition(",")
    if not comma:
        return None
    data = unquote_to_bytes(body)
    mime, *parameters = [part.strip().lower() for part in head.split(";")]
    if parameters and parameters[-1] == "base64":
        data = _BASE64_SPACE.sub(b"", data)
        try:
            data = base64.b64decode(data.rstrip(b"=") + b"=" * (-len(data.rstrip(b"=")) % 4), validate=True)
        except binascii.Error:
            return None
    return (mime if "/" in mime else "text/plain"), data
