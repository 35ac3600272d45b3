"""Pictures: kept byte for byte where they fit, cleaned without loss, written again where they must look different."""

import hashlib
import io
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.images import ImageConfig, ImageFilterConfig, Picture, judge, prepare, read_header
from schemas.drops import Drop, DropReason
from tests.pictures import (
    STORED,
    decode,
    difference,
    encode,
    exif,
    jpeg_segment,
    photo,
    picture,
    png,
    png_chunk,
    srgb_profile,
    wide_profile,
    with_segments,
)

CONFIG = ImageConfig()
CRAWLS = Path(__file__).parent.parent.parent / "shared" / "data" / "warc"
EXIF_BLOCK = exif(1)
XMP = b"<x:xmpmeta>a place</x:xmpmeta>"


@pytest.mark.parametrize("format", STORED)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_fitting_bytes_pass_untouched(format: str, mode: str) -> None:
    """A JPEG, PNG or WebP that needs nothing keeps its bytes."""
    data = encode(photo(mode=mode), format)
    kept = picture(data)

    assert data is kept.data
    assert ((), False) == (kept.changes, kept.rewritten)
    assert kept.sha256 == kept.source_sha256 == hashlib.sha256(data).hexdigest()
    assert (96, 72, 96, 72) == (kept.width, kept.height, kept.source_width, kept.source_height)


@pytest.mark.parametrize(
    "data",
    [
        encode(photo(), "JPEG", progressive=True, quality=95, subsampling=0),
        encode(photo(), "JPEG", restart_marker_blocks=2),
        encode(photo().quantize(16), "PNG"),
        encode(photo(mode="1"), "PNG"),
        encode(photo(mode="RGBA"), "PNG"),
        encode(photo(), "PNG", dpi=(300, 300)),
        encode(photo(), "WEBP", lossless=True),
    ],
    ids=["progressive", "restarts", "palette", "bits", "opaque-alpha", "density", "lossless"],
)
def test_variants_pass_untouched(data: bytes) -> None:
    """Progressive JPEGs, palettes, opaque alpha channels and density hints are no reason to touch a file."""
    assert data is picture(data).data


@pytest.mark.parametrize(
    "data",
    [
        encode(photo(), "JPEG", exif=EXIF_BLOCK, comment="a comment", xmp=XMP, icc_profile=srgb_profile()),
        encode(photo(), "PNG", exif=EXIF_BLOCK, icc_profile=srgb_profile()),
        encode(photo(), "WEBP", exif=EXIF_BLOCK, xmp=XMP, icc_profile=srgb_profile()),
        encode(photo(), "WEBP", exif=EXIF_BLOCK, lossless=True),
        with_segments(encode(photo(), "JPEG"), jpeg_segment(0xED, b"Photoshop 3.0\x00A camera")),
        encode(photo(), "JPEG") + encode(photo(10, 10), "JPEG", exif=EXIF_BLOCK),
        png(1, 2, b"\x00\x01\x02\x03\x00\x04\x05\x06", before=png_chunk(b"tEXt", b"Comment\x00a place")),
        png(1, 2, b"\x00\x01\x02\x03\x00\x04\x05\x06", before=png_chunk(b"prVW", b"A camera")),
        png(1, 2, b"\x00\x01\x02\x03\x00\x04\x05\x06") + b"A camera",
    ],
    ids=["jpeg", "png", "webp", "vp8l", "iptc", "second-picture", "text", "private", "tail"],
)
def test_metadata_is_cut_out_without_loss(data: bytes) -> None:
    """Metadata goes, the pixels stay bit for bit, and cleaning a second time changes nothing."""
    clean = picture(data)

    assert ("stripped",) == clean.changes
    assert np.array_equal(np.asarray(decode(data)), np.asarray(decode(clean.data)))
    assert [] == [trace for trace in (b"camera", b"comment", b"place", b"Exif", b"ICC", b"iCCP") if trace in clean.data]
    assert clean.data is picture(clean.data).data
    assert clean.source_sha256 == hashlib.sha256(data).hexdigest() != clean.sha256


