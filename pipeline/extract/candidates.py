"""Where the bytes of a medium may be had: every URL that an element names, best first.

The attributes of one element come in, ranked candidates go out, absolute and each once. The walk of the page decides which elements are one
picture (a `picture` and its sources, a placeholder and its `noscript` twin, an image inside a link) and joins their lists with `ranked`.

Rules go by the form of an attribute's name and value, never by site. `sizes` has no say: it chooses the rendition that fits a window,
and the largest is wanted whatever the window.
"""

import re
from collections.abc import Iterable, Mapping
from html import unescape
from typing import TypeAlias
from urllib.parse import unquote

import msgspec

from pipeline.extract.attribute_names import PLAIN_NAMES, name_kind, source_rank
from pipeline.extract.placeholders import MIN_SIDE_PX, pixels, url_reason
from pipeline.extract.srcset import parse_srcset
from pipeline.urls import MAX_URL_CHARS, Base
from schemas.document import Candidate

MAX_ATTRIBUTES = 64  # ours: of one element; real ones have up to about 30
MAX_CANDIDATES = 32  # ours: of one picture; real ones have up to about 20
MAX_VALUE_CHARS = 16_384  # ours: of an attribute that is searched for URLs; JSON of galleries has some thousands
UNKNOWN_WIDTH_PX = 1000  # ours: what states no width is ranked as this wide, a common width of articles
TEMPLATE_WIDTH_PX = 1024  # ours: what `{width}` in a URL is replaced with

Attributes: TypeAlias = Mapping[str, str | None]

# Elements whose URLs are no pictures, whatever their names.
_NO_PICTURE_TAGS = frozenset(
    "script iframe frame style embed object form input track audio base param template".split()
)
_PICTURE_TAGS = frozenset("img source picture amp-img amp-anim".split())
_MICRODATA = frozenset("image thumbnailurl contenturl url".split())

