"""Text lines: how much of a picture is lines of type.

In: the grey copy of a picture. Out: the share of its ink that stands in lines of text: near 1 for a quote card, a heading drawn as a picture or a
scanned page of prose; 0 for photographs (no flat ground) and nearly all drawings and diagrams (their ink has no blank rows between, or
is too solid, too long or too sparse for type). Only level lines on one flat ground are seen: what else says text is left to
classifiers, as a good picture lost is worse than a banner kept.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Mask = npt.NDArray[np.bool_]

_MARGIN = 20  # ours: this part of each side is not looked at, so that a frame is no ink
_MIN_SIDE_PX = 16  # ours
_GROUND_LEVELS = 8  # ours: how far from its most frequent level the ground goes, either way
_MIN_CONTRAST = 64  # ours: levels between the ground and the darkest (or brightest) 0.5% of the picture
_FAINT_LEVELS = (
    20  # ours: what differs so little from the ground joins the strokes of a drawing, not the letters of a word
)
_SMALL_PX = 10  # ours: letters of lower lines are not parted at this size
_MIN_SMALL_LINES = 4  # ours: so many lines make sure that low bands are text


def text_share(grey_copy: Image.Image) -> float:
    """The share of the ink in lines of text, 0 to 1; 0 where there is no flat ground of half the picture, or no contrast to it."""
    parted = _ink(grey_copy)
    if parted is None:
        return 0.0
    ink, faint = parted
    small: list[int] = []
    large: list[int] = []
    for top, bottom in _runs(np.atleast_2d(ink.any(axis=1))):
        if _is_line(ink[top:bottom], faint[top:bottom]):
            (small if bottom - top < _SMALL_PX else large).append(int(ink[top:bottom].sum()))
    in_lines = sum(large) + (sum(small) if len(small) + len(large) >= _MIN_SMALL_LINES else 0)
    return in_lines / int(ink.sum())


def _ink(grey_copy: Image.Image) -> tuple[Mask, Mask] | None:
    """(ink, whatever is not ground), without the margins."""
    width, height = grey_copy.size
    inner = grey_copy.crop((width // _MARGIN, height // _MARGIN, width - width // _MARGIN, height - height // _MARGIN))
    if min(inner.size) < _MIN_SIDE_PX:
        return None
    counts, pixels = np.array(inner.histogram()), inner.width * inner.height
    near = np.convolve(counts, np.ones(2 * _GROUND_LEVELS + 1, np.int64), "same")
    ground = int(near.argmax())
    if 2 * int(near[ground]) < pixels:
        return None
    distances = np.abs(np.arange(256) - ground)
    strongest = int(np.searchsorted(np.cumsum(np.bincount(distances, counts)), pixels * 199 // 200, "right"))
    if strongest < _MIN_CONTRAST:
        return None
    levels = np.asarray(inner)
    return (3 * distances > strongest)[levels], (distances > _FAINT_LEVELS)[levels]


def _runs(mask: Mask) -> npt.NDArray[np.int64]:
    """(start, end) of each run of True in the rows of a mask, as places in its row; shape (n, 2)."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    steps = np.diff(padded, axis=1)
    return np.stack([np.nonzero(steps == 1)[1], np.nonzero(steps == -1)[1]], axis=1)


def _is_line(ink: Mask, faint: Mask) -> bool:
    """Whether a band of rows is a line of type; all bounds are in the band's own height (ours, from type of 4 to 48 px in six sizes)."""
    columns = np.flatnonzero(ink.any(axis=0))
    ink, faint = ink[:, columns[0] : columns[-1] + 1], faint[:, columns[0] : columns[-1] + 1]
    height, width = ink.shape
    if not (4 <= height <= 48 and width >= (2 if height < _SMALL_PX else 3) * height):
        return False
    area = int(ink.sum())
    gaps = _length(_runs(~np.atleast_2d(ink.any(axis=0))))
    if not 8 * ink.size < 100 * area < 60 * ink.size or 2 * int(gaps.max(initial=0)) > 3 * height:
        return False
    if int(faint.sum()) > 2 * area:  # boxes of a pale colour
        return False
    strokes, longest = len(_runs(ink)), int(_length(_runs(faint)).max())
    if height < _SMALL_PX:  # words, not letters
        return bool(2 * strokes >= width and 10 * area <= 11 * height * strokes and longest <= 6 * height)
    if strokes < width or 10 * area > 3 * height * strokes or 10 * longest > (22 if height < 14 else 15) * height:
        return False
    return bool(height < 12 or 10 * len(gaps) * height >= 8 * width)  # letters stand apart


def _length(runs: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return runs[:, 1] - runs[:, 0]
