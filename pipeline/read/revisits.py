"""Revisits: records that point to an earlier record with the same content.

In: the records of a slice, in order. Out: for a revisit of a page, the page again, under the revisit's URL and date; of a medium, a `Redirect` to the
URL that it was first seen under. The original is the last one before the revisit with its payload digest (or URL and date, or record id): in this slice,
or, by a second look, in the part of the file before it. An original that cannot be read by offset, or is in another file, is not found.
"""

from collections.abc import Iterator

import msgspec

from pipeline.read.classify import HTML, Place, classify, target_uri
from pipeline.read.members import Packing
from pipeline.read.page import OtherRecord, Page, Policy, Record, Redirect
from pipeline.read.response import parse_response
from pipeline.read.source import Damage, OpenAt, Source
from pipeline.read.warc import Gap, read_at, warc_records
from pipeline.read.warc_record import WarcRecord
from schemas.drops import Drop, DropReason


class _Revisit(msgspec.Struct, frozen=True):
    """What is kept of a revisit until the end of its slice."""

    key: str
    url: str
    date: str
    refers_date: str
    is_page: bool
    where: str
    original: int | None


class Revisits:
    """The originals and the open revisits of one slice."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._offsets: dict[str, int] = {}
        self._open: list[_Revisit] = []

    def remember(self, record: WarcRecord) -> None:
        """Notes a record that a later one may refer to."""
        if record.alone and self._place.by_offset:
            headers = record.headers
            for key in (
                headers.get("warc-payload-digest", ""),
                f"{target_uri(record)} {headers.get('warc-date', '')}",
                headers.get("warc-record-id", ""),
            ):
                self._offsets[key] = record.offset

    def take(self, record: WarcRecord) -> Record | None:
        """What a revisit is; None where that will be known at the end of the slice (`resolve`)."""
        headers = record.headers
        url, refers = target_uri(record), headers.get("warc-refers-to-target-uri", "").strip("<> ").replace(" ", "%20")
        response = parse_response(record.block)
        mime = response.mime if response else ""
        if mime.startswith(("image/", "video/")) and refers:
            return _alias(url, refers, headers.get("warc-date", ""))
        if mime and mime not in HTML and not mime.startswith(("image/", "video/")):
            return OtherRecord(what="revisit")
        refers_date = headers.get("warc-refers-to-date", "")
        key = headers.get("warc-payload-digest") or (
            f"{refers} {refers_date}" if refers else headers.get("warc-refers-to", "")
        )
        self._open.append(
            _Revisit(
                key=key,
                url=url,
                date=headers.get("warc-date", ""),
                refers_date=refers_date,
                is_page=mime in HTML,
                where=self._place.where(record.offset),
                original=self._offsets.get(key),
            )
        )
        return None

    def resolve(self, open_at: OpenAt, packing: Packing, start: int) -> Iterator[Record]:
        """The open revisits of a slice that begins at `start`."""
        earlier = self._look_back(open_at, packing, start)
        for revisit in self._open:
            offset = revisit.original if revisit.original is not None else earlier.get(revisit.key)
            if offset is not None:
                yield self._again(revisit, open_at, packing, offset)
            elif revisit.is_page:
                yield Drop(kind="page", reason=DropReason.REVISIT_UNRESOLVED, url=revisit.url, detail=revisit.where)
            else:
                yield OtherRecord(what="revisit")

    def _look_back(self, open_at: OpenAt, packing: Packing, start: int) -> dict[str, int]:
        """Offsets of wanted originals before `start`; nothing is read where all wanted ones are older than the file."""
        wanted = {revisit.key for revisit in self._open if revisit.original is None}
        since = max((revisit.refers_date or "9" for revisit in self._open if revisit.original is None), default="")
        if not wanted or start == 0 or not self._place.by_offset:
            return {}
        before = Revisits(self._place)
        for index, found in enumerate(warc_records(open_at, packing, 0, start, keep_bytes=0)):
            if isinstance(found, Gap):
                continue
            if index == 0 and found.headers.get("warc-date", "") > since:
                return {}
            if found.type in ("response", "resource"):
                before.remember(found)
        return {key: offset for key, offset in before._offsets.items() if key in wanted}

    def _again(self, revisit: _Revisit, open_at: OpenAt, packing: Packing, offset: int) -> Record:
        """The original's record, as the revisit's."""
        try:
            record = read_at(Source(open_at(offset), offset), packing, self._place.limits.max_record_bytes)
        except Damage as damage:
            return Drop(kind="page", reason=damage.reason, url=revisit.url, detail=f"{revisit.where}: {damage.detail}")
        original = classify(record, self._place)
        if isinstance(original, Page):
            return msgspec.structs.replace(original, url=revisit.url, date=revisit.date)
        if isinstance(original, Drop):
            return msgspec.structs.replace(original, url=revisit.url)
        if isinstance(original, OtherRecord | Policy):
            return OtherRecord(what="revisit")
        return _alias(revisit.url, original.url, revisit.date)


def _alias(url: str, target: str, date: str) -> Redirect | OtherRecord:
    return Redirect(url=url, target=target, date=date) if url != target else OtherRecord(what="revisit")
