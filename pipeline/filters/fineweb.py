"""FineWeb's own quality rules (Penedo et al. 2024, arXiv:2406.17557, 3.6): what its authors added to Gopher's and C4's, found by ablation.

They judge the lines of a document. Scripts without spaces are not judged by the length of lines in characters (30 of Chinese are a sentence),
nor those without sentence marks (Thai, Lao) by how lines end.
"""

from pipeline.filters.measures import duplicate_line_characters
from pipeline.filters.passage import MARKLESS_LANGUAGES, SENTENCE_MARKS, Passage
from pipeline.filters.rule import Rule, RuleConfig, Source
from schemas.drops import DropReason

SHORT_LINE_CHARACTERS = 30  # FineWeb 3.6


class FineWeb(RuleConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds: shares (0..1) of lines or of their characters, and newlines a word."""

    min_punctuated_lines: float = 0.12  # FineWeb 3.6
    max_short_lines: float = 0.67  # FineWeb 3.6
    max_duplicate_line_characters: float = 0.01  # FineWeb 3.6
    max_newlines_per_word: float = 0.3  # FineWeb's code


def punctuated_lines(passage: Passage) -> float | None:
    """The share of lines that end in a sentence mark; not judged in scripts without such marks, nor of no lines."""
    if passage.language in MARKLESS_LANGUAGES or not passage.bare_lines:
        return None
    return sum(line.endswith(SENTENCE_MARKS) for line in passage.bare_lines) / len(passage.bare_lines)


def short_lines(passage: Passage) -> float | None:
    """The share of lines of 30 characters or less; not judged in scripts without spaces, nor of no lines."""
    if passage.spaceless or not passage.bare_lines:
        return None
    return sum(len(line) <= SHORT_LINE_CHARACTERS for line in passage.bare_lines) / len(passage.bare_lines)


def newlines_per_word(passage: Passage) -> float | None:
    """Borders between lines per word: high for lists of names and menus. Not judged of no words."""
    if not passage.words:
        return None
    return max(len(passage.bare_lines) - 1, 0) / len(passage.words)


DOCUMENT = Source(
    "fineweb",
    "page",
    (
        Rule("min_punctuated_lines", DropReason.TERMINAL_PUNCTUATION, punctuated_lines, "at_least"),
        Rule("max_short_lines", DropReason.SHORT_LINES, short_lines, "at_most"),
        Rule("max_duplicate_line_characters", DropReason.DUPLICATE_LINES, duplicate_line_characters, "at_most"),
        Rule("max_newlines_per_word", DropReason.NEWLINE_RATIO, newlines_per_word, "at_most"),
    ),
)
