"""Runs of words, found by their hashes: how phrases of a list are found in a text.

Words are case folded, without punctuation; in scripts without spaces every character is one. A phrase of n words is a 64-bit number, made of the numbers
of its words, so that all runs of a text cost a few operations on an array; a table is one sorted array for each n. With a million phrases a wrong
match comes once in some 10^10 texts.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

Hashes: TypeAlias = NDArray[np.uint64]

_SPACELESS = "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
# Punctuation in place of letters: in Python's \w the vowel signs of Indian scripts are none.
_PUNCTUATION = (
    r"\s!-/:-@\[-`{-~\x00-\x1f\x7f-\xa9\xab-\xb1\xb4\xb6-\xb8\xbb\xbf\xd7\xf7\u0589\u05be\u060c\u061b\u061f\u06d4\u0964\u0965"
    r"\u2000-\u206f\u20a0-\u20cf\u2190-\u2bff\u3000-\u303f\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
_WORD = re.compile(f"[{_SPACELESS}]|[^{_SPACELESS}{_PUNCTUATION}]+")
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bits of earlier words are lost


def words_of(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return _WORD.findall(text.casefold())


def word_hashes(words: Iterable[str]) -> Hashes:
    """A number for each word."""
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest(word.encode("utf-8", "surrogatepass")) for word in words], dtype=np.uint64)


def run_hashes(hashes: Hashes, n: int) -> Hashes:
    """A number for each run of `n` words, in order; empty for fewer words."""
    runs = max(0, len(hashes) - n + 1)
    total = np.full(runs, n, dtype=np.uint64)
    for place in range(n if runs else 0):
        total = total * _FACTOR + hashes[place : place + runs]
    return total


class Phrases:
    """A table of phrases: for each length in words the sorted numbers of its phrases."""

    def __init__(self, tables: dict[int, Hashes]) -> None:
        self._tables = tables

    def __bool__(self) -> bool:
        return bool(self._tables)

    @classmethod
    def made_of(cls, phrases: Iterable[tuple[int, Hashes]]) -> "Phrases":
        """The table of (words, numbers) in any order, repetitions allowed."""
        found: dict[int, list[Hashes]] = {}
        for n, hashes in phrases:
            found.setdefault(n, []).append(hashes)
        return cls({n: np.unique(np.concatenate(found[n])) for n in sorted(found)})

    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """What `of_arrays` takes: the lengths, the sizes, all numbers."""
        yield np.array(list(self._tables), dtype=np.uint64)
        yield np.array([len(table) for table in self._tables.values()], dtype=np.uint64)
        yield np.concatenate([np.zeros(0, dtype=np.uint64), *self._tables.values()])

    @classmethod
    def of_arrays(cls, lengths: Hashes, sizes: Hashes, numbers: Hashes) -> "Phrases":
        """The table that gave the arrays."""
        parts = np.split(numbers, np.cumsum(sizes.astype(np.int64))[:-1])
        return cls({int(n): part for n, part in zip(lengths, parts, strict=False)})

    def find(self, hashes: Hashes) -> tuple[int, int, int]:
        """(number of runs that are in the table, first word of the first such run, its length), shortest length first; (0, 0, 0) for none."""
        count, start, length = 0, 0, 0
        for n, table in self._tables.items():
            found = np.flatnonzero(member(run_hashes(hashes, n), table))
            if len(found) and not count:
                start, length = int(found[0]), n
            count += len(found)
        return count, start, length


def member(numbers: Hashes, table: Hashes) -> NDArray[np.bool_]:
    """Which numbers stand in a sorted table."""
    if not len(table):
        return np.zeros(len(numbers), dtype=bool)
    order = np.argsort(numbers)  # questions in order walk the table once: a third less time with ten million entries
    ordered = numbers[order]
    found = np.empty(len(numbers), dtype=bool)
    found[order] = table[np.minimum(np.searchsorted(table, ordered), len(table) - 1)] == ordered
    return found
