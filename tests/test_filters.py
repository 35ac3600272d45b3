"""All filters on a page: their order, what is kept where, the whole table of counters, and the presets."""

import re
from collections import Counter
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import load_config
from pipeline.filters import FilterConfig, Filtered, filter_draft
from pipeline.filters.apply import DOCUMENT_SOURCES, PARAGRAPH_SOURCES
from pipeline.filters.passage import Passage
from pipeline.filters.rule import RuleConfig
from schemas.document import Candidate, Draft, DraftMedium, Text, paragraph
from schemas.drops import Drop, DropReason
from schemas.errors import ConfigError

URL = "https://example.org/heron"
STORY = (
    "The heron stood in the shallow water for most of the morning, and nobody who walked along the path seemed to notice it.",
    "When the sun came out, it opened its wings and flew slowly towards the other side of the lake, where the reeds are high.",
    "We have been there with our children many times since; they say that it must be the same bird, and I let them believe it.",
)
GERMAN = "Der Reiher stand fast den ganzen Morgen im flachen Wasser, und niemand, der den Weg entlangging, schien ihn zu bemerken."
SOURCES = [source.name for source in (*PARAGRAPH_SOURCES, *DOCUMENT_SOURCES)]
ALL_ON = msgspec.convert({name: {"enabled": True} for name in [*SOURCES, "media"]}, FilterConfig)


def medium(name: str, caption: str = "", alt: str = "") -> DraftMedium:
    """A picture with one candidate URL."""
    return DraftMedium(
        candidates=[Candidate(url=f"https://example.org/{name}.jpg", source="src")], caption=caption, alt=alt
    )


def page(*nodes: str | DraftMedium, title: str = "") -> Draft:
    """A draft of texts and media."""
    return Draft(url=URL, nodes=[Text(node) if isinstance(node, str) else node for node in nodes], title=title)


def preset(name: str) -> FilterConfig:
    """The filters of a preset that comes with m3w."""
    return load_config((files("jobs") / "configs" / f"{name}.toml").read_text("utf-8"), name).filters


def test_all_off_keeps_the_page_and_says_its_language() -> None:
    """By default no rule judges; the draft is handed on as it came, with its language."""
    draft = page(*STORY, medium("a"))
    filtered = filter_draft(draft, FilterConfig())
    assert isinstance(filtered, Filtered)
    assert filtered.draft is draft
    assert filtered.language == "en"
    assert filtered.language_score > 0.8
    assert (filtered.drops, filtered.not_judged) == ([], [])


def test_paragraphs_go_and_media_stay_where_they_stand() -> None:
    """A paragraph that fails becomes a drop with the page's URL, the rule and its first words; all else keeps its place."""
    notice = "You must accept that we use cookies on this page of ours."
    draft = page(STORY[0], medium("a"), notice, medium("b"), STORY[1], medium("c"))
    filtered = filter_draft(draft, msgspec.convert({"c4_paragraph": {"enabled": True}}, FilterConfig))
    assert isinstance(filtered, Filtered)
    assert filtered.draft.nodes == [draft.nodes[place] for place in (0, 1, 3, 4, 5)]
    expected = Drop(
        kind="paragraph",
        reason=DropReason.POLICY_NOTICE,
        url=URL,
        value=1,
        threshold=0,
        detail=f"c4_paragraph.max_policy_phrases: {notice}",
    )
    assert filtered.drops == [expected]


def test_document_rules_judge_what_paragraph_rules_left() -> None:
    """A page that has enough words only with the paragraphs that go is too short."""
    config = msgspec.convert({"c4_paragraph": {"enabled": True}, "gopher_quality": {"enabled": True}}, FilterConfig)
    assert isinstance(filter_draft(page(*STORY), config), Filtered)
    without_marks = [sentence.rstrip(".") for sentence in STORY[1:]]
    drop = filter_draft(page(STORY[0], *without_marks), config)
    assert isinstance(drop, Drop)
    assert (drop.reason, drop.value, drop.url) == (DropReason.TOO_FEW_WORDS, 23, URL)


def test_a_page_without_any_paragraph_left_is_a_drop() -> None:
    """Where every paragraph went, the page goes; a page that never had text is left to the document rules."""
    config = msgspec.convert({"c4_paragraph": {"enabled": True}}, FilterConfig)
    drop = filter_draft(page("No mark at the end", medium("a")), config)
    assert drop == Drop(kind="page", reason=DropReason.NO_TEXT_LEFT, url=URL)
    assert isinstance(filter_draft(page(medium("a")), config), Filtered)


