"""What is measured of each block, for the judgement which of them are content.

Two tables, a row a block. `Page.local` is what can be told without knowing where the content is: the block's own length and links, the signs
of its containers, and how dense in text, in links and in siblings of the same build the containers around it are. `Page.context` adds what
a first judgement makes visible: where the good text stands, in which container most of it is (the root), and how far from there the block is.

Lengths are in letters (`width`), logarithms natural. Names of columns are those of `weights.toml`.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.extract.blocks import Block, Walk
from pipeline.extract.signs import BIT

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

LEVELS = 4  # ours: containers above a block's own that are measured
LEAST_PAGE = 7.0  # ours: log width (about 1,100 letters); pages with less are judged as if they had so much: few such were learned from
STEPS = 6  # ours: steps from the root to the container that it shares with a block, the last for more
LIST_VALUE = (
    0.25  # ours: of text in a list's item, when the root is sought: teasers stand in lists more often than articles do
)

_LEVEL_NAMES = ("link_share", "log_width", "over_half_links", "log_blocks", "linked_heading")
OWN_NAMES = (
    "one log_width width_25 width_80 width_250 link_share nearly_all_link link_width has_link log_links has_medium quoted item "
    "in_p in_li in_figcaption preformatted table heading"
).split()
STRUCTURE_NAMES = [
    "log_same",
    *(
        f"{name}_{level}"
        for level in range(1, LEVELS + 1)
        for name in (*_LEVEL_NAMES, *(["log_same"] if level < LEVELS else []))
    ),
    "page_log_width",
    "page_link_share",
    "page_share",
]
CONTEXT_NAMES = [
    *"before after is_first is_last log_since_good log_until_good previous next previous_2 next_2".split(),
    *(f"{name}_{level}" for level in range(LEVELS + 1) for name in ("good_share", "alone", "share_of_good")),
    "first_judgement",
    *(f"steps_{step}" for step in range(STEPS)),
    *"depth_below peer before_root after_root root_share depth_in_root root_share_outside".split(),
]
LOCAL = [*OWN_NAMES, *STRUCTURE_NAMES]
CONTEXT = [*CONTEXT_NAMES, *OWN_NAMES, *STRUCTURE_NAMES]

# Signs that stay where a container holds most of the text: what speaks for content is no mistake there.
_LASTING = sum(BIT[name] for name in ("content", "article_body", "tag_article", "tag_main", "tag_section"))
_OWN_UNIT = frozenset("p li h1 h2 h3 h4 h5 h6 pre figcaption dd dt blockquote".split())
# Bits of what a block is, in the order of the last columns of OWN_NAMES.
_TAG_FLAGS = {"p": 1 << 3, "li": 1 << 4, "figcaption": 1 << 5}
_FORM_FLAGS = {"": 0, "pre": 1 << 6, "table": 1 << 7}
_TAG_CODES: dict[str, int] = {}


def width(text: str) -> int:
    """The length of a text in letters of an alphabet: a character of Chinese or Japanese says as much as two of them."""
    chars = len(text)
    if text.isascii():
        return chars
    return 2 * chars if len(text.encode("utf-8", "replace")) > 2.4 * chars else chars  # ours


class Page:
    """The measures of one page's blocks."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self.blocks = [item for item in walk.items if type(item) is Block]
        blocks = self.blocks
        self._containers: Ints = np.array([block.container for block in blocks], np.int64)
        self._parents: Ints = np.array(walk.parents, np.int64)
        self._bits: Ints = np.array(walk.bits, np.int64)
        self._codes: Ints = np.array([_TAG_CODES.setdefault(tag, len(_TAG_CODES)) for tag in walk.tags], np.int64)
        self._lasts: Ints = np.array(walk.lasts, np.int64)
        self.widths: Floats = np.array([width(block.text) for block in blocks], np.float64)
        chars = np.array([len(block.text) for block in blocks], np.float64)
        self.link_share: Floats = np.minimum(np.array([block.link_chars for block in blocks], np.float64) / chars, 1.0)
        self._text = self._sums(self.widths)
        self._links = self._sums(self.widths * self.link_share)
        self._own = self._own_table()
        self._structure = self._structure_table()
        self.local: Floats = np.hstack([self._own, self._structure])

    def _sums(self, values: Floats) -> Floats:
        """Sums over each container's subtree; containers of a subtree have consecutive numbers."""
        sums = np.zeros(len(self._parents) + 1)
        np.cumsum(np.bincount(self._containers, values, len(self._parents)), out=sums[1:])
        return sums[self._lasts] - sums[:-1]

    def _own_table(self) -> Floats:
        tags, blocks, width, share = self._walk.tags, self.blocks, self.widths, self.link_share
        codes = [
            _TAG_FLAGS.get(tags[block.container], 0)
            | _FORM_FLAGS[block.form]
            | (bool(block.media) | block.quoted << 1 | (block.marker != "") << 2 | (block.level > 0) << 8)
            for block in blocks
        ]
        seen = np.array(codes, np.int64)[:, None] >> np.arange(9) & 1
        links = np.array([block.links for block in blocks], np.float64)
        width_80 = np.minimum(width, 80.0) / 80.0
        columns = [
            np.ones(len(blocks)), np.log1p(width), np.minimum(width, 25.0) / 25.0, width_80, np.minimum(width, 250.0) / 250.0,
            share, share > 0.9, share * width_80, links > 0, np.log1p(links),
        ]  # fmt: skip
        return np.hstack([np.array(columns).T, seen])

    def _structure_table(self) -> Floats:
        text = self._text
        blocks = self._sums(np.ones(len(self.blocks)))
        linked = np.array([block.level > 0 for block in self.blocks], np.float64) * (self.link_share > 0.7)
        teaser = (self._sums(linked) > 0) & (blocks < 8)
        link_share = self._links / (text + 1.0)
        log_text, log_blocks, log_same = np.log1p(text), np.log(np.maximum(blocks, 1.0)), self._log_same()
        container = self._containers
        columns: list[NDArray[Any]] = [log_same[container]]
        for level in range(1, LEVELS + 1):
            container = self._parents[container]
            share = link_share[container]
            columns += [share, log_text[container], share > 0.5, log_blocks[container], teaser[container]]
            if level < LEVELS:
                columns.append(log_same[container])
        ones = np.ones(len(self.blocks))
        columns += [ones * max(log_text[0], LEAST_PAGE), ones * link_share[0], text[self._containers] / (text[0] + 1.0)]
        return np.array(columns, np.float64).T

    def _log_same(self) -> Floats:
        """The logarithm of one more than the number of siblings that have the same tag and signs, each with itself."""
        keys = (self._parents * 1009 + self._codes) * 1_000_003 + self._bits
        keys[0] = -1
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        same: Floats = np.log1p(counts[inverse])
        same[0] = np.log(1.0)
        return same

    def inherited(self, mass: Floats) -> Ints:
        """The signs of each block's containers together; those of a container with more than half of all `mass`, and not most of it links, do not count against it."""
        walk = self._walk
        half = 0.5 * mass[0]
        own = self._bits.copy()
        own[(mass > half) & (2 * self._links < self._text)] &= _LASTING
        bits: list[int] = own.tolist()
        parents = walk.parents
        for container in range(1, len(bits)):
            bits[container] |= bits[parents[container]]
        return np.array(bits, np.int64)[self._containers]

    def text_mass(self) -> Floats:
        """The width of each container's text."""
        return self._text

    def good_mass(self, judgement: Floats) -> Floats:
        """The width of what is judged good in each container, weighted by the judgement."""
        return self._sums(self._good(judgement))

    def _good(self, judgement: Floats) -> Floats:
        return self.widths * np.where(judgement > 0.5, judgement, 0.0)

    def context(self, judgement: Floats) -> Floats:
        """The second table, given a first judgement in 0..1 of each block."""
        good = self._good(judgement)
        mass = self._sums(good)
        total = mass[0] + 1e-9
        before = (np.cumsum(good) - good) / total
        after = 1.0 - before - good / total
        is_good = judgement > 0.5
        padded = np.concatenate([[0.0, 0.0], judgement, [0.0, 0.0]])
        columns = [
            before, after, before < 0.001, after < 0.001, np.log(_since(is_good)), np.log(_since(is_good[::-1])[::-1]),
            padded[1:-3], padded[3:-1], padded[:-4], padded[4:],
        ]  # fmt: skip
        container = self._containers
        for _ in range(LEVELS + 1):
            others = self._text[container] - self.widths
            alone = others < 1.0
            columns += [
                np.where(alone, 0.0, (mass[container] - good) / (others + 1e-9)),
                alone,
                mass[container] / total,
            ]
            container = self._parents[container]
        columns.append(np.log(judgement + 1e-4) - np.log(1.0 - judgement + 1e-4))
        return np.hstack([np.array(columns, np.float64).T, self._root_table(good, mass), self._own, self._structure])

    def _root_table(self, good: Floats, mass: Floats) -> Floats:
        """Where each block stands as seen from the root: the container with most good text at its surface."""
        root = self._root(good)
        steps, below, peers = self._from_root(root)
        container = self._containers
        step = steps[container]
        inside = step == 0
        share = np.full(len(container), mass[root] / (mass[0] + 1e-9))
        under = np.minimum(below[container], 8) / 8.0
        columns = [np.minimum(step, STEPS - 1) == number for number in range(STEPS)]
        columns += [
            under, peers[container], (container < root) & ~inside, (container > root) & ~inside, share, under * inside, share * ~inside,
        ]  # fmt: skip
        return np.array(columns, np.float64).T

    def _root(self, good: Floats) -> int:
        """The container in which most good text stands as its child, grandchild (half) or great-grandchild (a quarter)."""
        tags, parents = self._walk.tags, self._walk.parents
        scores: dict[int, float] = {0: 0.0}
        for container, value in zip(self._containers.tolist(), good.tolist(), strict=True):
            if value > 0.0:
                at = parents[container] if tags[container] in _OWN_UNIT else container
                if tags[at] == "li" or tags[container] == "li":
                    value *= LIST_VALUE
                for part in (value, value / 2, value / 4):
                    scores[at] = scores.get(at, 0.0) + part
                    if at == 0:
                        break
                    at = parents[at]
        return max(scores, key=lambda container: (scores[container], -container))

    def _from_root(self, root: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
        """Of each container: steps from the root up to what both share, its depth below that, whether it stands in a twin of the root."""
        walk = self._walk
        parents, lasts = walk.parents, walk.lasts
        chain = [root]
        while chain[-1]:
            chain.append(parents[chain[-1]])
        count = len(parents)
        depths = np.array(walk.depths, np.int64)
        steps, shared = np.zeros(count, np.int64), np.zeros(count, np.int64)
        for step in range(len(chain) - 1, -1, -1):
            within = slice(chain[step], lasts[chain[step]])
            steps[within] = step
            shared[within] = walk.depths[chain[step]]
        peers = np.zeros(count, np.bool_)
        twins = (self._bits == walk.bits[root]) & (self._codes == self._codes[root]) & (depths == walk.depths[root])
        for twin in np.flatnonzero(twins).tolist():
            if twin != root:
                peers[twin : lasts[twin]] = True
        return steps, depths - shared, peers


def _since(good: NDArray[np.bool_]) -> Floats:
    """Blocks since the last good one before each, 50 where there is none."""
    places = np.arange(len(good))
    last = np.maximum.accumulate(np.where(good, places, -1))
    before = np.concatenate([[-1], last[:-1]])
    return np.where(before < 0, 50.0, places - before)
