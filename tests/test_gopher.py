"""Gopher's rules: each just inside and just beyond its threshold, other scripts, and datatrove's verdicts beside ours."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.filters.gopher import QUALITY, REPETITION, GopherQuality, GopherRepetition
from pipeline.filters.passage import LONGEST_NGRAM, Passage
from pipeline.filters.rule import judge
from schemas.drops import DropReason
from tests.passages import distinct_words, drop_of, not_judged_of, only

STORY = (
    "The heron stood in the shallow water for most of the morning, and nobody who walked along the path seemed to notice it.",
    "When the sun came out, it opened its wings and flew slowly towards the other side of the lake, where the reeds are high.",
    "We have been there with our children many times since; they say that it must be the same bird, and I let them believe it.",
)


def words(number: int, *tail: str) -> str:
    """So many different words, the given ones last."""
    return " ".join([*distinct_words(number - len(tail)), *tail])


def test_running_text_is_kept() -> None:
    """Ordinary prose passes all rules of both sources."""
    assert drop_of(QUALITY, GopherQuality(), *STORY) is None
    assert drop_of(REPETITION, GopherRepetition(), *STORY) is None


QUALITY_EDGES = [
    ("min_words", words(50), words(49), DropReason.TOO_FEW_WORDS, 49),
    ("max_words", "a " * 100_000, "a " * 100_001, DropReason.TOO_MANY_WORDS, 100_001),
    ("min_mean_word_length", "abc def", "abc de", DropReason.MEAN_WORD_LENGTH, 2.5),
    ("max_mean_word_length", "a" * 10, "a" * 11, DropReason.MEAN_WORD_LENGTH, 11),
    ("max_hashes_per_word", words(10, "C#"), words(9, "C#"), DropReason.SYMBOL_RATIO, 0.1111),
    ("max_ellipses_per_word", words(10, "so..."), words(9, "so…"), DropReason.SYMBOL_RATIO, 0.1111),
    ("max_bullet_lines", "- a\n" * 9 + "a", "- a\n" * 10 + "• b", DropReason.BULLET_LINES, 1),
    ("max_ellipsis_lines", "a...\n" * 3 + "a\n" * 7, "a…\n" * 4 + "a\n" * 6, DropReason.ELLIPSIS_LINES, 0.4),
    ("min_alphabetic_words", "a b c d 5", "a b c 4 5", DropReason.ALPHABETIC_WORDS, 0.6),
    ("min_alphabetic_words", "a b c d !", "a b c d ! ?", DropReason.ALPHABETIC_WORDS, 0.6667),
    ("min_stop_words", "The end of", "The the the", DropReason.STOP_WORDS, 1),
]


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "reason", "value"),
    [pytest.param(*row, id=f"{row[0]}-{row[4]}") for row in QUALITY_EDGES],
)
def test_a_quality_rule_keeps_its_threshold_and_drops_beyond(
    rule: str, kept: str, dropped: str, reason: DropReason, value: float
) -> None:
    """A text at the threshold is kept, one beyond it dropped, with the value, the threshold and the rule's name."""
    config = only(GopherQuality, rule)
    assert drop_of(QUALITY, config, kept.strip()) is None
    drop = drop_of(QUALITY, config, dropped.strip())
    assert drop is not None
    expected = ("page", reason, value, getattr(config, rule), f"gopher_quality.{rule}")
    assert (drop.kind, drop.reason, drop.value, drop.threshold, drop.detail) == expected


@pytest.mark.parametrize(
    ("rule", "kept", "dropped", "reason", "value"),
    [
        ("max_duplicate_lines", ["a\nb\nc\nd\ne\nf\ng\na\na\na"], ["a\nb\na"], DropReason.DUPLICATE_LINES, 0.3333),
        ("max_duplicate_paragraphs", [*"abcdefg", *"aaa"], [*"aba"], DropReason.DUPLICATE_PARAGRAPHS, 0.3333),
        ("max_duplicate_line_characters", ["ab\nab\ncdefgh"], ["ab\nab\ncdefg"], DropReason.DUPLICATE_LINES, 0.2222),
        (
            "max_duplicate_paragraph_characters",
            ["ab", "ab", "cdefgh"],
            ["ab", "ab", "cdefg"],
            DropReason.DUPLICATE_PARAGRAPHS,
            0.2222,
        ),
    ],
)
def test_a_rule_of_lines_and_paragraphs_keeps_its_threshold_and_drops_beyond(
    rule: str, kept: list[str], dropped: list[str], reason: DropReason, value: float
) -> None:
    """Repeats alone count, not the first occurrence, as a share of the elements or of their characters."""
    config = only(GopherRepetition, rule)
    assert drop_of(REPETITION, config, *kept) is None
    drop = drop_of(REPETITION, config, *dropped)
    assert drop is not None
    assert (drop.reason, drop.value, drop.detail) == (reason, value, f"gopher_repetition.{rule}")


