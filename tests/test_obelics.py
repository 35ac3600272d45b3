"""OBELICS' rules: each just inside and just beyond its threshold, for paragraphs and documents, and other languages."""

from typing import Any

import pytest

from pipeline.filters.lists import flagged_words, function_words
from pipeline.filters.obelics import DOCUMENT, PARAGRAPH, ObelicsDocument, ObelicsParagraph
from schemas.drops import DropReason
from tests.passages import distinct_words, drop_of, not_judged_of, only

CLAUSE = "heron in the shallow water"


def words(number: int) -> str:
    """So many different words."""
    return " ".join(distinct_words(number))


def mixed(rare: int, common: int) -> str:
    """So many rare words, then so many times "the"."""
    return " ".join([*distinct_words(rare), *["the"] * common])


PARAGRAPH_EDGES: list[tuple[str, str, str, DropReason, float]] = [
    ("min_words", "four words or so", "only three words", DropReason.TOO_FEW_WORDS, 3),
    ("max_words", words(1000), words(1001), DropReason.TOO_MANY_WORDS, 1001),
    (
        "max_word_repetition",
        f"{CLAUSE} {words(14)} {CLAUSE}",
        f"{CLAUSE} {words(13)} {CLAUSE}",
        DropReason.WORD_REPETITION,
        0.1053,
    ),
    ("max_special_characters", "abcdefg 12", "abcdefg 123", DropReason.SPECIAL_CHARACTERS, 0.3636),
    ("min_stop_words", mixed(7, 3), mixed(8, 3), DropReason.STOP_WORDS, 0.2727),
    ("max_flagged_words", mixed(99, 0) + " hentai", mixed(98, 0) + " Hentai!", DropReason.FLAGGED_WORDS, 0.0101),
    ("min_punctuation", mixed(11, 1) + ".", mixed(11, 1), DropReason.PUNCTUATION, 0),
]
DOCUMENT_EDGES: list[tuple[str, str, str, DropReason, float]] = [
    ("min_words", words(10), words(9), DropReason.TOO_FEW_WORDS, 9),
    ("max_words", words(2000), words(2001), DropReason.TOO_MANY_WORDS, 2001),
    (
        "max_word_repetition",
        f"{CLAUSE} {words(4)} {CLAUSE}",
        f"{CLAUSE} {words(3)} {CLAUSE}",
        DropReason.WORD_REPETITION,
        0.2222,
    ),
    ("max_special_characters", "abcdefgh 12", "abcdefg 12", DropReason.SPECIAL_CHARACTERS, 0.3),
    ("min_stop_words", mixed(13, 7), mixed(14, 7), DropReason.STOP_WORDS, 0.3333),
    ("max_flagged_words", mixed(99, 0) + " hentai", mixed(98, 0) + " hentai", DropReason.FLAGGED_WORDS, 0.0101),
    ("min_punctuation", words(32) + ".", words(33) + ".", DropReason.PUNCTUATION, 0.0294),
]


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "reason", "value"),
    [pytest.param(*row, id=f"{row[0]}-{row[4]}") for row in PARAGRAPH_EDGES],
)
def test_a_paragraph_rule_keeps_its_threshold_and_drops_beyond(
    rule: str, kept: str, dropped: str, reason: DropReason, value: float
) -> None:
    """A paragraph at the threshold is kept, one beyond it dropped with the rule's name, its value and the threshold."""
    config = only(ObelicsParagraph, rule)
    assert drop_of(PARAGRAPH, config, kept) is None
    drop = drop_of(PARAGRAPH, config, dropped)
    assert drop is not None
    expected: tuple[Any, ...] = ("paragraph", reason, value, getattr(config, rule), f"obelics_paragraph.{rule}")
    assert (drop.kind, drop.reason, drop.value, drop.threshold, drop.detail) == expected


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "reason", "value"),
    [pytest.param(*row, id=f"{row[0]}-{row[4]}") for row in DOCUMENT_EDGES],
)
def test_a_document_rule_keeps_its_threshold_and_drops_beyond(
    rule: str, kept: str, dropped: str, reason: DropReason, value: float
) -> None:
    """A document at the threshold is kept, one beyond it dropped with the rule's name, its value and the threshold."""
    config = only(ObelicsDocument, rule)
    assert drop_of(DOCUMENT, config, kept) is None
    drop = drop_of(DOCUMENT, config, dropped)
    assert drop is not None
    expected: tuple[Any, ...] = ("page", reason, value, getattr(config, rule), f"obelics_document.{rule}")
    assert (drop.kind, drop.reason, drop.value, drop.threshold, drop.detail) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("abcdefghijklmnopqrstuvwxyz", None),  # 17 grams, none repeats
        ("a" * 20, 1.0),  # 11 grams, all the same
        ("abcdefghij" * 2, 0.1818),  # 11 grams of 10 kinds; one stands twice
        ("abcdefghij" + "klmnopqrst" + "abcdefghij", None),  # 21 grams of 20 kinds; one stands twice: 2 of 21
        ("abcdefghi", None),
    ],
)
def test_character_repetition_is_the_share_of_the_most_frequent_10grams(text: str, value: float | None) -> None:
    """As many of the most frequent repeated 10-grams as the root of the number of kinds, as a share of all."""
    drop = drop_of(DOCUMENT, only(ObelicsDocument, "max_character_repetition"), text)
    assert (drop and drop.value) == value


