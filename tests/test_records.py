"""One value for each record of a crawl."""

import gzip
import io
import random
from typing import Any

import pytest

from pipeline.read.inputs import find_inputs
from pipeline.read.page import MediaRecord, OtherRecord, Page, Policy, ReadLimits, Record, Redirect
from pipeline.read.records import read
from pipeline.read.reference import copy_reference, read_reference
from pipeline.read.slices import slices
from schemas.document import Provenance
from schemas.drops import Drop, DropReason
from tests.warcs import DATE, HTML, PACKINGS, PNG, http, members, put, response, warc, with_dictionary

MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(100)


def _read(data: bytes, **limits: int) -> list[Record]:
    (input,) = find_inputs([put("records.warc", data)])
    (only,) = slices(input)
    return list(read(only, ReadLimits(**limits)))


def _one(data: bytes, **limits: int) -> Any:
    (record,) = _read(data, **limits)
    return record


def test_a_page_with_all_that_is_known_of_it() -> None:
    """Body, charset, date, robots and place."""
    headers = "X-Robots-Tag: noindex\r\nx-robots-tag: otherbot: noai\r\nTDM-Reservation: 1\r\n"
    data = response("http://a.org/", HTML, "text/html; charset=latin-1", headers=headers, payload_digest="sha1:ABC")

    assert Page(
        url="http://a.org/",
        html=HTML,
        charset="latin-1",
        content_type="text/html; charset=latin-1",
        status=200,
        date=DATE,
        robots=["noindex", "otherbot: noai", "tdm-reservation: 1"],
        provenance=Provenance(source="records.warc", offset=0, length=len(data), digest="sha1:ABC"),
    ) == _one(data)


@pytest.mark.parametrize(
    ("mime", "body", "kind"),
    [
        ("text/html", HTML, Page),
        ("application/xhtml+xml", b"<?xml version='1.0'?><html/>", Page),
        ("text/html", b"no tags at all", Page),
        ("text/html", b"", Page),
        ("", HTML, Page),
        ("application/octet-stream", b"\n <!-- c --> <HTML>", Page),
        ("text/plain", HTML, OtherRecord),
        ("application/json", b"{}", OtherRecord),
        ("image/png", PNG, MediaRecord),
        ("text/html", PNG, MediaRecord),
        ("", PNG, MediaRecord),
        ("application/octet-stream", MP4, MediaRecord),
        ("image/x-unheard-of", b"????", MediaRecord),
        ("image/png", HTML, OtherRecord),
        ("text/html", b"%PDF-1.7", OtherRecord),
        ("text/css", b"a{}", OtherRecord),
    ],
)
def test_the_bytes_decide_before_the_label(mime: str, body: bytes, kind: type) -> None:
    """As in browsers; text is taken at its label's word, an error page in place of a picture is nothing."""
    assert kind is type(_one(response("http://a.org/", body, mime)))


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (301, "Location: /b\r\n", Redirect(url="http://a.org/x/", target="http://a.org/b", date=DATE)),
        (308, "Location: //c.org\r\n", Redirect(url="http://a.org/x/", target="http://c.org", date=DATE)),
        (302, "Location: http://[broken\r\n", Redirect(url="http://a.org/x/", target="http://[broken", date=DATE)),
    ],
)
def test_redirects_lead_to_absolute_urls(status: int, headers: str, expected: Redirect) -> None:
    """Resolved against the record's URL; what cannot be resolved stays."""
    assert expected == _one(response("http://a.org/x/", HTML, status=status, headers=headers))


def test_html_with_another_status_is_a_drop() -> None:
    """With the status as value, and file and offset; other things with another status are counted only."""
    drop = _one(response("http://a.org/", HTML, status=404))

    assert (DropReason.HTTP_STATUS, 404, "records.warc, offset 0") == (drop.reason, drop.value, drop.detail)
    assert OtherRecord(what="error") == _one(response("http://a.org/", PNG, "image/png", status=404))


def test_a_206_counts_when_it_is_all() -> None:
    """Players ask for videos by range, beginning with everything."""
    whole, part = (f"Content-Range: bytes 0-{last}/{len(MP4)}\r\n" for last in (len(MP4) - 1, 9))

    assert isinstance(_one(response("http://a.org/v", MP4, "video/mp4", status=206, headers=whole)), MediaRecord)
    assert OtherRecord(what="error") == _one(response("http://a.org/v", MP4, "video/mp4", status=206, headers=part))


