"""Blanks, pixels, decoration and small pictures, and what only looks like them."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.extract.placeholders import decode_data_url, placeholder_reason
from pipeline.urls import MAX_DATA_URL_CHARS
from schemas.drops import DropReason

BLANK_GIF = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


def png_url(width: int, height: int, size: int) -> str:
    """A `data:` URL of so many bytes with the head of a PNG."""
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", width, height)
    return "data:image/png;base64," + base64.b64encode(head.ljust(size, b"\0")).decode()


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("img/blank.gif", DropReason.PLACEHOLDER),
        ("img/loading_2.gif", DropReason.PLACEHOLDER),
        ("img/image-placeholder-large.png", DropReason.PLACEHOLDER),
        ("theme/spacer.gif", DropReason.PLACEHOLDER),
        ("img/no-image.jpg", None),
        ("img/noImage.jpg", None),
        ("img/noimage.jpg", DropReason.PLACEHOLDER),
        ("pixel.gif", DropReason.TRACKING_PIXEL),
        ("img/1x1.png", DropReason.TRACKING_PIXEL),
        ("count?type=1x1", DropReason.TRACKING_PIXEL),
        ("img/logo.png", DropReason.DECORATION),
        ("img/siteLogo-2x.png", DropReason.DECORATION),
        ("img/vereinslogo.jpg", DropReason.DECORATION),
        ("img/5eac0c_Logo-Example.jpg", DropReason.DECORATION),
        ("icons/car.png", DropReason.DECORATION),
        ("img/menu-icon@2x.png", DropReason.DECORATION),
        ("img/userIcon.png", DropReason.DECORATION),
        ("avatar/0a1b2c3d?s=96", DropReason.DECORATION),
        ("img/facebook_32.png", DropReason.DECORATION),
        ("img/share-button-blue.png", DropReason.DECORATION),
        ("pic-48x48.jpg", DropReason.DECLARED_TOO_SMALL),
        ("pic_300x60.jpg", DropReason.DECLARED_TOO_SMALL),
        ("diagram.svg", DropReason.SVG),
    ],
)
def test_paths_that_tell(path: str, reason: DropReason | None) -> None:
    """Words of blanks, pixels and decoration, and sizes in names, are known by the path alone."""
    assert reason == placeholder_reason(f"https://www.example.com/{path}", {})


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/silicon-valley.jpg",
        "https://example.com/logotherapy.jpg",
        "https://example.com/catalogo.jpg",
        "https://example.com/dialogo.png",
        "https://example.com/loading-dock.jpg",
        "https://example.com/pixel-phone-review.jpg",
        "https://example.com/fitness-tracker.jpg",
        "https://example.com/facebook-hearing-in-congress.jpg",
        "https://example.com/style-icon-of-the-century-dies.jpg",
        "https://example.com/bullet-train.jpg",
        "https://example.com/story-16x9.jpg",
        "https://example.com/story-1x1.jpg",
        "https://example.com/story-300x200.jpg",
        "https://example.com/iiif/1234/full/max/0/default.jpg",
        "https://example.com/image.jpg",
        "https://example.com/photo/IMG_1234.JPG",
        "https://example.com/File.svg/220px-File.svg.png",
        "https://example.com/",
        "https://example.com",
        "https://logo.example.com/story.jpg",
        "https://beacon.org/story.jpg",
    ],
)
def test_names_of_real_pictures_stay(url: str) -> None:
    """Words within other words, headlines, ratios and usual names of pictures are no reasons."""
    assert placeholder_reason(url, {"alt": "A story", "class": "wp-image-12 aligncenter"}) is None


@pytest.mark.parametrize("host", ["pixel.example.com", "b.stats.example.com", "px.ads.example.com"])
def test_hosts_that_count_visits(host: str) -> None:
    """A label of the host that names a counter makes its pictures tracking pixels."""
    assert placeholder_reason(f"https://{host}/b?c1=2", {}) == DropReason.TRACKING_PIXEL


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"width": "1", "height": "1"}, DropReason.TRACKING_PIXEL),
        ({"width": "2"}, DropReason.TRACKING_PIXEL),
        ({"style": "border:0;width:1px;height:1px"}, DropReason.TRACKING_PIXEL),
        ({"width": "63", "height": "100"}, DropReason.DECLARED_TOO_SMALL),
        ({"width": "40px"}, DropReason.DECLARED_TOO_SMALL),
        ({"width": "64", "height": "64"}, None),
        ({"width": "100%", "height": "50%"}, None),
        ({"width": "0", "height": "0"}, None),
        ({"width": "16", "height": "9"}, None),
        ({"width": "16", "height": "16"}, DropReason.DECLARED_TOO_SMALL),
        ({"width": "4", "height": "3", "layout": "responsive"}, None),
        ({"style": "line-height:1px; max-width:100%"}, None),
        ({"class": "site-logo"}, DropReason.DECORATION),
        ({"class": "wp-smiley emoji"}, DropReason.DECORATION),
        ({"id": "headerLogo"}, DropReason.DECORATION),
        ({"class": "iconic logotherapy"}, None),
        ({"width": None, "class": None, "height": "auto"}, None),
    ],
)
def test_attributes_that_tell(attributes: dict[str, str | None], reason: DropReason | None) -> None:
    """Declared sides below 64 px and classes of decoration are reasons; percentages and ratios are not."""
    assert reason == placeholder_reason("https://example.com/story.jpg", attributes)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (BLANK_GIF, DropReason.PLACEHOLDER),
        (
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 3 2'%3E%3C/svg%3E",
            DropReason.PLACEHOLDER,
        ),
        ("data:image/svg+xml;utf8,<svg><path d='M0 0h9'/></svg>", DropReason.SVG),
        ("data:image/jpeg;base64," + "/9j/" * 100, DropReason.PLACEHOLDER),
        ("data:image/jpeg;base64," + "/9j/" * 1000, None),
        ("data:image/png;base64,!", DropReason.PLACEHOLDER),
        (png_url(16, 16, 4000), DropReason.PLACEHOLDER),
        (png_url(640, 480, 200), DropReason.PLACEHOLDER),
        (png_url(640, 480, 4000), None),
    ],
)
def test_data_urls_are_decoded(url: str, reason: DropReason | None) -> None:
    """Inlined blanks are known by their sides and their bytes; inlined pictures stay."""
    assert reason == placeholder_reason(url, {})


@pytest.mark.parametrize(
    ("url", "decoded"),
    [
        ("data:image/gif;base64,R0lGODlh", ("image/gif", b"GIF89a")),
        ("DATA:image/GIF;charset=x; BASE64,R0lG ODlh", ("image/gif", b"GIF89a")),
        ("data:image/gif;base64,R0lGODk", ("image/gif", b"GIF89")),
        ("data:image/gif;base64,R0lGODk%3D", ("image/gif", b"GIF89")),
        ("data:image/svg+xml,%3Csvg%3E", ("image/svg+xml", b"<svg>")),
        ("data:,x", ("text/plain", b"x")),
        ("data:image/gif;base64", None),
        ("data:image/gif;base64,R0lG!", None),
        ("https://example.com/a.gif", None),
        ("data:image/png," + "x" * MAX_DATA_URL_CHARS, None),
    ],
)
def test_decoding(url: str, decoded: tuple[str, bytes] | None) -> None:
    """Base64 with and without padding and spaces, and percent-encoding; what is broken or too long is None."""
    assert decoded == decode_data_url(url)


@given(st.binary(max_size=200))
def test_bytes_survive_a_data_url(data: bytes) -> None:
    """Decoding undoes base64."""
    assert ("image/webp", data) == decode_data_url("data:image/webp;base64," + base64.b64encode(data).decode())


@given(st.text(), st.dictionaries(st.sampled_from(["width", "height", "style", "class", "id"]), st.none() | st.text()))
def test_any_text_is_taken(text: str, attributes: dict[str, str | None]) -> None:
    """No URL and no attributes raise."""
    for url in (text, "data:" + text, "https://example.com/" + text):
        reason = placeholder_reason(url, attributes)
        assert reason is None or isinstance(reason, DropReason)