@pytest.mark.parametrize(("n", "threshold"), [(2, 0.20), (3, 0.18), (4, 0.16)])
def test_the_top_ngram_counts_all_its_occurrences(n: int, threshold: float) -> None:
    """Two occurrences of an n-gram among words of one length are 2n of all words' characters."""
    rule, gram = f"max_top_{n}gram", [f"wor{letter}x" for letter in "abcd"[:n]]
    config = only(GopherRepetition, rule)
    others = distinct_words(1000)
    enough = int(2 * n / threshold + 1e-9) + 1  # words in all, so that the share is below the threshold
    kept = [*gram, *others[: enough - 2 * n], *gram]
    dropped = [*gram, *others[: enough - 2 * n - 2], *gram]
    assert drop_of(REPETITION, config, " ".join(kept)) is None
    drop = drop_of(REPETITION, config, " ".join(dropped))
    assert drop is not None
    assert (drop.reason, drop.value) == (DropReason.TOP_NGRAM, round(2 * n / len(dropped), 4))


@pytest.mark.parametrize("n", range(5, 11))
def test_the_repeats_of_ngrams_leave_the_first_occurrence_out(n: int) -> None:
    """One repeat of an n-gram among words of one length is n of all words' characters."""
    rule = f"max_duplicate_{n}grams"
    config = only(GopherRepetition, rule)
    threshold = getattr(config, rule)
    gram, others = distinct_words(n), distinct_words(1000)[n:]
    enough = int(n / threshold + 1e-9) + 1
    kept = [*gram, *others[: enough - 2 * n], *gram]
    dropped = [*gram, *others[: enough - 2 * n - 2], *gram]
    assert drop_of(REPETITION, config, " ".join(kept)) is None
    drop = drop_of(REPETITION, config, " ".join(dropped))
    assert drop is not None
    assert (drop.reason, drop.value) == (DropReason.DUPLICATE_NGRAMS, round(n / len(dropped), 4))
    shorter = [*gram[:-1], *others[: enough - 2 * n], *gram[:-1]]
    assert drop_of(REPETITION, config, " ".join(shorter)) is None


@given(st.lists(st.sampled_from(["a", "bb", "ccc", "dddd"]), max_size=40))
def test_repetition_is_what_its_definition_says(terms: list[str]) -> None:
    """The chain over n gives what counting each n on its own gives."""
    repetition = Passage([" ".join(terms)] if terms else [], "en").repetition
    total = max(sum(map(len, terms)), 1)
    for n in range(2, LONGEST_NGRAM + 1):
        grams = [tuple(terms[start : start + n]) for start in range(len(terms) - n + 1)]
        repeated = [(count, len("".join(gram))) for gram, count in Counter(grams).items() if count > 1]
        most, length = max(repeated, default=(0, 0))
        under = {start + i for start, gram in enumerate(grams) if gram in grams[:start] for i in range(n)}
        expected = most * length / total, sum(len(terms[place]) for place in under) / total
        assert repetition[n] == pytest.approx(expected)


def test_markdown_marks_are_not_the_pages_symbols() -> None:
    """Heading hashes, list numbers, table pipes and rules count neither as hashes nor as words without letters."""
    text = ["## One heading", "1. first\n2. second", "| a | b |\n|---|---|\n| c | d |", "> - quoted"]
    assert Passage(text, "en").words == ["one", "heading", "first", "second", "a", "b", "c", "d", "quoted"]
    assert drop_of(QUALITY, only(GopherQuality, "max_hashes_per_word", "min_alphabetic_words"), *text) is None


