"""Which media of a page belong to its content, and under which URLs they may be had.

A medium belongs where the text around it does: it is judged by the signs of the containers that it does not share with kept text, and by
its distance from that text. What its attributes and URL say (blank, pixel, logo, tiny) is asked last, since it needs the URLs.
"""

import re
from collections import Counter

import msgspec

from pipeline.extract.blocks import Walk
from pipeline.extract.candidates import image_candidates, link_candidates, poster_candidates, ranked, video_candidates
from pipeline.extract.mentions import Mention
from pipeline.extract.metadata import Metadata
from pipeline.extract.placeholders import pixels, placeholder_reason
from pipeline.extract.renditions import file_stem, picture_name
from pipeline.extract.signs import BIT
from pipeline.urls import Base
from schemas.document import Candidate, DraftMedium, MediumKind
from schemas.drops import Drop, DropReason

LEAD_REACH = 8  # ours: blocks before the first kept text or h1 in which the lead picture may stand
MIN_NAME_CHARS = 6  # ours: shorter names (`1`, `large`) name many pictures
MAX_ROW = 2  # ours: elements of one container that show a picture as their background
TAIL_REACH = 2  # ours: blocks after the last kept text

_PICTURE_FILE = re.compile(r"\.(?:jpe?g|png|webp|avif|gif)\b", re.IGNORECASE)
_PICTURE_TAGS = frozenset("img amp-img amp-anim picture video amp-video noscript".split())
_TEXT_TRACKS = frozenset({"captions", "subtitles", "descriptions"})  # the others are chapters and data
_NEGATIVE = sum(
    BIT[name]
    for name in (
        "nav", "tag_nav", "footer", "tag_footer", "tag_aside", "side", "comment", "share", "related", "ad", "notice", "sign_up",
        "form", "tag_form", "author", "teaser", "header",
    )
)  # fmt: skip


