"""The word lists of `words/`, by language: common words (Gopher), function words and flagged words (OBELICS).

All lists are our own: closed-class words (articles, pronouns, prepositions, conjunctions, auxiliaries) as any grammar names them. A language
without a list gives an empty set, and the rule that asked does not judge. English's common words are Gopher's own eight.
"""

import functools
from importlib import resources

_FOLDER = resources.files("pipeline.filters") / "words"


def common_words(language: str) -> frozenset[str]:
    """About eight to ten words that hardly any running text of a language can do without; empty without a list."""
    return _common_words().get(language, frozenset())


@functools.cache
def function_words(language: str) -> frozenset[str]:
    """The words of a language that carry grammar rather than content, lower case; empty without a list."""
    return _read(f"function_{language}.txt")


@functools.cache
def flagged_words(language: str) -> frozenset[str]:
    """Words that mark a text as pornographic, lower case; empty without a list."""
    return _read(f"flagged_{language}.txt")


@functools.cache
def _common_words() -> dict[str, frozenset[str]]:
    rows = [line.split() for line in _lines("common.txt")]
    return {row[0]: frozenset(row[1:]) for row in rows}


def _read(name: str) -> frozenset[str]:
    return frozenset(word for line in _lines(name) for word in line.split())


def _lines(name: str) -> list[str]:
    file = _FOLDER / name
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    return [line for line in lines if line and not line.startswith("#")]
