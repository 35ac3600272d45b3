"""Records: what a slice holds, one value for each record of the crawl.

In: a `Slice`. Out: a stream of `Page` (HTML to extract), `MediaRecord` (an image or a video, by reference), `Redirect`, `OtherRecord` (counted, not used)
and `Drop` (damage, pages that cannot be used), so that the counts of all records add up.
"""

from collections.abc import Iterator
from typing import Literal, TypeAlias
from urllib.parse import urljoin

import fsspec
import msgspec

from pipeline.read.body import decode_body
from pipeline.read.members import packing_of
from pipeline.read.response import Response, parse_response
from pipeline.read.slices import Slice
from pipeline.read.sniff import sniff
from pipeline.read.source import Readable, Source
from pipeline.read.warc import Gap, warc_records
from pipeline.read.warc_record import WarcRecord
from schemas.document import Provenance
from schemas.drops import Drop, DropReason
from schemas.errors import InputError


class ReadLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Budgets of reading, in bytes: a page's decoded body, and what of a record is held in memory."""

    max_page_bytes: int = 16 << 20  # ours: 99.99% of pages are below 4 MB
    max_record_bytes: int = 64 << 20  # ours: holds every picture and short videos, in copies


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of HTML. `charset` is the header's; `date` ISO 8601 in UTC; `robots` as in `Response`; `truncated`: its body ended too early."""

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
    """An image or a video: where its record is, or, where that cannot be read by itself, a copy of its bytes."""

    url: str
    kind: Literal["image", "video"]
    mime: str
    date: str
    digest: str
    reference: Provenance
    copy: bytes | None = None


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """`url` leads to `target` (absolute): by a 30x status, or as a revisit of it."""

    url: str
    target: str
    date: str


class OtherRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is of no use here: its WARC-Type, or its media type."""

    what: str


Record: TypeAlias = Page | MediaRecord | Redirect | OtherRecord | Drop


def read(slice: Slice, limits: ReadLimits = ReadLimits()) -> Iterator[Record]:
    """Every record of a slice, in the order of the file.

    Raises:
        InputError: the input is not what it was said to be.
    """

    file = fsspec.open(slice.input.url, "rb").open()

    def open_at(offset: int) -> Readable:
        file.seek(offset)
        return file

    packing = packing_of(Source(open_at(0)))
    if packing is None:
        raise InputError(f"{slice.input.url}: not a WARC")
    keep = limits.max_record_bytes
    for found in warc_records(open_at, packing, slice.start, slice.end, keep_bytes=keep):
        yield _gap(found, slice.input.name) if isinstance(found, Gap) else _record(found, slice.input.name, limits)


def _gap(gap: Gap, name: str) -> Drop:
    return Drop(kind="page", reason=gap.reason, value=gap.length, detail=f"{name}, offset {gap.offset}: {gap.detail}")


def _record(record: WarcRecord, name: str, limits: ReadLimits) -> Record:
    if record.type not in ("response", "resource"):
        return OtherRecord(what=record.type)
    if record.type == "response" and (response := parse_response(record.block)):
        return _response(record, response, name, limits)
    fields = {"content-type": record.headers.get("content-type", "")}
    return _response(record, Response(status=200, fields=fields), name, limits)


def _response(record: WarcRecord, response: Response, name: str, limits: ReadLimits) -> Record:
    url, date = record.headers.get("warc-target-uri", "").strip("<>"), record.headers.get("warc-date", "")
    location = response.fields.get("location")
    if response.status in (301, 302, 303, 307, 308) and location:
        return Redirect(url=url, target=urljoin(url, location), date=date)
    body = decode_body(
        record.block[response.body_at :],
        response.fields.get("transfer-encoding", ""),
        response.fields.get("content-encoding", ""),
        limits.max_page_bytes,
    )
    digest = record.headers.get("warc-payload-digest", "")
    reference = Provenance(source=name, offset=record.offset, length=record.length, digest=digest)
    where = f"{name}, offset {record.offset}"
    mime = sniff(body.data[:1024]) or response.mime
    if mime in ("text/html", "application/xhtml+xml"):
        if response.status != 200:
            return Drop(kind="page", reason=DropReason.HTTP_STATUS, url=url, value=response.status, detail=where)
        if body.too_large:
            limit = limits.max_page_bytes
            return Drop(kind="page", reason=DropReason.BODY_TOO_LARGE, url=url, threshold=limit, detail=where)
        return Page(
            url=url,
            html=body.data,
            charset=response.charset,
            content_type=response.fields.get("content-type", ""),
            status=response.status,
            date=date,
            robots=response.robots,
            provenance=reference,
            truncated=body.truncated,
        )
    if mime.startswith(("image/", "video/")) and response.status == 200:
        kind: Literal["image", "video"] = "image" if mime.startswith("image/") else "video"
        copy = None if record.alone else body.data
        return MediaRecord(url=url, kind=kind, mime=mime, date=date, digest=digest, reference=reference, copy=copy)
    return OtherRecord(what=mime or "unknown")
