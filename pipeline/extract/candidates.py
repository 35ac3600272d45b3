"""Where the bytes of a medium may be had: every URL that an element names, best first.

The attributes of one element come in, ranked candidates go out, absolute and each once. The walk of the page decides which elements are one
picture (a `picture` and its sources, a placeholder and its `noscript` twin, an image inside a link) and joins their lists with `ranked`.

Rules go by the form of an attribute's name and value, not by site or script: lazy loaders are legion, but nearly all of them name their
attributes after `src`, `original`, `image` and the like, and a URL can be told from a title or a number.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from html import unescape
from urllib.parse import unquote

import msgspec

from pipeline.extract.placeholders import pixels, url_reason
from pipeline.extract.srcset import parse_srcset
from pipeline.urls import Base
from schemas.document import Candidate

MAX_ATTRIBUTES = 64  # ours: of one element; real ones have up to about 30
MAX_CANDIDATES = 32  # ours

Attributes = Mapping[str, str | None]

# Elements whose URLs are no pictures, whatever their names.
_NO_PICTURE_TAGS = frozenset(
    "script iframe frame link style embed object form track audio meta base param template".split()
)
_PICTURE_TAGS = frozenset("img amp-img source image picture amp-anim".split())

# Attribute names: what may hold URLs of pictures, what looks like it and does not, what holds several.
_URL_NAME = re.compile(
    r"(?:^|[-_:])(?:[a-z]*src\d*|src(?:-?\w+)?|[a-z]*srcset|original|orig|image\d*|img\d*|lazy\w*|bg|bgset|background\w*|full\w*|large\w*"
    r"|hi-?res\w*|zoom\w*|photo|picture|pic|poster|thumb\w*|retina|file|url|href2?)(?:$|[-_:])"
)
_NO_URL_NAME = re.compile(
    r"(?:^|[-_])(?:alt|title|caption|desc\w*|id|ids|width|height|size|sizes|type|position|color|colour|ratio|class|name|index|count|style"
    r"|attr\w*|meta|tags?|comments?\w*|permalink|credit\w*|focal\w*|dimensions?|loaded|status|link|page|text|format|effect|options?)$"
)
_SET_NAME = re.compile(r"srcset|src-set|imagesrcset|bgset|imageset|-set$")
_FULL_NAME = re.compile(r"orig|full|large|zoom|hi-?res|retina|big|master")
_SMALL_NAME = re.compile(
    r"thumb|small|tiny|lowsrc|low-?res|lqip|placeholder|preview|blur|mobile|fallback|medium|default|error|loading|micro|mini"
)
_IMAGE_NAME = re.compile(r"image|img|bg|background|photo|picture|pic|poster|thumb|lazy")

_PICTURE_FILE = re.compile(r"\.(?:jpe?g|jfif|pjpeg|png|webp|avif|gif)(?=$|[?#&;:!/@_])", re.IGNORECASE)
_PICTURE_END = re.compile(r"\.(?:jpe?g|jfif|png|webp|avif|gif)$", re.IGNORECASE)
_VIDEO_FILE = re.compile(r"\.(?:mp4|m4v|webm|mov|ogv)(?=$|[?#])", re.IGNORECASE)
_NOT_PICTURE_FILE = re.compile(r"\.(?:js|css|html?|php|aspx?|json|xml|mp4|webm|mp3|pdf|woff2?)$", re.IGNORECASE)
_CSS_URL = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"']*))\s*\)""", re.IGNORECASE)
_QUOTED_URL = re.compile(r"""(?:https?:)?(?:\\?/){2}[^"'\s\\,{}]+(?:\\/[^"'\s\\,{}]+)*""")
_INNER_URL = re.compile(
    r"(?:^|[?&;])(?:url|src|image|img|u|file|imgurl|image_url|source)=(https?(?:%3A|:)[^&]+)", re.IGNORECASE
)
_IMG_TAG = re.compile(r"<(?:amp-)?img\b((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>`]+)))?""")
_NAME_WIDTH = re.compile(
    r"(?:[-_/](\d{2,4})x\d{2,4}(?=[-_./]|$)|[?&](?:w|width)=(\d{2,4})(?=&|$)|[/,]w[_=](\d{2,4})(?=[,/]))"
)


def image_candidates(tag: str, attributes: Attributes, base: Base) -> list[Candidate]:
    """The URLs that one element names for its picture, best first; empty where it names none.

    Any element will do: `img`, `amp-img` and `source` by all their attributes, others by lazy attributes and CSS backgrounds.
    """
    if tag in _NO_PICTURE_TAGS or len(attributes) > MAX_ATTRIBUTES:
        return []
    is_picture = tag in _PICTURE_TAGS
    found: list[Candidate] = []
    for name, value in attributes.items():
        if not value:
            continue
        kind = _name_kind(name)
        if kind is None:
            continue
        if kind == "src":
            if is_picture:
                _add(found, base.join(value), "src")
        elif kind == "set":
            _add_set(found, value, name, attributes, base)
        elif kind == "style":
            if "url(" in value:
                _add_css(found, value, base)
        else:
            _add_lazy(found, value, name, is_picture or kind == "picture", attributes, base)
    return ranked(found) if len(found) > 1 else found


def noscript_candidates(html: str, base: Base) -> list[Candidate]:
    """The candidates of the images in a piece of markup that was kept as text (the content of `noscript`), marked `noscript`."""
    return [
        msgspec.structs.replace(candidate, source="noscript")
        for attributes in images_in_markup(html)
        for candidate in image_candidates("img", attributes, base)
    ]


