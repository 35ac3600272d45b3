"""The forms of what is read: one for each thing that a record can be."""

from typing import Literal, TypeAlias

import msgspec

from schemas.document import Provenance
from schemas.drops import Drop


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Budgets of reading, in bytes: a page's decoded body, and what of one record is held in memory."""

    max_page_bytes: int = 16 << 20  # ours: pages above 4 MB are one in 10,000
    max_record_bytes: int = 64 << 20  # ours: holds every picture, and short videos


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of HTML, its body decoded.

    `charset` is the header's; `date` ISO 8601 in UTC; `robots` what the header says: the values of X-Robots-Tag, and `tdm-reservation: VALUE`.
    `truncated`: the body ended too early.
    """

    url: str
    html: bytes
    charset: str | None
    content_type: str
    status: int
    date: str
    robots: list[str]
    provenance: Provenance
    truncated: bool = False


class MediaRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An image, a video or a text track of one: where its record is, or, where that cannot be read by itself, a copy of its bytes.

    `opted_out` is the directive by which its answer forbids its use; its bytes are then neither copied nor read.
    """

    url: str
    kind: Literal["image", "video", "track"]
    mime: str
    date: str
    digest: str
    reference: Provenance
    copy: bytes | None = None
    opted_out: str = ""


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """`url` leads to `target` (absolute): by a 30x status, or as a revisit of it."""

    url: str
    target: str
    date: str


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What an origin (scheme, host, port) says about its use: the text of its robots.txt, ai.txt or tdmrep.json, its first 500 KiB."""

    origin: str
    kind: Literal["robots", "ai", "tdmrep"]
    date: str
    text: str


class OtherRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is of no use here: its WARC-Type, the family of its media type, `revisit`, `error` (a status that is not 200)."""

    what: str


Record: TypeAlias = Page | MediaRecord | Redirect | Policy | OtherRecord | Drop
