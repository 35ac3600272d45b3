"""Documents a second and core: language identification and text filters, beside other detectors and datatrove's filters, in one run.

The documents are 5 KB pieces of English prose that every Python has (`pydoc_data.topics`). Time is that of the process' CPU, the best of some
rounds, so that a busy machine counts little. Each of our figures includes making the passage; datatrove's filters split words with spaCy, anew
in each filter. Detectors get the same 1,000 characters. Peers that are not installed have no row. At the end: how often the Gopher verdicts agree.

Run: python -m tests.bench.bench_filters
"""

import time
from collections.abc import Callable
from itertools import groupby
from pydoc_data.topics import topics
from typing import Any

import msgspec

from pipeline.filters import FilterConfig, filter_draft, language
from pipeline.filters.apply import DOCUMENT_SOURCES, PARAGRAPH_SOURCES
from pipeline.filters.passage import Passage
from schemas.document import Draft, Text, paragraph
from schemas.drops import Drop

DOCUMENT_CHARACTERS = 5_000
ROUNDS, ROUND_S = 5, 0.3
GOPHER = ("gopher_quality", "gopher_repetition")


def corpus() -> list[Draft]:
    """English documents of about 5 KB, one text node a paragraph."""
    paragraphs = [clean for topic in topics.values() for part in topic.split("\n\n") if (clean := paragraph(part))]
    numbered: list[tuple[int, str]] = []
    total = 0
    for text in paragraphs:
        numbered.append((total // DOCUMENT_CHARACTERS, text))
        total += len(text)
    groups = groupby(numbered, key=lambda pair: pair[0])
    return [Draft(url="https://example.org/", nodes=[Text(text) for _, text in group]) for _, group in groups]


def milliseconds(work: Callable[[Any], object], documents: list[Any]) -> float:
    """CPU milliseconds of one document: the mean of a round, the best of `ROUNDS`."""
    best = float("inf")
    for _ in range(ROUNDS):
        calls, start = 0, time.process_time()
        while (spent := time.process_time() - start) < ROUND_S:
            for document in documents:
                work(document)
            calls += len(documents)
        best = min(best, spent / calls)
    return best * 1e3


def config(*names: str) -> FilterConfig:
    """A config with these sources on."""
    return msgspec.convert({name: {"enabled": True} for name in names}, FilterConfig)


def detectors() -> dict[str, Callable[[str], object]]:
    """The language detectors that are installed."""
    found: dict[str, Callable[[str], object]] = {"m3w (fastText lid.176.ftz)": language.detect}
    try:
        import pycld2

        found["pycld2"] = pycld2.detect
    except ImportError:
        pass
    try:
        import py3langid

        found["py3langid"] = py3langid.classify
    except ImportError:
        pass
    return found


def peers() -> dict[str, Callable[[str], bool]]:
    """datatrove's filters, each as "is this text kept?"; none where it is not installed."""
    try:
        import spacy  # noqa: F401 - datatrove loads it late
        from datatrove.data import Document
        from datatrove.pipeline import filters
    except ImportError:
        return {}
    kinds = {
        "gopher_quality": filters.GopherQualityFilter,
        "gopher_repetition": filters.GopherRepetitionFilter,
        "c4": filters.C4QualityFilter,
        "fineweb": filters.FineWebQualityFilter,
    }

    def keeps(kind: type) -> Callable[[str], bool]:
        instance = kind()
        return lambda text: instance.filter(Document(text=text, id="0")) is True

    return {name: keeps(kind) for name, kind in kinds.items()}


def row(name: str, cost_ms: float) -> None:
    """Prints one line."""
    print(f"{name:44} {cost_ms:8.3f} {1e3 / cost_ms:9.0f}")


def main() -> None:
    """Prints the tables."""
    drafts = corpus()
    texts = [draft.text for draft in drafts]
    samples = [text[: language.MAX_CHARACTERS] for text in texts]
    print(f"{len(drafts)} documents, {sum(map(len, texts)) / len(texts):.0f} characters in the mean\n")
    print(f"{'':44} {'ms':>8} {'1/s':>9}")
    for name, detect in detectors().items():
        row(f"language: {name}", milliseconds(detect, samples))
    row("passage", milliseconds(lambda draft: Passage([node.text for node in draft.nodes], "en"), drafts))
    combinations = [(source.name,) for source in (*PARAGRAPH_SOURCES, *DOCUMENT_SOURCES)]
    combinations += [GOPHER, tuple(name for (name,) in combinations)]
    for names in combinations:
        chosen = config(*names)
        title = "all" if len(names) > 2 else " + ".join(names)
        row(f"language + {title}", milliseconds(lambda draft, chosen=chosen: filter_draft(draft, chosen), drafts))
    theirs = peers()
    for name, keeps in theirs.items():
        try:
            row(f"datatrove: {name}", milliseconds(keeps, texts))
        except LookupError as error:  # C4's sentence splitter needs data that nltk downloads
            print(f"datatrove: {name}: {type(error).__name__}")
    for name in GOPHER if theirs else ():
        ours = [not isinstance(filter_draft(draft, config(name)), Drop) for draft in drafts]
        same = sum(mine == theirs[name](text) for mine, text in zip(ours, texts, strict=True))
        print(f"{name}: the same verdict as datatrove on {same} of {len(texts)} documents; {sum(ours)} kept")


if __name__ == "__main__":
    main()