def test_resources_are_read_like_responses() -> None:
    """Their type is the record's."""
    page, image, text = (
        _one(warc("resource", "http://a.org/", body, content_type=mime))
        for body, mime in ((HTML, "text/html"), (PNG, "image/png"), (b"x", "text/plain"))
    )

    assert (Page, MediaRecord, OtherRecord) == (type(page), type(image), type(text))
    assert HTML == page.html


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://A.org:80/robots.txt", ("http://a.org", "robots")),
        ("https://a.org:8443/ai.txt", ("https://a.org:8443", "ai")),
        ("https://a.org/.well-known/tdmrep.json", ("https://a.org", "tdmrep")),
        ("https://a.org/files/robots.txt", None),
        ("https://a.org/?/robots.txt", None),
    ],
)
def test_policies_of_sites_are_kept(url: str, expected: tuple[str, str] | None) -> None:
    """robots.txt and its kin come with the origin that they speak for; an error page in their place is none."""
    text = "\ufeffUser-agent: *\nDisallow: /\n"
    found = _one(response(url, text.encode(), "text/plain"))

    assert expected == ((found.origin, found.kind) if isinstance(found, Policy) else None)
    assert not isinstance(found, Policy) or found.text == text[1:]
    assert not isinstance(_one(response(url, b"gone", "text/plain", status=404)), Policy)
    assert isinstance(_one(response(url, HTML, "text/html")), Page)


def test_all_other_types_are_counted() -> None:
    """So that the counts of all records add up."""
    types = ["warcinfo", "request", "metadata", "conversion", "continuation", "invented"]

    assert [*types[:5], "other"] == [
        record.what
        for record in _read(b"".join(warc(each, "", b"x: y") for each in types))
        if isinstance(record, OtherRecord)
    ]


def test_bodies_are_decoded() -> None:
    """Chunked and compressed."""
    packed = gzip.compress(HTML)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed)

    assert (
        HTML
        == _one(
            response("http://a.org/", chunked, headers="Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n")
        ).html
    )


def test_a_page_beyond_the_budget_is_a_drop() -> None:
    """After decompression, by the number of bytes; also when the record itself is beyond what is held."""
    bomb = gzip.compress(HTML * 100_000)
    drop = _one(response("http://a.org/", bomb, headers="Content-Encoding: gzip\r\n"), max_page_bytes=10_000)
    huge = _one(response("http://a.org/", HTML * 1000), max_record_bytes=10_000)

    assert (DropReason.BODY_TOO_LARGE, 10_000.0) == (drop.reason, drop.threshold)
    assert DropReason.BODY_TOO_LARGE is huge.reason


def test_a_cut_body_is_a_marked_page() -> None:
    """What was decoded stays."""
    page = _one(response("http://a.org/", gzip.compress(HTML * 500)[:-9], headers="Content-Encoding: gzip\r\n"))

    assert page.truncated
    assert page.html.startswith(HTML)
    assert _one(response("http://a.org/", HTML, truncated="length")).truncated


def test_damage_is_a_drop_with_file_and_offset() -> None:
    """Value is the number of bytes that were lost."""
    first, second, third = members([response(f"http://a.org/{n}", HTML) for n in range(3)], "gzip")
    _, drop, _ = _read(first + second[:-12] + third)

    assert isinstance(drop, Drop)
    assert DropReason.BAD_RECORD is drop.reason
    assert drop.detail.startswith(f"records.warc, offset {len(first)}: ")
    assert len(second) - 12 == drop.value


@pytest.mark.parametrize("packing", [*PACKINGS, "dictionary"])
def test_references_give_the_bytes_back(packing: str) -> None:
    """By offset and length alone, encodings undone."""
    records = [
        response("http://a.org/", HTML),
        response("http://a.org/a.png", PNG, "image/png"),
        response("http://a.org/b.png", gzip.compress(PNG), "image/png", headers="Content-Encoding: gzip\r\n"),
        warc("resource", "http://a.org/c.png", PNG, content_type="image/png"),
    ]
    data = with_dictionary(records) if packing == "dictionary" else b"".join(members(records, packing))
    (input,) = find_inputs([put("references.warc", data)])
    media = [record for record in read(slices(input)[0]) if isinstance(record, MediaRecord)]

    import fsspec

    with fsspec.open(input.url, "rb") as file:
        bodies = [read_reference(file, each.reference.offset, each.reference.length) for each in media]
        wrong = read_reference(file, media[0].reference.offset + 1, media[0].reference.length)
        small = read_reference(file, media[0].reference.offset, media[0].reference.length, max_bytes=50)

    assert [PNG] * 3 == bodies
    assert [None] * 3 == [each.copy for each in media]
    assert isinstance(wrong, Drop)
    assert isinstance(small, Drop)
    assert DropReason.TOO_MANY_BYTES is small.reason