def test_adobe_marker_stays() -> None:
    """Adobe's marker says how components are to be read (here: as RGB), and stays when metadata goes."""
    data = encode(photo(), "JPEG", keep_rgb=True, exif=EXIF_BLOCK)
    clean = picture(data)

    assert ("stripped",) == clean.changes
    assert b"Adobe" in clean.data
    assert np.array_equal(np.asarray(decode(data)), np.asarray(decode(clean.data)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", [*STORED, "TIFF", "AVIF"])
def test_orientation_is_applied(format: str, orientation: int) -> None:
    """All eight EXIF orientations come out upright, and the source's size is that of the upright picture."""
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]
    stored = photo() if undo is None else photo().transpose(Image.Transpose(undo))
    upright = picture(encode(stored, format, exif=exif(orientation)))

    assert (96, 72) == (upright.width, upright.height) == (upright.source_width, upright.source_height)
    assert difference(photo(), decode(upright.data)) < 4
    assert ("turned" in upright.changes) is (orientation > 1 and format != "TIFF")
    assert 1 == read_header(upright.data).orientation  # type: ignore[union-attr]


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_large_pictures_are_resized_once(format: str, orientation: int) -> None:
    """The shorter side comes down to the configured one, aspect kept; the source's size stays known."""
    small = picture(encode(photo(900, 600), format, exif=exif(orientation)), ImageConfig(short_side_px=200))
    wanted = photo(300, 200) if orientation == 1 else photo(300, 200).transpose(Image.Transpose.ROTATE_270)

    assert wanted.size == (small.width, small.height) == decode(small.data).size
    assert 900 == max(small.source_width, small.source_height)
    assert "resized" in small.changes
    assert difference(wanted, decode(small.data)) < 6
    assert small.format == format.lower()


def test_resized_photographs_become_jpeg() -> None:
    """A photograph that came as PNG is resized to JPEG, and stays PNG where only its colours change; a drawing stays PNG."""
    noise = Image.fromarray(np.random.default_rng(2).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    config = ImageConfig(short_side_px=200)

    assert "jpeg" == picture(encode(noise, "PNG"), config).format
    assert "png" == picture(encode(noise, "PNG", icc_profile=wide_profile())).format
    assert "png" == picture(encode(photo(400, 300).quantize(8).convert("RGB"), "PNG"), config).format


def test_resizing_can_be_off_and_never_enlarges() -> None:
    """Without resizing, and where the picture is small already, bytes are kept."""
    data = encode(photo(900, 600), "JPEG")

    assert data is picture(data, ImageConfig(resize=False, short_side_px=10)).data
    assert data is picture(data, ImageConfig(short_side_px=600)).data


def test_cmyk_becomes_srgb() -> None:
    """A CMYK JPEG, and its YCCK form, come out in RGB with about the colours they had."""
    for quality in (95, 75):
        srgb = picture(encode(photo(mode="CMYK"), "JPEG", quality=quality))

        assert ("colour",) == srgb.changes
        assert "RGB" == decode(srgb.data).mode
        assert difference(photo(), decode(srgb.data)) < 6


@pytest.mark.parametrize("format", [*STORED, "TIFF", "AVIF"])
def test_wide_gamut_becomes_srgb(format: str) -> None:
    """A profile that is not sRGB is applied: a strong Display P3 red is out of sRGB, a grey stays a grey."""
    strong = Image.new("RGB", (80, 80), (200, 60, 60))
    strong.paste((128, 128, 128), (0, 0, 40, 80))
    srgb = picture(encode(strong, format, icc_profile=wide_profile(), quality=95))
    shown = decode(srgb.data).convert("RGB")
    red, grey = shown.getpixel((70, 40)), shown.getpixel((10, 40))
    assert isinstance(red, tuple)
    assert isinstance(grey, tuple)

    assert "colour" in srgb.changes
    assert red[0] > 212
    assert red[1] < 55
    assert max(abs(level - 128) for level in grey) <= 6
    assert b"ICC_PROFILE" not in srgb.data


@pytest.mark.parametrize(
    "profile", [b"not a profile", srgb_profile()[:300], b"\x00" * 128, srgb_profile().replace(b"RGB XYZ ", b"CMYKLab ")]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_broken_profiles_are_ignored(profile: bytes, mode: str) -> None:
    """A profile that is damaged, or made for other pixels, is cut out and changes nothing else."""
    data = encode(photo(mode=mode), "JPEG", icc_profile=profile)

    assert ("stripped",) == picture(data).changes


def test_cmyk_with_a_broken_profile_is_complemented() -> None:
    """CMYK whose profile is of no use is still converted."""
    assert difference(photo(), decode(picture(encode(photo(mode="CMYK"), "JPEG", icc_profile=b"junk")).data)) < 6


def test_depth_comes_down_to_8_bits() -> None:
    """Sixteen bits a component, grey or colour, become the upper eight."""
    levels = np.arange(96 * 72, dtype=np.uint16).reshape(72, 96) * 9
    grey = picture(encode(Image.fromarray(levels), "PNG"))
    rows = b"".join(b"\x00" + struct.pack(">9H", *([0x1234, 0x8001, 0xFF00] * 3)) for _ in range(3))
    colour = picture(png(3, 3, rows, bits=16))

    assert "depth" in grey.changes
    assert np.array_equal(levels >> 8, np.asarray(decode(grey.data)))
    assert ("depth",) == colour.changes
    assert (0x12, 0x80, 0xFF) == decode(colour.data).getpixel((1, 1))


@pytest.mark.parametrize("format", ["PNG", "WEBP", "GIF", "AVIF", "TIFF"])
def test_transparency_is_laid_on_white(format: str) -> None:
    """What is transparent shows white, not the black that stands below it."""
    clear = Image.new("RGBA", (90, 80), (0, 0, 0, 0))
    clear.paste((200, 30, 40, 255), (30, 20, 60, 60))
    flat = picture(encode(clear, format))
    shown = decode(flat.data)

    assert "flattened" in flat.changes
    assert shown.mode == "RGB"
    assert difference(Image.new("RGB", (20, 20), "white"), shown.crop((0, 0, 20, 20))) < 3
    assert difference(Image.new("RGB", (20, 20), (200, 30, 40)), shown.crop((35, 30, 55, 50))) < 6


@pytest.mark.parametrize("mode", ["P", "L", "RGB", "LA", "1"])
def test_transparency_of_every_png_kind(mode: str) -> None:
    """A transparent palette entry, grey level, colour or grey-alpha pixel shows white."""
    image = Image.new("L", (90, 80), 0)
    image.paste(255, (30, 20, 60, 60))
    key: dict[str, object] = {"P": 0, "L": 0, "1": 0, "RGB": (0, 0, 0)}
    if mode == "LA":
        image.putalpha(image.copy())
        data = encode(image, "PNG")
    else:
        data = encode(image.convert(mode), "PNG", transparency=key[mode])
    flat = picture(data)

    assert ("flattened",) == flat.changes
    assert ((255, 255, 255),) * 2 == tuple(decode(flat.data).getpixel(at) for at in ((1, 1), (45, 45)))
    assert 0 == flat.colour_spread


@pytest.mark.parametrize(("format", "stored"), [("GIF", "png"), ("BMP", "jpeg"), ("TIFF", "jpeg"), ("AVIF", "jpeg")])
def test_other_formats_are_rewritten(format: str, stored: str) -> None:
    """Still GIF becomes PNG; BMP, TIFF and AVIF become JPEG."""
    kept = picture(encode(photo(), format))

    assert (stored, ("format",)) == (kept.format, kept.changes)
    assert {"png": "png", "jpeg": "jpg"}[stored] == kept.extension
    assert format.lower() == kept.source_format
    assert difference(photo(), decode(kept.data)) < 8


def test_palettes_and_bitmaps_stay_without_loss() -> None:
    """A TIFF or BMP of few colours is a drawing, and becomes PNG."""
    for mode in ("1", "P"):
        for format in ("TIFF", "BMP"):
            assert "png" == picture(encode(photo(mode=mode), format)).format


def test_single_colour_is_measured_through_noise() -> None:
    """One colour with a JPEG's noise has nearly no spread; a gradient, a line drawing and a photograph have."""
    noise = np.random.default_rng(1).integers(118, 139, (300, 400, 3), dtype=np.uint8)
    drawing = Image.new("L", (400, 300), 255)
    drawing.paste(0, (20, 100, 380, 102))
    gradient = np.linspace(200, 220, 400, dtype=np.uint8)[None, :].repeat(300, axis=0)
    spreads = [
        picture(encode(image, "JPEG")).colour_spread
        for image in (Image.new("RGB", (300, 200), (9, 200, 30)), Image.fromarray(noise))
    ]
    shown = [picture(encode(image, "PNG")).colour_spread for image in (drawing, Image.fromarray(gradient), photo())]

    assert max(spreads) < ImageFilterConfig().min_colour_spread <= min(shown)


def bits(one: Picture, other: Picture) -> int:
    """In how many of 64 bits two perceptual hashes differ."""
    return (int(one.phash, 16) ^ int(other.phash, 16)).bit_count()


def test_copies_have_near_hashes() -> None:
    """Other sizes, qualities and formats of a picture are within 10 bits; other pictures are far."""
    original = picture(encode(photo(640, 480), "PNG"))
    copies = [
        encode(photo(640, 480), "JPEG", quality=40),
        encode(photo(640, 480).resize((200, 150)), "WEBP"),
        encode(photo(640, 480).resize((1300, 975)), "JPEG"),
        encode(photo(640, 480), "AVIF"),
    ]
    others = [photo(640, 480).transpose(Image.Transpose.ROTATE_180), photo(640, 480).transpose(0)]

    assert 16 == len(original.phash)
    assert max(bits(original, picture(copy)) for copy in copies) <= 10
    assert min(bits(original, picture(encode(other, "PNG"))) for other in others) > 10


def test_same_bytes_every_time() -> None:
    """What is written again comes out the same a second time."""
    for data in (encode(photo(900, 700), "JPEG"), encode(photo(), "AVIF"), encode(photo(900, 700, "RGBA"), "PNG")):
        assert prepare(data, CONFIG) == prepare(data, CONFIG)


@pytest.mark.skipif(not CRAWLS.is_dir(), reason="the real crawls are not part of the product")
def test_real_pictures() -> None:
    """Every picture of the real crawls has a result, and what is stored can be read and is not touched again."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    outcomes: Counter[str] = Counter()
    for path in sorted(CRAWLS.glob("*.warc.gz")):
        for record in ArchiveIterator(io.BytesIO(path.read_bytes()), record_types=WarcRecordType.response):
            if not (record.http_content_type or "").startswith("image/"):
                continue
            prepared = prepare(record.reader.read(), CONFIG)
            if isinstance(prepared, Drop):
                outcomes[f"drop: {prepared.reason}"] += 1
                continue
            verdict = judge(prepared.source_width, prepared.source_height, prepared.colour_spread, ImageFilterConfig())
            outcomes[f"judged: {verdict[0]}" if verdict else f"kept: {'+'.join(prepared.changes) or 'untouched'}"] += 1
            stored = read_header(prepared.data)
            assert stored is not None
            assert (prepared.width, prepared.height) == (stored.width, stored.height)
            assert min(prepared.width, prepared.height) <= CONFIG.short_side_px

    assert sum(outcomes.values()) > 400
    assert DropReason.BROKEN_IMAGE not in {key.removeprefix("drop: ") for key in outcomes}
