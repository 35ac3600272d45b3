"""Tests of `pipeline.draft` on pages made to hurt: each ends as a draft or as the drop of its budget, soon."""

import time

import pytest

from pipeline import Draft, Drop, draft
from schemas.drops import DropReason

MAX_SECONDS = 20.0  # ten times what is promised: a slow machine is no fault, a quadratic parser is


def _attributes(count: int, value: str) -> bytes:
    return b"<p " + b" ".join(f'a{place}="{value}"'.encode() for place in range(count)) + b">text</p>"


PAGES: dict[str, tuple[bytes, DropReason | None]] = {
    "depth 100,000": (b"<div>" * 100_000 + b"text", None),
    "depth 200,000": (b"<div>" * 200_000 + b"text", DropReason.TOO_MANY_NODES),
    "depth in closed pairs": (b"<div>x" * 45_000 + b"</div>" * 45_000, None),
    "lists in lists": (b"<ul><li>x" * 40_000, None),
    "100,000 attributes": (_attributes(100_000, "v"), DropReason.TOO_MANY_ATTRIBUTES),
    "100,000 attributes with brackets in them": (_attributes(100_000, "a>b"), DropReason.TOO_MANY_ATTRIBUTES),
    "open formatting": (
        b"<p>" + b"".join(b"<font color=%d>" % place for place in range(20_000)) + b"<p>x" * 20_000,
        None,
    ),
    "formatting across tables": (b"<b><table>" * 20_000 + b"text", None),
    "NULs": (b"\0" * 1_000_000 + b"<p>te\0xt</p>", None),
    "colspan bomb": (b"<table>" + b'<tr><td colspan="99999999" rowspan="99999999">text' * 10_000, None),
    "100 MB of text": (b"text " * 20_000_000, DropReason.BODY_TOO_LARGE),
    "15 MB of text": (b"text " * 3_000_000, None),
    "broken entities": (b"<p>" + b"&bogus;&#xFFFFFFFF;&#0;&#xD800;&amp" * 20_000, None),
    "pictures": (b"<img src=a.jpg>" * 90_000, None),
    "more tags than the budget": (b"<br>" * 200_000, DropReason.TOO_MANY_NODES),
    "a long srcset": (b'<p>text</p><img srcset="' + b"a.jpg 1w, " * 500_000 + b'">', None),
    "deep JSON-LD": (b'<script type="application/ld+json">' + b"[" * 200_000 + b"</script><p>text", None),
    "unclosed comment": (b"<p>text</p><!--" + b"<p>x" * 10_000, None),
    "surrogates in UTF-16": (b"\xff\xfe" + b"\x00\xd8" * 10_000 + "text".encode("utf-16-le"), None),
    "marks of ours": (b"<p>text\x1c\x1d\x1e\x1f<img src=a.jpg>text</p>", None),
}


@pytest.mark.parametrize("name", PAGES)
def test_hostile(name: str) -> None:
    """A hostile page ends as what its budget says, with value and threshold where it is a drop."""
    html, reason = PAGES[name]
    start = time.process_time()
    page = draft(html, "https://example.com/")
    assert time.process_time() - start < MAX_SECONDS
    if reason is None:
        assert isinstance(page, Draft)
        assert page.nodes
    else:
        assert isinstance(page, Drop)
        assert reason == page.reason
        assert page.value is not None
        assert page.threshold is not None
        assert page.value > page.threshold
