"""Which blocks are the page's main content: two logistic regressions, the second of which sees what the first one found.

The weights are few, named and readable (`weights.toml`, which says where they come from). A page on which nothing is found keeps all that
bears no sign of boilerplate, so that a page of three words is still a page.
"""

import tomllib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import numpy as np

from pipeline.extract.blocks import Block, Walk
from pipeline.extract.features import CONTEXT, LOCAL, Floats, Page
from pipeline.extract.signs import BIT, NAMES, NEGATIVE


class Weights:
    """One regression: a weight a column, a weight a sign."""

    def __init__(self, columns: dict[str, float], signs: dict[str, float], names: Sequence[str]) -> None:
        self._columns: Floats = np.array([columns[name] for name in names])
        self._signs = [(BIT[name], signs[name]) for name in NAMES if signs.get(name)]
        self._sum_of_signs = lru_cache(maxsize=65_536)(self._sum_signs)

    def judge(self, table: Floats, signs: list[int]) -> Floats:
        """The probability of each row that it is content."""
        total = table @ self._columns + np.array(list(map(self._sum_of_signs, signs)))
        judgement: Floats = 1.0 / (1.0 + np.exp(-np.clip(total, -30.0, 30.0)))
        return judgement

    def _sum_signs(self, bits: int) -> float:
        return sum(weight for bit, weight in self._signs if bits & bit)


def _load() -> tuple[Weights, Weights]:
    table = tomllib.loads(files("pipeline.extract").joinpath("weights.toml").read_text("utf-8"))
    return (
        Weights(table["local"], table["local_signs"], LOCAL),
        Weights(table["context"], table["context_signs"], CONTEXT),
    )


FIRST, SECOND = _load()


def content_items(walk: Walk, first_weights: Weights = FIRST, second_weights: Weights = SECOND) -> list[bool]:
    """For each item of a walk, whether it is a block of main content."""
    page = Page(walk)
    if not page.blocks:
        return [False] * len(walk.items)
    signs = page.inherited(page.text_mass())
    first = first_weights.judge(page.local, signs)
    good = page.good_mass(first)
    second = second_weights.judge(page.context(first), page.inherited(good) if good[0] > 0 else signs)
    verdicts = (second > 0.5).tolist()
    if not any(verdicts):
        verdicts = [
            not bits & NEGATIVE and 2 * block.link_chars < len(block.text)
            for block, bits in zip(page.blocks, signs, strict=True)
        ]
    verdict = iter(verdicts)
    return [type(item) is Block and next(verdict) for item in walk.items]
