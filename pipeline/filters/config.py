"""The `[filters]` part of a configuration: a section for the language, one for the media, one a source of rules.

What is not named in a TOML file has its default here, and every source is off by default: a preset says which rules a run has.
"""

from typing import Annotated

import msgspec

from pipeline.filters.c4 import C4Document, C4Paragraph
from pipeline.filters.fineweb import FineWeb
from pipeline.filters.gopher import GopherQuality, GopherRepetition
from pipeline.filters.obelics import ObelicsDocument, ObelicsParagraph

LanguageCode = Annotated[str, msgspec.Meta(pattern="^[a-z]{2,3}$")]


class LanguageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which languages a page may be in (none named: any), and the least score (0..1) of the detection where some are named."""

    languages: list[LanguageCode] = []
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.65  # FineWeb


class MediaConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many media a page may show, before any is fetched."""

    enabled: bool = False
    min_media: Annotated[int, msgspec.Meta(ge=0)] = 1  # OBELICS, document
    max_media: Annotated[int, msgspec.Meta(ge=0)] = 30  # OBELICS, document


class FilterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All text filters; `obelics_paragraph` and `c4_paragraph` judge paragraphs, the others documents."""

    language: LanguageConfig = LanguageConfig()
    obelics_paragraph: ObelicsParagraph = ObelicsParagraph()
    c4_paragraph: C4Paragraph = C4Paragraph()
    gopher_quality: GopherQuality = GopherQuality()
    gopher_repetition: GopherRepetition = GopherRepetition()
    obelics_document: ObelicsDocument = ObelicsDocument()
    c4_document: C4Document = C4Document()
    fineweb: FineWeb = FineWeb()
    media: MediaConfig = MediaConfig()
