"""Records: what a slice holds, one value for each record of the crawl.

In: a `Slice`. Out: a stream of `Page` (HTML to extract), `MediaRecord` (an image or a video, by reference), `Redirect`, `Policy` (robots.txt and
its kin), `OtherRecord` (counted, not used) and `Drop` (damage, pages that cannot be used), so that the counts of all records add up.
"""

from collections.abc import Iterator

import msgspec

from pipeline.read.classify import Place, classify
from pipeline.read.files import opened
from pipeline.read.html_files import html_pages
from pipeline.read.members import Zstd, packing_of
from pipeline.read.page import MediaRecord, OtherRecord, Page, Policy, ReadLimits, Record, Redirect
from pipeline.read.parquet import parquet_pages
from pipeline.read.revisits import Revisits
from pipeline.read.slices import Slice
from pipeline.read.source import Damage, OpenAt, Source
from pipeline.read.wacz import entries, entry_at
from pipeline.read.warc import Gap, warc_records
from schemas.drops import Drop, DropReason

__all__ = ["MediaRecord", "OtherRecord", "Page", "Policy", "ReadLimits", "Record", "Redirect", "read"]


def read(slice: Slice, limits: ReadLimits = ReadLimits(), *, base_url: str = "") -> Iterator[Record]:
    """Every record of a slice, in the order of the file (revisits of pages at the end).

    `base_url` stands before the names of HTML files.

    Raises:
        InputError: a Parquet file is none, or lacks columns.
        SurroundingsError: the disk, store or server refuses.
    """
    input = slice.input
    if input.kind == "html":
        yield from html_pages(input.files, base_url=base_url, max_page_bytes=limits.max_page_bytes, ranges=input.ranges)
    elif input.kind == "parquet":
        yield from parquet_pages(input.url, input.name, slice.start, slice.end, max_page_bytes=limits.max_page_bytes)
    else:
        try:
            yield from _warc_or_entry(slice, limits)
        except Damage as damage:
            yield Drop(
                kind="page",
                reason=damage.reason,
                detail=f"{input.name}, {slice.member}: {damage.detail}",
                source=input.name,
            )


def _warc_or_entry(slice: Slice, limits: ReadLimits) -> Iterator[Record]:
    input = slice.input
    with opened(input.url, ranges=input.ranges) as handle:
        if input.kind == "warc":
            place = Place(name=input.name, limits=limits, by_offset=input.ranges)
            yield from _records(handle.at, slice, place)
            return
        for entry in entries(handle):
            if entry.name == slice.member:
                place = Place(
                    name=input.name, limits=limits, origin=entry.origin or 0, by_offset=entry.origin is not None
                )
                yield from _records(entry_at(handle, entry), slice, place)


def _records(open_at: OpenAt, slice: Slice, place: Place) -> Iterator[Record]:
    packing = packing_of(Source(open_at(0)))
    if packing is None:
        raise Damage(DropReason.BAD_RECORD, "no WARC record at its start")
    if place.origin and isinstance(packing, Zstd) and packing.has_dictionary:
        # who reads by offset looks for the dictionary at the start of the outer file, and that is a zip's
        place = msgspec.structs.replace(place, by_offset=False)
    revisits = Revisits(place)
    keep = place.limits.max_record_bytes
    for found in warc_records(open_at, packing, slice.start, slice.end, keep_bytes=keep, trust=place.by_offset):
        if isinstance(found, Gap):
            detail = f"{place.where(found.offset)}: {found.detail}"
            yield Drop(
                kind="page", reason=found.reason, value=found.length, detail=detail, **place.stands(found.offset)
            )
        elif found.type == "revisit":
            if (record := revisits.take(found)) is not None:
                yield record
        else:
            if found.type in ("response", "resource"):
                revisits.remember(found)
            yield classify(found, place)
    yield from revisits.resolve(open_at, packing, slice.start)