_FILE = r"\.(?:jpe?g|jfif|png|webp|avif|gif)"
_PICTURE_FILE = re.compile(_FILE + r"(?![a-z0-9.])", re.IGNORECASE)
_PICTURE_END = re.compile(_FILE + "$", re.IGNORECASE)
_VIDEO_FILE = re.compile(r"\.(?:mp4|m4v|webm|mov|ogv)(?=$|[?#])", re.IGNORECASE)
_OTHER_FILE = re.compile(r"\.(?:js|css|html?|php|aspx?|json|xml|mp4|webm|mp3|pdf|woff2?)$", re.IGNORECASE)
# Each of these reads a text once, whatever is in it: no part of a match can be tried again from a later start.
_CSS_URL = re.compile(r"""url\(([^()"']*|\s*"[^"]*"\s*|\s*'[^']*'\s*)\)""", re.IGNORECASE)
_QUOTED_URL = re.compile(r"""["']((?:https?:)?(?:\\?/)[^"'\s]+)["']""")
_DESCRIPTOR = re.compile(r"\s\d+(?:\.\d+)?[wx]\s*(?:,|$)")
_TEMPLATE_WIDTH = re.compile(r"\{(?:width|w)\}")
_INNER_URL = re.compile(r"(=?)(https?(?::|%3A)(?:/|%2F){2}.+)", re.IGNORECASE)
_IMG_TAG = re.compile(r"""<(?:amp-)?img\b((?:[^>"']|"[^"]*(?:"|$)|'[^']*(?:'|$))*+)(?:>|$)""", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>`]+)))?""")
# Widths that URLs state: `-300x200.jpg`, `/300x200/`, `/250px-name`, `?w=300`, `/w_300,`.
_STATED_WIDTH = re.compile(r"[-_/](\d{2,4})(?:x\d{2,4}(?=[-_./]|$)|px-)|[?&/,;]w(?:idth)?[=_](\d{1,4})(?=[&,/;]|$)")


def image_candidates(tag: str, attributes: Attributes, base: Base) -> list[Candidate]:
    """The URLs that one element names for its picture, best first; empty where it names none.

    Any element will do: `img`, `amp-img`, `source` and custom elements called images by all their attributes, `meta` and `link` by
    microdata, others by lazy attributes and CSS backgrounds.
    """
    if tag in _PICTURE_TAGS:
        return _candidates(attributes, True, base)
    if tag == "meta" or tag == "link":
        return _microdata(attributes, base)
    if PLAIN_NAMES.issuperset(attributes) or tag in _NO_PICTURE_TAGS:
        return []
    return _candidates(attributes, "-" in tag and ("img" in tag or "image" in tag), base)


def _candidates(attributes: Attributes, is_picture: bool, base: Base) -> list[Candidate]:
    if len(attributes) > MAX_ATTRIBUTES:
        return []
    found: list[Candidate] = []
    for name, value in attributes.items():
        kind = name_kind(name)
        if kind == "none" or not value:
            continue
        if kind == "src":
            if is_picture:
                _add(found, value, "src", base)
        elif kind == "style":
            if "url(" in value:
                _add_css(found, value, base)
        elif (is_picture or kind != "other") and len(value) <= MAX_VALUE_CHARS:
            if kind == "set" and value[0] not in "{[":
                _add_set(found, value, name, attributes, base)
            else:
                _add_lazy(found, value, name, is_picture and kind == "picture", base)
    return ranked(found) if len(found) > 1 else found


def noscript_candidates(html: str, base: Base) -> list[Candidate]:
    """The candidates of the images in a piece of markup that was kept as text (the content of `noscript`), marked `noscript`."""
    return [
        msgspec.structs.replace(candidate, source="noscript")
        for attributes in images_in_markup(html)
        for candidate in image_candidates("img", attributes, base)
    ]


def images_in_markup(html: str) -> list[dict[str, str | None]]:
    """The attributes of each `img` in markup that was kept as text, escaped or not. Of a doubled attribute the first counts."""
    if "&lt;" in html and "<img" not in html:
        html = unescape(html)
    return [
        {name.lower(): unescape(a or b or c) for name, a, b, c in reversed(_ATTRIBUTE.findall(tag[1]))}
        for tag in _IMG_TAG.finditer(html)
    ]


def link_candidates(href: str, base: Base) -> list[Candidate]:
    """The target of a link, marked `link`, where its name ends as a picture's does; else nothing."""
    if not _PICTURE_FILE.search(href):
        return []
    url = base.join(href)
    if url is None or url.startswith("data:"):
        return []
    name = url.partition("?")[0].partition("#")[0].rpartition("/")[2]
    # `File:Heron.jpg` is a wiki's page about a picture.
    if not _PICTURE_END.search(name) or ":" in name:
        return []
    return [Candidate(url=url, source="link")]


def names_video(url: str) -> bool:
    """Whether a URL's path ends as a video's file does."""
    return "." in url and len(url) <= MAX_VALUE_CHARS and _VIDEO_FILE.search(url.partition("?")[0]) is not None


def video_candidates(attributes: Attributes, base: Base) -> list[Candidate]:
    """The files that a `video`, or a `source` in one, names: `src`, and other attributes whose values end as videos do."""
    found: list[Candidate] = []
    for name, value in attributes.items():
        if value and (
            name == "src" or (len(value) <= MAX_VALUE_CHARS and _VIDEO_FILE.search(value) and " " not in value)
        ):
            url = base.join(value)
            if url is not None and not url.startswith("data:"):
                found.append(Candidate(url=url, source=name))
    return list({candidate.url: candidate for candidate in reversed(found)}.values())[::-1]


def poster_candidates(attributes: Attributes, base: Base) -> list[Candidate]:
    """The still that a `video` shows before it plays, marked `poster`."""
    urls = [base.join(value) for name in ("poster", "data-poster") if (value := attributes.get(name))]
    return [Candidate(url=url, source="poster") for url in urls if url is not None]


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each URL once, best first: real pictures before blanks, then by `source_rank`, then the widest rendition.

    Of one URL the best mention stays; equals stand in the order of mention. At most `MAX_CANDIDATES` are kept. One URL of a source is
    looked at for whether it is a blank: the renditions of a set are alike.
    """
    blank: dict[str, bool] = {}
    keyed: list[tuple[bool, int, int, int, Candidate]] = []
    for candidate in candidates:
        source, url, width = candidate.source, candidate.url, candidate.width
        is_blank = blank.get(source)
        if is_blank is None:
            is_blank = blank[source] = url_reason(url) is not None
        if width is None:
            match = None if url.startswith("data:") else _STATED_WIDTH.search(url)
            width = int(match[match.lastindex or 1]) if match else UNKNOWN_WIDTH_PX
        keyed.append((is_blank or width < MIN_SIDE_PX, source_rank(source), -width, len(keyed), candidate))
    keyed.sort()
    best: dict[str, Candidate] = {}
    for *_, candidate in keyed:
        best.setdefault(candidate.url, candidate)
    return list(best.values())[:MAX_CANDIDATES]


def _microdata(attributes: Attributes, base: Base) -> list[Candidate]:
    value = attributes.get("content") or attributes.get("href")
    if not value or (attributes.get("itemprop") or "").lower() not in _MICRODATA or not _PICTURE_FILE.search(value):
        return []
    found: list[Candidate] = []
    _add(found, value, "itemprop", base)
    return found


def _add(found: list[Candidate], raw: str, source: str, base: Base, width: int | None = None) -> None:
    """Adds what `raw` is joined to, and the original where it is the URL of a resizer that names one."""
    if "{" in raw or raw[0] == "#":
        raw = _TEMPLATE_WIDTH.sub(str(TEMPLATE_WIDTH_PX), raw)
        if "{" in raw or raw[0] == "#":
            return
    url = base.join(raw)
    if url is None or url == base.url:
        return
    found.append(Candidate(url=url, source=source, width=width))
    if url.find("http", 8, MAX_URL_CHARS) > 0 and (inner := _INNER_URL.search(url, 8)):
        original = inner[2].partition("&")[0] if inner[1] else inner[2]
        original = unquote(original) if "%2F" in original or "%2f" in original else original
        joined = base.join(original)
        if joined is not None and joined != url and _PICTURE_FILE.search(joined):
            found.append(Candidate(url=joined, source="resizer"))


def _add_set(found: list[Candidate], value: str, name: str, attributes: Attributes, base: Base) -> None:
    """Adds the renditions of a srcset, the densest first; a density is a width where the element states that of density 1."""
    renditions = parse_srcset(value)
    if len(renditions) > 1 and renditions[0][1] is None:
        renditions.sort(key=lambda rendition: -(rendition[2] or 1.0))
    declared = pixels(attributes.get("width"))
    for raw, width, density in renditions:
        if width is None and declared and density:
            width = round(declared * min(density, 8.0))
        _add(found, raw, name, base, width)


def _add_css(found: list[Candidate], value: str, base: Base) -> None:
    for match in _CSS_URL.finditer(value, 0, MAX_VALUE_CHARS):
        raw = match[1].strip("\"' \t\n\r\f")
        if raw:
            _add(found, raw, "css", base)


def _add_lazy(found: list[Candidate], value: str, name: str, is_named: bool, base: Base) -> None:
    """Adds what an attribute holds: a URL, a srcset, `url(...)`, or JSON with URLs in it.

    A value counts by the name of a picture file in it; where its attribute is named for pictures and stands on one (`is_named`), any
    value with a slash does.
    """
    if not _PICTURE_FILE.search(value):
        if is_named and "/" in value and " " not in value and value[0] not in "{[<" and not _OTHER_FILE.search(value):
            _add(found, value, name, base)
        return
    value = value.strip()
    if "url(" in value:
        _add_css(found, value, base)
    elif value[0] in "{[":
        for raw in _QUOTED_URL.findall(value)[:MAX_CANDIDATES]:
            if _PICTURE_FILE.search(raw):
                _add(found, raw.replace("\\/", "/"), name, base)
    elif " " not in value:
        if "/" in value or is_named:
            _add(found, value, name, base)
    elif _DESCRIPTOR.search(value):
        _add_set(found, value, name, {}, base)
    elif _PICTURE_END.search(value) and "/" in value and "," not in value and "<" not in value:
        _add(found, value, name, base)  # a file's name with spaces in it
