"""Pictures to pixels: whatever the web makes of them, a square in RGB, or a broken medium and nothing worse."""

import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from pipeline.images.pixels import DECODER_FAULTS
from tests.streams import SIDE, png
from trainer.data.media import _FAULTS, MediaConfig, MediumError, picture

CONFIG = MediaConfig(side=32)


def seen(image: Image.Image, format: str = "PNG", **options: Any) -> np.ndarray:
    """[32, 32, 3]: what becomes of a picture that is stored so."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return picture(file.getvalue(), CONFIG, np.random.default_rng(0))[0].transpose(1, 2, 0)


def halves(mode: str, left: Any, right: Any) -> Image.Image:
    """32 px of two colours."""
    image = Image.new(mode, (32, 32), right)
    image.paste(left, (0, 0, 16, 32))
    return image


def test_pictures_are_padded_with_the_mean() -> None:
    """Aspect kept, in the middle, the rest the encoder's mean; alpha is white, turned pictures stand upright, bombs are refused."""
    rng = np.random.default_rng(0)
    config = MediaConfig(side=16, mean=(0.2, 0.4, 0.6))
    wide = picture(png((255, 0, 0), (32, 16)), config, rng)[0]

    assert [51, 102, 153] == wide[:, 0, 0].tolist()
    assert [255, 0, 0] == wide[:, 8, 8].tolist()
    assert (wide[0] == 255).sum() == 16 * 8
    assert [255] * 3 == picture(png((0, 0, 0, 0), mode="RGBA"), config, rng)[0][:, 8, 8].tolist()
    assert [7, 7, 7] == picture(png((7,), mode="L"), config, rng)[0][:, 8, 8].tolist()
    with pytest.raises(MediumError, match="px"):
        picture(png((0,), (600, 600), "1"), MediaConfig(max_pixels=1000), rng)
    with pytest.raises(MediumError):
        picture(png((1, 2, 3))[:40], config, rng)


def test_a_coin_for_each_picture() -> None:
    """Mirroring is drawn for each picture by itself, and is off by default."""
    left = Image.new("RGB", (16, 16))
    left.paste((255, 255, 255), (0, 0, 8, 16))
    file = io.BytesIO()
    left.save(file, "PNG")
    sides = {
        bool(picture(file.getvalue(), MediaConfig(side=16, flip=0.5), np.random.default_rng(seed))[0, 0, 8, 0])
        for seed in range(20)
    }

    assert {True, False} == sides
    assert all(picture(file.getvalue(), SIDE, np.random.default_rng(seed))[0, 0, 8, 0] for seed in range(20))


def test_kinds_of_pixels() -> None:
    """Inks, palettes with a transparent colour, half transparency, 16 bits and two grey tones come out as a page shows them."""
    palette = halves("RGB", (0, 0, 255), (255, 0, 0)).quantize(2)
    grey = Image.fromarray(np.full((32, 32), 0x8000, np.uint16))
    for image, options, left, right in (
        (halves("CMYK", (0, 255, 255, 0), (0, 0, 0, 255)), {"format": "JPEG", "quality": 100}, (255, 0, 0), (0, 0, 0)),
        (palette, {"transparency": palette.getpixel((20, 9))}, (0, 0, 255), (255, 255, 255)),
        (halves("RGBA", (0, 0, 0, 128), (0, 0, 0, 255)), {}, (127, 127, 127), (0, 0, 0)),
        (halves("LA", (0, 0), (9, 255)), {}, (255, 255, 255), (9, 9, 9)),
        (grey, {}, (128, 128, 128), (128, 128, 128)),
        (halves("1", 1, 0), {}, (255, 255, 255), (0, 0, 0)),
    ):
        pixels = seen(image, **options)
        assert np.abs(np.subtract(pixels[16, 4], left)).max() <= 2, (image.mode, pixels[16, 4])
        assert np.abs(np.subtract(pixels[16, 28], right)).max() <= 2, (image.mode, pixels[16, 28])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_turned_by_exif(format: str) -> None:
    """Each of the eight orientations is undone."""
    upright = np.asarray(halves("RGB", (255, 255, 255), (0, 0, 0)))[..., 0]
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = Image.fromarray(upright)
        undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL.Image.Transpose of the inverse
        if orientation in undo:
            stored = stored.transpose(Image.Transpose(undo[orientation]))
        pixels = seen(stored.convert("RGB"), format, exif=exif, quality=100)
        assert np.abs(pixels[..., 0].astype(int) - upright).max() < 20, orientation


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_of_what_moves_the_first_frame(format: str) -> None:
    """An animated picture is its first frame."""
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    pixels = seen(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)

    assert [255, 0, 0] == pixels[16, 16].tolist()


def test_no_format_that_starts_programs() -> None:
    """PostScript is not opened, whatever its member is called."""
    with pytest.raises(MediumError, match="cannot identify"):
        picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", CONFIG, np.random.default_rng(0))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP"])
def test_damaged_bytes(format: str) -> None:
    """Bytes that were changed or cut give pixels or a broken medium, without a warning, never anything else."""
    chance, file = random.Random(format), io.BytesIO()
    noise = Image.effect_noise((40, 30), 90).convert("RGB")
    noise.save(
        file, format, **({"exif": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\3\0\0\0\1\0\6\0\0"} if format == "JPEG" else {})
    )
    outcomes = set()
    for _ in range(150):
        data = bytearray(file.getvalue())
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(len(data) if chance.random() < 0.4 else min(len(data), 200))] = chance.randrange(256)
        try:
            pixels = picture(bytes(data[: chance.randrange(len(data)) or None]), CONFIG, np.random.default_rng(0))
            outcomes.add(pixels.shape)
        except MediumError:
            outcomes.add("broken")

    assert "broken" in outcomes
    assert outcomes <= {(1, 3, 32, 32), "broken"}


def test_what_decoders_raise() -> None:
    """The pipeline, which writes shards, and the trainer, which imports nothing of it, know the same faults; the pipeline also reads profiles."""
    assert {*DECODER_FAULTS} == {*_FAULTS, ImageCms.PyCMSError}


def test_bombs() -> None:
    """A picture that states more pixels than allowed is not decoded, whether Pillow would warn of it, refuse it, or do it."""
    for side in (9_000, 12_000, 60_000):
        data = bytearray(png((1, 2, 3)))
        data[16:24] = side.to_bytes(4, "big") * 2
        with pytest.raises(MediumError):
            picture(bytes(data), CONFIG, np.random.default_rng(0))
