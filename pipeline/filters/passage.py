"""A text as the rules see it: its lines, words, terms and repetitions, each computed once for all rules.

The text is light Markdown. Its marks (heading hashes, bullets, table pipes, fences) are ours, not the page's, so words and characters are
taken without them; a table's row or a heading must not look like a page full of symbols.

**Words.** What lies between white space, except in scripts that write without spaces: there a word is a piece of fixed length of an unbroken
run, 2 characters of Han and kana (the mean length of a Chinese word is 1.5 to 2) and 4 of Thai, Lao, Tibetan, Burmese and Khmer. Pieces
start anew after each punctuation mark or space, so a repeated clause is cut the same way each time and the n-gram rules find it.
"""

import re
from collections import Counter
from functools import cached_property
from itertools import accumulate, pairwise

# The most words Gopher lets through; repetition is looked for in so many, which bounds its memory where that rule is off.
MAX_WORDS = 100_000  # Gopher A.1.1
LONGEST_NGRAM = 10  # Gopher A.1.1

# What ends a sentence, in the scripts that mark it; Thai and Lao do not.
SENTENCE_MARKS = tuple(".!?…。．！？؟۔।॥։။។")
MARKLESS_LANGUAGES = frozenset(("th", "lo"))

_HAN = "\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
_THAI = "\u0e00-\u109f\u1780-\u17ff"
_WIDE_PUNCTUATION = "\u2010-\u2017\u201c-\u2027\u3000-\u3004\u3008-\u3020\u3030\u30fb\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
SPACELESS_LANGUAGES = frozenset(("zh", "wuu", "yue", "ja", "th", "lo", "bo", "dz", "my", "km"))

_SPACELESS = re.compile(f"[{_HAN}{_THAI}]")
_PIECES = re.compile(rf"[{_HAN}]{{1,2}}|[{_THAI}]{{1,4}}|[^\s{_HAN}{_THAI}{_WIDE_PUNCTUATION}]+")

_MARKED = tuple("#-*+>|`0123456789")
_MARKS = re.compile(r"(?:[ \t]*(?:#{1,6}|[-*+>]|\d{1,9}[.)])(?=[ \t]))*[ \t]*")
_TABLE_RULE = re.compile(r"[|\s:-]+")
_EDGES = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»‹›“”„‟‘’‚‛–—…•·。、，．？！：；（）「」『』《》【】،؛؟।॥"


class Passage:
    """One text to judge: a paragraph, or the paragraphs of a document. Not to be changed once made.

    paragraphs   as they are, in light Markdown
    language     the document's (ISO 639-1), which decides on the word lists
    lines        the lines that are not empty, stripped, with their marks
    bare_lines   the lines without marks; lines of marks alone are left out
    bare         the bare lines as one text
    words        the words in lower case, with the punctuation that touches them
    terms        the words without punctuation at their ends; words of punctuation alone are left out
    spaceless    whether more than half of the words stand in scripts without spaces: their lengths are ours and mean nothing
    """

    def __init__(self, paragraphs: list[str], language: str) -> None:
        self.paragraphs = paragraphs
        self.language = language
        lines = [line.strip() for paragraph in paragraphs for line in paragraph.split("\n")]
        self.lines = [line for line in lines if line]
        bare_lines = [_without_marks(line) if line.startswith(_MARKED) else line for line in self.lines]
        self.bare_lines = [line for line in bare_lines if line]
        self.bare = "\n".join(self.bare_lines)
        lowered = self.bare.lower().replace("’", "'")
        if lowered.isascii() or not _SPACELESS.search(lowered):
            self.words = lowered.split()
            self.spaceless = False
        else:
            self.words = _PIECES.findall(lowered)
            self.spaceless = 2 * len([word for word in self.words if _SPACELESS.match(word)]) > len(self.words)
        self.terms = [term for word in self.words if (term := word if word.isalnum() else word.strip(_EDGES))]

    @cached_property
    def repetition(self) -> dict[int, tuple[float, float]]:
        """Per n in 2..10: the share of the terms' characters in the most frequent repeated n-gram, and in all repeats of any n-gram."""
        return _repetition(self.terms[:MAX_WORDS])


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


def _repetition(terms: list[str]) -> dict[int, tuple[float, float]]:
    """What `Passage.repetition` says, in one chain: an (n+1)-gram can only repeat where its n-gram does, so each n looks at fewer places.

    The most frequent n-gram is the longest of those with the highest count; its share counts all its occurrences. The share of the repeats
    leaves each n-gram's first occurrence out and counts a character once, however many n-grams overlap there.
    """
    shares = dict.fromkeys(range(2, LONGEST_NGRAM + 1), (0.0, 0.0))
    ends = list(accumulate(map(len, terms), initial=0))
    total = max(ends[-1], 1)
    first: dict[tuple[str, str], int] = {}
    origins = list(map(first.setdefault, pairwise(terms), range(len(terms))))
    repeats = [(place, origin) for place, origin in enumerate(origins) if place != origin]
    for n in shares:
        if not repeats:
            break
        counts = Counter([origin for _, origin in repeats])
        most, length = max((count, ends[origin + n] - ends[origin]) for origin, count in counts.items())
        shares[n] = (most + 1) * length / total, _covered(repeats, n, ends) / total
        repeats = _longer(repeats, n, terms)
    return shares


def _longer(repeats: list[tuple[int, int]], n: int, terms: list[str]) -> list[tuple[int, int]]:
    """Of the places where n-grams repeat, with the place where each stands first, those where the (n+1)-gram repeats too.

    Two (n+1)-grams are the same when they begin with the same n-gram, known by its first place, and end with the same term.
    """
    origin_of = dict(repeats)
    origin_of.update((origin, origin) for _, origin in repeats)
    first: dict[tuple[int, str], int] = {}
    places = [place for place in sorted(origin_of) if place + n < len(terms)]
    origins = [first.setdefault((origin_of[place], terms[place + n]), place) for place in places]
    return [(place, origin) for place, origin in zip(places, origins, strict=True) if place != origin]


def _covered(repeats: list[tuple[int, int]], n: int, ends: list[int]) -> int:
    """The characters under the n-grams at the places, each once; `ends` are the terms' character offsets."""
    covered_to = num_characters = 0
    for place, _ in repeats:
        num_characters += ends[place + n] - ends[max(place, covered_to)]
        covered_to = place + n
    return num_characters
