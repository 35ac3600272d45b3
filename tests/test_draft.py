"""Tests of `pipeline.draft`: whole pages against golden files, and what must hold of any page."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import Draft, Drop, draft
from schemas.document import DraftMedium, Text
from schemas.drops import DropReason

GOLDEN = Path(__file__).parent / "golden"
URL = "https://birds.example/2024/heron.html"
PROSE = (
    "Every morning in early spring a heron stands below the old weir, so still that few people ever see it, number {}."
)
WORDS = st.lists(st.text("abcdefghijklmnopqrstuvwxyzäß", min_size=2, max_size=9), min_size=12, max_size=40)


def drafted(html: str) -> Draft:
    """The draft of a page that is none of those that are dropped."""
    page = draft(html.encode(), URL)
    assert isinstance(page, Draft)
    return page


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.html")), ids=lambda path: path.stem)
def test_golden(path: Path, request: pytest.FixtureRequest) -> None:
    """Each page of tests/golden gives the draft beside it."""
    html = path.read_text("utf-8")
    page = draft(html.encode("gb2312" if "gb2312" in html else "utf-8"), URL)
    found = msgspec.json.format(msgspec.json.encode(page), indent=1) + b"\n"
    expected = path.with_suffix(".json")
    if request.config.getoption("--update-golden"):
        expected.write_bytes(found)
    assert expected.read_text("utf-8") == found.decode()


@given(st.binary(max_size=300))
def test_any_bytes(html: bytes) -> None:
    """Any bytes give a draft or a drop, and never an exception."""
    assert isinstance(draft(html, URL), Draft | Drop)


@given(st.lists(st.sampled_from(list(
    "<p> <div> </div> <b> </p> <table> <tr> <td> </table> <a href=x> </a> <ul> <li> </ul> <pre> <img src=a.jpg> <noscript> </noscript> "
    "<picture> <source srcset=b.jpg> </picture> <video> <br> <h1> <blockquote> <svg> <template> <select> <form> <!-- --> & &#0; text".split()
)), max_size=40))  # fmt: skip
def test_any_markup(tags: list[str]) -> None:
    """Any order of tags gives a draft or a drop: nothing depends on tags being balanced."""
    assert isinstance(draft(" ".join(tags).encode(), URL), Draft | Drop)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=3, max_size=8))
def test_paragraphs_in_order(paragraphs: list[list[str]]) -> None:
    """Every paragraph of an article stands in the draft, in order."""
    texts = [f"{' '.join(words)} {place}." for place, words in enumerate(paragraphs)]
    body = "".join(f"<p>{text}</p>" for text in texts)
    page = drafted(f"<html><body><nav><a href=/>Home</a></nav><article>{body}</article></body></html>")
    assert texts == [node.text for node in page.nodes if isinstance(node, Text)]


@pytest.mark.parametrize("depth", [10, 300, 3_000, 30_000])
def test_depth_loses_nothing(depth: int) -> None:
    """However deep an article is nested, all of its text and its picture are there."""
    inner = "".join(f"<p>{PROSE.format(place)}</p>" for place in range(5)) + "<img src=a-heron.jpg width=800>"
    page = drafted("<div>" * depth + inner + "</div>" * depth)
    assert [PROSE.format(place) for place in range(5)] == [n.text for n in page.nodes if isinstance(n, Text)]
    assert ["https://birds.example/2024/a-heron.jpg"] == [m.candidates[0].url for m in page.media]


def test_order_is_that_of_the_dom() -> None:
    """A table's text that the HTML5 tree moves before the table is read there, as browsers show it."""
    page = drafted(f"<body><table><tr><td>{PROSE.format(2)}</td></tr>{PROSE.format(1)}</table></body>")
    assert f"{PROSE.format(1)}\n\n{PROSE.format(2)}" == page.text


def test_picture_in_a_paragraph_splits_it() -> None:
    """A picture in running text stands between the two halves of its paragraph."""
    page = drafted(f"<p>{PROSE.format(1)}<img src=heron-one.jpg alt=Heron> {PROSE.format(2)}</p>")
    one, picture, two = page.nodes
    assert (one, two) == (Text(PROSE.format(1)), Text(PROSE.format(2)))
    assert isinstance(picture, DraftMedium)
    assert picture.alt == "Heron"


def test_dropped_picture_leaves_its_paragraph_whole() -> None:
    """A pixel in running text does not split its paragraph, and is a drop with its reason."""
    page = drafted(f"<p>{PROSE.format(1)} <img src=/t.gif width=1 height=1> {PROSE.format(2)}</p>")
    assert [Text(f"{PROSE.format(1)} {PROSE.format(2)}")] == page.nodes
    assert [DropReason.TRACKING_PIXEL] == [drop.reason for drop in page.dropped]


def test_fallback_only_where_the_body_lacks_it() -> None:
    """og:image is a marked fallback, and none where the body shows the same picture."""
    head = '<head><meta property="og:image" content="/img/heron-lead-1200x630.jpg"></head>'
    prose = "".join(f"<p>{PROSE.format(place)}</p>" for place in range(3))
    assert [True] == [medium.fallback for medium in drafted(f"{head}<body>{prose}").media]
    inside = drafted(f"{head}<body>{prose}<img src=/img/heron-lead-600x315.jpg>")
    assert [False] == [medium.fallback for medium in inside.media]


@pytest.mark.parametrize(
    ("encoding", "charset", "text"),
    [
        ("utf-8", "iso-8859-1", "Größe und Übermut"),
        ("cp1251", "utf-8", "Каждое утро ранней весной цапля стоит у старой плотины, и её почти никто не видит"),
        ("cp1252", "no-such-charset", "Jeden Morgen steht im frühen Frühjahr ein Reiher an der alten Mühle für sich"),
        ("utf-16", None, "A heron, façade"),
        ("shift_jis", None, "春の朝、サギは古い堰の下に立っている。橋を渡る人はほとんど気づかない。"),
        ("gb18030", "iso-8859-1", "每年早春，一只苍鹭都会站在旧水坝下面，一动不动，过桥的人大多看不见它。"),
    ],
)
def test_charset(encoding: str, charset: str | None, text: str) -> None:
    """A page is read whatever its label says, or does not say."""
    page = draft(f"<html><body><p>{text}</p></body></html>".encode(encoding), URL, charset=charset)
    assert isinstance(page, Draft)
    assert text == page.text


def test_empty_and_without_content() -> None:
    """A page without anything, and one whose parts are all boilerplate, are drops."""
    links = b"".join(b"<li><a href=/%d>Part %d</a>" % (place, place) for place in range(8))
    empty, navigation = draft(b"<html></html>", URL), draft(b"<nav><ul>" + links + b"</ul></nav>", URL)
    assert isinstance(empty, Drop)
    assert isinstance(navigation, Drop)
    assert (DropReason.EMPTY, DropReason.NO_CONTENT) == (empty.reason, navigation.reason)