def test_a_chinese_page_is_judged_by_its_pieces() -> None:
    """Chinese of 100 characters has about 50 words, holds common words, and its word lengths are not judged."""
    page = (
        "苍鹭几乎整个上午都站在浅水里，路上经过的人似乎都没有注意到它。太阳出来以后，它张开翅膀，慢慢地飞向湖的另一边。"
        * 2
    )
    config = GopherQuality()
    assert drop_of(QUALITY, config, page, language="zh") is None
    assert not_judged_of(QUALITY, config, page, language="zh") == ["min_mean_word_length", "max_mean_word_length"]
    drop = drop_of(QUALITY, config, page[:56], language="zh")
    assert drop is not None
    assert drop.reason == DropReason.TOO_FEW_WORDS


@pytest.mark.parametrize("language", ["zh", "ja", "th"])
def test_a_clause_repeated_without_spaces_is_found(language: str) -> None:
    """A page that says the same again and again falls to the n-gram rules in scripts without spaces, too."""
    clause = {
        "zh": "欢迎光临我们的网上商店购物",
        "ja": "当店へようこそお越しください",
        "th": "ยินดีต้อนรับสู่ร้านค้าออนไลน์ของเราวันนี้",
    }[language]
    drop = drop_of(REPETITION, GopherRepetition(), f"{clause}、" * 10, language=language)
    assert drop is not None
    assert drop.reason in {DropReason.TOP_NGRAM, DropReason.DUPLICATE_NGRAMS}


def test_a_language_without_a_list_is_not_judged_by_stop_words() -> None:
    """Where there is no list of common words, the rule does not judge and says so."""
    assert not_judged_of(QUALITY, only(GopherQuality, "min_stop_words"), "kifa bora", language="xx") == [
        "min_stop_words"
    ]


def test_an_empty_text_falls_to_the_number_of_words_alone() -> None:
    """No words: dropped by min_words; with that rule off, no rule of either source divides by nothing."""
    drop = drop_of(QUALITY, GopherQuality())
    assert drop is not None
    assert drop.detail == "gopher_quality.min_words"
    assert drop_of(QUALITY, GopherQuality(off=["min_words", "min_stop_words"])) is None
    assert drop_of(REPETITION, GopherRepetition()) is None


BLOCKS = {
    "prose": "\n\n".join(STORY),
    "repeated lines": "\n".join(["I am the father of the son.", "We have been there with you."] * 20),
    "repeated clause": "buy the best of cheap pills and have fun with us " * 20,
    "hashes": "\n\n".join(STORY) + " #a #b #c #d #e #f #g #h #i #j #k #l #m",
    "ellipses": "\n\n".join(sentence + "..." for sentence in STORY),
    "bullets": "\n".join(
        f"- {first} of the {second} and {first}{second}"
        for first, second in zip(distinct_words(40), distinct_words(80)[40:], strict=True)
    ),
    "digits": " ".join(f"the {number} of {number * 7}" for number in range(60)),
    "no stop words": " ".join(distinct_words(80)),
    "long words": " ".join(f"the of {word}{word}{word}{word}{word}" for word in distinct_words(60)),
    "short words": " ".join(["to be or", "a b c d e f g h"] * 20),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_verdicts_agree_with_datatrove(name: str) -> None:
    """On clear cases datatrove's Gopher filters keep and drop the same (very short texts are none: there, an n-gram that stands once counts)."""
    pytest.importorskip("spacy")
    data = pytest.importorskip("datatrove.data")
    filters = pytest.importorskip("datatrove.pipeline.filters")
    text = BLOCKS[name]
    document = data.Document(text=text, id=name)
    theirs = [
        filter_type().filter(document) is True
        for filter_type in (filters.GopherQualityFilter, filters.GopherRepetitionFilter)
    ]
    passage = Passage(text.split("\n\n"), "en")
    ours = [
        judge(passage, QUALITY, GopherQuality()).drop is None,
        judge(passage, REPETITION, GopherRepetition()).drop is None,
    ]
    assert ours == theirs


def test_fences_of_code_are_not_lines_that_repeat() -> None:
    """The fences around each of a page's code blocks are ours, and no line of the page that repeats."""
    blocks = [f"```\n{word} = 1\n```" for word in distinct_words(6)]
    assert (
        drop_of(REPETITION, only(GopherRepetition, "max_duplicate_lines", "max_duplicate_line_characters"), *blocks)
        is None
    )
