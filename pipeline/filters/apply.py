"""All filters on one page: a draft comes in; what is left of it goes out with its language, or the drop of the whole page.

The order is: language; paragraph rules on each text node; document rules on the paragraphs that are left; the number of media. Media stay where
they stand. What fails with its page is not counted on its own, so a page's drop carries no paragraph drops.
"""

import msgspec

from pipeline.filters import c4, fineweb, gopher, language, obelics
from pipeline.filters.config import FilterConfig, LanguageConfig, MediaConfig
from pipeline.filters.passage import Passage
from pipeline.filters.rule import RuleConfig, Source, judge
from schemas.document import Draft, DraftMedium, Text
from schemas.drops import Drop, DropReason

PARAGRAPH_SOURCES = (obelics.PARAGRAPH, c4.PARAGRAPH)
DOCUMENT_SOURCES = (gopher.QUALITY, gopher.REPETITION, obelics.DOCUMENT, c4.DOCUMENT, fineweb.DOCUMENT)

# Below so many characters of text the language is also taken from title, captions and alt texts: galleries have nothing else.
ENOUGH_TEXT = 300  # ours
DETAIL_CHARACTERS = 80  # ours: of a paragraph that is dropped


class Filtered(msgspec.Struct, frozen=True, kw_only=True):
    """A page that is kept: its draft without the paragraphs in `drops`, and its detected language with the score (0..1).

    `language` is ISO 639-1 where it has such a code, else 639-3, and empty where the page holds no letters. `not_judged` names, as
    `source.rule` and each once, the rules that are on and had nothing to say about some part of the page.
    """

    draft: Draft
    language: str
    language_score: float
    drops: list[Drop]
    not_judged: list[str]


def filter_draft(draft: Draft, config: FilterConfig) -> Filtered | Drop:
    """Judges a page by all filters that are on; never raises.

    A drop of a page has the rule (`source.rule`) as its detail, a drop of a paragraph the rule and the paragraph's first words.
    """
    code, score = language.detect(_language_sample(draft))
    if (drop := _judge_language(code, score, config.language)) is not None:
        return msgspec.structs.replace(drop, url=draft.url)
    not_judged: dict[str, None] = {}
    nodes, drops = _judge_paragraphs(draft, code, config, not_judged)
    kept = msgspec.structs.replace(draft, nodes=nodes) if drops else draft
    page_drop = _judge_document(draft, kept, code, config, not_judged) or _judge_media(len(kept.media), config.media)
    if page_drop is not None:
        return msgspec.structs.replace(page_drop, url=draft.url)
    return Filtered(draft=kept, language=code, language_score=score, drops=drops, not_judged=list(not_judged))


def _language_sample(draft: Draft) -> str:
    text = draft.text
    if len(text) >= ENOUGH_TEXT:
        return text
    return "\n".join([text, draft.title, *(words for medium in draft.media for words in (medium.caption, medium.alt))])


def _judge_language(code: str, score: float, config: LanguageConfig) -> Drop | None:
    if not config.languages:
        return None
    if code not in config.languages:
        return Drop(
            kind="page", reason=DropReason.LANGUAGE, value=score, detail=f"language.languages: {code or 'no letters'}"
        )
    if score < config.min_score:
        return Drop(
            kind="page",
            reason=DropReason.LANGUAGE,
            value=score,
            threshold=config.min_score,
            detail="language.min_score",
        )
    return None


def _enabled(sources: tuple[Source, ...], config: FilterConfig) -> list[tuple[Source, RuleConfig]]:
    pairs = [(source, getattr(config, source.name)) for source in sources]
    return [(source, rules) for source, rules in pairs if rules.enabled]


def _judge_paragraphs(
    draft: Draft, code: str, config: FilterConfig, not_judged: dict[str, None]
) -> tuple[list[Text | DraftMedium], list[Drop]]:
    sources = _enabled(PARAGRAPH_SOURCES, config)
    nodes: list[Text | DraftMedium] = []
    drops: list[Drop] = []
    for node in draft.nodes:
        drop = None
        if sources and isinstance(node, Text):
            passage = Passage([node.text], code)
            for source, rules in sources:
                drop, unjudged = judge(passage, source, rules)
                not_judged.update(dict.fromkeys(unjudged))
                if drop is not None:
                    detail = f"{drop.detail}: {node.text[:DETAIL_CHARACTERS]}"
                    drops.append(msgspec.structs.replace(drop, url=draft.url, detail=detail))
                    break
        if drop is None:
            nodes.append(node)
    return nodes, drops


def _judge_document(
    draft: Draft, kept: Draft, code: str, config: FilterConfig, not_judged: dict[str, None]
) -> Drop | None:
    paragraphs = [node.text for node in kept.nodes if isinstance(node, Text)]
    if not paragraphs and draft.text:
        return Drop(kind="page", reason=DropReason.NO_TEXT_LEFT)
    sources = _enabled(DOCUMENT_SOURCES, config)
    passage = Passage(paragraphs if sources else [], code)
    for source, rules in sources:
        drop, unjudged = judge(passage, source, rules)
        not_judged.update(dict.fromkeys(unjudged))
        if drop is not None:
            return drop
    return None


def _judge_media(num_media: int, config: MediaConfig) -> Drop | None:
    if not config.enabled:
        return None
    if num_media < config.min_media:
        reason, threshold, rule = DropReason.TOO_FEW_MEDIA, config.min_media, "min_media"
    elif num_media > config.max_media:
        reason, threshold, rule = DropReason.TOO_MANY_MEDIA, config.max_media, "max_media"
    else:
        return None
    return Drop(kind="page", reason=reason, value=num_media, threshold=threshold, detail=f"media.{rule}")
