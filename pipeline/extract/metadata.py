"""What a page says of itself: lead picture, videos, date, licence, wishes to robots.

The attributes of its metas and links and the text of its JSON-LD scripts come in; a `Metadata` goes out. Nothing here knows the DOM: the
walk hands over what it passes. JSON-LD is written by many hands, so broken scripts are searched for the few keys that matter.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pipeline.extract.candidates import names_video
from pipeline.urls import Base
from schemas.document import Candidate

MAX_JSON_LD_CHARS = 1 << 19  # ours: real ones have 1 to 50 thousand
MAX_JSON_LD_DEPTH = 32  # ours
MAX_JSON_LD_VALUES = 20_000  # ours: objects and lists visited, of all scripts of a page together
MAX_PICTURES = 16  # ours
MAX_VIDEOS = 16  # ours

Attributes = Mapping[str, str | None]

_PICTURE_METAS = (
    "og:image:secure_url",
    "og:image",
    "og:image:url",
    "twitter:image",
    "twitter:image:src",
    "image",
    "thumbnail",
)
_VIDEO_METAS = ("og:video:secure_url", "og:video:url", "og:video", "twitter:player:stream")
_VIDEO_TYPES = frozenset({"video/mp4", "video/webm"})
_DATE_METAS = (
    "article:published_time",
    "og:published_time",
    "datepublished",
    "date",
    "pubdate",
    "publishdate",
    "publish-date",
    "dc.date",
    "dc.date.issued",
    "dcterms.date",
    "dcterms.issued",
    "dcterms.created",
    "citation_publication_date",
    "parsely-pub-date",
    "sailthru.date",
)
_LICENCE_METAS = ("dcterms.license", "dc.rights", "dcterms.rights", "license", "copyright")
_CREATIVE_COMMONS = re.compile(r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/", re.IGNORECASE)
_YEAR = re.compile(r"(?<!\d)(?:1[89]|20)\d\d(?!\d)")
MAX_DATE_CHARS = 64  # ours

# JSON-LD below these keys is about people, firms and other pages, not about this one.
_OTHERS = frozenset(
    "logo author publisher creator provider sourceorganization editor contributor brand copyrightholder sponsor reviewer comment review "
    "relatedlink itemlistelement haspart".split()
)
_OTHER_TYPES = frozenset("Person Organization NewsMediaOrganization Corporation BreadcrumbList WebSite".split())
_KEYS = ("image", "thumbnailUrl", "contentUrl", "datePublished", "license")
_PAIR = re.compile(
    r'"(?P<key>image|thumbnailUrl|contentUrl|datePublished|license)"\s*:\s*(?:\[\s*)?(?:\{[^{}]*?"url"\s*:\s*)?'
    r'"(?P<value>(?:[^"\\\n]|\\.)*)"'
)


class StatedVideo(msgspec.Struct, frozen=True, kw_only=True):
    """A video's file that a page states, marked as `Metadata.pictures` are (`og:video`, `json-ld`); its name and description, where JSON-LD has them."""

    file: Candidate
    name: str = ""
    description: str = ""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a page says of itself.

    `pictures` are the candidates of its lead picture, best first, each marked `og:image` (all metas and links of that kind) or `json-ld`.
    `videos` are files alone, not the pages of players.
    `date` is as stated, `licence` an absolute URL, `robots` lower-case directives and `tdm-reservation: VALUE`; each empty where the page states none.
    """

    pictures: list[Candidate] = []
    videos: list[StatedVideo] = []
    date: str = ""
    licence: str = ""
    robots: list[str] = []


class _Stated(msgspec.Struct, kw_only=True):
    """What the JSON-LD scripts of one page state, as written."""

    pictures: list[str] = []
    videos: list[tuple[str, str, str]] = []  # URL, name, description
    dates: list[str] = []
    licences: list[str] = []
    budget: int = MAX_JSON_LD_VALUES


def page_metadata(
    metas: Sequence[Attributes], links: Iterable[Attributes], json_ld: Iterable[str], base: Base
) -> Metadata:
    """Reads the attributes of `meta`, those of `link` and `a`, and the texts of `script type=application/ld+json`.

    Of `links` only those matter that have `rel` or a Creative Commons target; the rest may be left out.
    """
    named: dict[str, list[str]] = {}
    for meta in metas:
        content = (meta.get("content") or "").strip()
        for attribute in ("property", "name", "itemprop"):
            name = meta.get(attribute)
            if content and name:
                named.setdefault(name.strip().lower(), []).append(content)
                break
    stated = _Stated()
    for script in json_ld:
        _read_json_ld(script, stated)
    picture_links, licence_links = _links(links)
    pictures = [(url, "og:image") for name in _PICTURE_METAS for url in named.get(name, ())]
    pictures += [(url, "json-ld") for url in stated.pictures] + [(url, "og:image") for url in picture_links]
    dates = [
        *named.get("article:published_time", ()),
        *stated.dates,
        *(d for n in _DATE_METAS for d in named.get(n, ())),
    ]
    licences = [
        *licence_links[:1],
        *stated.licences,
        *licence_links,
        *(v for n in _LICENCE_METAS for v in named.get(n, ())),
    ]
    return Metadata(
        pictures=_pictures(pictures, named, base),
        videos=_videos(stated, named, base),
        date=next((date for date in dates if len(date) <= MAX_DATE_CHARS and _YEAR.search(date)), ""),
        licence=next((url for raw in licences if (url := _web_url(raw, base))), ""),
        robots=[
            *dict.fromkeys(d.strip().lower() for v in named.get("robots", ()) for d in v.split(",") if d.strip()),
            *(f"tdm-reservation: {value}" for value in named.get("tdm-reservation", ())[:1]),
        ],
    )


def _pictures(found: Iterable[tuple[str, str]], named: Mapping[str, list[str]], base: Base) -> list[Candidate]:
    """Each URL once, in order; the width that the page states belongs to its first og:image."""
    widths = named.get("og:image:width", ())
    width = int(widths[0]) if widths and widths[0].isascii() and widths[0].isdigit() and len(widths[0]) < 6 else None
    pictures: dict[str, Candidate] = {}
    for raw, source in found:
        url = base.join(raw) if raw else None
        if url is not None and url not in pictures and not url.startswith("data:"):
            pictures[url] = Candidate(
                url=url, source=source, width=width if source == "og:image" and not pictures else None
            )
    return list(pictures.values())[:MAX_PICTURES]


def _videos(stated: _Stated, named: Mapping[str, list[str]], base: Base) -> list[StatedVideo]:
    """Each file once, in order; a name of JSON-LD goes with its file wherever else that is stated."""
    types = [*named.get("og:video:type", ()), *named.get("twitter:player:stream:content_type", ())]
    are_files = bool(types) and all(one.partition(";")[0].strip().lower() in _VIDEO_TYPES for one in types)
    metas = [raw for name in _VIDEO_METAS for raw in named.get(name, ()) if are_files or names_video(raw)]
    found = [(raw, "og:video", "", "") for raw in metas]
    found += [(raw, "json-ld", name, description) for raw, name, description in stated.videos]
    videos: dict[str, StatedVideo] = {}
    for raw, source, name, description in found:
        url = base.join(raw)
        if url is None or not url.startswith("http"):
            continue
        first = videos.get(url) or StatedVideo(file=Candidate(url=url, source=source))
        videos[url] = msgspec.structs.replace(
            first, name=first.name or name, description=first.description or description
        )
    return list(videos.values())[:MAX_VIDEOS]


def _links(links: Iterable[Attributes]) -> tuple[list[str], list[str]]:
    """Targets of links to the page's picture, and to its licence (rel=license first, then Creative Commons)."""
    pictures, licences, commons = [], [], []
    for link in links:
        href = link.get("href")
        if not href:
            continue
        rel = (link.get("rel") or "").lower().split()
        if "image_src" in rel or link.get("itemprop") in ("image", "thumbnailUrl"):
            pictures.append(href)
        elif "license" in rel or "licence" in rel:
            licences.append(href)
        elif _CREATIVE_COMMONS.match(href):
            commons.append(href)
    return pictures, licences + commons


