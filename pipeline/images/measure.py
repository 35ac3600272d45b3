"""Measures of a picture: how much colour it has, how sharp it is, and what it looks like.

In: a decoded picture, mode L or RGB. Out: numbers that are stored, so that filters and dedup can change their minds without decoding again.
Colour and the perceptual hash are taken from a copy of 32 x 32 px: small enough to cost nothing, and JPEG's noise is averaged
out of it. Sharpness and text (`text_lines`) need to see edges, so they are taken from a grey copy of up to 256 px. All arithmetic is on integers, with one division at the
end, so that the last bit is the same on every machine.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

_SIDE_PX = 32
_GREY_PX = 256  # ours: letters of a page of 40 lines are still 5 px high
_SOFT_PX = 2  # ours: radius of the blur that a picture is compared with; 1 and 3 part sharp from blurred less well
_LOW = 8  # frequencies a side that the hash keeps
_SCALE = 1 << 16

_positions, _frequencies = np.arange(_SIDE_PX), np.arange(_LOW)
# DCT-II without its norms, which are the same for all coefficients but those of frequency 0.
# Whole numbers, whose sums stay below 2**51: floats hold them exactly, in any order of summing.
_DCT: npt.NDArray[np.float64] = np.rint(
    _SCALE * np.cos(np.pi / (2 * _SIDE_PX) * (2 * _positions[None, :] + 1) * _frequencies[:, None])
)


def reduced(image: Image.Image) -> Image.Image:
    """The copy of 32 x 32 px that the measures are taken from.

    Its pixels overlap a little: on real pictures, copies at other sizes then have hashes at half the distance that sharp borders give.
    """
    return image.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)


def colour_spread(small: Image.Image) -> int:
    """The widest range of a channel, 0 to 255: near 0 for a picture of one colour, whatever its noise."""
    levels = np.asarray(small).reshape(_SIDE_PX * _SIDE_PX, -1)
    return int((levels.max(axis=0) - levels.min(axis=0)).max())


def mean_colour(small: Image.Image) -> str:
    """The mean of red, green and blue, in 6 hex digits: it parts what has one shape and several colours, such as flags and buttons."""
    levels = np.asarray(small).reshape(_SIDE_PX * _SIDE_PX, -1)
    means = levels.sum(axis=0, dtype=np.int64) // (_SIDE_PX * _SIDE_PX)
    return np.broadcast_to(means, 3).astype(np.uint8).tobytes().hex()


def phash(small: Image.Image) -> str:
    """The perceptual hash of 64 bits, in 16 hex digits: which low frequencies of the luminance are above their median.

    Two copies of a picture at other sizes or qualities differ in few bits (10 of 64 is a common bound).
    """
    luminance = np.asarray(small.convert("L"), dtype=np.float64)
    low = (_DCT @ luminance @ _DCT.T).ravel()
    ordered = np.sort(low)
    middle = ordered[31] + ordered[32]  # twice the median
    return np.packbits(2 * low > middle).tobytes().hex()


def grey(image: Image.Image) -> Image.Image:
    """A grey copy, its longer side at most 256 px; a smaller picture keeps its size, as a larger copy would look blurred."""
    copy, long = image.convert("L"), max(image.size)
    if long <= _GREY_PX:
        return copy
    width, height = (max(1, (side * _GREY_PX + long // 2) // long) for side in image.size)
    return copy.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def dhash(grey_copy: Image.Image) -> str:
    """The difference hash of 64 bits, in 16 hex digits: in 8 rows, which of 8 steps to the right go up.

    It looks at slopes where `phash` looks at frequencies, so that two pictures near in both are the same one.
    """
    levels = np.asarray(grey_copy.resize((9, 8), Image.Resampling.BILINEAR, reducing_gap=2.0))
    return np.packbits(levels[:, 1:] > levels[:, :-1]).tobytes().hex()


def sharpness(grey_copy: Image.Image) -> float:
    """How much of the differences between neighbouring pixels a slight blur takes away, 0 to 1, whatever the contrast.

    A sharp picture loses most, a blurred one has little left to lose; 0 for a picture without differences. After the blur metric of
    Crete et al. 2007 (SPIE 6492).
    """
    sharp, soft = np.asarray(grey_copy), np.asarray(grey_copy.filter(ImageFilter.BoxBlur(_SOFT_PX)))
    steps = left = 0
    for before, after in ((_steps(sharp), _steps(soft)), (_steps(sharp.T), _steps(soft.T))):
        steps += int(before.sum(dtype=np.uint32))  # of up to 256 x 256 bytes
        left += int(np.minimum(before, after).sum(dtype=np.uint32))
    return (steps - left) / steps if steps else 0.0


def _steps(levels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The differences between rows; bytes all the way are five times as fast as wider numbers."""
    return np.maximum(levels[1:], levels[:-1]) - np.minimum(levels[1:], levels[:-1])