def images_in_markup(html: str) -> list[dict[str, str | None]]:
    """The attributes of each `img` in markup that was kept as text, escaped or not."""
    if "&lt;" in html and "<img" not in html:
        html = unescape(html)
    return [
        {name.lower(): unescape(a or b or c) for name, a, b, c in reversed(_ATTRIBUTE.findall(tag[1]))}
        for tag in _IMG_TAG.finditer(html)
    ]


def link_candidates(href: str, base: Base) -> list[Candidate]:
    """The target of a link, marked `link`, where its name says that it is a picture; else nothing."""
    if not _PICTURE_FILE.search(href):
        return []
    url = base.join(href)
    if url is None or not _PICTURE_END.search(url.partition("?")[0].partition("#")[0]):
        return []
    return [Candidate(url=url, source="link")]


def video_candidates(tag: str, attributes: Attributes, base: Base) -> list[Candidate]:
    """The video files that a `video` or `source` names (`src`, `data-src`...); for links, those that end as videos do."""
    found: list[Candidate] = []
    for name, value in attributes.items():
        if not value or not (
            name == "src" or (name.startswith("data-") and ("src" in name or "video" in name or "mp4" in name))
        ):
            continue
        url = base.join(value)
        if url is not None and not url.startswith("data:") and (name == "src" or _VIDEO_FILE.search(url)):
            _add(found, url, name)
    return found


def poster_candidates(attributes: Attributes, base: Base) -> list[Candidate]:
    """The still that a `video` shows before it plays, marked `poster`."""
    urls = [base.join(value) for name in ("poster", "data-poster") if (value := attributes.get(name))]
    return [Candidate(url=url, source="poster") for url in urls if url is not None]


def ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Each URL once, best first: real pictures before blanks, the author's full-size files, then the largest rendition.

    Of one URL the best-ranked mention stays. The order is total, given the order of mention. At most `MAX_CANDIDATES` are kept.
    """
    best: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=_rank):
        best.setdefault(candidate.url, candidate)
    return list(best.values())[:MAX_CANDIDATES]


def _rank(candidate: Candidate) -> tuple[bool, int, int]:
    width = candidate.width
    if width is None:
        match = _NAME_WIDTH.search(candidate.url)
        width = int(match[match.lastindex or 1]) if match else 0
    return url_reason(candidate.url) is not None, _source_rank(candidate.source), -width


@lru_cache(maxsize=4096)
def _source_rank(source: str) -> int:
    """0 for what the author calls full-size, 1 for sets of renditions, 2 for what a script or a reader without scripts would show."""
    if source == "link":
        return 0
    if source != "src" and _SMALL_NAME.search(source):
        return 6
    if source.endswith(":url"):
        return 5
    if _SET_NAME.search(source):
        return 1
    if source.startswith("data-") and _FULL_NAME.search(source):
        return 0
    return {"noscript": 2, "src": 3, "poster": 3, "css": 4}.get(source, 2)


@lru_cache(maxsize=4096)
def _name_kind(name: str) -> str | None:
    """What an attribute may hold: `src`, `set`, `style`, `picture` (a picture on any element), `url` (on elements of pictures), None."""
    if name in ("src", "style"):
        return name
    if name in ("alt", "class", "id", "title", "width", "height", "href", "sizes", "loading", "decoding"):
        return None
    if _SET_NAME.search(name):
        return "set"
    if not _URL_NAME.search(name) or _NO_URL_NAME.search(name):
        return None
    return "picture" if _IMAGE_NAME.search(name) else "url"


def _add(found: list[Candidate], url: str | None, source: str, width: int | None = None) -> None:
    if url is None:
        return
    found.append(Candidate(url=url, source=source, width=width))
    if "=http" in url and (inner := _INNER_URL.search(url)):
        original = Base("").join(unquote(inner[1]))
        if original is not None and original != url:
            found.append(Candidate(url=original, source=f"{source}:url"))


def _add_set(found: list[Candidate], value: str, name: str, attributes: Attributes, base: Base) -> None:
    declared = pixels(attributes.get("width"))
    for raw, width, density in parse_srcset(value):
        if width is None and density is not None and declared:
            width = round(declared * min(density, 8.0))
        _add(found, base.join(raw), name, width)


def _add_css(found: list[Candidate], value: str, base: Base) -> None:
    for match in _CSS_URL.finditer(value):
        raw = match[1] or match[2] or match[3]
        if raw and not raw.startswith("#"):
            _add(found, base.join(raw), "css")


def _add_lazy(
    found: list[Candidate], value: str, name: str, is_picture: bool, attributes: Attributes, base: Base
) -> None:
    """Adds what a lazy attribute holds: a URL, a srcset, `url(...)`, or JSON with URLs in it."""
    value = value.strip()
    if not value:
        return
    if "url(" in value:
        _add_css(found, value, base)
    elif value[0] in "{[":
        for raw in _QUOTED_URL.findall(value)[:MAX_CANDIDATES]:
            raw = raw.replace("\\/", "/")
            if _PICTURE_FILE.search(raw):
                _add(found, base.join(raw), name)
    elif " " in value:
        if _PICTURE_FILE.search(value):
            if re.search(r"\s\d+(?:\.\d+)?[wx]\s*(?:,|$)", value):
                _add_set(found, value, name, attributes, base)
            elif _PICTURE_END.search(value) and "," not in value:
                _add(found, base.join(value), name)  # a file name with spaces in it
    elif (is_picture and "/" in value and not _NOT_PICTURE_FILE.search(value)) or _PICTURE_FILE.search(value):
        _add(found, base.join(value), name)