@pytest.mark.parametrize(
    ("languages", "min_score", "text", "detail"),
    [
        ([], 1.0, GERMAN, None),
        (["de"], 0.65, GERMAN, None),
        (["en", "fr"], 0.65, GERMAN, "language.languages: de"),
        (["en"], 1.0, "Click here to read and see", "language.min_score"),
        (["en"], 0.65, "1 2 3", "language.languages: no letters"),
    ],
)
def test_pages_in_other_languages_go(languages: list[str], min_score: float, text: str, detail: str | None) -> None:
    """A page goes when its language is not wanted, or detected with too low a score; without a list all stay."""
    config = msgspec.convert({"language": {"languages": languages, "min_score": min_score}}, FilterConfig)
    result = filter_draft(page(text), config)
    if detail is None:
        assert isinstance(result, Filtered)
    else:
        assert isinstance(result, Drop)
        assert (result.kind, result.reason, result.detail) == ("page", DropReason.LANGUAGE, detail)


def test_a_gallery_has_the_language_of_its_captions() -> None:
    """With hardly any text, title, captions and alt texts say the language."""
    gallery = page(medium("a", caption=GERMAN), medium("b", alt="Ein Reiher am See"), title="Der Reiher im Wasser")
    filtered = filter_draft(gallery, FilterConfig())
    assert isinstance(filtered, Filtered)
    assert filtered.language == "de"


@pytest.mark.parametrize(
    ("number", "reason", "threshold"),
    [(0, DropReason.TOO_FEW_MEDIA, 1), (1, None, None), (30, None, None), (31, DropReason.TOO_MANY_MEDIA, 30)],
)
def test_the_number_of_media_has_bounds(number: int, reason: DropReason | None, threshold: int | None) -> None:
    """One to thirty media stay, fewer or more drop the page."""
    config = msgspec.convert({"media": {"enabled": True}}, FilterConfig)
    result = filter_draft(page(STORY[0], *(medium(str(index)) for index in range(number))), config)
    if reason is None:
        assert isinstance(result, Filtered)
    else:
        assert isinstance(result, Drop)
        assert (result.reason, result.value, result.threshold) == (reason, number, threshold)


def test_rules_that_did_not_judge_are_named_once() -> None:
    """Rules without a list for the page's language are named, each once, however many paragraphs it has."""
    config = msgspec.convert({"obelics_paragraph": {"enabled": True}}, FilterConfig)
    filtered = filter_draft(page(GERMAN, GERMAN), config)
    assert isinstance(filtered, Filtered)
    assert filtered.not_judged == ["obelics_paragraph.max_flagged_words"]


def test_the_whole_table_of_counters() -> None:
    """A few pages under the paper's preset: every page and paragraph that goes is counted under its one reason."""
    pages = [
        page(*STORY, medium("a")),
        page(GERMAN, medium("a")),
        page(STORY[0]),
        page(*STORY, *STORY[:2]),
        page(*STORY, "#1 #2 #3 #4 #5 #6 #7 #8 #9"),
        page(*(sentence.replace(".", "...") for sentence in STORY)),
        page(*STORY, "pornography with hentai"),
        page(medium("a"), medium("b")),
    ]
    results = [filter_draft(each, preset("m3w")) for each in pages]
    counts = Counter(result.reason.value if isinstance(result, Drop) else "kept" for result in results)
    assert counts == {
        "kept": 1,
        "language": 2,
        "too_few_words": 1,
        "duplicate_lines": 1,
        "symbol_ratio": 1,
        "ellipsis_lines": 1,
        "flagged_words": 1,
    }


def test_the_whole_table_of_counters_of_obelics() -> None:
    """OBELICS' preset drops paragraphs one by one, and counts them."""
    draft = page(
        "A heading",
        STORY[0],
        "12:30 - 13:45 | 14:00 - 15:30 | 16:00",
        "Heron Lake Park Bird Watch Tours Season",
        medium("a"),
        STORY[1],
        STORY[2],
    )
    filtered = filter_draft(draft, preset("obelics"))
    assert isinstance(filtered, Filtered)
    assert Counter(drop.reason.value for drop in filtered.drops) == {
        "too_few_words": 1,
        "special_characters": 1,
        "stop_words": 1,
    }
    assert filtered.draft.nodes == [draft.nodes[place] for place in (1, 4, 5, 6)]


