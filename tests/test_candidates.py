"""Every URL that an element names for its picture, and which goes first."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.attribute_names import name_kind, source_rank
from pipeline.extract.candidates import (
    MAX_ATTRIBUTES,
    MAX_CANDIDATES,
    image_candidates,
    images_in_markup,
    link_candidates,
    noscript_candidates,
    poster_candidates,
    ranked,
    video_candidates,
)
from pipeline.urls import Base
from schemas.document import Candidate

BASE = Base("https://example.com/news/story.html")
BLANK = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def found(tag: str, attributes: dict[str, str | None]) -> list[tuple[str, str]]:
    """Paths (or whole URLs of other hosts) and sources of an element's candidates."""
    return [(c.url.removeprefix("https://example.com/"), c.source) for c in image_candidates(tag, attributes, BASE)]


@pytest.mark.parametrize(
    ("attributes", "candidates"),
    [
        ({"src": "a.jpg", "alt": "x"}, [("news/a.jpg", "src")]),
        ({"src": "/image?id=7"}, [("image?id=7", "src")]),
        ({"src": "a.jpg", "srcset": "a.jpg, b.jpg 2x"}, [("news/b.jpg", "srcset"), ("news/a.jpg", "srcset")]),
        (
            {"src": "a-300.jpg", "srcset": "a-300.jpg 300w, a-1200.jpg 1200w, a-600.jpg 600w", "sizes": "100vw"},
            [("news/a-1200.jpg", "srcset"), ("news/a-600.jpg", "srcset"), ("news/a-300.jpg", "srcset")],
        ),
        ({"src": BLANK, "data-src": "/a.jpg"}, [("a.jpg", "data-src"), (BLANK, "src")]),
        ({"src": "/spacer.gif", "data-original": "/a.jpg"}, [("a.jpg", "data-original"), ("spacer.gif", "src")]),
        (
            {"src": "/a-300x200.jpg", "data-orig-file": "/a.jpg", "data-medium-file": "/a-150x100.jpg"},
            [("a.jpg", "data-orig-file"), ("a-300x200.jpg", "src"), ("a-150x100.jpg", "data-medium-file")],
        ),
        (
            {"data-srcset": "/w_9,h_9/a.jpg 900w,/w_3,h_3/a.jpg 300w"},
            [("w_9,h_9/a.jpg", "data-srcset"), ("w_3,h_3/a.jpg", "data-srcset")],
        ),
        ({"src": "a.jpg", "lowsrc": "a-low.jpg"}, [("news/a.jpg", "src"), ("news/a-low.jpg", "lowsrc")]),
        ({"src": "/a.jpg?w=20", "data-src": "/a.jpg?w=900"}, [("a.jpg?w=900", "data-src"), ("a.jpg?w=20", "src")]),
        (
            {"src": "https://cdn.example.org/w_300/https://example.com/a.jpg"},
            [("https://cdn.example.org/w_300/https://example.com/a.jpg", "src"), ("a.jpg", "resizer")],
        ),
        (
            {"src": "/resize?url=https%3A%2F%2Fcdn.example.org%2Fa.jpg&w=640"},
            [
                ("resize?url=https%3A%2F%2Fcdn.example.org%2Fa.jpg&w=640", "src"),
                ("https://cdn.example.org/a.jpg", "resizer"),
            ],
        ),
        ({"data-src": "/a_{width}x.jpg"}, [("a_1024x.jpg", "data-src")]),
        ({"data-src": "/{{ image }}.jpg"}, []),
        ({"data-image": '{"src": "https:\\/\\/example.com\\/a.jpg", "page": "/b"}'}, [("a.jpg", "data-image")]),
        ({"src": BLANK, "style": "background-image: url('/a.jpg'); width: 9em"}, [("a.jpg", "css"), (BLANK, "src")]),
        ({"src": BLANK, "data-some-loader": "/files/a.jpg"}, [("files/a.jpg", "data-some-loader"), (BLANK, "src")]),
        ({"src": BLANK, "data-lazy": "/files/7"}, [("files/7", "data-lazy"), (BLANK, "src")]),
        ({"data-src": "/a b.jpg"}, [("a%20b.jpg", "data-src")]),
        ({"src": " ", "data-src": "", "data-original": None}, []),
        ({"src": "#", "data-image-title": "/a.jpg", "title": "a.jpg", "alt": "/a.jpg", "data-image-id": "7"}, []),
        ({"data-permalink": "https://example.com/2024/", "data-src-type": "jpg", "data-url": "/story"}, []),
        ({"src": "javascript:void(0)"}, []),
    ],
)
def test_candidates_of_images(attributes: dict[str, str | None], candidates: list[tuple[str, str]]) -> None:
    """Real pictures go before blanks, full size before renditions before `src`, the widest first; titles and numbers are no URLs."""
    assert candidates == found("img", attributes)


