"""Headers: formats told apart by their bytes, sizes read without decoding, and no bytes that make it raise."""

import gzip
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.images import read_header, sniff
from tests.pictures import encode, exif, jpeg_segment, photo, png, png_chunk, srgb_profile, with_segments

PICTURES = {
    "jpeg": encode(photo(), "JPEG"),
    "png": encode(photo(), "PNG"),
    "webp": encode(photo(), "WEBP"),
    "gif": encode(photo(), "GIF"),
    "avif": encode(photo(), "AVIF"),
    "bmp": encode(photo(), "BMP"),
    "tiff": encode(photo(), "TIFF"),
    "ico": encode(photo(), "ICO", sizes=[(96, 72)]),
}
SVG_TAG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


@pytest.mark.parametrize("name", PICTURES)
def test_size_and_format_are_read(name: str) -> None:
    """Each raster format is named, and its size is in the header."""
    header = read_header(PICTURES[name])

    assert header is not None
    assert (name, 96, 72) == (header.format, header.width, header.height)
    assert (1, False, False) == (header.orientation, header.animated, header.metadata)


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ("svg", SVG_TAG),
        ("svg", b"\xef\xbb\xbf \n<?xml version='1.0'?><!-- a > b --><!DOCTYPE svg PUBLIC '-//W3C'>" + SVG_TAG),
        ("svg", b"<!-- <html> --><svg:svg xmlns:svg='x'>"),
        ("svg", b"<?xml?><!DOCTYPE s:svg [ <!ENTITY a 'b>c'> ]>\n<s:svg>"),
        ("svg", gzip.compress(b"<?xml version='1.0'?>" + SVG_TAG, mtime=0)),
        ("svg", SVG_TAG.decode().encode("utf-16")),
        ("svg", b"<SVG>"),
        ("html", b"<!doctype html><title>Not found</title>"),
        ("html", b"\n<HTML><body>"),
        ("html", b"<!-- cached --><head>"),
        ("html", b"<!DOCTYPE HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'><p>"),
        ("mp4", b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"),
        ("mp4", b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  "),
        ("webm", b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01"),
        ("ogg", b"OggS\x00\x02"),
        ("avi", b"RIFF\x00\x00\x00\x00AVI LIST"),
        ("heic", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"),
        ("avif", b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif"),
        ("jxl", b"\xff\x0a\x00\x00"),
        ("jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n"),
        (None, b""),
        (None, b"GIF"),
        (None, b'{"error": "not found"}'),
        (None, b"%PDF-1.7"),
        (None, b"BMW is a maker of cars and not a bitmap"),
        (None, b"<rss><channel>"),
        (None, b"<!-- never closed"),
        (None, b"\x1f\x8bnot gzip at all"),
    ],
)
def test_what_is_no_raster_picture(expected: str | None, data: bytes) -> None:
    """SVG, pages, videos and other formats are told apart by their bytes."""
    assert expected == sniff(data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_read(format: str, orientation: int) -> None:
    """EXIF's orientation is found in every container that has a place for it."""
    header = read_header(encode(photo(), format, exif=exif(orientation)))

    assert header is not None
    assert orientation == header.orientation
    assert header.metadata is (format != "TIFF")


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP"])
def test_only_more_than_one_frame_is_animated(format: str) -> None:
    """A second frame makes an animation; a still picture with an animation's extensions is none."""
    other = photo().transpose(0)
    moving = read_header(encode(photo(), format, save_all=True, append_images=[other, photo()], duration=50, loop=0))
    still = read_header(encode(photo(), format, save_all=True, duration=50, loop=0))

    assert moving is not None
    assert moving.animated
    assert still is not None
    assert not still.animated


def test_avif_sequence_is_animated() -> None:
    """An AVIF image sequence is an animation."""
    header = read_header(encode(photo(), "AVIF", save_all=True, append_images=[photo().transpose(0)]))

    assert header is not None
    assert header.animated


def test_animation_control_after_the_pixels_is_ignored() -> None:
    """An acTL chunk counts only before the pixel data, as decoders have it."""
    control = png_chunk(b"acTL", struct.pack(">II", 2, 0))
    rows = b"\x00\x01\x02\x03" * 4
    late = png(1, 4, rows)[:-12] + control + png_chunk(b"IEND", b"")

    assert read_header(png(1, 4, rows, before=control)).animated  # type: ignore[union-attr]
    assert not read_header(late).animated  # type: ignore[union-attr]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_colour_profile_is_seen(format: str) -> None:
    """An embedded ICC profile is told, apart from other metadata."""
    header = read_header(encode(photo(), format, icc_profile=srgb_profile()))

    assert header is not None
    assert (True, False) == (header.icc, header.metadata)


def test_components_of_a_jpeg() -> None:
    """Grey, colour, CMYK and YCCK are told apart by components and Adobe's marker."""
    cmyk = encode(photo(mode="CMYK"), "JPEG")
    adobe = cmyk.index(b"Adobe")
    ycck = cmyk[: adobe + 11] + b"\x02" + cmyk[adobe + 12 :]
    headers = [read_header(data) for data in (encode(photo(mode="L"), "JPEG"), PICTURES["jpeg"], cmyk, ycck)]

    assert [(1, False), (3, False), (4, False), (4, True)] == [(h.components, h.ycck) for h in headers if h]


def test_depth_of_a_png() -> None:
    """Sixteen bits a component are told."""
    header = read_header(png(1, 1, b"\x00" * 7, bits=16))

    assert header is not None
    assert (16, 3) == (header.bits, header.components)


def test_huge_promises_cost_nothing() -> None:
    """Sizes beyond any memory are read as they stand; nothing is allocated for them."""
    webp = b"RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff"
    header = read_header(webp)

    assert header is not None
    assert (1 << 24, 1 << 24) == (header.width, header.height)
    assert read_header(png(50_000, 50_000, b"")).width == 50_000  # type: ignore[union-attr]


def test_fill_bytes_and_odd_segments_of_a_jpeg() -> None:
    """Fill bytes before markers are skipped, and a JFIF thumbnail or a comment hides no size."""
    odd = with_segments(PICTURES["jpeg"], b"\xff\xff\xff" + jpeg_segment(0xFE, b"hello"), jpeg_segment(0xE1, b"other"))
    header = read_header(odd)

    assert header is not None
    assert (96, 72, True) == (header.width, header.height, header.metadata)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff" * 2_000_000,
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 500_000,
        b"\xff\xd8\xff\xda\x00\x02" + b"\xff\xff" * 1_000_000 + b"\x00",
        b"\x89PNG\r\n\x1a\n" + (b"\x00" * 4 + b"tEXt" + b"\x00" * 4) * 150_000,
        b"RIFF\xff\xff\xff\xffWEBP" + b"EXIF\x00\x00\x00\x00" * 250_000,
        b"GIF89a\x00\x00\x00\x00\x00\x00\x00" + b"\x21\xf9\x00" * 600_000,
        b"\x00\x00\x00\x0cftypavif" + b"\x00\x00\x00\x08free" * 250_000,
        b"<!---->" * 300_000,
        b"<!doctype x [" * 150_000,
        gzip.compress(b" " * 50_000_000, mtime=0),
    ],
    ids=["fill", "comments", "scan", "chunks", "riff", "gif", "boxes", "markup", "doctypes", "gzip"],
)
def test_endless_headers_end(data: bytes) -> None:
    """A file that is nothing but header is read in bounded steps."""
    header = read_header(data)

    assert header is None or header.width == 0


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Random bytes never raise."""
    header = read_header(data)

    assert header is None or header.format == sniff(data)


@settings(deadline=None)
@given(st.sampled_from(sorted(PICTURES)), st.data())
def test_any_damage(name: str, draw: st.DataObject) -> None:
    """A picture with bytes changed, cut or doubled never raises, and its orientation stays one of the eight."""
    data = bytearray(PICTURES[name])
    for _ in range(draw.draw(st.integers(1, 5))):
        data[draw.draw(st.integers(0, min(200, len(data) - 1)))] = draw.draw(st.integers(0, 255))
    header = read_header(bytes(data[: draw.draw(st.integers(0, len(data)))]))

    assert header is None or header.orientation in range(1, 9)
