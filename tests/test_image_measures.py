"""Measures of pictures: sharpness, text and hashes, on pictures whose answer is known."""

import hashlib
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from pipeline.images import ImageConfig, ImageFilterConfig, Picture, media_columns, prepare
from pipeline.images.measure import dhash, grey, sharpness
from pipeline.images.pixels import on_white
from pipeline.images.text_lines import text_share
from schemas.tables import MEDIA
from tests.pictures import decode, encode, photo

DRAWINGS = Path(__file__).parent.parent.parent / "shared" / "data" / "pairs"
WORDS = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness. "
FILTERS = ImageFilterConfig()


def textured(width: int = 400, height: int = 300, seed: int = 1) -> Image.Image:
    """A picture with detail at all sizes, as a photograph has it."""
    rng = np.random.default_rng(seed)
    levels = sum(
        np.asarray(
            Image.fromarray(rng.uniform(0, 255, (side, side)).astype(np.float32)).resize((width, height)),
            dtype=np.float32,
        )
        / 5
        for side in (4, 16, 64, 128, 256)
    )
    return Image.fromarray(np.asarray(levels).astype(np.uint8)).convert("RGB")


def card(
    size: tuple[int, int], font_px: int, colours: tuple[str, str] = ("black", "white"), frame: bool = False
) -> Image.Image:
    """Lines of type that fill a picture."""
    image = Image.new("RGB", size, colours[1])
    draw = ImageDraw.Draw(image)
    lines = textwrap.wrap(WORDS * 20, int(size[0] * 0.8 / (font_px * 0.52)))[: int(size[1] * 0.8 / (font_px * 1.4))]
    font = ImageFont.load_default(font_px)
    draw.multiline_text((size[0] // 10, size[1] // 10), "\n".join(lines), colours[0], font, spacing=font_px * 0.3)
    if frame:
        draw.rectangle((4, 4, size[0] - 5, size[1] - 5), outline=colours[0], width=3)
    return image


def chart() -> Image.Image:
    """Axes, a curve, a box and labels."""
    image = Image.new("RGB", (500, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.line([(50, 20), (50, 350), (480, 350)], "black", 2)
    draw.line([(x, 200 - int(120 * np.sin(x / 40))) for x in range(50, 480, 3)], "red", 2)
    draw.rectangle((350, 40, 470, 100), outline="blue")
    draw.text((360, 50), "a curve\nof x", "black", ImageFont.load_default(18))
    draw.text((200, 365), "time in seconds", "black", ImageFont.load_default(20))
    return image


@settings(deadline=None)
@given(st.integers(40, 255), st.integers(0, 200))
def test_contrast_does_not_change_sharpness(contrast: int, seed: int) -> None:
    """A sharp picture stays sharp when its contrast falls to a sixth."""
    image = textured(seed=seed).convert("L")

    assert abs(sharpness(image) - sharpness(image.point(lambda level: level * contrast // 255))) < 0.15


def test_blurred_pictures_fall_and_sharp_ones_stay() -> None:
    """A blur by 3% of the width, or a copy enlarged from 8 px, is below the threshold; the picture itself and a drawing are far above."""
    image = textured()
    blurred = image.filter(ImageFilter.GaussianBlur(12))
    enlarged = image.resize((8, 6), Image.Resampling.BILINEAR).resize((400, 300), Image.Resampling.BICUBIC)

    assert max(sharpness(grey(copy)) for copy in (blurred, enlarged)) < FILTERS.min_sharpness
    assert min(sharpness(grey(copy)) for copy in (image, chart(), image.resize((64, 48)))) > 2 * FILTERS.min_sharpness


def test_flat_pictures_have_measures_too() -> None:
    """Nothing is divided by zero, down to one pixel."""
    for size in ((1, 1), (3, 40), (400, 1), (300, 300)):
        flat = grey(Image.new("RGB", size, "white"))
        assert (0.0, 0.0, "0" * 16) == (sharpness(flat), text_share(flat), dhash(flat))


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize("colours", [("black", "white"), ("#ffffff", "#143c8c"), ("#b41414", "#faf0dc")])
@pytest.mark.parametrize(("size", "font_px"), [((600, 400), 40), ((400, 400), 24), ((700, 1000), 30), ((300, 120), 20)])
def test_cards_of_text_fall(size: tuple[int, int], font_px: int, colours: tuple[str, str], frame: bool) -> None:
    """A quote card, a page and a heading are text, in any colours, framed or not."""
    assert text_share(grey(card(size, font_px, colours, frame))) > FILTERS.max_text_share


def test_pictures_with_some_text_stay() -> None:
    """A chart with labels, a photograph under a line of text, and a picture beside text are no text banners."""
    under_text = textured()
    ImageDraw.Draw(under_text).text((20, 20), "A line of text", "white", ImageFont.load_default(40))
    beside_text = card((700, 500), 24)
    beside_text.paste(textured(300, 400), (380, 50))

    assert max(text_share(grey(image)) for image in (chart(), under_text, beside_text, photo(400, 300))) < 0.5


@pytest.mark.skipif(not DRAWINGS.is_dir(), reason="the drawings are not part of the product")
def test_real_drawings_stay() -> None:
    """No drawing of a clip-art collection is blurred or a text banner."""
    gone = []
    for path in sorted(DRAWINGS.glob("*.png"))[::5]:
        copy = grey(on_white(Image.open(path).convert("RGBA")))
        if sharpness(copy) < FILTERS.min_sharpness or text_share(copy) > FILTERS.max_text_share:
            gone.append(path.name)

    assert [] == gone


def test_difference_hash_is_near_for_copies_only() -> None:
    """Other sizes and qualities of a picture are within 4 bits, another picture is far."""

    def bits(image: Image.Image) -> int:
        return int(dhash(grey(image)), 16)

    original = textured(640, 480)
    copies = [original.resize((200, 150)), decode(encode(original, "JPEG", quality=50))]

    assert max((bits(original) ^ bits(copy)).bit_count() for copy in copies) <= 4
    assert (bits(original) ^ bits(textured(640, 480, seed=2))).bit_count() > 15


def test_columns_are_the_tables() -> None:
    """What a picture gives has a column each; hashes are bytes, PDQ only where it is wanted."""
    data = encode(textured(), "PNG")
    plain = prepare(data, ImageConfig())
    assert isinstance(plain, Picture)
    columns = media_columns(plain)

    assert set(columns) <= set(MEDIA.names)
    assert hashlib.md5(data, usedforsecurity=False).digest() == columns["source_md5"]
    assert columns["pdq"] is None
    assert 8 == len(bytes.fromhex(plain.dhash))
