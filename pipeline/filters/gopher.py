"""Gopher's quality and repetition rules (Rae et al. 2021, arXiv:2112.11446, A.1.1): MassiveText's, and so M3W's.

They judge a document. Gopher names the rules and their numbers, not every definition; where it is silent the measures say how they read it.
In scripts without spaces word lengths are not judged; word counts are, by the pieces of `passage`.
"""

from pipeline.filters.lists import common_words
from pipeline.filters.measures import duplicate_line_characters, number_of_words
from pipeline.filters.passage import SPACELESS_LANGUAGES, Passage, repeated_elements
from pipeline.filters.rule import Measure, Rule, RuleConfig, Source
from schemas.drops import DropReason

_BULLETS = ("- ", "* ", "•", "‣", "◦", "▪", "●")
_ELLIPSES = ("...", "…")


class GopherQuality(RuleConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of the quality rules: words and characters are counts, ratios and shares are 0..1 unless said otherwise."""

    min_words: int = 50  # Gopher A.1.1
    max_words: int = 100_000  # Gopher A.1.1
    min_mean_word_length: float = 3.0  # Gopher A.1.1; characters
    max_mean_word_length: float = 10.0  # Gopher A.1.1; characters
    max_hashes_per_word: float = 0.1  # Gopher A.1.1
    max_ellipses_per_word: float = 0.1  # Gopher A.1.1
    max_bullet_lines: float = 0.9  # Gopher A.1.1
    max_ellipsis_lines: float = 0.3  # Gopher A.1.1
    min_alphabetic_words: float = 0.8  # Gopher A.1.1
    min_stop_words: int = 2  # Gopher A.1.1; different ones


class GopherRepetition(RuleConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds of the repetition rules: shares (0..1) of lines, paragraphs, or characters."""

    max_duplicate_lines: float = 0.30  # Gopher, Table A1
    max_duplicate_paragraphs: float = 0.30  # Gopher, Table A1
    max_duplicate_line_characters: float = 0.20  # Gopher, Table A1
    max_duplicate_paragraph_characters: float = 0.20  # Gopher, Table A1
    max_top_2gram: float = 0.20  # Gopher, Table A1
    max_top_3gram: float = 0.18  # Gopher, Table A1
    max_top_4gram: float = 0.16  # Gopher, Table A1
    max_duplicate_5grams: float = 0.15  # Gopher, Table A1
    max_duplicate_6grams: float = 0.14  # Gopher, Table A1
    max_duplicate_7grams: float = 0.13  # Gopher, Table A1
    max_duplicate_8grams: float = 0.12  # Gopher, Table A1
    max_duplicate_9grams: float = 0.11  # Gopher, Table A1
    max_duplicate_10grams: float = 0.10  # Gopher, Table A1


def mean_word_length(passage: Passage) -> float | None:
    """Mean characters of a word without the punctuation around it; not judged in scripts without spaces, nor of no words."""
    if passage.spaceless or not passage.terms:
        return None
    return sum(map(len, passage.terms)) / len(passage.terms)


def hashes_per_word(passage: Passage) -> float:
    """`#` per word; the hashes of Markdown headings are ours and do not count."""
    return passage.bare.count("#") / max(len(passage.words), 1)


def ellipses_per_word(passage: Passage) -> float:
    """`...` and `…` per word."""
    return sum(map(passage.bare.count, _ELLIPSES)) / max(len(passage.words), 1)


def bullet_lines(passage: Passage) -> float:
    """The share of lines that start with a bullet, those of the page's lists (`- ` in Markdown) included."""
    return sum(line.startswith(_BULLETS) for line in passage.lines) / max(len(passage.lines), 1)


def ellipsis_lines(passage: Passage) -> float:
    """The share of lines that end in an ellipsis."""
    return sum(line.endswith(_ELLIPSES) for line in passage.bare_lines) / max(len(passage.bare_lines), 1)


def alphabetic_words(passage: Passage) -> float | None:
    """The share of words that hold a letter; words of punctuation alone count, and have none. Not judged of no words."""
    if not passage.words:
        return None
    mixed = [term for term in passage.terms if not term.isalpha()]
    with_letter = len(passage.terms) - len(mixed) + sum(any(map(str.isalpha, term)) for term in mixed)
    return with_letter / len(passage.words)


def different_stop_words(passage: Passage) -> float | None:
    """How many of the language's common words the text holds; not judged without a list (English: Gopher's own eight).

    In languages without spaces a common word counts wherever its characters stand.
    """
    common = common_words(passage.language)
    if not common:
        return None
    if passage.language in SPACELESS_LANGUAGES:
        return sum(word in passage.bare for word in common)
    return len(common.intersection(passage.terms))


def duplicate_lines(passage: Passage) -> float:
    """The share of lines that the text holds already."""
    return repeated_elements(passage.bare_lines)[0]


def duplicate_paragraphs(passage: Passage) -> float:
    """The share of paragraphs that the text holds already."""
    return repeated_elements(passage.paragraphs)[0]


def duplicate_paragraph_characters(passage: Passage) -> float:
    """The share of the paragraphs' characters that stand in a paragraph that the text holds already."""
    return repeated_elements(passage.paragraphs)[1]


def top_ngram(n: int) -> Measure:
    """Makes the measure: the share of the terms' characters that stand in the most frequent n-gram (0 where none repeats)."""
    return lambda passage: passage.repetition[n][0]


def duplicate_ngrams(n: int) -> Measure:
    """Makes the measure: the share of the terms' characters that stand in repeats of n-grams, each character once."""
    return lambda passage: passage.repetition[n][1]


QUALITY = Source(
    "gopher_quality",
    "page",
    (
        Rule("min_words", DropReason.TOO_FEW_WORDS, number_of_words, "at_least"),
        Rule("max_words", DropReason.TOO_MANY_WORDS, number_of_words, "at_most"),
        Rule("min_mean_word_length", DropReason.MEAN_WORD_LENGTH, mean_word_length, "at_least"),
        Rule("max_mean_word_length", DropReason.MEAN_WORD_LENGTH, mean_word_length, "at_most"),
        Rule("max_hashes_per_word", DropReason.SYMBOL_RATIO, hashes_per_word, "at_most"),
        Rule("max_ellipses_per_word", DropReason.SYMBOL_RATIO, ellipses_per_word, "at_most"),
        Rule("max_bullet_lines", DropReason.BULLET_LINES, bullet_lines, "at_most"),
        Rule("max_ellipsis_lines", DropReason.ELLIPSIS_LINES, ellipsis_lines, "at_most"),
        Rule("min_alphabetic_words", DropReason.ALPHABETIC_WORDS, alphabetic_words, "at_least"),
        Rule("min_stop_words", DropReason.STOP_WORDS, different_stop_words, "at_least"),
    ),
)

REPETITION = Source(
    "gopher_repetition",
    "page",
    (
        Rule("max_duplicate_lines", DropReason.DUPLICATE_LINES, duplicate_lines, "at_most"),
        Rule("max_duplicate_paragraphs", DropReason.DUPLICATE_PARAGRAPHS, duplicate_paragraphs, "at_most"),
        Rule("max_duplicate_line_characters", DropReason.DUPLICATE_LINES, duplicate_line_characters, "at_most"),
        Rule(
            "max_duplicate_paragraph_characters",
            DropReason.DUPLICATE_PARAGRAPHS,
            duplicate_paragraph_characters,
            "at_most",
        ),
        *(Rule(f"max_top_{n}gram", DropReason.TOP_NGRAM, top_ngram(n), "at_most") for n in (2, 3, 4)),
        *(
            Rule(f"max_duplicate_{n}grams", DropReason.DUPLICATE_NGRAMS, duplicate_ngrams(n), "at_most")
            for n in range(5, 11)
        ),
    ),
)
