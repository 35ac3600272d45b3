"""C4's rules: one tiny text per drop reason, with its neighbour that is kept."""

import pytest

from pipeline.filters.c4 import DOCUMENT, PARAGRAPH, C4Document, C4Paragraph
from schemas.drops import DropReason
from tests.passages import drop_of, not_judged_of, only


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "reason", "value"),
    [
        ("min_terminal_punctuation", "It ends.", "It goes on,", DropReason.TERMINAL_PUNCTUATION, 0),
        ("min_terminal_punctuation", 'He said "yes"', "And then...", DropReason.TERMINAL_PUNCTUATION, 0),
        ("min_terminal_punctuation", "苍鹭在水里。", "苍鹭在水里", DropReason.TERMINAL_PUNCTUATION, 0),
        ("min_words", "Just three words.", "Only two.", DropReason.TOO_FEW_WORDS, 2),
        ("max_javascript_mentions", "Enable scripts.", "Enable JavaScript.", DropReason.JAVASCRIPT_NOTICE, 1),
        ("max_policy_phrases", "We bake cookies.", "We use cookies.", DropReason.POLICY_NOTICE, 1),
        ("max_policy_phrases", "Terms of art.", "Terms of Use, Privacy Policy", DropReason.POLICY_NOTICE, 2),
    ],
)
def test_a_paragraph_rule_and_its_edge(rule: str, kept: str, dropped: str, reason: DropReason, value: float) -> None:
    """A paragraph that meets the rule is kept, one that fails it dropped with value, threshold and rule."""
    config = only(C4Paragraph, rule)
    assert drop_of(PARAGRAPH, config, kept) is None
    drop = drop_of(PARAGRAPH, config, dropped)
    assert drop is not None
    expected = ("paragraph", reason, value, getattr(config, rule), f"c4_paragraph.{rule}")
    assert (drop.kind, drop.reason, drop.value, drop.threshold, drop.detail) == expected


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "reason", "value"),
    [
        ("max_lorem_ipsum", "Lorem is a word.", "Lorem ipsum dolor.", DropReason.LOREM_IPSUM, 1),
        ("max_curly_brackets", "f(x) = [x]", "f() { }", DropReason.CURLY_BRACKET, 1),
        ("min_sentences", "A. B! C? D.\nE.", "A. B! C? D...", DropReason.TOO_FEW_SENTENCES, 4),
        ("min_sentences", "一。二！三？四。五。", "一。二！三？四。", DropReason.TOO_FEW_SENTENCES, 4),
    ],
)
def test_a_document_rule_and_its_edge(rule: str, kept: str, dropped: str, reason: DropReason, value: float) -> None:
    """A document that meets the rule is kept, one that fails it dropped with value, threshold and rule."""
    config = only(C4Document, rule)
    assert drop_of(DOCUMENT, config, kept) is None
    drop = drop_of(DOCUMENT, config, dropped)
    assert drop is not None
    expected = ("page", reason, value, getattr(config, rule), f"c4_document.{rule}")
    assert (drop.kind, drop.reason, drop.value, drop.threshold, drop.detail) == expected


def test_a_number_with_a_point_is_one_sentence() -> None:
    """A mark within a word ends no sentence, and each paragraph is at least one."""
    config = only(C4Document, "min_sentences")
    drop = drop_of(DOCUMENT, config, "Version 3.14.2 of example.org", "No mark here")
    assert drop is not None
    assert drop.value == 2


@pytest.mark.parametrize(("language", "rules"), [("en", []), ("de", ["max_policy_phrases"])])
def test_policy_phrases_are_english(language: str, rules: list[str]) -> None:
    """Other languages are not judged by English phrases."""
    assert not_judged_of(PARAGRAPH, C4Paragraph(), "Ein ganzer Satz.", language=language) == rules


def test_thai_is_not_judged_by_sentence_marks() -> None:
    """Thai ends no sentence with a mark, so the rules about them do not judge."""
    text = "นกกระสายืนอยู่ในน้ำตื้นเกือบตลอดเช้า"
    assert "min_terminal_punctuation" in not_judged_of(PARAGRAPH, C4Paragraph(), text, language="th")
    assert not_judged_of(DOCUMENT, C4Document(), text, language="th") == ["min_sentences"]
