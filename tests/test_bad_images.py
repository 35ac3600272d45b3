"""Pictures that are none, too large, broken or hostile: dropped with a reason, at a bounded cost."""

import struct
import zlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.images import ImageConfig, Picture, prepare
from schemas.drops import Drop, DropReason
from tests.pictures import (
    STORED,
    decode,
    dropped,
    encode,
    exif,
    photo,
    picture,
    png,
    png_chunk,
    wide_profile,
)

CONFIG = ImageConfig()


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        (DropReason.SVG, b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        (DropReason.NOT_AN_IMAGE, b"<!doctype html><title>Gone</title>"),
        (DropReason.NOT_AN_IMAGE, b"\x00\x00\x00\x20ftypisom"),
        (DropReason.NOT_AN_IMAGE, b""),
        (DropReason.UNSUPPORTED_FORMAT, encode(photo(), "ICO")),
        (DropReason.UNSUPPORTED_FORMAT, encode(photo(), "JPEG2000")),
        (DropReason.UNSUPPORTED_FORMAT, encode(photo(mode="F"), "TIFF")),
        (DropReason.ANIMATED, encode(photo(), "GIF", save_all=True, append_images=[photo().rotate(9)])),
        (DropReason.ANIMATED, encode(photo(), "PNG", save_all=True, append_images=[photo().rotate(9)])),
        (DropReason.ANIMATED, encode(photo(), "WEBP", save_all=True, append_images=[photo().rotate(9)])),
        (DropReason.ANIMATED, encode(photo(), "AVIF", save_all=True, append_images=[photo().rotate(9)])),
    ],
)
def test_what_is_no_still_picture(reason: DropReason, data: bytes) -> None:
    """What cannot be stored as a still picture goes with its own reason."""
    assert reason == dropped(data).reason


def test_bytes_and_pixels_are_bounded() -> None:
    """Limits on bytes and pixels are themselves kept; above them a drop tells value and threshold."""
    data = encode(photo(), "PNG")
    over_bytes = dropped(data, ImageConfig(max_bytes=len(data) - 1))
    over_pixels = dropped(data, ImageConfig(max_pixels=96 * 72 - 1))

    assert data is picture(data, ImageConfig(max_bytes=len(data), max_pixels=96 * 72)).data
    assert (DropReason.TOO_MANY_BYTES, len(data), len(data) - 1) == (
        over_bytes.reason,
        over_bytes.value,
        over_bytes.threshold,
    )
    assert (DropReason.TOO_MANY_PIXELS, 96 * 72, 96 * 72 - 1) == (
        over_pixels.reason,
        over_pixels.value,
        over_pixels.threshold,
    )


def patched(data: bytes, at: int, layout: str, *values: int) -> bytes:
    """The bytes with some overwritten."""
    changed = bytearray(data)
    struct.pack_into(layout, changed, at, *values)
    return bytes(changed)


@pytest.mark.parametrize(
    "bomb",
    [
        png(50_000, 50_000, b""),
        patched(encode(photo(), "GIF"), 6, "<HH", 65_535, 65_535),
        patched(encode(photo(), "BMP"), 18, "<ii", 60_000, -60_000),
        patched(encode(photo(), "JPEG"), encode(photo(), "JPEG").index(b"\xff\xc0") + 5, ">HH", 65_000, 65_000),
        patched(encode(photo(), "AVIF"), encode(photo(), "AVIF").index(b"ispe") + 8, ">II", 60_000, 60_000),
        patched(encode(photo(), "WEBP"), 26, "<HH", 16_383, 16_383),
        encode(photo(), "GIF").replace(b"\x2c\x00\x00\x00\x00\x60\x00\x48\x00", b"\x2c" + b"\x00" * 4 + b"\xff" * 4),
    ],
    ids=["png", "gif", "bmp", "jpeg", "avif", "webp", "gif-frame"],
)
def test_pixel_bombs_are_never_decoded(bomb: bytes) -> None:
    """A header that promises too many pixels is dropped for it, in whatever format, and nothing is allocated."""
    assert DropReason.TOO_MANY_PIXELS == dropped(bomb).reason


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_compressed_chunks_do_not_swell(kind: bytes) -> None:
    """Text and profiles that inflate to megabytes are cut out unread."""
    swollen = zlib.compress(b"\x00" * 20_000_000, 9)
    payload = b"name\x00\x01\x00\x00\x00" + swollen if kind == b"iTXt" else b"name\x00\x00" + swollen
    clean = picture(png(1, 2, b"\x00\x01\x02\x03\x00\x04\x05\x06", before=png_chunk(kind, payload)))

    assert ("stripped",) == clean.changes
    assert len(clean.data) < 200


