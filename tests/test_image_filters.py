"""Image filters: thresholds on stored measurements."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.images import ImageFilterConfig, judge
from schemas.drops import DropReason

SIDES = st.integers(1, 100_000)
SPREADS = st.integers(0, 255)


@pytest.mark.parametrize(
    ("width", "height", "spread", "expected"),
    [
        (64, 64, 8, None),
        (192, 64, 255, None),
        (64, 192, 255, None),
        (63, 500, 255, (DropReason.SIDE_TOO_SMALL, 63, 64)),
        (500, 63, 255, (DropReason.SIDE_TOO_SMALL, 63, 64)),
        (20_000, 10_000, 255, None),
        (20_001, 10_000, 255, (DropReason.SIDE_TOO_LARGE, 20_001, 20_000)),
        (400, 100, 255, (DropReason.ASPECT_RATIO, 4.0, 3.0)),
        (100, 400, 255, (DropReason.ASPECT_RATIO, 4.0, 3.0)),
        (193, 64, 255, (DropReason.ASPECT_RATIO, 193 / 64, 3.0)),
        (640, 480, 7, (DropReason.SINGLE_COLOUR, 7, 8)),
        (640, 480, 0, (DropReason.SINGLE_COLOUR, 0, 8)),
    ],
)
def test_each_rule(width: int, height: int, spread: int, expected: tuple[DropReason, float, float] | None) -> None:
    """Each rule gives its reason with value and threshold; the bounds themselves are kept."""
    assert expected == judge(width, height, spread, ImageFilterConfig())


@pytest.mark.parametrize(
    ("sharpness", "text_share", "expected"),
    [
        (0.2, 0.8, None),
        (None, None, None),
        (0.19, 1.0, (DropReason.BLURRED, 0.19, 0.2)),
        (0.9, 0.81, (DropReason.TEXT_BANNER, 0.81, 0.8)),
    ],
)
def test_blur_and_text(
    sharpness: float | None, text_share: float | None, expected: tuple[DropReason, float, float] | None
) -> None:
    """Blurred pictures and text banners go; what was not measured stays."""
    assert expected == judge(640, 480, 99, ImageFilterConfig(), sharpness=sharpness, text_share=text_share)


@given(SIDES, SIDES, SPREADS)
def test_orientation_does_not_matter(width: int, height: int, spread: int) -> None:
    """A picture on its side is judged like the upright one."""
    assert judge(width, height, spread, ImageFilterConfig()) == judge(height, width, spread, ImageFilterConfig())


@given(SIDES, SIDES, SPREADS)
def test_open_thresholds_keep_all(width: int, height: int, spread: int) -> None:
    """With every threshold at its end, all pictures stay."""
    config = ImageFilterConfig(min_side_px=1, max_side_px=100_000, max_aspect=100_000, min_colour_spread=0)

    assert judge(width, height, spread, config) is None


def test_thresholds_are_checked() -> None:
    """A threshold without sense, or one that does not exist, is an error."""
    with pytest.raises(msgspec.ValidationError, match=r"max_aspect"):
        msgspec.convert({"max_aspect": 0.5}, ImageFilterConfig)
    with pytest.raises(msgspec.ValidationError, match=r"min_side"):
        msgspec.convert({"min_side": 5}, ImageFilterConfig)