@pytest.mark.parametrize("packing", PACKINGS)
def test_large_bodies_are_copied_piece_by_piece(packing: str) -> None:
    """A video beyond what is held in memory of a record comes back whole, chunked or not, up to the limit."""
    film = b"\0\0\0\x18ftypmp42" + random.Random(packing).randbytes(1_300_000)
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (film[:70_000], film[70_000:], b""))
    records = [
        response("http://a.org/a.mp4", film, "video/mp4"),
        response("http://a.org/b.mp4", chunked, "video/mp4", headers="Transfer-Encoding: chunked\r\n"),
        response("http://a.org/c.mp4", gzip.compress(film), "video/mp4", headers="Content-Encoding: gzip\r\n"),
    ]
    (input,) = find_inputs([put("large.warc", b"".join(members(records, packing)))])
    media = [record for record in read(slices(input)[0]) if isinstance(record, MediaRecord)]

    import fsspec

    with fsspec.open(input.url, "rb") as file:
        for each in media:
            copy = io.BytesIO()
            assert copy_reference(file, each.reference.offset, each.reference.length, copy, max_bytes=1 << 21) is None
            assert film == copy.getvalue()
        small = copy_reference(file, media[0].reference.offset, media[0].reference.length, io.BytesIO(), max_bytes=9)
        wrong = copy_reference(file, media[0].reference.offset + 1, 99, io.BytesIO(), max_bytes=1 << 21)

    assert len(media) == 3
    assert small is not None
    assert DropReason.TOO_MANY_BYTES is small.reason
    assert wrong is not None


def test_media_that_share_a_member_are_copied() -> None:
    """They cannot be read by offset; one that is too large is a drop of its own kind."""
    whole = gzip.compress(b"".join(response(f"http://a.org/{n}", PNG, "image/png") for n in range(2)))

    assert [PNG, PNG] == [record.copy for record in _read(whole) if isinstance(record, MediaRecord)]
    assert [("image", DropReason.TOO_MANY_BYTES)] * 2 == [
        (each.kind, each.reason) for each in _read(whole, max_record_bytes=100) if isinstance(each, Drop)
    ]


def _revisit(url: str, mime: str = "text/html", **fields: str) -> bytes:
    return warc("revisit", url, http(b"", mime), date="2026-02-02T00:00:00Z", **fields)


def test_a_revisit_is_the_page_again() -> None:
    """Under its own URL and date, by digest, by URL and date, or by record id."""
    original = response("http://a.org/", HTML, payload_digest="sha1:A", record_id="<urn:1>")
    revisits = [
        _revisit("http://a.org/1", payload_digest="sha1:A"),
        _revisit("http://a.org/2", refers_to_target_uri="http://a.org/", refers_to_date=DATE),
        _revisit("http://a.org/3", refers_to="<urn:1>"),
        _revisit("http://a.org/4", mime="", payload_digest="sha1:A"),
    ]
    _, *pages = _read(b"".join([original, *revisits]))

    assert [(f"http://a.org/{n}", HTML, "2026-02-02T00:00:00Z") for n in (1, 2, 3, 4)] == [
        (page.url, page.html, page.date) for page in pages if isinstance(page, Page)
    ]


def test_a_revisit_of_a_medium_leads_to_the_first_url() -> None:
    """Also where the original is in another file; a revisit of itself leads nowhere."""
    aliases = [_revisit(f"http://a.org/{n}", "image/png", refers_to_target_uri="http://b.org/p") for n in (1, 2)]
    itself = _revisit("http://a.org/3", "image/png", refers_to_target_uri="http://a.org/3")

    assert [
        Redirect(url="http://a.org/1", target="http://b.org/p", date="2026-02-02T00:00:00Z"),
        Redirect(url="http://a.org/2", target="http://b.org/p", date="2026-02-02T00:00:00Z"),
        OtherRecord(what="revisit"),
    ] == _read(b"".join([*aliases, itself]))


def test_revisits_without_an_original() -> None:
    """A page is a drop; what is not known to be one is counted."""
    page, style, unknown = _read(
        b"".join(
            [
                _revisit("http://a.org/", payload_digest="x"),
                _revisit("http://a.org/s", "text/css"),
                _revisit("http://a.org/u", "", payload_digest="x"),
            ]
        )
    )

    assert [("http://a.org/", DropReason.REVISIT_UNRESOLVED)] == [
        (each.url, each.reason) for each in (page, style, unknown) if isinstance(each, Drop)
    ][:1]
    assert {OtherRecord(what="revisit")} == {each for each in (page, style, unknown) if isinstance(each, OtherRecord)}


def test_target_uris_as_writers_leave_them() -> None:
    """In angle brackets (Wget), or with spaces in them."""
    assert "http://a.org/a%20b" == _one(response("<http://a.org/a b>", HTML)).url


def test_no_warc_at_all_is_a_drop() -> None:
    """A worker does not stop at a file that is not what its name says."""
    folder = put("folder/bad.warc.gz", b"nothing").removesuffix("/bad.warc.gz")
    (input,) = find_inputs([folder])
    (drop,) = read(slices(input)[0])

    assert isinstance(drop, Drop)
    assert DropReason.BAD_RECORD is drop.reason
