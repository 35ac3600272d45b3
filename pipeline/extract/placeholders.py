"""Pictures that are none: blanks that scripts replace, tracking pixels, decoration, and what the page itself says is tiny.

An absolute URL and its element's attributes come in, a drop reason or None goes out. Words are compared with whole words of the path and
of class and id: `logo` is decoration, `logotherapy` and `silicon` are not. A word counts by where it stands: a directory `icons` tells
more than `icon` in a long file name, since news name their pictures after headlines (`style-icon-of-the-century-dies.jpg`).
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
SLUG_WORDS = 5  # ours: names of logos and icons have fewer words, of three letters and more, than headlines
MAX_CACHED_CHARS = 1024  # ours: the verdicts on longer URLs (nearly all `data:`) are not kept in memory
RATIO_SIDE = 21  # ours: 16x9 and 21x9 are ratios, not px

# What is no letter separates words; a change to upper case does too.
_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")

# Words that tell wherever they stand in the file's name.
_PLACEHOLDER_WORDS = frozenset(
    "placeholder placeholders spacer lazyload lazyloader noimage nophoto nopicture noimg nopic lqip".split()
)
# Words that tell when the whole name is of their kind: `loading-2.gif` and `blank.png`, not `loading-dock.jpg`.
_BLANK_WORDS = frozenset(
    "blank empty transparent loading loader lazy spinner dummy missing shim clear trans grey gray none nothing".split()
)
_PIXEL_WORDS = frozenset(
    "pixel pixels clearpixel beacon webbeacon tracker tracking track hitcounter counter webbug".split()
)
# Labels of hosts that count visits or sell space; none of them serves what a page is about.
_COUNTER_HOSTS = frozenset(
    "pixel pixels px beacon tracking tracker track stats analytics counter metrics ad ads adserver adserv banners".split()
)
# Words of decoration: in any directory, or in a file's name that is no headline.
_DECORATION_WORDS = frozenset(
    "icon icons ico appicon favicon favicons avatar avatars gravatar userpic userpics sprite sprites emoji emojis emoticon emoticons smiley "
    "smileys smilies captcha addthis addtoany buttons badges arrows bullets glyphs banners".split()
)
_LOGO = re.compile(r"(?:^|[^aioy])logos?(?:typ|type)?$")  # sitelogo, vereinslogo; not catalogo, dialogo, prologo
# Words of decoration when the whole name is of their kind, or all of it but fillers: `facebook_32.png`, not `facebook-hearing.jpg`.
_DECORATION_NAMES = _DECORATION_WORDS | frozenset(
    "facebook twitter instagram linkedin pinterest youtube whatsapp telegram reddit tumblr xing flickr rss feed email mail print share "
    "sharing fb button btn badge bullet arrow chevron hamburger social search menu close play prev next glyph divider separator banner".split()
)
_FILLER = frozenset(
    "a the on off small big large mini round square circle white black grey gray blue red dark light color hover img image images photo "
    "picture pic thumb thumbnail x px sm lg xs up down left right top default bg new".split()
)
_DECORATION_CLASSES = _DECORATION_WORDS - frozenset("buttons badges arrows bullets banners".split())

_NAME_SIZE = re.compile(r"(?<![0-9a-zA-Z])(\d{1,4})x(\d{1,4})(?![0-9a-zA-Z])")
_PX = re.compile(r"\s*(\d{1,6})(?:\.\d*)?\s*(?:px)?\s*", re.IGNORECASE)
_STYLE_PX = re.compile(r"(?:^|[;\s])(?:max-)?(?:width|height)\s*:\s*(\d{1,6})(?:\.\d*)?px", re.IGNORECASE)
_DRAWN = re.compile(rb"<(?:path|image|text|circle|ellipse|poly|line|use|foreignObject)", re.IGNORECASE)
_BASE64_SPACE = re.compile(rb"[\t\n\f\r ]+")


def placeholder_reason(url: str, attributes: Mapping[str, str | None]) -> DropReason | None:
    """Why the picture at an absolute URL is no content, by URL and its element's attributes alone; None where nothing speaks against it.

    Attributes say what the page declares: sides below `MIN_SIDE_PX` are a reason, percentages and ratios are not.
    """
    reason = url_reason(url)
    if reason is not None:
        return reason
    side = declared_side(attributes)
    if side is not None and side < MIN_SIDE_PX:
        return DropReason.TRACKING_PIXEL if side <= PIXEL_SIDE_PX else DropReason.DECLARED_TOO_SMALL
    for name in ("class", "id"):
        value = attributes.get(name)
        if value and _is_decoration_class(value):
            return DropReason.DECORATION
    return None


def declared_side(attributes: Mapping[str, str | None]) -> int | None:
    """The shorter side in px that width, height or style state; None where they state none, or a ratio (16 by 9, `layout` of AMP)."""
    width, height = pixels(attributes.get("width")), pixels(attributes.get("height"))
    if width is not None and height is not None and (_is_ratio(width, height) or "layout" in attributes):
        width = height = None
    sides = [side for side in (width, height) if side]
    style = attributes.get("style")
    if style and "px" in style:
        sides += [side for side in map(int, _STYLE_PX.findall(style)) if side]
    return min(sides) if sides else None


def pixels(value: str | None) -> int | None:
    """The px that a width or height attribute states; None for percentages and what is no number."""
    if not value:
        return None
    if value.isdecimal() and value.isascii() and len(value) < 7:
        return int(value)
    match = _PX.fullmatch(value)
    return int(match[1]) if match else None


def url_reason(url: str) -> DropReason | None:
    """What of `placeholder_reason` the URL alone tells."""
    return _url_reason(url) if len(url) <= MAX_CACHED_CHARS else _url_reason.__wrapped__(url)


@lru_cache(maxsize=4096)
def _url_reason(url: str) -> DropReason | None:
    if url.startswith("data:"):
        return _data_reason(url)
    path = url.partition("?")[0].partition("#")[0]
    start = path.find("/", 8)
    end = path.rfind("/") + 1
    name = path[end:] if start > 0 else ""
    stem, dot, extension = name.rpartition(".")
    if extension in ("svg", "svgz", "SVG"):
        return DropReason.SVG
    if not _COUNTER_HOSTS.isdisjoint(path[path.find("/") + 2 : start].split(".")[:-2]) or "=1x1" in url[len(path) :]:
        return DropReason.TRACKING_PIXEL
    words = _words(stem if dot else name)
    told = [word for word in words if word not in _FILLER]
    if told:
        if not _PLACEHOLDER_WORDS.isdisjoint(told) or _BLANK_WORDS.issuperset(told):
            return DropReason.PLACEHOLDER
        if _PIXEL_WORDS.issuperset(told):
            return DropReason.TRACKING_PIXEL
        if _DECORATION_NAMES.issuperset(told) or ("logo" in name.lower() and any(map(_LOGO.search, words))):
            return DropReason.DECORATION
        if not _DECORATION_WORDS.isdisjoint(words) and sum(len(word) > 2 for word in words) < SLUG_WORDS:
            return DropReason.DECORATION
    folders = _words(path[start:end])
    if not _DECORATION_WORDS.isdisjoint(folders) or "logos" in folders or "logo" in folders:
        return DropReason.DECORATION
    return _size_reason(name)


def _size_reason(name: str) -> DropReason | None:
    size = _NAME_SIZE.search(name) if "x" in name else None
    if size is None:
        return None
    width, height = int(size[1]), int(size[2])
    if width == height == 1:
        # `1x1.gif` is a pixel, `story-1x1.jpg` a square crop
        return DropReason.TRACKING_PIXEL if name.lower().endswith((".gif", ".png")) else None
    if 0 < min(width, height) < MIN_SIDE_PX and not _is_ratio(width, height):
        return DropReason.DECLARED_TOO_SMALL
    return None


def _is_ratio(width: int, height: int) -> bool:
    return width != height and 0 < max(width, height) <= RATIO_SIDE and min(width, height) > PIXEL_SIDE_PX


@lru_cache(maxsize=4096)
def _is_decoration_class(value: str) -> bool:
    words = _words(value)
    return not _DECORATION_CLASSES.isdisjoint(words) or any(map(_LOGO.search, words))


def _words(text: str) -> list[str]:
    """The words of a path or a class, lower case: cut at all that is no letter, and where lower case turns to upper."""
    if not text.islower():
        text = _CAMEL.sub(" ", text).lower()
    return text.translate(_LETTERS).split()


def _data_reason(url: str) -> DropReason | None:
    decoded = decode_data_url(url)
    if decoded is None:
        return DropReason.PLACEHOLDER
    mime, data = decoded
    if mime == "image/svg+xml":
        return DropReason.SVG if _DRAWN.search(data) else DropReason.PLACEHOLDER
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        side = min(int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"))
    elif data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        side = min(int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big"))
    else:
        side = MIN_SIDE_PX
    return DropReason.PLACEHOLDER if side < MIN_SIDE_PX or len(data) < MIN_DATA_BYTES else None


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
    try:
        data = unquote_to_bytes(body)
    except UnicodeEncodeError:  # a lone surrogate
        return None
    mime, *parameters = [part.strip().lower() for part in head.split(";")]
    if parameters and parameters[-1] == "base64":
        data = _BASE64_SPACE.sub(b"", data).rstrip(b"=")
        try:
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
        except binascii.Error:
            return None
    return (mime if "/" in mime else "text/plain"), data
