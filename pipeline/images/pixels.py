"""Pixels: from the bytes of a picture to a decoded one that every reader shows the same way, and back to bytes.

In: bytes in one of the formats of `DECODED`, as clean of metadata as they can be made. Out: a picture in mode L or RGB, 8 bits, sRGB,
upright, on white where it was transparent. Only the decoder of the format that the header named sees the bytes. Pillow raises whatever
it likes on bad bytes, and warns; `picture.prepare` turns that into a drop.
"""

import io
import struct
import zlib
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageCms, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

StoredFormat: TypeAlias = Literal["jpeg", "png", "webp"]
Size: TypeAlias = tuple[int, int]

DECODED: dict[str, type[ImageFile.ImageFile]] = {
    "jpeg": JpegImageFile,
    "png": PngImageFile,
    "webp": WebPImageFile,
    "gif": GifImageFile,
    "avif": AvifImageFile,
    "bmp": BmpImageFile,
    "tiff": TiffImageFile,
}
# What Pillow's decoders were seen or are documented to raise on bad bytes: there is no common root.
DECODER_FAULTS: tuple[type[Exception], ...] = (
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
    ImageCms.PyCMSError,
)
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_COLOUR_SPACE_OF_MODE = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_SAME_COLOUR = 2  # ours: sRGB profiles of different makers differ by 1 or 2 of 255
_ORIENTATION = 0x0112


class UnsupportedPixels(ValueError):
    """A kind of pixel that has no plain way to 8 bits (floating point, LAB...)."""


def exif_orientation(image: Image.Image) -> int:
    """The orientation, 1 to 8, that Pillow found in a container of its own (AVIF); 1 where there is none."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in _TURNED else 1


def upright_size(size: Size, orientation: int) -> Size:
    """Width and height after an EXIF orientation is applied."""
    return (size[1], size[0]) if orientation >= 5 else size


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture turned as its EXIF orientation (1 to 8) asks."""
    return image.transpose(_TURNED[orientation]) if orientation in _TURNED else image


def fitting_size(size: Size, short_side_px: int) -> Size:
    """The size with its shorter side brought down to `short_side_px`, aspect kept; never larger, no side below 1."""
    short = min(size)
    if short <= short_side_px:
        return size
    width, height = ((side * short_side_px + short // 2) // short for side in size)
    return width, height


def in_8_bits(image: Image.Image) -> Image.Image:
    """The picture in mode L, RGB, CMYK or, where it may be transparent, RGBA.

    Raises:
        UnsupportedPixels: floating point, 32-bit or LAB pixels, as scientific and press TIFFs have them.
    """
    mode = image.mode
    if mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif mode == "La":
        image = image.convert("LA").convert("RGBA")
    elif mode != "RGBA" and (mode in ("LA", "PA", "RGBa") or "transparency" in image.info):
        image = image.convert("RGBA")
    elif mode == "1":
        image = image.convert("L")
    elif mode in ("P", "RGBX", "YCbCr"):
        image = image.convert("RGB")
    if image.mode not in ("L", "RGB", "CMYK", "RGBA"):
        raise UnsupportedPixels(f"pixels of mode {image.mode}")
    return image


def is_transparent(image: Image.Image) -> bool:
    """Whether any pixel lets the page through; an alpha channel that is all opaque does not count."""
    if image.mode != "RGBA":
        return False
    lowest = image.getchannel("A").getextrema()[0]
    return isinstance(lowest, (int, float)) and lowest < 255


def on_white(image: Image.Image) -> Image.Image:
    """A mode RGBA picture laid on white, as a plain page shows it; in mode RGB."""
    page = Image.new("RGB", image.size, "white")
    page.paste(image, mask=image)
    return page


def needs_conversion(profile: bytes, mode: str) -> bool:
    """Whether pixels of this mode (L, RGB, CMYK) change when an ICC profile is turned into sRGB.

    A profile that is broken, or made for other pixels than these, changes nothing: it is ignored, as browsers do.
    """
    return mode == "CMYK" or (bool(profile) and _transform(profile, mode) is not None)


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """An L, RGB or CMYK picture in sRGB: by its profile, or, for CMYK without a usable one, by the plain complement."""
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return image.convert("RGB") if image.mode == "CMYK" else image
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # None is for transforms in place only
    return converted.convert("L") if image.mode == "L" else converted


@lru_cache(maxsize=16)  # a crawl has few profiles, and building a transform costs 1 to 40 ms
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _COLOUR_SPACE_OF_MODE.get(mode):
            return None
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if mode != "CMYK" and _changes_nothing(transform, mode) else transform
    except DECODER_FAULTS:
        return None


def _changes_nothing(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves a lattice over all colours (or all 256 greys) where it was."""
    if mode == "L":
        lattice = np.arange(256, dtype=np.uint8)[None, :]
    else:
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        lattice = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    converted = ImageCms.applyTransform(Image.fromarray(lattice), transform)
    before = lattice[..., None] if mode == "L" else lattice
    return int(np.abs(np.asarray(converted, dtype=np.int16) - before).max()) <= _SAME_COLOUR


def encoded(image: Image.Image, format: StoredFormat, jpeg_quality: int) -> bytes:
    """The bytes of a mode L or RGB picture as JPEG (4:2:0 chroma) or PNG, without any metadata."""
    bare = image.copy()
    bare.info.clear()
    buffer = io.BytesIO()
    if format == "jpeg":
        bare.save(buffer, "JPEG", quality=jpeg_quality)
    else:
        bare.save(buffer, "PNG")
    return buffer.getvalue()
