"""Pictures for tests, made by Pillow: a photograph-like one, its encodings, and parts that encoders do not write; and what bytes become."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from pipeline.images import ImageConfig, Picture, prepare
from schemas.drops import Drop

STORED = ["JPEG", "PNG", "WEBP"]  # formats that are kept


def photo(width: int = 96, height: int = 72, mode: str = "RGB") -> Image.Image:
    """A smooth picture in colours, different in all four quarters, so that no turn of it looks like another."""
    y, x = np.mgrid[0:height, 0:width]
    red = 255 * x / width
    green = 255 * y / height
    blue = 127 + 120 * np.sin(10 * x / width + 14 * y / height)
    image = Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))
    image.paste((250, 20, 30), (0, 0, width // 4, height // 5))
    return image.convert(mode)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    """The picture's bytes in a format of Pillow's."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decode(data: bytes) -> Image.Image:
    """The picture that Pillow reads from bytes, loaded."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures of one size, in levels of 255."""
    levels = [np.asarray(image.convert("RGB"), dtype=np.int16) for image in (one, other)]
    return float(np.abs(levels[0] - levels[1]).mean())


def exif(orientation: int) -> bytes:
    """An EXIF block with an orientation and a camera's name."""
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010F] = "A camera"
    return block.tobytes()


def png_chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG file with its right checksum."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png(width: int, height: int, pixels: bytes, *, before: bytes = b"", bits: int = 8, colour: int = 2) -> bytes:
    """A PNG that promises `width` x `height` px and holds the deflated `pixels`, whatever they are."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [png_chunk(b"IHDR", head), before, png_chunk(b"IDAT", zlib.compress(pixels)), png_chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_segment(marker: int, payload: bytes) -> bytes:
    """A JPEG segment with its length."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with segments put in after its start."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def srgb_profile() -> bytes:
    """Little CMS' own sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def wide_profile() -> bytes:
    """The sRGB profile with its red and green columns moved to Display P3's (D50), so that its colours are stronger."""
    profile = bytearray(srgb_profile())
    columns = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for entry in range(struct.unpack_from(">I", profile, 128)[0]):
        name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * entry)
        if name in columns:
            struct.pack_into(">3i", profile, offset + 8, *(round(value * 65536) for value in columns[name]))
    return bytes(profile)


def picture(data: bytes, config: ImageConfig = ImageConfig()) -> Picture:
    """The picture that bytes become; fails where they are dropped."""
    prepared = prepare(data, config)
    assert isinstance(prepared, Picture), prepared
    return prepared


def dropped(data: bytes, config: ImageConfig = ImageConfig()) -> Drop:
    """The drop that bytes become; fails where they are kept."""
    prepared = prepare(data, config)
    assert isinstance(prepared, Drop), prepared
    return prepared
