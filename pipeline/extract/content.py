"""Which blocks are the page's main content: two logistic regressions, the second of which sees what the first one found.

The weights are few, named and readable (`weights.toml`, which says where they come from). A page on which nothing is found keeps all that
bears no sign of boilerplate, so that a page of three words is still a page.
"""

import tomllib
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from pipeline.extract.blocks import Block, Walk
from pipeline.extract.features import CONTEXT, LOCAL, Floats, Ints, Page
from pipeline.extract.signs import NAMES, NEGATIVE


class Weights:
    """One regression: a weight a column, a weight a sign."""

    def __init__(self, columns: dict[str, float], signs: dict[str, float], names: Sequence[str]) -> None:
        self._columns: Floats = np.array([columns[name] for name in names])
        # What a byte of signs weighs, for each of the eight bytes of a mask.
        weights = np.zeros(64)
        weights[: len(NAMES)] = [signs.get(name, 0.0) for name in NAMES]
        self._bytes: Floats = weights.reshape(8, 8) @ (np.arange(256) >> np.arange(8)[:, None] & 1)

    def judge(self, table: Floats, signs: Ints) -> Floats:
        """The probability of each row that it is content."""
        masks = signs.astype("<i8").view(np.uint8).reshape(-1, 8)
        total = table @ self._columns + self._bytes[np.arange(8), masks].sum(axis=1)
        judgement: Floats = 1.0 / (1.0 + np.exp(-np.clip(total, -30.0, 30.0)))
        return judgement


def _load() -> tuple[Weights, Weights]:
    table = tomllib.loads(files("pipeline.extract").joinpath("weights.toml").read_text("utf-8"))
    return (
        Weights(table["local"], table["local_signs"], LOCAL),
        Weights(table["context"], table["context_signs"], CONTEXT),
    )


GAP_JUDGEMENT = 0.35  # ours: so that books and letters have no holes

FIRST, SECOND = _load()


def content_items(walk: Walk, first_weights: Weights = FIRST, second_weights: Weights = SECOND) -> list[bool]:
    """For each item of a walk, whether it is a block of main content."""
    page = Page(walk)
    if not page.blocks:
        return [False] * len(walk.items)
    signs = page.inherited(page.text_mass())
    first = first_weights.judge(page.local, signs)
    good = page.good_mass(first)
    if good[0] > 0:
        second = second_weights.judge(page.context(first), page.inherited(good))
        verdicts = _with_gaps_filled(second, page, signs)
    else:
        verdicts = [False] * len(page.blocks)
    if not any(verdicts):
        is_text = 2 * page.link_share @ page.widths < page.widths.sum()
        verdicts = ((signs & NEGATIVE == 0) & (is_text | (page.link_share < 0.5))).tolist()
    verdict = iter(verdicts)
    return [type(item) is Block and next(verdict) for item in walk.items]


def _with_gaps_filled(judgement: Floats, page: Page, signs: Ints) -> list[bool]:
    """The verdicts; what stands between content on both sides, and says nothing against itself, has to be worse to go."""
    kept = judgement > 0.5
    padded = np.concatenate([[False, False], kept, [False, False]])
    between = (padded[1:-3] & padded[3:-1]) & (padded[:-4] | padded[4:])
    plain = (signs & NEGATIVE == 0) & (page.link_share < 0.3)
    verdicts: list[bool] = (kept | (between & plain & (judgement > GAP_JUDGEMENT))).tolist()
    return verdicts
