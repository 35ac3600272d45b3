"""A picture: what becomes of the bytes that stand behind an image URL.

In: bytes from a crawl or from the web. Out: a `Picture` to store, with everything that later stages judge it by, or a `Drop`. The order is
that of cost: what the header tells (format, size, movement) is asked before a decoder may see the bytes; metadata is cut out without decoding;
then the picture is decoded once, which also proves it whole. JPEG, PNG and WebP that already fit keep their bytes; only what must look
different (turned, another colour space, transparent, too large, another format) is encoded again, once, and `Picture.changes` says why.

Transparent pictures are laid on white: most readers of a shard drop the alpha channel, and would show a black diagram on a black ground.
"""

import hashlib
import io
import warnings
from typing import Annotated, Any, Literal, TypeAlias, get_args

import msgspec
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from pipeline.images.formats import PictureFormat, sniff
from pipeline.images.header import Header, read_header
from pipeline.images.measure import colour_spread, dhash, grey, mean_colour, phash, reduced, sharpness
from pipeline.images.pdq import pdq
from pipeline.images.pixels import (
    DECODED,
    DECODER_FAULTS,
    Size,
    StoredFormat,
    UnsupportedPixels,
    encoded,
    exif_orientation,
    fitting_size,
    in_8_bits,
    in_srgb,
    is_transparent,
    needs_conversion,
    on_white,
    upright,
    upright_size,
)
from pipeline.images.segments import Segment, colour_profile, has_all_rows, is_complete, stripped, walk
from pipeline.images.text_lines import text_share
from schemas.drops import Drop, DropReason

# stripped: metadata cut out, the pixels are the source's bit for bit. All others mean that the picture was encoded again.
Change: TypeAlias = Literal["stripped", "format", "framing", "turned", "depth", "resized", "flattened", "colour"]
CHANGES: tuple[Change, ...] = get_args(Change)

_MEASURED_PX = 192  # ours: at least so large a JPEG that keeps its bytes is decoded, at 1/2, 1/4 or 1/8, to be measured
_STORED: dict[str, StoredFormat] = {"jpeg": "jpeg", "png": "png", "webp": "webp"}
_JPEG_MAX_SIDE = 65_500  # libjpeg
_PHOTO_BYTES_PER_PIXEL = 1  # ours: deflate leaves 0.02 to 0.7 of drawings and screens, 1.1 to 2.5 of photographs
_MAX_SCANS = 50  # ours: encoders write some 12; each scan of a progressive JPEG costs a pass over all pixels


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is decoded, and what is stored of it."""

    # Bytes of the source file; more is a drop.
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] = 20_000_000  # ours: photographs from a camera are 5 to 15 MB
    # Pixels (width x height) of the source; more is a drop, before decoding. Decoding takes up to 16 bytes of memory a pixel.
    max_pixels: Annotated[int, msgspec.Meta(ge=1)] = 50_000_000  # ours: above most cameras
    # Whether pictures larger than `short_side_px` are resized.
    resize: bool = True
    # Shorter side, px, of what is stored; a larger picture is scaled down to it, a smaller one never up.
    short_side_px: Annotated[int, msgspec.Meta(ge=1)] = 512  # ours: 320 in training (Flamingo B.1.2), and room to crop
    # Pillow's quality, 1 to 95, of JPEGs that have to be encoded again.
    jpeg_quality: Annotated[int, msgspec.Meta(ge=1, le=95)] = 90  # ours
    # Whether every picture is decoded, which proves it whole, and gets its pHash, dHash, MD5 and measures. If not, pictures that can stay as they came are known by
    # header and SHA-256 alone, in a third of the time; rules about how pictures look then keep all, and copies are found by their bytes alone.
    measure: bool = True
    # Whether pictures get a PDQ hash, which some block lists are made of; only measured ones do.
    pdq: bool = False


class Picture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A picture as it is stored, and what was measured on it.

    `width` and `height` are px of `data`; `source_width` and `source_height` are the source's, after EXIF orientation. `sha256` is of `data`,
    `source_sha256` and `source_md5` of the bytes that came. `phash` and `dhash` are 64 bits in hex, `pdq` 256; `colour` is the mean of red, green and blue in 6 hex
    digits, `colour_spread` 0 to 255, `sharpness` and `text_share` are 0 to 1 (see `measure` and `text_lines`). What was not wanted is empty or None.
    """

    data: bytes
    format: StoredFormat
    width: int
    height: int
    sha256: str
    source_format: PictureFormat
    source_width: int
    source_height: int
    source_sha256: str
    source_md5: str = ""
    phash: str = ""
    dhash: str = ""
    pdq: str = ""
    colour: str = ""
    colour_spread: int | None = None
    sharpness: float | None = None
    text_share: float | None = None
    changes: tuple[Change, ...] = ()

    @property
    def extension(self) -> str:
        """The file's extension in a shard: jpg, png or webp."""
        return "jpg" if self.format == "jpeg" else self.format

    @property
    def rewritten(self) -> bool:
        """Whether `data` differs from the bytes that came; `changes` says by what."""
        return bool(self.changes)


