"""What pages say of themselves, in metas, links and JSON-LD, whole and broken."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.metadata import Metadata, page_metadata
from pipeline.urls import Base
from schemas.document import Candidate

BASE = Base("https://example.com/news/story.html")


def og(url: str, width: int | None = None) -> Candidate:
    """A candidate from a meta."""
    return Candidate(url=url, source="og:image", width=width)


def ld(url: str) -> Candidate:
    """A candidate from JSON-LD."""
    return Candidate(url=url, source="json-ld")


def of_json_ld(value: object) -> Metadata:
    """What one script states."""
    return page_metadata([], [], [json.dumps(value)], BASE)


def test_a_page_that_says_nothing() -> None:
    """Without metas, links and scripts every field is empty."""
    assert Metadata() == page_metadata([], [], [], BASE)


def test_metas_links_and_json_ld_together() -> None:
    """Pictures come from Open Graph, Twitter, JSON-LD and links in this order; dates, licence and robots from where they stand."""
    metas = [
        {"property": "og:image", "content": "/a.jpg"},
        {"property": "og:image:width", "content": "1200"},
        {"property": "og:image:secure_url", "content": "https://example.com/a.jpg"},
        {"name": "twitter:image", "content": "b.jpg"},
        {"property": "article:published_time", "content": "2024-05-01T08:00:00Z"},
        {"name": "ROBOTS", "content": "NoIndex, noai,, noindex"},
        {"name": "robots", "content": None},
        {"name": "TDM-Reservation", "content": "1"},
        {"charset": "utf-8"},
    ]
    links = [
        {"rel": "image_src", "href": "/c.jpg"},
        {"rel": "stylesheet", "href": "/style.css"},
        {"rel": "nofollow license", "href": "//creativecommons.org/licenses/by/4.0/"},
    ]
    scripts = ['{"@type": "NewsArticle", "image": ["/a.jpg", "/d.jpg"], "datePublished": "2023-01-01"}']

    assert page_metadata(metas, links, scripts, BASE) == Metadata(
        pictures=[
            og("https://example.com/a.jpg", 1200),
            og("https://example.com/news/b.jpg"),
            ld("https://example.com/d.jpg"),
            og("https://example.com/c.jpg"),
        ],
        date="2024-05-01T08:00:00Z",
        licence="https://creativecommons.org/licenses/by/4.0/",
        robots=["noindex", "noai", "tdm-reservation: 1"],
    )


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        ({"image": "/a.jpg"}, ["a"]),
        ({"image": {"@type": "ImageObject", "url": "/a.jpg", "contentUrl": "/b.jpg"}}, ["b"]),
        ([{"@graph": [{"@type": "WebPage", "thumbnailUrl": "/a.jpg"}]}], ["a"]),
        ({"@graph": [{"@type": "ImageObject", "@id": "#primaryimage", "url": "/a.jpg"}]}, ["a"]),
        ({"@graph": [{"@type": ["ImageObject"], "@id": "/#/schema/logo/", "url": "/a.jpg"}]}, []),
        ({"image": {"@id": "#primaryimage"}}, []),
        ({"publisher": {"logo": {"@type": "ImageObject", "url": "/logo.jpg"}}, "image": "/a.jpg"}, ["a"]),
        ({"author": {"@type": "Person", "image": "/me.jpg"}}, []),
        ({"@type": "Organization", "image": "/house.jpg"}, []),
        ({"@type": "VideoObject", "contentUrl": "/v.mp4", "thumbnailUrl": ["/a.jpg"]}, ["a"]),
        ({"mainEntity": {"image": [{"url": "/a.jpg"}, {"url": ["/b.jpg"]}, 7, None]}}, ["a", "b"]),
        ({"image": "data:image/gif;base64,R0lG"}, []),
    ],
)
def test_pictures_of_json_ld(value: object, urls: list[str]) -> None:
    """Strings, objects, lists and graphs are read; logos, people, firms and videos are not pictures of the page."""
    assert [f"https://example.com/{url}.jpg" for url in urls] == [picture.url for picture in of_json_ld(value).pictures]


@pytest.mark.parametrize(
    "script",
    [
        '{"image": "/a.jpg", "description": "one\nline"}',
        '{"image": "/a.jpg",}',
        '<!-- {"image": ["/a.jpg"]} -->',
        '{"image": {"@type": "ImageObject", "url": "https:\\/\\/example.com\\/a.jpg"}, "headline": "a "quoted" word"}',
        '{"headline": "x" "image": "/a.jpg"',
    ],
)
def test_broken_json_ld(script: str) -> None:
    """Bare newlines, trailing commas, comments and missing ends do not hide the picture."""
    assert [ld("https://example.com/a.jpg")] == page_metadata([], [], [script], BASE).pictures


@pytest.mark.parametrize(
    "script",
    [
        '{"image":' * 100_000,
        "[" * 100_000 + '"image"',
        '{"image": "' + "a" * 2_000_000 + '"}',
        '{"image": "\ud800"}',
        "image",
        "",
    ],
)
def test_hostile_json_ld(script: str) -> None:
    """Nesting, length and broken text end as nothing, in time that grows with the length alone."""
    assert Metadata() == page_metadata([], [], [script], BASE)


@pytest.mark.parametrize(
    ("metas", "date"),
    [
        ([{"name": "date", "content": "2021-03-04"}], "2021-03-04"),
        ([{"itemprop": "datePublished", "content": "4 March 2021"}], "4 March 2021"),
        ([{"name": "date", "content": "yesterday"}], ""),
        ([{"name": "date", "content": "2021 " + "x" * 100}], ""),
    ],
)
def test_dates(metas: list[dict[str, str | None]], date: str) -> None:
    """A date is kept as stated, if it has a year and a date's length."""
    assert date == page_metadata(metas, [], [], BASE).date


