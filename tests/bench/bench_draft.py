"""Speed of `pipeline.draft` beside its peers, on the annotated pages, in one run.

    python -m tests.bench.bench_draft [--pages N] [--kb 60]

Prints CPU milliseconds a page, pages a second of one core, and how many times longer than ours each peer takes; then where our time goes.
With `--kb` the pages nearest to that size are taken. The peers take the bytes as we do; trafilatura is called in both of its modes.
"""

import argparse
import time
from collections.abc import Callable

import readability
import trafilatura
from selectolax.lexbor import LexborHTMLParser

from pipeline import draft
from pipeline.extract.blocks import Walk
from pipeline.extract.content import content_items
from pipeline.extract.dom import parse
from tests.bench.annotated import snippets

ROUNDS = 3


def _bare_parse(html: bytes) -> object:
    return LexborHTMLParser(html)


def _readability(html: bytes) -> object:
    document = readability.Document(html.decode("utf-8", "replace"))
    return document.summary()


EXTRACTORS: dict[str, Callable[[bytes], object]] = {
    "m3w draft": lambda html: draft(html, "https://example.com/a/page.html"),
    "trafilatura": lambda html: trafilatura.extract(html),
    "trafilatura, fast": lambda html: trafilatura.extract(html, fast=True),
    "readability-lxml": _readability,
    "bare parse (lexbor)": _bare_parse,
}


def _milliseconds(extract: Callable[[bytes], object], pages: list[bytes]) -> float:
    """CPU milliseconds a page, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for html in pages:
            try:
                extract(html)
            except (readability.readability.Unparseable, ValueError):
                continue
        best = min(best, time.process_time() - start)
    return best / len(pages) * 1e3


def _stages(pages: list[bytes]) -> dict[str, float]:
    """CPU milliseconds a page of our stages, each with those before it taken off."""
    steps: list[Callable[[bytes], object]] = [
        lambda html: parse(html, ""),
        lambda html: Walk(parse(html, "").body),  # type: ignore[union-attr, arg-type]
        lambda html: content_items(Walk(parse(html, "").body)),  # type: ignore[union-attr, arg-type]
        EXTRACTORS["m3w draft"],
    ]
    sums = [_milliseconds(step, pages) for step in steps]
    names = ("decode, check, parse", "walk", "which blocks are content", "media, captions, metadata, nodes")
    return dict(zip(names, (b - a for a, b in zip([0.0, *sums], sums, strict=False)), strict=True))


def main() -> None:
    """Prints the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pages", type=int, default=150)
    arguments.add_argument("--kb", type=float, help="take the pages nearest to this size")
    options = arguments.parse_args()
    pages = [page.html for page in snippets()]
    if options.kb is not None:
        pages.sort(key=lambda html: abs(len(html) / 1e3 - options.kb))
    pages = pages[: options.pages]
    print(f"{len(pages)} pages, mean {sum(map(len, pages)) / len(pages) / 1e3:.0f} kB\n")
    print(f"{'':22}{'ms a page':>12}{'pages/s':>10}{'x ours':>9}")
    ours = 0.0
    for name, extract in EXTRACTORS.items():
        taken = _milliseconds(extract, pages)
        ours = ours or taken
        print(f"{name:22}{taken:12.2f}{1e3 / taken:10.0f}{taken / ours:9.2f}")
    print()
    for name, taken in _stages(pages).items():
        print(f"{name:34}{taken:8.2f} ms")


if __name__ == "__main__":
    main()