@pytest.mark.parametrize(
    "name",
    "data-src data-lazy-src data-original data-orig-file data-large-file data-lsrc data-img-url data-image data-gt-lazy-src data-cfsrc "
    "data-td-src-property data-lazy data-zeen-src data-dejavu-src data-full-url data-hi-res data-lazysrc lazy-src data-echo data-flickity-lazyload "
    "data-src-retina data-pagespeed-lazy-src data-breeze data-wpfc-original-src data-ezsrc data-srcset data-lazy-srcset data-bg file".split(),
)
def test_lazy_attributes_by_the_form_of_their_names(name: str) -> None:
    """Whatever a loader calls its attribute, a picture in it is found and goes before the blank in `src`."""
    assert [("files/a.jpg", name), (BLANK, "src")] == found("img", {"src": BLANK, name: "/files/a.jpg"})


@pytest.mark.parametrize(
    ("tag", "attributes", "candidates"),
    [
        ("source", {"srcset": "a.webp 900w", "type": "image/webp"}, [("news/a.webp", "srcset")]),
        ("amp-img", {"src": "a.jpg", "width": "16", "height": "9"}, [("news/a.jpg", "src")]),
        ("lazy-image", {"src": "/a.jpg"}, [("a.jpg", "src")]),
        ("div", {"style": 'background: #fff url( "/a.jpg" ) no-repeat'}, [("a.jpg", "css")]),
        ("div", {"style": "background: url(/a(1).jpg)"}, []),
        ("div", {"data-bg": "url(/a.jpg)"}, [("a.jpg", "css")]),
        ("div", {"data-background-image": "/a.jpg"}, [("a.jpg", "data-background-image")]),
        ("div", {"data-src": "/widget", "data-image": "7", "data-config": "/a.jpg"}, []),
        ("span", {"data-bgset": "/a.jpg 300w, /b.jpg 600w"}, [("b.jpg", "data-bgset"), ("a.jpg", "data-bgset")]),
        ("meta", {"itemprop": "image", "content": "/a.jpg"}, [("a.jpg", "itemprop")]),
        ("link", {"itemprop": "thumbnailUrl", "href": "/a.jpg"}, [("a.jpg", "itemprop")]),
        ("meta", {"itemprop": "url", "content": "/story"}, []),
        ("meta", {"name": "image", "content": "/a.jpg"}, []),
        ("iframe", {"data-src": "/a.jpg"}, []),
        ("script", {"src": "/a.jpg", "data-src": "/a.jpg"}, []),
        ("p", {"class": "lead", "id": "a.jpg", "title": "/a.jpg"}, []),
        ("p", {}, []),
    ],
)
def test_candidates_of_other_elements(
    tag: str, attributes: dict[str, str | None], candidates: list[tuple[str, str]]
) -> None:
    """Other elements hold pictures in lazy attributes, backgrounds and microdata, where the value is a picture's; players and scripts do not."""
    assert candidates == found(tag, attributes)


def test_descriptors_become_widths() -> None:
    """`w` is a width; `x` is one where the element states its own."""
    by_width = image_candidates("img", {"srcset": "a.jpg 300w, b.jpg 600w"}, BASE)
    by_density = image_candidates("img", {"srcset": "a.jpg 1x, b.jpg 1.5x", "width": "200"}, BASE)

    assert [600, 300] == [candidate.width for candidate in by_width]
    assert [300, 200] == [candidate.width for candidate in by_density]


def test_lists_of_one_picture_are_joined() -> None:
    """The candidates of a picture's sources, its img, the link around it and its noscript twin are ranked as one list, each URL once."""
    source = image_candidates("source", {"srcset": "/a-900.webp 900w, /a-300.webp 300w"}, BASE)
    image = image_candidates("img", {"src": BLANK, "data-src": "/a-600.jpg"}, BASE)
    twin = noscript_candidates('<img src="/a-600.jpg" alt="">', BASE)
    link = link_candidates("/a.jpg", BASE)

    assert [
        ("https://example.com/a.jpg", "link"),
        ("https://example.com/a-900.webp", "srcset"),
        ("https://example.com/a-300.webp", "srcset"),
        ("https://example.com/a-600.jpg", "data-src"),
        (BLANK, "src"),
    ] == [(candidate.url, candidate.source) for candidate in ranked(source + image + twin + link)]