@pytest.mark.parametrize(
    ("links", "licence"),
    [
        (
            [{"href": "https://creativecommons.org/publicdomain/zero/1.0/"}],
            "https://creativecommons.org/publicdomain/zero/1.0/",
        ),
        (
            [{"rel": "license", "href": "/licence"}, {"href": "https://creativecommons.org/licenses/by/4.0/"}],
            "https://example.com/licence",
        ),
        ([{"rel": "license", "href": "mailto:a@example.com"}], ""),
        ([{"href": "https://creativecommons.org/"}, {"rel": "license"}], ""),
    ],
)
def test_licences(links: list[dict[str, str | None]], licence: str) -> None:
    """rel=license goes before a link to Creative Commons; other links are none."""
    assert licence == page_metadata([], links, [], BASE).licence


def test_licences_in_prose_are_none() -> None:
    """A rights notice is not the URL of a licence; a URL in its place is."""
    assert page_metadata([{"name": "copyright", "content": "All rights reserved"}], [], [], BASE).licence == ""
    assert of_json_ld({"license": "https://example.com/l"}).licence == "https://example.com/l"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["@type", "@id", "@graph", "image", "url", "thumbnailUrl", "datePublished", "license"]),
            inner,
        )
    ),
    max_leaves=20,
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["name", "property", "content", "rel", "href", "itemprop"]), st.none() | st.text()
)


@given(st.lists(ATTRIBUTES, max_size=3), st.lists(ATTRIBUTES, max_size=3), JSON, st.text())
def test_anything_is_taken(
    metas: list[dict[str, str | None]], links: list[dict[str, str | None]], value: object, text: str
) -> None:
    """No attributes, no JSON of any shape and no text raise."""
    metadata = page_metadata(metas, links, [json.dumps(value), text], BASE)

    assert all(picture.url.startswith("http") for picture in metadata.pictures)


def test_videos_are_files() -> None:
    """Metas and JSON-LD name files, not the pages of players; each file comes once, with what JSON-LD says of it."""
    metas = [
        {"property": "og:video:url", "content": "https://tube.example/embed/1"},
        {"property": "og:video:secure_url", "content": "/v/heron.mp4"},
        {"name": "twitter:player:stream", "content": "/v/heron.webm?x=1"},
    ]
    heron = {"name": "Heron\n takes off", "description": "A heron.", "contentUrl": "/v/heron.mp4"}
    script = {
        "@graph": [
            {"@type": "VideoObject", **heron},
            {"@type": ["VideoObject"], "contentUrl": "/stream?id=2", "encodingFormat": "video/webm"},
            {"@type": "VideoObject", "contentUrl": "/watch/3", "embedUrl": "/v/four.mp4"},
            {"@type": "AudioObject", "contentUrl": "/v/five.mp4"},
        ]
    }
    videos = page_metadata(metas, [], [json.dumps(script)], BASE).videos

    assert [(v.file.url.removeprefix("https://example.com"), v.file.source, v.name, v.description) for v in videos] == [
        ("/v/heron.mp4", "og:video", "Heron takes off", "A heron."),
        ("/v/heron.webm?x=1", "og:video", "", ""),
        ("/stream?id=2", "json-ld", "", ""),
    ]


def test_a_stated_type_makes_a_file_of_a_name_without_ending() -> None:
    """`og:video:type` says that the URL is a file; where it is a player's page, the URL is none."""
    for stated, found in (("video/mp4; codecs=avc1", 1), ("text/html", 0)):
        metas = [{"property": "og:video", "content": "/v/1"}, {"property": "og:video:type", "content": stated}]
        assert found == len(page_metadata(metas, [], [], BASE).videos)
