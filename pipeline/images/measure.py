"""Measures of a picture: how much colour it has, and what it looks like.

In: a decoded picture, mode L or RGB. Out: numbers that are stored, so that filters and dedup can change their minds without decoding again.
Both are taken from one copy of 32 x 32 px: small enough to cost nothing, and JPEG's noise is averaged out of it. All arithmetic
is on integers, so that the last bit is the same on every machine.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

_SIDE_PX = 32
_LOW = 8  # frequencies a side that the hash keeps
_SCALE = 1 << 16

_positions, _frequencies = np.arange(_SIDE_PX), np.arange(_LOW)
# DCT-II without its norms, which are the same for all coefficients but those of frequency 0.
_DCT: npt.NDArray[np.int64] = np.rint(
    _SCALE * np.cos(np.pi / (2 * _SIDE_PX) * (2 * _positions[None, :] + 1) * _frequencies[:, None])
).astype(np.int64)


def reduced(image: Image.Image) -> Image.Image:
    """The copy of 32 x 32 px that the measures are taken from.

    Its pixels overlap a little: on real pictures, copies at other sizes then have hashes at half the distance that sharp borders give.
    """
    return image.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)


def colour_spread(small: Image.Image) -> int:
    """The widest range of a channel, 0 to 255: near 0 for a picture of one colour, whatever its noise."""
    levels = np.asarray(small).reshape(_SIDE_PX * _SIDE_PX, -1)
    return int((levels.max(axis=0) - levels.min(axis=0)).max())


def phash(small: Image.Image) -> str:
    """The perceptual hash of 64 bits, in 16 hex digits: which low frequencies of the luminance are above their median.

    Two copies of a picture at other sizes or qualities differ in few bits (10 of 64 is a common bound).
    """
    luminance = np.asarray(small.convert("L"), dtype=np.int64)
    low = (_DCT @ luminance @ _DCT.T).ravel()
    ordered = np.sort(low)
    middle = ordered[31] + ordered[32]  # twice the median
    return np.packbits(2 * low > middle).tobytes().hex()
