"""C4's rules (Raffel et al. 2020, arXiv:1910.10683, 2.2).

C4 judges lines of text that has lost its structure; here a paragraph takes the line's place, and is kept or dropped whole (a table's rows or a
list's items stand or fall together). The phrases of policy notices are English, so other languages are not judged by them. Scripts without
sentence marks (Thai, Lao) are not judged by those. C4's list of bad words is not used: OBELICS' flagged words are the rule for that.
"""

import re

from pipeline.filters.measures import number_of_words
from pipeline.filters.passage import MARKLESS_LANGUAGES, SENTENCE_MARKS, Passage
from pipeline.filters.rule import Rule, RuleConfig, Source
from schemas.drops import DropReason

_TERMINAL = (*SENTENCE_MARKS, '"', "”")
_POLICY_PHRASES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)  # C4
# Marks that are followed by a space or end the line, or, in scripts without spaces, any. A match starts where its run of marks does, and gives
# nothing back, so that a page of dots takes no quadratic time.
_SENTENCE_END = re.compile(r"(?<![.!?؟۔։])[.!?؟۔։]++[\"'”’)\]]*+(?=\s|$)|[。．！？।॥။។]+")


class C4Paragraph(RuleConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds for a paragraph (C4: a line), all of them counts."""

    min_terminal_punctuation: int = 1  # C4 2.2; 1 where it ends in . ! ? or a closing quote
    min_words: int = 3  # C4 2.2
    max_javascript_mentions: int = 0  # C4 2.2
    max_policy_phrases: int = 0  # C4's code


class C4Document(RuleConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Thresholds for a document, all of them counts."""

    max_lorem_ipsum: int = 0  # C4 2.2
    max_curly_brackets: int = 0  # C4 2.2
    min_sentences: int = 5  # C4 2.2


def terminal_punctuation(passage: Passage) -> float | None:
    """1 where the text ends in a sentence mark or a closing quote, else 0: an ellipsis is no end. Not judged in scripts without such marks."""
    if passage.language in MARKLESS_LANGUAGES:
        return None
    return float(passage.bare.endswith(_TERMINAL) and not passage.bare.endswith("..."))


def javascript_mentions(passage: Passage) -> float:
    """How often "javascript" stands in the text, in any case: mostly asking to switch it on."""
    return passage.bare.lower().count("javascript")


def policy_phrases(passage: Passage) -> float | None:
    """How often phrases of cookie, privacy and terms notices stand in the text; not judged but in English."""
    if passage.language != "en":
        return None
    lowered = passage.bare.lower()
    return sum(map(lowered.count, _POLICY_PHRASES))


def lorem_ipsum(passage: Passage) -> float:
    """How often "lorem ipsum" stands in the text, in any case."""
    return passage.bare.lower().count("lorem ipsum")


def curly_brackets(passage: Passage) -> float:
    """How often `{` stands in the text, which mostly is code."""
    return passage.bare.count("{")


def number_of_sentences(passage: Passage) -> float | None:
    """Runs of sentence marks at the end of a word, at least one sentence a paragraph; not judged in scripts without such marks."""
    if passage.language in MARKLESS_LANGUAGES:
        return None
    return sum(max(len(_SENTENCE_END.findall(paragraph)), 1) for paragraph in passage.paragraphs)


PARAGRAPH = Source(
    "c4_paragraph",
    "paragraph",
    (
        Rule("min_terminal_punctuation", DropReason.TERMINAL_PUNCTUATION, terminal_punctuation, "at_least"),
        Rule("min_words", DropReason.TOO_FEW_WORDS, number_of_words, "at_least"),
        Rule("max_javascript_mentions", DropReason.JAVASCRIPT_NOTICE, javascript_mentions, "at_most"),
        Rule("max_policy_phrases", DropReason.POLICY_NOTICE, policy_phrases, "at_most"),
    ),
)

DOCUMENT = Source(
    "c4_document",
    "page",
    (
        Rule("max_lorem_ipsum", DropReason.LOREM_IPSUM, lorem_ipsum, "at_most"),
        Rule("max_curly_brackets", DropReason.CURLY_BRACKET, curly_brackets, "at_most"),
        Rule("min_sentences", DropReason.TOO_FEW_SENTENCES, number_of_sentences, "at_least"),
    ),
)
