"""Image filters: which measured pictures stay.

In: the measurements of a picture, as stored. Out: None, or the reason why it goes, with the value and the threshold. Nothing is
decoded here, so a threshold can be changed after the fetch and costs a pass over a table. The size that counts is the source's, after EXIF
orientation, not that of the copy which was resized for the shards.
"""

from collections.abc import Mapping
from typing import Annotated

import msgspec

from schemas.drops import DropReason


class ImageFilterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds on a picture's measurements; each bound is itself still kept."""

    # Shortest side, px.
    min_side_px: Annotated[int, msgspec.Meta(ge=1)] = 64  # Flamingo A.3.1
    # Longest side, px.
    max_side_px: Annotated[int, msgspec.Meta(ge=1)] = 20_000  # OBELICS
    # Longer side to shorter side.
    max_aspect: Annotated[float, msgspec.Meta(ge=1)] = 3.0  # Flamingo A.3.1
    # Widest range of a colour channel, 0 to 255, of a copy of 32 x 32 px; below it the picture has a single colour. 0 keeps all.
    min_colour_spread: Annotated[int, msgspec.Meta(ge=0, le=255)] = 8  # ours; that such pictures go is Flamingo A.3.1
    # Least sharpness, 0 to 1. Of 2,683 pictures of crawls, drawings, frames of videos and pictures of packages one is below: a smooth colour wheel. Of their
    # copies under a Gaussian blur of 1/100 of the longer side 19% (sprites) to 86% (frames) are, of 1/25 97 to 99%; of copies enlarged from 16 px (the
    # blurred previews of lazy loading) 79 to 99%. 0 keeps all.
    min_sharpness: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.2  # ours
    # Most ink in lines of text, 0 to 1. Of the same 2,683 four are above, three of them text alone (code, a terminal, a window). Of 160 made banners 36% are, of
    # those with type of 9 px and more in a copy of 256 px 66%. 1 keeps all.
    max_text_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.8  # ours
    # Most documents of the run that a picture, its perceptual copies counted with it, may stand in; past that it goes everywhere. 0 keeps all.
    max_documents: Annotated[int, msgspec.Meta(ge=0)] = 10  # mmc4
    # Bits of 64 that the pHashes of two perceptual copies may differ by.
    max_phash_distance: Annotated[int, msgspec.Meta(ge=0, le=16)] = 4  # ours, confirmed by the dHash
    # Highest and lowest score by a scorer's name ([scores]); a picture that the scorer could not take goes.
    max_scores: dict[str, float] = {}
    min_scores: dict[str, float] = {}


def judge(
    width: int,
    height: int,
    colour_spread: float | None,
    config: ImageFilterConfig,
    *,
    sharpness: float | None = None,
    text_share: float | None = None,
) -> tuple[DropReason, float, float] | None:
    """Why a picture goes, with the measured value and the threshold it missed, or None if it stays.

    `width` and `height` are the source's, px, both at least 1; None for what was not measured, which is kept. The first rule that fails is the reason, in the order of the configuration's fields.
    """
    short, long = sorted((width, height))
    if short < config.min_side_px:
        return DropReason.SIDE_TOO_SMALL, short, config.min_side_px
    if long > config.max_side_px:
        return DropReason.SIDE_TOO_LARGE, long, config.max_side_px
    if long > config.max_aspect * short:
        return DropReason.ASPECT_RATIO, long / short, config.max_aspect
    if colour_spread is not None and colour_spread < config.min_colour_spread:
        return DropReason.SINGLE_COLOUR, colour_spread, config.min_colour_spread
    if sharpness is not None and sharpness < config.min_sharpness:
        return DropReason.BLURRED, sharpness, config.min_sharpness
    if text_share is not None and text_share > config.max_text_share:
        return DropReason.TEXT_BANNER, text_share, config.max_text_share
    return None


def judge_scores(
    scores: Mapping[str, float | None], config: ImageFilterConfig
) -> tuple[str, float | None, float] | None:
    """The scorer by which a picture goes, with the score and the threshold that it missed, or None if it stays; the first by name is the reason."""
    for bounds, sign in ((config.max_scores, 1), (config.min_scores, -1)):
        for name, bound in sorted(bounds.items()):
            score = scores.get(name)
            if score is None or sign * score > sign * bound:
                return name, score, bound
    return None