def test_short_paragraphs_may_do_without_punctuation() -> None:
    """From 12 words on a paragraph needs a punctuation mark."""
    config = only(ObelicsParagraph, "min_punctuation")
    assert drop_of(PARAGRAPH, config, words(11)) is None
    assert drop_of(PARAGRAPH, config, words(12)) is not None


def test_vowel_signs_are_parts_of_letters() -> None:
    """Hindi, whose vowels are signs on letters, is not a text of special characters."""
    text = "बगुला लगभग पूरी सुबह उथले पानी में खड़ा रहा और रास्ते से गुज़रने वाले किसी ने भी उसे नहीं देखा।"
    assert drop_of(PARAGRAPH, only(ObelicsParagraph, "max_special_characters"), text, language="hi") is None


@pytest.mark.parametrize(
    ("language", "rules"),
    [
        ("en", []),
        ("de", ["max_flagged_words"]),
        ("ru", ["min_stop_words", "max_flagged_words"]),
        ("th", ["min_stop_words", "max_flagged_words", "min_punctuation"]),
    ],
)
def test_rules_without_a_list_or_marks_do_not_judge(language: str, rules: list[str]) -> None:
    """Without a list for the language, or in a script without punctuation, a rule does not judge and says so."""
    config = ObelicsDocument(off=["min_words"])
    text = (
        "The heron, in the water, was with us and the others; it is not."
        if language == "en"
        else "Der Reiher stand dort, und niemand von denen, die dort waren, hatte ihn vorher gesehen."
    )
    assert not_judged_of(DOCUMENT, config, text, language=language) == rules


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "A heron stood in the water, and none of us who were there had seen it before."),
        ("de", "Ein Reiher stand im Wasser, und keiner von uns, die wir dort waren, hatte ihn vorher gesehen."),
        ("fr", "Un héron était dans l’eau, et aucun de nous qui étions là ne l’avait vu avant."),
        ("es", "Una garza estaba en el agua, y ninguno de los que estábamos allí la había visto antes."),
        ("it", "Un airone era nell'acqua, e nessuno di noi che eravamo lì lo aveva visto prima."),
        ("pt", "Uma garça estava na água, e nenhum de nós que ali estava a tinha visto antes."),
        ("nl", "Een reiger stond in het water, en niemand van ons die er waren had hem eerder gezien."),
        ("sv", "En häger stod i vattnet, och ingen av oss som var där hade sett den tidigare."),
        ("da", "En hejre stod i vandet, og ingen af os, som var der, havde set den før."),
        ("no", "En hegre stod i vannet, og ingen av oss som var der hadde sett den før."),
        ("ro", "Un stârc era în apă, și niciunul dintre noi care eram acolo nu îl mai văzuse."),
        ("ca", "Una garsa era a l'aigua, i cap dels que érem allà no l'havia vist abans."),
    ],
)
def test_running_text_has_enough_function_words(language: str, text: str) -> None:
    """Ordinary prose of each language with a list passes the stricter of the two thresholds."""
    assert function_words(language)
    assert drop_of(DOCUMENT, only(ObelicsDocument, "min_stop_words"), text, language=language) is None


def test_lists_are_lower_case_and_apart() -> None:
    """Words of the lists can be found in lower-cased text, and no function word is flagged."""
    for language in ("en", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "no", "ro", "ca"):
        assert all(word == word.lower() for word in function_words(language))
        assert not function_words(language) & flagged_words(language)
