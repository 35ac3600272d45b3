"""FineWeb's rules: each just inside and just beyond its threshold."""

import pytest

from pipeline.filters.fineweb import DOCUMENT, FineWeb
from schemas.drops import DropReason
from tests.passages import drop_of, not_judged_of, only

SHORT = "x" * 30
LONG = "x" * 31


def lines(*parts: tuple[int, str]) -> str:
    """Lines, each so many times."""
    return "\n".join(line for number, line in parts for _ in range(number))


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "reason", "value"),
    [
        (
            "min_punctuated_lines",
            lines((3, "a."), (22, "b")),
            lines((2, "a?"), (15, "b")),
            DropReason.TERMINAL_PUNCTUATION,
            0.1176,
        ),
        (
            "max_short_lines",
            lines((67, SHORT), (33, LONG)),
            lines((68, SHORT), (32, LONG)),
            DropReason.SHORT_LINES,
            0.68,
        ),
        (
            "max_duplicate_line_characters",
            lines((2, "a"), (1, "b" * 98)),
            lines((2, "a"), (1, "b" * 97)),
            DropReason.DUPLICATE_LINES,
            0.0101,
        ),
        ("max_newlines_per_word", "a b c d e f g\nh\ni\nj", "a b c d e f\ng\nh\ni", DropReason.NEWLINE_RATIO, 0.3333),
    ],
)
def test_a_rule_keeps_its_threshold_and_drops_beyond(
    rule: str, kept: str, dropped: str, reason: DropReason, value: float
) -> None:
    """A text at the threshold is kept, one beyond it dropped with value, threshold and rule."""
    config = only(FineWeb, rule)
    assert drop_of(DOCUMENT, config, kept) is None
    drop = drop_of(DOCUMENT, config, dropped)
    assert drop is not None
    expected = ("page", reason, value, getattr(config, rule), f"fineweb.{rule}")
    assert (drop.kind, drop.reason, drop.value, drop.threshold, drop.detail) == expected


def test_chinese_lines_are_not_judged_by_their_length() -> None:
    """A line of 30 Chinese characters is a sentence, so the rule of short lines does not judge."""
    assert not_judged_of(DOCUMENT, FineWeb(), "苍鹭在水里。", language="zh") == ["max_short_lines"]


def test_no_lines_are_judged_by_no_ratio() -> None:
    """An empty text divides by nothing: the ratios do not judge it."""
    rules = ["min_punctuated_lines", "max_short_lines", "max_newlines_per_word"]
    assert not_judged_of(DOCUMENT, FineWeb(), language="en") == rules
