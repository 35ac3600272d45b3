"""Learns the weights of `pipeline/extract/weights.toml` from the two annotated sets, and says how well they carry over.

    python -m tests.bench.train_content            # prints cross-validation and cross-set checks
    python -m tests.bench.train_content --write    # and writes the table

A block is content where its words stand in the reviewed article (Readability's pages), or where a snippet that must be extracted stands in
it (the other set; a snippet that must not makes it boilerplate). Other blocks of the second set teach nothing. The regressions are
regularised alike (L2 on columns in units of their spread); a set's weight makes both count about the same.
"""

import argparse
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from pipeline.extract import content
from pipeline.extract.blocks import Block, Walk
from pipeline.extract.content import Weights
from pipeline.extract.dom import parse
from pipeline.extract.features import CONTEXT, LOCAL, Floats, Ints, Page
from pipeline.extract.signs import NAMES
from schemas.drops import Drop
from tests.bench.annotated import Reviewed, Snippets, reviewed, scorer, snippets

TARGET = Path(content.__file__).with_name("weights.toml")
STRENGTH = 100.0  # of the regularisation, in labelled blocks
REVIEWED_WEIGHT = 32.0  # of one reviewed page, in labelled blocks; pages with snippets have about six
MIN_SPREAD = 0.05
FOLDS = 5
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"\w+")


class Sample:
    """One annotated page: its measures, the label and weight of each block."""

    def __init__(self, gold: Snippets | Reviewed) -> None:
        self.gold = gold
        tree = parse(gold.html, "")
        assert not isinstance(tree, Drop)
        assert tree.body is not None
        self.walk = Walk(tree.body)
        self.page = Page(self.walk)
        label = _by_snippets if isinstance(gold, Snippets) else _by_article
        self.labels, self.weights = label(self.page.blocks, gold)  # type: ignore[operator]


def _by_snippets(blocks: list[Block], gold: Snippets) -> tuple[Floats, Floats]:
    labels, weights = np.zeros(len(blocks)), np.zeros(len(blocks))
    texts = [_SPACE.sub(" ", block.text) for block in blocks]
    whole = " ".join(texts)
    starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
    for label, found in ((1.0, gold.wanted), (0.0, gold.unwanted)):
        for snippet in found:
            snippet = _SPACE.sub(" ", snippet)
            spans = []
            for match in re.finditer(re.escape(snippet), whole):
                first, last = np.searchsorted(starts, [match.start(), match.end() - 1], "right") - 1
                spans.append((first, last))
            if not spans or (label and len(spans) > 1):
                continue  # which of several is meant is not known
            for first, last in spans:
                for place in range(first, last + 1):
                    labels[place] = label
                    weights[place] = max(weights[place], 1 / len(spans) / (last - first + 1))
    return labels, weights


def _by_article(blocks: list[Block], gold: Reviewed) -> tuple[Floats, Floats]:
    labels, weights = np.zeros(len(blocks)), np.zeros(len(blocks))
    words = _words(gold.text)
    article = f" {' '.join(words)} "
    shingles = {tuple(words[i : i + 4]) for i in range(len(words) - 3)}
    for place, block in enumerate(blocks):
        own = _words(block.text)
        if not own:
            continue
        if len(own) < 8:
            share = float(f" {' '.join(own)} " in article)
        else:
            share = sum(tuple(own[i : i + 4]) in shingles for i in range(len(own) - 3)) / (len(own) - 3)
        if share >= 0.8 or share <= 0.3:
            labels[place], weights[place] = float(share >= 0.8), len(own) ** 0.5
    return labels, weights * (REVIEWED_WEIGHT / max(1e-9, weights.sum()))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]


def _spread(signs: Ints) -> Floats:
    """Signs as columns."""
    return (signs[:, None] >> np.arange(len(NAMES)) & 1).astype(np.float64)


def _fit(tables: Iterable[Floats], samples: list[Sample]) -> Floats:
    """Logistic regression with L2; the first column is the constant."""
    picked = [sample.weights > 0 for sample in samples]
    table = np.vstack([rows[mask] for rows, mask in zip(tables, picked, strict=True)])
    labels = np.concatenate([s.labels[m] for s, m in zip(samples, picked, strict=True)]) * 2 - 1
    weights = np.concatenate([s.weights[m] for s, m in zip(samples, picked, strict=True)])
    spread = np.maximum(table.std(0), MIN_SPREAD)
    spread[table.std(0) == 0] = 1.0
    table = table / spread
    penalty = np.full(table.shape[1], STRENGTH)
    penalty[np.flatnonzero((table == table[0]).all(0))] = 1e-3

    def loss(beta: Floats) -> tuple[float, Floats]:
        margin = labels * (table @ beta)
        value = weights @ np.logaddexp(0, -margin) + 0.5 * penalty @ (beta * beta)
        slope = table.T @ (-weights * labels / (1 + np.exp(np.clip(margin, -500, 500)))) + penalty * beta
        return float(value), slope

    fitted: Floats = (
        minimize(loss, np.zeros(table.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 400}).x / spread
    )
    return fitted


