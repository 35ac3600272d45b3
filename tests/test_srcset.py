"""The grammar of srcset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.srcset import MAX_RENDITIONS, Rendition, parse_srcset

URL_CHARS = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=["Zs", "Zl", "Zp", "Cc"])
URLS = st.text(URL_CHARS, min_size=1, max_size=40).filter(lambda url: url[0] != "," and url[-1] != ",")
WIDTHS = st.integers(1, 99_999)
DENSITIES = st.integers(1, 80).map(lambda tenths: tenths / 10)
RENDITIONS = st.lists(
    st.tuples(URLS, WIDTHS, st.none()) | st.tuples(URLS, st.none(), DENSITIES), max_size=MAX_RENDITIONS
)


def render(renditions: list[Rendition]) -> str:
    """A srcset as careful authors write it."""
    return ", ".join(f"{url} {density}x" if width is None else f"{url} {width}w" for url, width, density in renditions)


@pytest.mark.parametrize(
    ("value", "renditions"),
    [
        ("a.jpg", [("a.jpg", None, 1.0)]),
        ("a.jpg 1x, b.jpg 2x", [("a.jpg", None, 1.0), ("b.jpg", None, 2.0)]),
        ("a.jpg 300w,\n\t b.jpg 600w", [("a.jpg", 300, None), ("b.jpg", 600, None)]),
        (
            "/w_300,h_200/a.jpg 300w, /w_600,h_400/a.jpg 600w",
            [("/w_300,h_200/a.jpg", 300, None), ("/w_600,h_400/a.jpg", 600, None)],
        ),
        ("a.jpg, b.jpg", [("a.jpg", None, 1.0), ("b.jpg", None, 1.0)]),
        ("a.jpg,b.jpg 2x", [("a.jpg,b.jpg", None, 2.0)]),
        ("a.jpg,, b.jpg 2x,", [("a.jpg", None, 1.0), ("b.jpg", None, 2.0)]),
        (",,a.jpg 100w", [("a.jpg", 100, None)]),
        ("a.jpg 300w 200h", [("a.jpg", 300, None)]),
        ("a.jpg 1.5x,b.jpg .5x", [("a.jpg", None, 1.5), ("b.jpg", None, 0.5)]),
        ("data:image/png;base64,AAAA 1x, b.jpg 2x", [("data:image/png;base64,AAAA", None, 1.0), ("b.jpg", None, 2.0)]),
        ("a.jpg 0w, b.jpg 1w", [("b.jpg", 1, None)]),
        ("a.jpg -1x, b.jpg 2y, c.jpg 1x 2x, d.jpg 100w 2x, e.jpg 5h, f.jpg 2x", [("f.jpg", None, 2.0)]),
        ("a.jpg (1x, 2x), b.jpg 2x", [("b.jpg", None, 2.0)]),
        ("a.jpg (", []),
        ("", []),
        (" , ,, ", []),
    ],
)
def test_the_grammar_of_the_standard(value: str, renditions: list[Rendition]) -> None:
    """Commas belong to URLs unless they end them, errors cost one rendition, nothing is invented."""
    assert renditions == parse_srcset(value)


@given(RENDITIONS)
def test_what_is_rendered_is_parsed_back(renditions: list[Rendition]) -> None:
    """Any URLs without spaces and commas at their ends, with widths or densities, survive the way through an attribute."""
    assert renditions == parse_srcset(render(renditions))


@given(st.text() | st.text("a,( )1wxh.\n"))
def test_any_text_is_taken(value: str) -> None:
    """No text raises, and URLs have neither spaces nor commas at their ends."""
    for url, width, density in parse_srcset(value):
        assert url == url.strip(", \n\t") != ""
        assert (width is None) != (density is None)


def test_the_number_of_renditions_is_bounded() -> None:
    """A set that is longer than any real one is cut."""
    assert len(parse_srcset(", ".join(f"{n}.jpg {n}w" for n in range(1, 1000)))) == MAX_RENDITIONS