def _web_url(raw: str, base: Base) -> str | None:
    """The URL of a licence, where it is one: prose ("All rights reserved") is none."""
    if " " in raw.strip() or ("/" not in raw and "." not in raw):
        return None
    url = base.join(raw)
    return url if url is not None and url.startswith("http") else None


def _read_json_ld(script: str, stated: _Stated) -> None:
    """Adds what one script states; a script that is too long, or holds none of the keys, is not parsed."""
    if len(script) > MAX_JSON_LD_CHARS or not any(key in script for key in _KEYS):
        return
    try:
        value = msgspec.json.decode(script)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        try:
            value = json.loads(script, strict=False)  # bare newlines in strings are the commonest fault
        except (ValueError, RecursionError):
            for pair in _PAIR.finditer(script):
                _take(pair["key"], pair["value"].replace("\\/", "/"), stated)
            return
    _walk(value, stated, 0)


def _walk(value: object, stated: _Stated, depth: int) -> None:
    stated.budget -= 1
    if depth > MAX_JSON_LD_DEPTH or stated.budget < 0:
        return
    if isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                _walk(item, stated, depth + 1)
    elif isinstance(value, dict):
        stated_type = value.get("@type")
        types = {t for t in (stated_type if isinstance(stated_type, list) else [stated_type]) if isinstance(t, str)}
        if not _OTHER_TYPES.isdisjoint(types):
            return
        if "ImageObject" in types and "logo" not in str(value.get("@id", "")).lower():
            _take("image", value, stated)
        if "VideoObject" in types:
            _take_video(value, stated)
        for key, item in value.items():
            if key in _KEYS and key != "contentUrl":  # an ImageObject's is taken above; others' are videos and sounds
                _take(key, item, stated)
            if isinstance(item, dict | list) and key.lower() not in _OTHERS and key != "image":
                _walk(item, stated, depth + 1)


def _take_video(value: Mapping[str, object], stated: _Stated) -> None:
    """Adds the file of a VideoObject, if that is what it states, with the object's name and description."""
    url, name, description, form = (value.get(key) for key in ("contentUrl", "name", "description", "encodingFormat"))
    if isinstance(url, str) and (names_video(url.strip()) or form in _VIDEO_TYPES):
        texts = [" ".join(text.split()) if isinstance(text, str) else "" for text in (name, description)]
        stated.videos.append((url.strip(), texts[0], texts[1]))


def _take(key: str, value: object, stated: _Stated) -> None:
    """Adds the value of one of `_KEYS`: a string, an object with a URL, or a list of these."""
    if isinstance(value, list):
        for item in value[:MAX_PICTURES]:
            if not isinstance(item, list):
                _take(key, item, stated)
    elif isinstance(value, dict):
        for name in ("contentUrl", "url", "@id"):
            url = value.get(name)
            if isinstance(url, str | list) and url and (name != "@id" or key == "license"):
                _take(key, [u for u in url if isinstance(u, str)] if isinstance(url, list) else url, stated)
                break
    elif isinstance(value, str) and value.strip():
        target = {"datePublished": stated.dates, "license": stated.licences}.get(key, stated.pictures)
        target.append(value.strip())