def _weights(fitted: Floats, names: list[str]) -> Weights:
    count = len(names)
    return Weights(dict(zip(names, fitted[:count], strict=True)), dict(zip(NAMES, fitted[count:], strict=True)), names)


def train(samples: list[Sample]) -> tuple[Floats, Floats]:
    """Both regressions, columns then signs; the second one learns on what the first one finds."""
    local = [np.hstack([s.page.local, _spread(s.page.inherited(s.page.text_mass()))]) for s in samples]
    first = _fit(local, samples)
    judge = _weights(first, LOCAL)
    context = []
    for sample in samples:
        page = sample.page
        judgement = judge.judge(page.local, page.inherited(page.text_mass()))
        good = page.good_mass(judgement)
        signs = page.inherited(good if good[0] > 0 else page.text_mass())
        context.append(np.hstack([page.context(judgement), _spread(signs)]))
    return first, _fit(context, samples)


def score(samples: list[Sample], judged: Callable[[Sample], tuple[Weights, Weights]]) -> str:
    """Precision, recall and F1 of both sets, by the rules of their scorers."""
    hit = miss = wrong = 0
    shingles = scorer("readability").shingles
    each: list[tuple[float, float, float]] = []
    for sample in samples:
        kept = content.content_items(sample.walk, *judged(sample))
        text = " ".join(
            item.text for item, keep in zip(sample.walk.items, kept, strict=True) if keep and type(item) is Block
        )
        gold = sample.gold
        if isinstance(gold, Snippets):
            text = _SPACE.sub(" ", text)
            found = sum(_SPACE.sub(" ", snippet) in text for snippet in gold.wanted)
            hit, miss = hit + found, miss + len(gold.wanted) - found
            wrong += sum(_SPACE.sub(" ", snippet) in text for snippet in gold.unwanted)
        else:
            ours, theirs = shingles(text), shingles(gold.text)
            both = sum((ours & theirs).values())
            precision, recall = both / max(1, sum(ours.values())), both / max(1, sum(theirs.values()))
            each.append((precision, recall, 2 * precision * recall / max(1e-9, precision + recall)))
    parts = []
    if hit + miss:
        precision, recall = hit / max(1, hit + wrong), hit / (hit + miss)
        parts.append(
            f"snippets {precision:.3f} {recall:.3f} {2 * precision * recall / max(1e-9, precision + recall):.4f}"
        )
    if each:
        parts.append("reviewed {:.3f} {:.3f} {:.4f}".format(*np.mean(each, axis=0)))
    return "   ".join(parts)


def _fold(sample: Sample) -> int:
    return sum(map(ord, sample.gold.name)) * 7919 % 101 % FOLDS


def check(samples: list[Sample]) -> None:
    """Prints cross-validation over both sets, and each set as learned from the other."""
    sets: dict[str, list[Sample]] = {"snippets": [], "reviewed": []}
    for sample in samples:
        sets["snippets" if isinstance(sample.gold, Snippets) else "reviewed"].append(sample)

    def pair(chosen: list[Sample]) -> tuple[Weights, Weights]:
        first, second = train(chosen)
        return _weights(first, LOCAL), _weights(second, CONTEXT)

    folds = [pair([s for s in samples if _fold(s) != fold]) for fold in range(FOLDS)]
    print("precision, recall, F1")
    print(f"{FOLDS} folds over both:       ", score(samples, lambda sample: folds[_fold(sample)]))
    for source, target in (("snippets", "reviewed"), ("reviewed", "snippets")):
        learned = pair(sets[source])
        print(f"learned from {source} only:", score(sets[target], lambda _sample, learned=learned: learned))  # type: ignore[misc]


def write(first: Floats, second: Floats) -> None:
    """Writes the table."""
    lines = [
        "# Weights of the two regressions of pipeline/extract/content.py, in logits; the columns are those of features.py, the signs of signs.py.",
        "# Learned by `python -m tests.bench.train_content --write` from 500 annotated news, blog and organisation pages (a half of the pages of",
        "# trafilatura's evaluation set) and 60 of the test pages of Mozilla's Readability. They hold nothing of those pages.",
    ]
    for name, fitted, columns in (("local", first, LOCAL), ("context", second, CONTEXT)):
        values = dict(zip([*columns, *NAMES], fitted, strict=True))
        lines += ["", f"[{name}]", *(f"{column} = {values[column]:.3f}" for column in columns)]
        lines += ["", f"[{name}_signs]", *(f"{sign} = {values[sign]:.3f}" for sign in NAMES)]
    TARGET.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    """Checks, and writes when asked."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--write", action="store_true", help="write pipeline/extract/weights.toml")
    arguments.add_argument("--no-check", action="store_true", help="skip the checks")
    options = arguments.parse_args()
    samples = [Sample(gold) for gold in [*snippets(), *reviewed()]]
    if not options.no_check:
        check(samples)
    if options.write:
        write(*train(samples))


if __name__ == "__main__":
    main()