def test_endless_scans_are_not_decoded() -> None:
    """A progressive JPEG of thousands of scans, each a pass over all pixels, is broken."""
    data = encode(photo(), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    bomb = data[:last] + data[last:-2] * 1000 + data[-2:]

    assert (DropReason.BROKEN_IMAGE, 50) == (dropped(bomb).reason, dropped(bomb).threshold)


@pytest.mark.parametrize("format", [*STORED, "GIF", "AVIF", "BMP", "TIFF"])
def test_truncated_files_are_broken(format: str) -> None:
    """A file that ends at any tenth of its length, or eight bytes early, is no picture: half of one is not taken."""
    data = encode(photo(), format)
    cuts = [len(data) * tenth // 10 for tenth in range(10)] + [len(data) - early for early in (20, 8)]
    reasons = Counter(dropped(data[:cut]).reason for cut in cuts if cut > 40)

    assert {DropReason.BROKEN_IMAGE} == set(reasons)


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_jpeg_without_its_end_is_broken(options: dict[str, bool]) -> None:
    """A JPEG that lacks nothing but its last bytes counts as truncated."""
    data = encode(photo(), "JPEG", **options)

    assert [DropReason.BROKEN_IMAGE] * 3 == [dropped(data[:-cut]).reason for cut in (1, 2, 30)]


@pytest.mark.parametrize("rows", [0, 1, 71])
def test_png_whose_pixels_end_early_is_broken(rows: int) -> None:
    """A PNG whose deflate stream ends in good order before the last row is broken; black rows alone are not."""
    row = b"\x00" + b"\x07" * 3 * 96
    black = png(96, 72, row * rows + (b"\x00" + b"\x00" * 3 * 96) * (72 - rows))

    assert DropReason.BROKEN_IMAGE == dropped(png(96, 72, row * rows)).reason
    assert () == picture(black).changes


MUTATED = {format: encode(photo(40, 30), format) for format in [*STORED, "GIF", "AVIF", "BMP", "TIFF", "ICO"]}
MUTATED["JPEG+"] = encode(photo(40, 30), "JPEG", exif=exif(1), icc_profile=wide_profile(), progressive=True)
MUTATED["PNG+"] = encode(photo(40, 30, "RGBA"), "PNG", exif=exif(1), icc_profile=wide_profile())


@settings(deadline=None)  # a busy machine is no fault
@given(st.binary(max_size=200), st.sampled_from(sorted(MUTATED)))
def test_any_bytes(tail: bytes, name: str) -> None:
    """Random bytes, alone or after a real beginning, end as a picture or a drop."""
    assert isinstance(prepare(tail, CONFIG), Drop)
    assert isinstance(prepare(MUTATED[name][:60] + tail, CONFIG), Picture | Drop)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(MUTATED)), st.data())
def test_any_damage(name: str, draw: st.DataObject) -> None:
    """A picture with bytes changed, cut out or doubled is a drop, or a picture that can be read and is not touched again."""
    data = bytearray(MUTATED[name])
    for _ in range(draw.draw(st.integers(1, 4))):
        at = draw.draw(st.integers(0, len(data) - 1))
        end = at + draw.draw(st.integers(0, 8))
        data[at:end] = draw.draw(st.binary(max_size=8)) if draw.draw(st.booleans()) else bytes(data[at:end]) * 2
    prepared = prepare(bytes(data), ImageConfig(max_pixels=1_000_000))

    if isinstance(prepared, Picture):
        assert (prepared.width, prepared.height) == decode(prepared.data).size
        again = prepare(prepared.data, ImageConfig(max_pixels=1_000_000))
        assert isinstance(again, Picture)
        assert prepared.data == again.data
