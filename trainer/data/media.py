"""Media to pixels: decoded, the longer side brought to the model's size, padded to a square with the mean, turned and coloured by chance.

    a picture of a shard  ->  uint8 [1, 3, side, side]
    a clip (`clips`)      ->  uint8 [T, 3, side, side], T up to `frames`

Padding is the encoder's mean colour, which becomes zero when pixels are normalised (Flamingo B.1.2). Bytes of a shard are data from the web: what does not
decode, or is too large, is a `MediumError`, and costs its sample only. Of what moves the first frame is seen; what is transparent shows white.
"""

import struct
import warnings
import zlib
from io import BytesIO
from typing import Annotated, Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from torch.nn import functional as F

Pixels = NDArray[np.uint8]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]

# What shards hold; left to itself, Pillow also takes formats that start programs (EPS) or whose decoders few people look at.
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP")
# What Pillow's decoders were seen or are documented to raise on bad bytes: there is no common root. The pipeline has the same list, and more of Pillow.
_FAULTS: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    BufferError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


class MediumError(Exception):
    """A medium that cannot be decoded, or is larger than allowed."""


class MediaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model sees of a medium.

    `side` is in px. `flip` is the chance that a picture is mirrored, which text in pictures and words like "left" do not bear; `colour` the most by which its
    brightness, contrast and saturation are changed, as a share. `mean` is the encoder's, 0 to 1.
    """

    side: Annotated[int, msgspec.Meta(ge=1)] = 320  # Flamingo B.1.2
    frames: Annotated[int, msgspec.Meta(ge=1)] = 8  # Flamingo B.1.2
    fps: Annotated[float, msgspec.Meta(gt=0)] = 1.0  # Flamingo B.1.2
    flip: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    colour: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    mean: tuple[Share, Share, Share] = (0.5, 0.5, 0.5)
    max_pixels: Annotated[int, msgspec.Meta(ge=1)] = (
        1 << 26
    )  # ours: shards hold resized pictures, these are larger than any


def picture(data: bytes, config: MediaConfig, rng: np.random.Generator) -> Pixels:
    """[1, 3, side, side].

    Raises:
        MediumError: not a picture that decodes, or one of more than `max_pixels`.
    """
    return picture_by(data, config, rng.random(4))


def picture_by(data: bytes, config: MediaConfig, chance: NDArray[np.float64]) -> Pixels:
    """The same, by the four numbers that chance has drawn for `augmented`."""
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of what is odd in a file: it decodes, or it does not
            image = _decoded(data, config)
    except _FAULTS as error:
        raise MediumError(f"{type(error).__name__}: {error}") from error
    return square(augmented(image, config, chance), config)[None]


def is_mirrored(config: MediaConfig, chance: NDArray[np.float64]) -> bool:
    """Whether `augmented` mirrors."""
    return bool(chance[0] < config.flip)


def augmented(image: Image.Image, config: MediaConfig, chance: NDArray[np.float64]) -> Image.Image:
    """Mirrored and recoloured by four numbers of [0, 1), which are drawn whatever is switched on."""
    if is_mirrored(config, chance):
        image = ImageOps.mirror(image)
    if config.colour:
        kinds = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
        for kind, factor in zip(kinds, chance[1:], strict=True):
            image = kind(image).enhance(1 + config.colour * (2 * factor - 1))
    return image


def square(image: Image.Image, config: MediaConfig) -> Pixels:
    """[3, side, side]: the picture in the middle of a square of the mean colour.

    Bicubic as Pillow's, to one or two of 255, by torch, which takes a third of its time.
    """
    side = config.side
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    pixels_3HW = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    if image.size != (width, height):
        pixels_3HW = F.interpolate(pixels_3HW[None], (height, width), mode="bicubic", antialias=True)[0]
    canvas = np.empty((3, side, side), np.uint8)
    canvas[:] = np.array([round(255 * one) for one in config.mean], np.uint8)[:, None, None]
    left, top = (side - width) // 2, (side - height) // 2
    canvas[:, top : top + height, left : left + width] = pixels_3HW.numpy()
    return canvas


def _decoded(data: bytes, config: MediaConfig) -> Image.Image:
    """Upright, in RGB, of a JPEG no more than is needed."""
    with Image.open(BytesIO(data), formats=_FORMATS) as opened:
        if opened.width * opened.height > config.max_pixels:
            raise MediumError(f"{opened.width} x {opened.height} px")
        opened.draft("RGB", (config.side, config.side))
        ImageOps.exif_transpose(opened, in_place=True)
        opened.load()
        return _on_white(opened)


def _on_white(image: Image.Image) -> Image.Image:
    """RGB of 8 bits; what is transparent shows white."""
    if image.mode.startswith("I;16"):  # Pillow would clip what is above 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
