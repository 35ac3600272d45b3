"""A text as the rules see it: its lines, words, terms and repetitions, each computed once and only when a rule asks.

The text is light Markdown. Its marks (heading hashes, bullets, table pipes, fences) are ours, not the page's, so words and characters are
taken without them; a table's row or a heading must not look like a page full of symbols.

**Words.** What lies between white space, except in scripts that write without spaces: there a word is a piece of fixed length of an unbroken
run, 2 characters of Han and kana (the mean length of a Chinese word is 1.5 to 2) and 4 of Thai, Lao, Tibetan, Burmese and Khmer. Pieces
start anew after each punctuation mark or space, so a repeated clause is cut the same way each time and the n-gram rules find it.
"""

import re
from collections import Counter
from functools import cached_property

# The most words Gopher lets through; repetition is looked for in so many, which bounds its memory where that rule is off.
MAX_WORDS = 100_000  # Gopher A.1.1
LONGEST_NGRAM = 10  # Gopher A.1.1

# What ends a sentence, in the scripts that mark it.
SENTENCE_MARKS = tuple(".!?…。．！？؟۔।॥።։")

_HAN = "\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_THAI = "\u0e00-\u109f\u1780-\u17ff"
_WIDE_PUNCTUATION = "\u2010-\u2017\u201c-\u2027\u3000-\u3004\u3008-\u3020\u3030\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_SPACELESS = re.compile(f"[{_HAN}{_THAI}]")
_PIECES = re.compile(rf"[{_HAN}]{{1,2}}|[{_THAI}]{{1,4}}|[^\s{_HAN}{_THAI}{_WIDE_PUNCTUATION}]+")

_MARKED = tuple("#-*+>|`0123456789")
_MARKS = re.compile(r"(?:[ \t]*(?:#{1,6}|[-*+>]|\d{1,9}[.)])(?=[ \t]))*[ \t]*")
_TABLE_RULE = re.compile(r"[|\s:-]+")
_EDGES = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»‹›“”„‟‘’‚‛–—…•·。、，．？！：；（）「」『』《》【】،؛؟।॥"


class Passage:
    """One text to judge: a paragraph, or the paragraphs of a document.

    `language` is the document's (ISO 639-1), which decides on the word lists. Not to be changed once made: all views are kept.
    """

    def __init__(self, paragraphs: list[str], language: str) -> None:
        self.paragraphs = paragraphs
        self.language = language

    @cached_property
    def lines(self) -> list[str]:
        """The lines that are not empty, stripped, with their Markdown marks."""
        return [
            stripped for paragraph in self.paragraphs for line in paragraph.split("\n") if (stripped := line.strip())
        ]

    @cached_property
    def bare_lines(self) -> list[str]:
        """The lines without Markdown's marks; a line of marks alone is left out."""
        return [bare for line in self.lines if (bare := _without_marks(line) if line.startswith(_MARKED) else line)]

    @cached_property
    def bare(self) -> str:
        """The text without Markdown's marks, a newline between lines."""
        return "\n".join(self.bare_lines)

    @cached_property
    def words(self) -> list[str]:
        """The words with the punctuation that touches them; see the module's docstring for scripts without spaces."""
        return _PIECES.findall(self.bare) if self._holds_spaceless else self.bare.split()

    @cached_property
    def terms(self) -> list[str]:
        """The words in lower case without punctuation at their ends; what is punctuation alone is left out."""
        lowered = self.bare.lower().replace("’", "'")
        words = _PIECES.findall(lowered) if self._holds_spaceless else lowered.split()
        return [term for word in words if (term := word.strip(_EDGES))]

    @cached_property
    def spaceless(self) -> bool:
        """True where more than half of the words stand in a script without spaces, so that their lengths are ours and mean nothing."""
        if not self._holds_spaceless:
            return False
        return 2 * sum(1 for word in self.words if _SPACELESS.match(word)) > len(self.words)

    @cached_property
    def repetition(self) -> "dict[int, tuple[float, float]]":
        """Per n in 2..10: the share of the words' characters in the most frequent repeated n-gram, and in all repeats of any n-gram."""
        return _repetition(self.words[:MAX_WORDS])

    @cached_property
    def _holds_spaceless(self) -> bool:
        return not self.bare.isascii() and _SPACELESS.search(self.bare) is not None


def repeated_elements(elements: list[str]) -> tuple[float, float]:
    """The share of elements that stand earlier in the list already, and of the characters in them (0..1); (0, 0) of nothing."""
    unique = set(elements)
    num_characters = sum(map(len, elements))
    repeated_characters = num_characters - sum(map(len, unique))
    return (len(elements) - len(unique)) / max(len(elements), 1), repeated_characters / max(num_characters, 1)


def _without_marks(line: str) -> str:
    if line.startswith("```") or _TABLE_RULE.fullmatch(line):
        return ""
    if line.startswith("|"):
        line = line.replace("|", " ")
    return line[_MARKS.match(line).end() :].strip()  # type: ignore[union-attr]


def _repetition(words: list[str]) -> dict[int, tuple[float, float]]:
    """What `Passage.repetition` says, in one chain: an (n+1)-gram can only repeat where its n-gram does, so each n looks at fewer places.

    The most frequent n-gram is the longest of those with the highest count; its share counts all its occurrences. The share of the repeats
    leaves each n-gram's first occurrence out and counts a character once, however many n-grams overlap there.
    """
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word))
    total = max(ends[-1], 1)
    shares = dict.fromkeys(range(2, LONGEST_NGRAM + 1), (0.0, 0.0))
    places = list(range(len(words) - 1))
    for n in shares:
        places = places if not places or places[-1] + n <= len(words) else places[:-1]
        grams = [tuple(words[place : place + n]) for place in places]
        counts = Counter(grams)
        repeated = [(place, gram) for place, gram in zip(places, grams, strict=True) if counts[gram] > 1]
        if not repeated:
            break
        top = max((counts[gram], ends[place + n] - ends[place]) for place, gram in repeated)
        shares[n] = top[0] * top[1] / total, _characters_of_repeats(repeated, n, ends) / total
        places = [place for place, _ in repeated]
    return shares


def _characters_of_repeats(repeated: list[tuple[int, tuple[str, ...]]], n: int, ends: list[int]) -> int:
    seen: set[tuple[str, ...]] = set()
    covered_to = num_characters = 0
    for place, gram in repeated:
        if gram in seen:
            num_characters += ends[place + n] - ends[max(place, covered_to)]
            covered_to = place + n
        else:
            seen.add(gram)
    return num_characters
