"""OBELICS' text rules (Laurençon et al. 2023, arXiv:2306.16527, A.2): the same measures for a paragraph and for a document, other thresholds.

They were made for English. Which measure judges which languages stands with the measure: stop words and flagged words need a list, punctuation
a script that has it. OBELICS also judges by the perplexity of a language model and by a list of common words; both need data that is not here.
"""

import math
import unicodedata
from collections import Counter

from pipeline.filters.lists import flagged_words, function_words
from pipeline.filters.measures import number_of_words
from pipeline.filters.passage import MARKLESS_LANGUAGES, MAX_WORDS, Passage
from pipeline.filters.rule import Rule, RuleConfig, Source
from schemas.drops import DropKind, DropReason

CHARACTER_NGRAM = 10  # OBELICS
WORD_NGRAM = 5  # OBELICS
PUNCTUATION_FROM_WORDS = 12  # OBELICS: shorter paragraphs may do without
MAX_CHARACTERS = 500_000  # ours: bounds the memory of the character n-grams to about 40 MB

_PUNCTUATION = ".,;:!?…。、，．？！：；،؛؟۔।॥։။។"


class ObelicsParagraph(RuleConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds for a paragraph: words are counts, all else are shares (0..1)."""

    min_words: int = 4  # OBELICS, paragraph
    max_words: int = 1_000  # OBELICS, paragraph
    max_character_repetition: float = 0.1  # OBELICS, paragraph
    max_word_repetition: float = 0.1  # OBELICS, paragraph
    max_special_characters: float = 0.3  # OBELICS, paragraph
    min_stop_words: float = 0.3  # OBELICS, paragraph
    max_flagged_words: float = 0.01  # OBELICS, paragraph
    min_punctuation: float = 0.001  # OBELICS, paragraph


class ObelicsDocument(RuleConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds for a document: words are counts, all else are shares (0..1)."""

    min_words: int = 10  # OBELICS, document
    max_words: int = 2_000  # OBELICS, document
    max_character_repetition: float = 0.1  # OBELICS, document
    max_word_repetition: float = 0.2  # OBELICS, document
    max_special_characters: float = 0.275  # OBELICS, document
    min_stop_words: float = 0.35  # OBELICS, document
    max_flagged_words: float = 0.01  # OBELICS, document
    min_punctuation: float = 0.03  # OBELICS, document


def character_repetition(passage: Passage) -> float:
    """The share that the most frequent 10-grams of characters have in all of them.

    The most frequent are as many as the root of the number of different ones, those that stand once left out, so that a few chance
    repeats in a long text weigh little.
    """
    text = passage.bare[:MAX_CHARACTERS]
    num_grams = len(text) - CHARACTER_NGRAM + 1
    if num_grams < 2:
        return 0.0
    counts = Counter([text[start : start + CHARACTER_NGRAM] for start in range(num_grams)])
    repeated = sorted((count for count in counts.values() if count > 1), reverse=True)
    return sum(repeated[: math.isqrt(len(counts))]) / num_grams


def word_repetition(passage: Passage) -> float:
    """The share of 5-grams of words, in lower case, that stand more than once."""
    terms = passage.terms[:MAX_WORDS]
    counts = Counter(zip(*(terms[start:] for start in range(WORD_NGRAM)), strict=False))
    return sum(count for count in counts.values() if count > 1) / max(counts.total(), 1)


def special_characters(passage: Passage) -> float:
    """The share of characters that are no letters: digits, punctuation, symbols and white space. Vowel signs and accents are letters' parts."""
    text = passage.bare
    if text.isascii():
        return (len(text) - len(text.encode().translate(None, _ASCII_SPECIAL))) / max(len(text), 1)
    counts = Counter(text)
    return sum(count for character, count in counts.items() if _is_special(character)) / len(text)


def stop_words(passage: Passage) -> float | None:
    """The share of words that are function words of the language; not judged without a list, nor of no words.

    There are lists only for languages that build sentences with words as English does, so that a threshold found on English holds.
    """
    function = function_words(passage.language)
    if not function or not passage.terms:
        return None
    return sum(map(function.__contains__, passage.terms)) / len(passage.terms)


def flagged(passage: Passage) -> float | None:
    """The share of words that mark pornography; not judged without a list (there is one for English), nor of no words."""
    words = flagged_words(passage.language)
    if not words or not passage.terms:
        return None
    return sum(map(words.__contains__, passage.terms)) / len(passage.terms)


def punctuation(passage: Passage) -> float | None:
    """The share of punctuation marks in words and marks together; not judged in scripts without such marks (Thai, Lao), nor of nothing."""
    num_marks = sum(map(passage.bare.count, _PUNCTUATION))
    if passage.language in MARKLESS_LANGUAGES or not (num_marks or passage.terms):
        return None
    return num_marks / (num_marks + len(passage.terms))


def paragraph_punctuation(passage: Passage) -> float | None:
    """As `punctuation`; 1 of a paragraph of less than 12 words, which may do without."""
    return punctuation(passage) if len(passage.terms) >= PUNCTUATION_FROM_WORDS else 1.0


def _is_special(character: str) -> bool:
    return not (character.isalpha() or unicodedata.category(character).startswith("M"))


_ASCII_SPECIAL = bytes(code for code in range(128) if _is_special(chr(code)))


def _source(name: str, kind: DropKind, punctuation_rule: Rule) -> Source:
    return Source(
        name,
        kind,
        (
            Rule("min_words", DropReason.TOO_FEW_WORDS, number_of_words, "at_least"),
            Rule("max_words", DropReason.TOO_MANY_WORDS, number_of_words, "at_most"),
            Rule("max_character_repetition", DropReason.CHARACTER_REPETITION, character_repetition, "at_most"),
            Rule("max_word_repetition", DropReason.WORD_REPETITION, word_repetition, "at_most"),
            Rule("max_special_characters", DropReason.SPECIAL_CHARACTERS, special_characters, "at_most"),
            Rule("min_stop_words", DropReason.STOP_WORDS, stop_words, "at_least"),
            Rule("max_flagged_words", DropReason.FLAGGED_WORDS, flagged, "at_most"),
            punctuation_rule,
        ),
    )


PARAGRAPH = _source(
    "obelics_paragraph", "paragraph", Rule("min_punctuation", DropReason.PUNCTUATION, paragraph_punctuation, "at_least")
)
DOCUMENT = _source("obelics_document", "page", Rule("min_punctuation", DropReason.PUNCTUATION, punctuation, "at_least"))
