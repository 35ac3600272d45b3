"""Documents meet their media: which pictures stay when several are the same, or stand in the page's metadata only."""

import numpy as np

from pipeline.stages.assemble import MATCH, REASONS, _finish
from schemas.document import Candidate, Document, DraftMedium, Text, encode_draft_nodes
from schemas.drops import Drop, DropReason

TEXT = Text("some text")


def finish(media: list[DraftMedium], digests: list[bytes | None]) -> tuple[Document | None, list[Drop]]:
    """Finishes a page of a text and these media; a digest a medium whose picture was found, None for one that was not."""
    matches = np.zeros(sum(digest is not None for digest in digests), dtype=MATCH)
    found = [number for number, digest in enumerate(digests) if digest is not None]
    for match, number in zip(matches, found, strict=True):
        match["medium"], match["ok"], match["width"], match["height"], match["bytes"] = number, True, 9, 9, 9
        match["sha256"] = np.void(digests[number] or b"")
    stored = {
        "nodes": encode_draft_nodes([TEXT, *media]).decode(),
        "key": "0" * 32,
        "url": "http://a.example/",
        "source": "x.warc.gz",
        "offset": 0,
        "length": 1,
        "digest": "",
        "title": "",
        "date": "",
        "language": "en",
        "language_score": 0.9,
        "licence": "",
    }
    document, drops, _ = _finish(stored, matches, ["part"])
    return document, drops


def medium(name: str, fallback: bool = False) -> DraftMedium:
    return DraftMedium(candidates=[Candidate(url=f"http://a.example/{name}", source="src")], fallback=fallback)


def test_a_pictures_twin_goes() -> None:
    """Of two pictures with the same bytes the first stays, under its own name."""
    document, drops = finish([medium("a"), medium("b"), medium("c")], [b"1" * 32, b"1" * 32, b"2" * 32])

    assert document is not None
    assert [(m.url, m.member) for m in document.media] == [
        ("http://a.example/a", "000.jpg"),
        ("http://a.example/c", "001.jpg"),
    ]
    assert [drop.reason for drop in drops] == [DropReason.REPEATED_IN_PAGE]


def test_metadata_stands_in_where_the_body_has_nothing() -> None:
    """The page's og:image is taken if no picture of the body was, and only then, also where both are the same picture."""
    alone, _ = finish([medium("og", fallback=True), medium("a")], [b"1" * 32, None])
    beside, drops = finish([medium("og", fallback=True), medium("a")], [b"1" * 32, b"1" * 32])

    assert alone is not None
    assert beside is not None
    assert [m.url for m in alone.media] == ["http://a.example/og"]
    assert [m.url for m in beside.media] == ["http://a.example/a"]
    assert [drop.reason for drop in drops] == [DropReason.FALLBACK_NOT_NEEDED]


def test_without_a_picture_all_goes() -> None:
    """A page none of whose pictures was found is a drop, and its text with it."""
    document, drops = finish([medium("a")], [None])

    assert document is None
    assert [(drop.kind, drop.reason) for drop in drops] == [
        ("page", DropReason.NO_IMAGE),
        ("paragraph", DropReason.WITH_PAGE),
        ("image", DropReason.NOT_IN_CRAWL),
    ]


def test_reasons_fit_their_field() -> None:
    """A reason travels as its place in the list of reasons, in two bytes."""
    assert len(REASONS) < 2**16