@pytest.mark.parametrize(
    ("name", "on"),
    [
        ("m3w", {"gopher_quality", "gopher_repetition", "obelics_document"}),
        ("obelics", {"obelics_paragraph", "obelics_document", "media"}),
    ],
)
def test_presets_follow_the_papers(name: str, on: set[str]) -> None:
    """A preset has its paper's sources on, in English, and every threshold in it is the default, which is the paper's."""
    config = preset(name)
    assert {source for source in [*SOURCES, "media"] if getattr(config, source).enabled} == on
    assert config.language.languages == ["en"]
    for source in SOURCES:
        rules: RuleConfig = getattr(config, source)
        assert msgspec.structs.replace(rules, enabled=False, off=[]) == type(rules)()


def test_an_unknown_rule_in_off_is_an_error_that_names_the_nearest() -> None:
    """A misspelt rule would stay on without a word."""
    with pytest.raises(ConfigError, match="'min_word' is no rule of GopherQuality; did you mean 'min_words'"):
        msgspec.convert({"gopher_quality": {"off": ["min_word"]}}, FilterConfig)


def test_every_threshold_has_its_rule() -> None:
    """The fields of a source's config are the names of its rules: none is forgotten, none unknown."""
    for source in (*PARAGRAPH_SOURCES, *DOCUMENT_SOURCES):
        config = getattr(FilterConfig(), source.name)
        thresholds = set(config.__struct_fields__) - set(RuleConfig.__struct_fields__)
        assert {rule.name for rule in source.rules} == thresholds
        assert source.kind == ("paragraph" if source in PARAGRAPH_SOURCES else "page")


CHARACTERS = st.characters(exclude_categories=()) | st.sampled_from("ab .\n#|-*`{0的はที่🙂\0\ud800")
TEXTS = st.text(CHARACTERS, max_size=60).map(paragraph).filter(bool) | st.sampled_from([*STORY, GERMAN])
NODES = st.lists(TEXTS | st.builds(medium, st.just("a")), max_size=8)


@given(NODES, st.sampled_from([ALL_ON, preset("m3w"), preset("obelics"), FilterConfig()]))
def test_any_page_is_a_subsequence_or_a_drop(nodes: list[str | DraftMedium], config: FilterConfig) -> None:
    """No page raises; nodes kept are a subsequence with all media; kept and dropped paragraphs add up; twice is the same."""
    draft = page(*nodes)
    result = filter_draft(draft, config)
    assert filter_draft(draft, config) == result
    if isinstance(result, Drop):
        assert (result.kind, result.url) == ("page", URL)
        return
    remaining = iter(draft.nodes)
    assert all(any(node is other for other in remaining) for node in result.draft.nodes)
    assert result.draft.media == draft.media
    assert len(draft.nodes) == len(result.draft.nodes) + len(result.drops)


HUGE = [
    "a" * 2_000_000,
    "a " * 200_000,
    "#" * 500_000,
    "| " * 500_000,
    "的" * 500_000,
    "1. " * 200_000,
    "." * 500_000 + "x",
]


@pytest.mark.parametrize("text", HUGE, ids=[repr(text[:2]) for text in HUGE])
def test_a_huge_paragraph_of_one_thing_is_a_drop(text: str) -> None:
    """Every rule measures a paragraph of megabytes in time linear in its length (else this test hangs), and the page is a drop."""
    for source in (*PARAGRAPH_SOURCES, *DOCUMENT_SOURCES):
        passage = Passage([paragraph(text)], "en")
        for rule in source.rules:
            value = rule.measure(passage)
            assert value is None or value >= 0
    assert isinstance(filter_draft(page(paragraph(text)), ALL_ON), Drop)


def test_the_documentation_has_every_rule() -> None:
    """docs/filters.md has a row for every rule, with its default threshold and its reason."""
    path = Path(__file__).parent.parent / "docs" / "filters.md"
    if not path.is_file():
        pytest.skip("the documentation is not part of an installation")
    text = path.read_text("utf-8")
    for source in (*PARAGRAPH_SOURCES, *DOCUMENT_SOURCES):
        section = text[text.index(f"`[filters.{source.name}]`") :].partition("\n### ")[0]
        for rule in source.rules:
            rows = [line for line in section.splitlines() if re.match(rf"\| `({source.name}\.)?{rule.name}` \|", line)]
            assert rows, f"{source.name}.{rule.name}"
            cells = [cell.strip(" `") for cell in rows[0].split("|")]
            assert f"{getattr(getattr(FilterConfig(), source.name), rule.name)}" in cells
            assert rule.reason.value in cells