class Pictures:
    """Judges the media of one page, given which of its blocks are kept."""

    def __init__(
        self, walk: Walk, kept: list[bool], base: Base, url: str, metadata: Metadata, language: str = ""
    ) -> None:
        self._walk = walk
        self._kept = kept
        self._base = base
        self._url = url
        self._language = _primary(language)
        self._metadata = metadata
        self._videos = {video.file.url: video for video in metadata.videos}
        lead = metadata.pictures
        self._lead = {name for c in lead if len(name := picture_name(c.url)) >= MIN_NAME_CHARS}
        self._stems = [stem for c in lead if len(stem := file_stem(c.url)) >= MIN_NAME_CHARS]
        self._seen: set[str] = set()
        self._names: set[str] = set()
        # Backgrounds and lazy attributes of other elements: one is a picture, a row of them is a gallery's control or a list of teasers.
        self._rows = Counter(
            (walk.parents[m.container], m.tag) for m in walk.items if type(m) is Mention and m.tag not in _PICTURE_TAGS
        )
        places = [place for place, is_kept in enumerate(kept) if is_kept]
        self._first = places[0] if places else 0
        self._last = places[-1] if places else len(kept)
        self._inside = [0] * len(walk.parents)
        for place in places:
            self._inside[walk.items[place].container] += 1
        for container in range(len(walk.parents) - 1, 0, -1):
            self._inside[walk.parents[container]] += self._inside[container]

    def judge(self, mention: Mention, caption: str) -> DraftMedium | Drop:
        """The medium that a mention is, or why it is none."""
        kind: MediumKind = "video" if mention.tag.endswith("video") else "image"
        stray = self._is_stray(mention)
        if stray and not self._may_be_lead(mention):
            return self._drop(mention, kind, DropReason.BOILERPLATE_MEDIUM, _raw_url(mention))
        candidates = self._candidates(mention)
        if not candidates:
            return self._drop(mention, kind, DropReason.NO_CANDIDATE, "")
        best = candidates[0]
        names = {picture_name(c.url) for c in candidates}
        if stray and (self._lead.isdisjoint(names) or not self._names.isdisjoint(names)):
            return self._drop(mention, kind, DropReason.BOILERPLATE_MEDIUM, best.url)
        attributes = mention.attributes or (mention.noscript[0] if mention.noscript else {})
        reason = placeholder_reason(best.url, attributes) if kind == "image" else None
        if reason is not None and not (reason == DropReason.DECLARED_TOO_SMALL and self._kept[mention.item]):
            return self._drop(mention, kind, reason, best.url)
        if best.url in self._seen:
            return self._drop(mention, kind, DropReason.REPEATED_IN_PAGE, best.url)
        self._seen.update(c.url for c in candidates)
        self._names |= names
        get = attributes.get
        stated = next((self._videos[c.url] for c in candidates if c.url in self._videos), None)
        return DraftMedium(
            kind=kind,
            candidates=candidates,
            alt=" ".join((get("alt") or get("aria-label") or "").split()),
            title=" ".join((get("title") or "").split()) or (stated.name if stated else ""),
            caption=caption or (stated.description if stated else ""),
            width=pixels(get("width")),
            height=pixels(get("height")),
            tracks=self._tracks(mention),
        )

    def _tracks(self, mention: Mention) -> list[str]:
        """The text tracks of a video: those in the page's language first, then the one that players show by themselves."""
        texts = [track for track in mention.tracks if (track.get("kind") or "subtitles").lower() in _TEXT_TRACKS]
        texts.sort(key=lambda track: (_primary(track.get("srclang")) != self._language, "default" not in track))
        return [url for track in texts if (url := self._base.join(track.get("src") or ""))]

    def joined(self, first: DraftMedium, second: DraftMedium) -> DraftMedium | None:
        """One medium for two that stand side by side and show one picture (for wide and narrow screens, blurred and sharp), else None."""
        names = {name for c in first.candidates if len(name := picture_name(c.url)) >= MIN_NAME_CHARS}
        if first.kind != second.kind or names.isdisjoint(picture_name(c.url) for c in second.candidates):
            return None
        return msgspec.structs.replace(
            first,
            candidates=ranked([*first.candidates, *second.candidates]),
            alt=first.alt or second.alt,
            title=first.title or second.title,
            caption=first.caption or second.caption,
        )

    def fallback(self) -> DraftMedium | None:
        """The picture that stands in the page's metadata only."""
        lead = self._metadata.pictures
        if (
            not lead
            or any(picture_name(c.url) in self._names for c in lead)
            or placeholder_reason(lead[0].url, {}) is not None
        ):
            return None
        return DraftMedium(candidates=lead, fallback=True)

    def fallback_video(self) -> DraftMedium | None:
        """The video of the page's metadata, for a page that shows none: all files of its metas, else the first one of JSON-LD."""
        videos = self._metadata.videos
        if not videos:
            return None
        lead = [video for video in videos if video.file.source == "og:video"] or videos[:1]
        named = next((video for video in [*lead, *videos] if video.name or video.description), lead[0])
        files = [video.file for video in lead]
        return DraftMedium(kind="video", candidates=files, title=named.name, caption=named.description, fallback=True)

    def _may_be_lead(self, mention: Mention) -> bool:
        """Whether an attribute holds the name of the page's lead picture; cheaper than its candidates."""
        for attributes in (mention.attributes, *mention.sources, *mention.noscript):
            for value in attributes.values():
                if value and any(stem in value for stem in self._stems):
                    return True
        return False

    def _is_stray(self, mention: Mention) -> bool:
        """Whether a mention stands outside the content."""
        walk, place = self._walk, mention.item
        if self._kept[place]:
            return False
        if self._rows[walk.parents[mention.container], mention.tag] > MAX_ROW:
            return True
        if not self._first - LEAD_REACH <= place <= self._last + TAIL_REACH:
            return True
        container, bits = mention.container, 0
        in_figure = False
        while container and not self._inside[container]:
            if walk.tags[container] == "figure":
                in_figure = True
                bits = 0  # a figure is content by itself: what its parts are called (share, embed) says how it works
            else:
                bits |= walk.bits[container]
            container = walk.parents[container]
        return bool(bits & _NEGATIVE) or (not in_figure and _leads_away(mention))

    def _candidates(self, mention: Mention) -> list[Candidate]:
        base = self._base
        if mention.tag.endswith("video"):
            found = video_candidates(mention.attributes, base)
            for source in mention.sources:
                found += video_candidates(source, base)
            return found + poster_candidates(mention.attributes, base) if found else []
        found = image_candidates(mention.tag, mention.attributes, base) if mention.attributes else []
        for source in mention.sources:
            found += image_candidates("source", source, base)
        for image in mention.noscript:
            found += [
                Candidate(url=c.url, source="noscript", width=c.width) for c in image_candidates("img", image, base)
            ]
        if mention.href:
            found += link_candidates(mention.href, base)
        return ranked(found) if len(found) > 1 else found

    def _drop(self, mention: Mention, kind: MediumKind, reason: DropReason, url: str) -> Drop:
        return Drop(
            kind=kind, reason=reason, url=self._url, medium_url=url, detail=(mention.attributes.get("alt") or "")[:80]
        )


def _leads_away(mention: Mention) -> bool:
    """Whether a picture is the link to another page: a teaser, an author, a badge. One that leads to itself in large is none."""
    href = mention.href
    if not href or href[0] == "#":
        return False
    name = picture_name(mention.attributes.get("src") or "")
    return _PICTURE_FILE.search(href) is None and (not name or picture_name(href) not in name)


def _primary(language: str | None) -> str:
    """The language of a tag without its region: `en` of `en-GB`."""
    return (language or "").strip().lower().partition("-")[0]


def _raw_url(mention: Mention) -> str:
    return mention.attributes.get("src") or ""