class _Decoded(msgspec.Struct, frozen=True, kw_only=True):
    """A picture in memory; where `changes` is empty it may be a smaller copy, as its bytes are kept."""

    image: Image.Image
    source_size: tuple[int, int]
    changes: tuple[Change, ...]


def prepare(data: bytes, config: ImageConfig) -> Picture | Drop:
    """Makes of the bytes behind an image URL the picture to store, or says why there is none. Pure; never raises.

    The same bytes, configuration and versions of Pillow give the same picture, byte for byte.
    """
    if len(data) > config.max_bytes:
        return _drop(DropReason.TOO_MANY_BYTES, value=len(data), threshold=config.max_bytes)
    found = sniff(data)
    segments = list(walk(data, found)) if found else []
    header = read_header(data, segments)
    if header is None:
        return _drop(DropReason.SVG if found == "svg" else DropReason.NOT_AN_IMAGE, detail=found or "")
    if refused := _refused(header, segments, config):
        return refused
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files; what matters of them is checked here
        try:
            return _prepared(data, header, segments, config)
        except UnsupportedPixels as unsupported:
            return _drop(DropReason.UNSUPPORTED_FORMAT, detail=f"{header.format}: {unsupported}")
        except Image.DecompressionBombError:  # GIF's own check of a frame that is larger than its screen
            return _drop(DropReason.TOO_MANY_PIXELS, threshold=config.max_pixels, detail=header.format)
        except DECODER_FAULTS as fault:
            return _drop(DropReason.BROKEN_IMAGE, detail=f"{header.format}: {type(fault).__name__}: {fault}"[:200])


def _drop(reason: DropReason, *, value: float | None = None, threshold: float | None = None, detail: str = "") -> Drop:
    return Drop(kind="image", reason=reason, value=value, threshold=threshold, detail=detail)


def _refused(header: Header, segments: list[Segment], config: ImageConfig) -> Drop | None:
    """The drop of a picture that its header already rules out."""
    if header.format not in DECODED:
        return _drop(DropReason.UNSUPPORTED_FORMAT, detail=header.format)
    if header.animated:
        return _drop(DropReason.ANIMATED, detail=header.format)
    if too_many := _over_pixels((header.width, header.height), config):
        return too_many
    scans = sum(part.kind == b"\xda" for part in segments) if header.format == "jpeg" else 0
    if scans > _MAX_SCANS:
        return _drop(DropReason.BROKEN_IMAGE, value=scans, threshold=_MAX_SCANS, detail="jpeg: scans")
    return None


def _over_pixels(size: tuple[int, int], config: ImageConfig) -> Drop | None:
    pixels = size[0] * size[1]
    if pixels <= config.max_pixels:
        return None
    return _drop(DropReason.TOO_MANY_PIXELS, value=pixels, threshold=config.max_pixels)


def _prepared(data: bytes, header: Header, segments: list[Segment], config: ImageConfig) -> Picture | Drop:
    complete = is_complete(data, header.format, segments)
    if header.format in ("png", "webp") and not complete:
        return _drop(DropReason.BROKEN_IMAGE, detail=f"{header.format}: the file ends early")
    clean = stripped(data, header.format, segments) if complete else data
    opened = DECODED[header.format](io.BytesIO(clean))
    if too_many := _over_pixels(opened.size, config):  # a decoder may find more than the header's first words promised
        return too_many
    if header.format == "avif" and getattr(opened, "n_frames", 1) > 1:
        return _drop(DropReason.ANIMATED, detail=header.format)
    profile = colour_profile(data, segments) if segments else opened.info.get("icc_profile", b"")
    size, needed = _planned(opened, header, profile, complete, config)
    if not config.measure and not needed and _is_plain(opened, profile):
        return _picture(data, clean, _STORED[header.format], opened.size, header, opened.size)
    decoded = _decode(opened, header, profile, size, needed)
    if header.format == "png" and _ends_unset(opened) and not has_all_rows(data, segments):
        return _drop(DropReason.BROKEN_IMAGE, detail="png: the pixels end early")
    measured = _measured(data, decoded.image, config) if config.measure else {}
    source_size = decoded.source_size
    if not decoded.changes:
        return _picture(data, clean, _STORED[header.format], source_size, header, source_size, **measured)
    format = _rewritten_as(header, opened.mode, len(clean), decoded)
    stored = encoded(decoded.image, format, config.jpeg_quality)
    size = decoded.image.size
    return _picture(data, stored, format, size, header, source_size, changes=decoded.changes, **measured)