@pytest.mark.parametrize(
    "html",
    [
        '<img src="/a.jpg?x=1&amp;y=2" alt="a > b">',
        "<p><IMG class=x SRC='/a.jpg?x=1&amp;y=2'/></p>",
        "&lt;img src=&quot;/a.jpg?x=1&amp;amp;y=2&quot;&gt;",
        '<amp-img width=9 src=/a.jpg?x=1&amp;y=2></amp-img><img alt="no source">',
        '<img src="/a.jpg?x=1&y=2" src="/b.jpg"',
    ],
)
def test_noscript_as_text(html: str) -> None:
    """Markup that a parser kept as text is read, whatever its quotes, and also when escaped."""
    assert [Candidate(url="https://example.com/a.jpg?x=1&y=2", source="noscript")] == noscript_candidates(html, BASE)


@pytest.mark.parametrize(
    ("href", "is_picture"),
    [
        ("/a.jpg", True),
        ("/a.JPEG?x=1#top", True),
        ("/story.html", False),
        ("/a.jpg.html", False),
        ("/view?file=a.jpg", False),
        ("", False),
    ],
)
def test_links_to_pictures(href: str, is_picture: bool) -> None:
    """A link is a candidate where the path that it leads to ends as a picture's."""
    assert is_picture == bool(link_candidates(href, BASE))


def test_videos() -> None:
    """Videos have files and posters; both are found in plain and in lazy attributes."""
    video = {"src": "blob:x", "data-src": "/v.mp4", "data-mp4": "/v.mp4", "poster": "/p.jpg", "class": "v.mp4 player"}

    assert [Candidate(url="https://example.com/v.mp4", source="data-src")] == video_candidates(video, BASE)
    assert [Candidate(url="https://example.com/v", source="src")] == video_candidates(
        {"src": "/v", "type": "video/mp4"}, BASE
    )
    assert [Candidate(url="https://example.com/p.jpg", source="poster")] == poster_candidates(video, BASE)


def test_budgets() -> None:
    """An element with more attributes than real ones have names no picture; a long set is cut."""
    assert found("img", {"src": "a.jpg", **{f"data-{n}": "x" for n in range(MAX_ATTRIBUTES)}}) == []
    assert len(found("img", {"srcset": ",".join(f"{n}.jpg {n}w" for n in range(100, 160))})) == MAX_CANDIDATES


@pytest.mark.parametrize(
    "piece",
    ["url(", 'url("', "<img ", '<img "', "<img '\" ", "((", ", ", "{", "http://", "a=b ", "&lt;img ", "\\/", "''"],
)
def test_hostile_values_take_linear_time(piece: str) -> None:
    """A value made of the beginnings of what is searched for costs time in proportion to its length."""
    value = piece * (100_000 // len(piece)) + ".jpg"
    start = time.process_time()
    for name in ("src", "srcset", "data-src", "style"):
        image_candidates("img", {name: value}, BASE)
        image_candidates("img", {name: value[-16_000:]}, BASE)
    images_in_markup(value)
    link_candidates(value, BASE)

    assert time.process_time() - start < 0.5


NAMES = (
    st.sampled_from(
        ["src", "srcset", "data-src", "data-srcset", "style", "data-x", "width", "poster", "itemprop", "content"]
    )
    | st.text()
)
VALUES = (
    st.none()
    | st.text()
    | st.lists(st.sampled_from(["/a.jpg", "url(", ")", " ", "9w", ",", "{", '"', "http://", "%"])).map("".join)
)


@given(
    st.sampled_from(["img", "div", "source", "meta", "x-image"]), st.dictionaries(NAMES, VALUES, max_size=6), st.text()
)
def test_any_attributes_are_taken(tag: str, attributes: dict[str, str | None], text: str) -> None:
    """No names, values or markup raise; candidates are absolute, each URL once, and ranking them again changes nothing."""
    candidates = image_candidates(tag, attributes, BASE)

    assert len({candidate.url for candidate in candidates}) == len(candidates)
    assert all(candidate.url.startswith(("http://", "https://", "data:")) for candidate in candidates)
    assert candidates == ranked(candidates)
    for more in (noscript_candidates(text, BASE), link_candidates(text, BASE), video_candidates(attributes, BASE)):
        assert all(isinstance(candidate, Candidate) for candidate in more)


@given(st.text())
def test_any_name_has_a_kind(name: str) -> None:
    """Kinds and ranks are known for every name."""
    assert name_kind(name) in ("none", "src", "set", "style", "picture", "other")
    assert 0 <= source_rank(name) <= 6
