"""Slices: together they are the input, each record once."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.read.inputs import Input, find_inputs
from pipeline.read.page import OtherRecord, Page, ReadLimits, Record
from pipeline.read.records import read
from pipeline.read.slices import slices
from schemas.drops import Drop, DropReason
from schemas.errors import InputError
from tests.warcs import DATE, HTML, PACKINGS, PNG, http, members, put, response, warc


def _all(input: Input, slice_bytes: int) -> list[Record]:
    return [record for each in slices(input, slice_bytes=slice_bytes) for record in read(each)]


@given(data=st.data(), packing=st.sampled_from(PACKINGS), slice_bytes=st.integers(40, 3000))
def test_slices_of_any_size_give_the_records_of_one(data: st.DataObject, packing: str, slice_bytes: int) -> None:
    """Pages, media, redirects, others, damage, and revisits of what another slice holds."""
    kinds = data.draw(
        st.lists(st.sampled_from(["page", "image", "redirect", "request", "revisit", "damage"]), min_size=1, max_size=8)
    )
    records = [
        response("http://a.org/", HTML, payload_digest="sha1:A"),
        *(_made(kind, index) for index, kind in enumerate(kinds)),
    ]
    packed = members(records, packing)
    for index, kind in enumerate(kinds, 1):
        if kind == "damage":
            packed[index] = packed[index][:-9] + b"damage..."
    (input,) = find_inputs([put("slices.warc", b"".join(packed))])

    whole = _all(input, input.size)

    assert _sorted(whole) == _sorted(_all(input, slice_bytes))
    assert len(records) - kinds.count("damage") == sum(not isinstance(record, Drop) for record in whole)


def _sorted(records: list[Record]) -> list[str]:
    """Revisits come at the end of their slice."""
    return sorted(map(repr, records))


def _made(kind: str, index: int) -> bytes:
    url = f"http://a.org/{index}"
    match kind:
        case "image":
            return response(url, PNG, "image/png")
        case "redirect":
            return response(url, b"", status=301, headers="Location: /there\r\n")
        case "request":
            return warc("request", url, b"GET / HTTP/1.1\r\n\r\n")
        case "revisit":
            return warc("revisit", url, http(b""), payload_digest="sha1:A")
        case _:
            return response(url, HTML)


def test_a_single_member_is_the_first_slice_s() -> None:
    """Later cuts find no record start; nothing is lost or doubled."""
    packed = members([b"".join(response(f"http://a.org/{n}", HTML + bytes(range(n, 256))) for n in range(9))], "gzip")
    (input,) = find_inputs([put("single.warc.gz", b"".join(packed))])
    counts = [sum(1 for _ in read(each)) for each in slices(input, slice_bytes=200)]

    assert 9 == counts[0] == sum(counts)
    assert len(counts) > 1


def _parquet(path: Path, table: pa.Table, rows: int = 2) -> Input:
    pq.write_table(table, path, row_group_size=rows)
    (input,) = find_inputs([str(path)])
    return input


def test_parquet_rows_are_pages(tmp_path: Path) -> None:
    """Row groups are slices, the row is the offset; bytes or text; what is missing or too large is a drop."""
    table = pa.table(
        {
            "url": [f"http://a.org/{n}" for n in range(5)],
            "html": [HTML, HTML, None, HTML * 100, HTML],
            "date": [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)] * 5,
            "charset": ["latin-1"] * 5,
            "more": [1] * 5,
        }
    )
    input = _parquet(tmp_path / "pages.parquet", table)
    cuts = slices(input, slice_bytes=1)
    records = [record for each in cuts for record in read(each, ReadLimits(max_page_bytes=1000))]
    pages = [record for record in records if isinstance(record, Page)]

    assert [(0, 1), (1, 2), (2, 3)] == [(each.start, each.end) for each in cuts]
    assert 1 == len(slices(input))
    assert [0, 1, 4] == [page.provenance.offset for page in pages]
    assert {(HTML, "latin-1", DATE, "pages.parquet")} == {
        (page.html, page.charset, page.date, page.provenance.source) for page in pages
    }
    assert [DropReason.BAD_RECORD, DropReason.BODY_TOO_LARGE] == [
        record.reason for record in records if isinstance(record, Drop)
    ]


def test_parquet_text_is_utf8(tmp_path: Path) -> None:
    """Text needs no charset."""
    (page,) = read(
        slices(_parquet(tmp_path / "text.parquet", pa.table({"url": ["http://a.org/"], "html": ["<p>é"]})))[0]
    )

    assert isinstance(page, Page)
    assert ("<p>é".encode(), "utf-8", "") == (page.html, page.charset, page.date)


def test_parquet_without_the_columns(tmp_path: Path) -> None:
    """The error names what is missing, and what is there; a broken file is named too."""
    input = _parquet(tmp_path / "x.parquet", pa.table({"url": ["a"], "text": ["b"]}))
    with pytest.raises(InputError, match="there is no html among url, text"):
        slices(input)
    (tmp_path / "y.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(InputError, match=r"y\.parquet: not a Parquet file"):
        slices(find_inputs([str(tmp_path / "y.parquet")])[0])


def test_other_records_are_counted_by_few_words() -> None:
    """Whatever a server calls its types, the words are of a small set."""
    mimes = [
        "text/css",
        "application/x-javascript",
        "application/json",
        "application/pdf",
        "font/woff2",
        "strange/type",
        "text/plain",
    ]
    records = [response(f"http://a.org/{n}", b"...", mime) for n, mime in enumerate(mimes)]
    (input,) = find_inputs([put("others.warc", b"".join(records))])

    assert ["css", "javascript", "json", "pdf", "font", "other", "text"] == [
        record.what for record in _all(input, input.size) if isinstance(record, OtherRecord)
    ]
