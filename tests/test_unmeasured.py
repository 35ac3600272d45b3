"""Pictures that are not measured: the same bytes as of those that are, without a pixel decoded where none has to change."""

import msgspec
import pytest
from PIL import ImageFile

from pipeline.images import ImageConfig, ImageFilterConfig, Picture, judge, media_columns, prepare
from schemas.drops import Drop, DropReason
from tests.pictures import encode, exif, photo, png, png_chunk, srgb_profile, wide_profile

QUICK = ImageConfig(measure=False, short_side_px=200)
PLAIN = {
    "jpeg": encode(photo(), "JPEG"),
    "grey-jpeg": encode(photo(mode="L"), "JPEG"),
    "progressive": encode(photo(), "JPEG", progressive=True),
    "png": encode(photo(), "PNG"),
    "palette": encode(photo().quantize(16), "PNG"),
    "bits": encode(photo(mode="1"), "PNG"),
    "webp": encode(photo(), "WEBP"),
    "metadata": encode(photo(), "JPEG", exif=exif(1), comment="a comment", icc_profile=srgb_profile()),
}
CHANGED = {
    "turned": encode(photo(), "JPEG", exif=exif(6)),
    "resized": encode(photo(900, 600), "JPEG"),
    "transparent": encode(photo(mode="RGBA").rotate(20), "PNG"),
    "see-through-colour": png(1, 2, b"\x00\x01\x02\x03\x00\x04\x05\x06", before=png_chunk(b"tRNS", b"\0\1\0\2\0\3")),
    "opaque-alpha": encode(photo(mode="RGBA"), "PNG"),
    "cmyk": encode(photo(mode="CMYK"), "JPEG"),
    "wide-gamut": encode(photo(), "JPEG", icc_profile=wide_profile()),
    "gif": encode(photo(), "GIF"),
}
MEASURES = ("source_md5", "phash", "dhash", "pdq", "colour", "colour_spread", "sharpness", "text_share")


def both(data: bytes) -> tuple[Picture, Picture]:
    """The picture with its measures, and without."""
    measured = prepare(data, msgspec.structs.replace(QUICK, measure=True))
    quick = prepare(data, QUICK)
    assert isinstance(measured, Picture)
    assert isinstance(quick, Picture)
    return measured, quick


@pytest.mark.parametrize("name", [*PLAIN, *CHANGED])
def test_the_same_picture_without_measures(name: str) -> None:
    """What is stored, and what is known of its form, do not depend on whether it is measured."""
    measured, quick = both((PLAIN | CHANGED)[name])

    assert measured.phash
    assert measured.sharpness is not None
    assert msgspec.structs.replace(measured, **{field: getattr(quick, field) for field in MEASURES}) == quick
    assert {None, ""} >= {getattr(quick, field) for field in MEASURES}
    nulls = {column for column, value in media_columns(quick).items() if value is None}
    assert {"source_md5", "phash", "dhash", "pdq", "colour", "spread", "sharpness", "text_share"} == nulls


@pytest.mark.parametrize("name", PLAIN)
def test_plain_pictures_are_not_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No decoder runs for a picture that keeps its pixels; it does for all others."""

    def refuse(image: ImageFile.ImageFile) -> None:
        raise OSError("decoded")

    for kind in (ImageFile.ImageFile, *ImageFile.ImageFile.__subclasses__()):
        monkeypatch.setattr(kind, "load", refuse)
    changed = [prepare(data, QUICK) for data in CHANGED.values()]

    assert isinstance(prepare(PLAIN[name], QUICK), Picture)
    assert ["OSError: decoded"] * len(changed) == [
        one.detail.partition(": ")[2] for one in changed if isinstance(one, Drop)
    ]


def test_what_the_header_tells_still_counts() -> None:
    """A file that ends early, and a bomb, are drops with their reasons as ever."""
    data = encode(photo(), "JPEG")
    few = ImageConfig(measure=False, max_pixels=96 * 72 - 1)
    found = [prepare(data[:-2], QUICK), prepare(data, few)]

    assert [DropReason.BROKEN_IMAGE, DropReason.TOO_MANY_PIXELS] == [
        one.reason for one in found if isinstance(one, Drop)
    ]


def test_filters_keep_what_was_not_measured() -> None:
    """Rules about looks need looks; rules about sizes hold."""
    quick = both(PLAIN["jpeg"])[1]
    blind = ImageFilterConfig(min_colour_spread=255, min_sharpness=1, max_text_share=0)

    assert judge(96, 72, quick.colour_spread, blind, sharpness=quick.sharpness, text_share=quick.text_share) is None
    assert judge(96, 30, quick.colour_spread, blind) == (DropReason.SIDE_TOO_SMALL, 30, 64)