def _planned(
    opened: ImageFile.ImageFile, header: Header, profile: bytes, complete: bool, config: ImageConfig
) -> tuple[Size, frozenset[Change]]:
    """(size to be stored, before turning; the changes that are known to be needed before a pixel is decoded)."""
    size = fitting_size(opened.size, config.short_side_px) if config.resize else opened.size
    noted: dict[Change, bool] = {
        "format": header.format not in _STORED,
        "framing": header.format in _STORED and not complete,
        "turned": _orientation(opened, header) != 1,
        "depth": header.bits == 16,
        "resized": size != opened.size,
    }
    return size, frozenset(change for change, is_needed in noted.items() if is_needed)


def _orientation(opened: ImageFile.ImageFile, header: Header) -> int:
    if header.format == "tiff":
        return 1  # Pillow turns TIFF by itself
    return exif_orientation(opened) if header.format == "avif" else header.orientation


def _is_plain(opened: ImageFile.ImageFile, profile: bytes) -> bool:
    """Whether no pixel has to be looked at to know that none has to change: no transparency, no colour space but sRGB."""
    if opened.mode in ("1", "P"):
        return "transparency" not in opened.info and not profile
    return (
        opened.mode in ("L", "RGB") and "transparency" not in opened.info and not needs_conversion(profile, opened.mode)
    )


def _decode(
    opened: ImageFile.ImageFile, header: Header, profile: bytes, size: Size, needed: frozenset[Change]
) -> _Decoded:
    """Decodes an opened picture into what is to be stored, and adds the changes that only its pixels tell."""
    source_size, orientation = opened.size, _orientation(opened, header)
    if isinstance(opened, JpegImageFile):
        keeps_bytes = not needed and not needs_conversion(profile, opened.mode)
        opened.draft(None, (_MEASURED_PX, _MEASURED_PX) if keeps_bytes else size)
    opened.load()
    image = in_8_bits(opened)
    pixels: dict[Change, bool] = {"flattened": is_transparent(image)}
    if image.mode == "RGBA":
        image = on_white(image) if pixels["flattened"] else image.convert("RGB")
    pixels["colour"] = needs_conversion(profile, image.mode)
    if "resized" in needed:
        image = image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)  # the mean of an area, as img2dataset does
    return _Decoded(
        image=upright(in_srgb(image, profile), orientation),
        source_size=upright_size(source_size, orientation),
        changes=tuple(change for change in CHANGES if change in needed or pixels.get(change)),
    )


def _measured(data: bytes, image: Image.Image, config: ImageConfig) -> dict[str, Any]:
    """The measures and hashes of the bytes that came and of the picture in them, by their names in `Picture`."""
    small, grey_copy = reduced(image), grey(image)
    return {
        "source_md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "phash": phash(small),
        "dhash": dhash(grey_copy),
        "pdq": pdq(image) if config.pdq else "",
        "colour": mean_colour(small),
        "colour_spread": colour_spread(small),
        "sharpness": sharpness(grey_copy),
        "text_share": text_share(grey_copy),
    }


def _picture(
    data: bytes, stored: bytes, format: StoredFormat, size: Size, header: Header, source_size: Size, **known: Any
) -> Picture:
    """The picture made of the bytes `data` that came; where it keeps them, but for metadata, `known` has no changes."""
    sha256 = hashlib.sha256(stored).hexdigest()
    changes: tuple[Change, ...] = () if stored is data else ("stripped",)
    return Picture(
        data=stored,
        format=format,
        width=size[0],
        height=size[1],
        sha256=sha256,
        source_format=header.format,
        source_width=source_size[0],
        source_height=source_size[1],
        source_sha256=sha256 if stored is data else hashlib.sha256(data).hexdigest(),
        **{"changes": changes, **known},
    )


def _rewritten_as(header: Header, mode: str, source_bytes: int, decoded: _Decoded) -> StoredFormat:
    """PNG for what came without loss (PNG, GIF, lossless WebP, palettes and bitmaps), JPEG for all else.

    A photograph that came as PNG becomes JPEG when it is resized: its pixels are new anyway, and a PNG of it is ten times as large.
    """
    width, height = decoded.source_size
    lossless = header.format in ("png", "gif") or header.lossless or mode in ("1", "P")
    if "resized" in decoded.changes and source_bytes > _PHOTO_BYTES_PER_PIXEL * width * height:
        lossless = False
    return "png" if lossless or max(decoded.image.size) > _JPEG_MAX_SIDE else "jpeg"


def _ends_unset(opened: ImageFile.ImageFile) -> bool:
    """Whether the last row of a loaded picture is all zero, as rows are that no data came for."""
    width, height = opened.size
    return opened.crop((0, height - 1, width, height)).getbbox(alpha_only=False) is None
