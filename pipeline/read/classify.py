"""What one WARC record is: a page, a medium, a redirect, a site's policy, or of no use.

In: a `WarcRecord`. Out: the one value for it. The bytes say what a body is before its label does, as in browsers; only text and XML are taken at their
label's word, so that a listing of HTML source does not become a page.
"""

from typing import Literal, TypeAlias, TypedDict
from urllib.parse import urljoin

import msgspec

from pipeline.optout import opt_out
from pipeline.read.body import Body, decode_body
from pipeline.read.page import MediaRecord, OtherRecord, Page, Policy, ReadLimits, Record, Redirect
from pipeline.read.policies import MAX_POLICY_BYTES, policy_place
from pipeline.read.response import Response, parse_response
from pipeline.read.sniff import family, sniff
from pipeline.read.warc_record import WarcRecord
from schemas.document import Provenance
from schemas.drops import Drop, DropReason

HTML = ("text/html", "application/xhtml+xml")
MediaKind: TypeAlias = Literal["image", "video", "track"]

_MEDIA: dict[str, MediaKind] = {"image": "image", "video": "video", "text/vtt": "track"}
_REDIRECTS = (301, 302, 303, 307, 308)
_SNIFFED_BYTES = 1 << 10
_SNIFFED_PACKED_BYTES = 16 << 10  # a body's first bytes on the wire: enough to decode `_SNIFFED_BYTES`
_LITERAL = ("text/", "application/xml", "application/json")  # labels that stand against bytes that look like HTML


class Stands(TypedDict):
    """Where a record stands: input's name, byte offset."""

    source: str
    offset: int


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where records come from: the input's name, the WARC's offset in it, and whether records can be read from there by offset."""

    name: str
    limits: ReadLimits
    origin: int = 0
    by_offset: bool = True

    def provenance(self, record: WarcRecord) -> Provenance:
        """Where a record is."""
        digest = record.headers.get("warc-payload-digest", "")
        return Provenance(source=self.name, offset=self.origin + record.offset, length=record.length, digest=digest)

    def where(self, offset: int) -> str:
        """The same in words."""
        return f"{self.name}, offset {self.origin + offset}"

    def stands(self, offset: int) -> Stands:
        """The same as a drop's fields."""
        return {"source": self.name, "offset": self.origin + offset}


def classify(record: WarcRecord, place: Place) -> Record:
    """What a record is, if it is no revisit."""
    if record.type not in ("response", "resource"):
        return OtherRecord(what=_type(record.type))
    response = response_of(record)
    if response is None:
        return OtherRecord(what="other")
    url, date = target_uri(record), record.headers.get("warc-date", "")
    location = response.fields.get("location")
    if response.status in _REDIRECTS and location:
        return Redirect(url=url, target=_join(url, location), date=date)
    mime = _media_type(record, response)
    if mime in HTML:
        return _page(record, response, place)
    if response.status == 200 and (policy := policy_place(url)):
        text = decoded(record, response, MAX_POLICY_BYTES).data.decode("utf-8", "replace").removeprefix("\ufeff")
        return Policy(origin=policy[0], kind=policy[1], date=date, text=text)
    kind = _MEDIA.get("text/vtt" if mime == "text/vtt" else mime.partition("/")[0])
    if kind is not None and _is_whole(response):
        return _medium(record, response, place, kind, mime)
    return OtherRecord(what=family(mime) if response.status == 200 else "error")


def response_of(record: WarcRecord) -> Response | None:
    """The response in a record; that of a resource is made up. None for one over another protocol (DNS)."""
    if record.headers.get("content-type", "").lower().startswith("application/http") and (
        found := parse_response(record.block)
    ):
        return found
    if record.type == "resource" or target_uri(record).startswith(("http:", "https:")):
        return parse_response(record.block) or Response(
            status=200, fields={"content-type": record.headers.get("content-type", "")}
        )
    return None


def target_uri(record: WarcRecord) -> str:
    """The URL of a record; some writers put it into angle brackets, or leave spaces in it."""
    return record.headers.get("warc-target-uri", "").strip("<> ").replace(" ", "%20")


def decoded(record: WarcRecord, response: Response, max_bytes: int) -> Body:
    """The body of a response, its encodings undone."""
    return _decode(record.block[response.body_at :], response, max_bytes)


def _decode(data: bytes, response: Response, max_bytes: int) -> Body:
    fields = response.fields
    return decode_body(data, fields.get("transfer-encoding", ""), fields.get("content-encoding", ""), max_bytes)


def _media_type(record: WarcRecord, response: Response) -> str:
    """What the body is: by its first bytes, else by its label."""
    first = record.block[response.body_at : response.body_at + _SNIFFED_PACKED_BYTES]
    seen = sniff(_decode(first, response, _SNIFFED_BYTES).data)
    stated = response.mime
    if seen in HTML and stated not in HTML:
        if stated.startswith(("image/", "video/")):
            return "text/plain"  # an error page in place of a picture is neither
        return stated if stated.startswith(_LITERAL) else seen
    return seen or stated


def _page(record: WarcRecord, response: Response, place: Place) -> Page | Drop:
    url, where = target_uri(record), place.where(record.offset)
    if response.status != 200:
        return Drop(
            kind="page",
            reason=DropReason.HTTP_STATUS,
            url=url,
            value=response.status,
            detail=where,
            **place.stands(record.offset),
        )
    body = decoded(record, response, place.limits.max_page_bytes)
    if body.too_large or len(record.block) < record.block_length:
        limit = place.limits.max_page_bytes
        value = max(len(body.data), record.block_length)
        return Drop(
            kind="page",
            reason=DropReason.BODY_TOO_LARGE,
            url=url,
            value=value,
            threshold=limit,
            detail=where,
            **place.stands(record.offset),
        )
    return Page(
        url=url,
        html=body.data,
        charset=response.charset,
        content_type=response.fields.get("content-type", ""),
        status=response.status,
        date=record.headers.get("warc-date", ""),
        robots=response.robots,
        provenance=place.provenance(record),
        truncated=body.truncated or record.truncated or "warc-truncated" in record.headers,
    )


def _medium(record: WarcRecord, response: Response, place: Place, kind: MediaKind, mime: str) -> MediaRecord | Drop:
    copy, opted_out = None, opt_out(response.robots) or ""
    if not (opted_out or (record.alone and place.by_offset)):
        body = decoded(record, response, place.limits.max_record_bytes)
        if body.too_large or len(record.block) < record.block_length:
            return Drop(
                kind="image" if kind == "image" else "video",
                reason=DropReason.TOO_MANY_BYTES,
                medium_url=target_uri(record),
                value=record.block_length,
                threshold=place.limits.max_record_bytes,
                detail=place.where(record.offset),
                **place.stands(record.offset),
            )
        copy = body.data
    provenance = place.provenance(record)
    return MediaRecord(
        url=target_uri(record),
        kind=kind,
        mime=mime,
        date=record.headers.get("warc-date", ""),
        digest=provenance.digest,
        reference=provenance,
        copy=copy,
        opted_out=opted_out,
    )


def _is_whole(response: Response) -> bool:
    """Whether all of a medium is there: a 206 that covers everything is as good as a 200."""
    if response.status == 206:
        first, _, total = response.fields.get("content-range", "").removeprefix("bytes 0-").partition("/")
        return first.isdecimal() and total.isdecimal() and int(first) + 1 == int(total)
    return response.status == 200


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location.strip())
    except ValueError:
        return location.strip()


def _type(warc_type: str) -> str:
    known = ("warcinfo", "request", "metadata", "conversion", "continuation")
    return warc_type if warc_type in known else "other"
