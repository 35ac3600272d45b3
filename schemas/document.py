"""Documents: text and media in the order of the page's DOM.

Two forms of one thing. A `Draft` is what extraction makes of a page: its media are mentions, with ranked candidate URLs.
A `Document` is a sample of a shard: its media are files beside it. In both, `nodes` is the only truth about order.

A text node is one paragraph (or heading, list item, table row block, quote, code block) as light Markdown. It is stripped, not empty, and
holds no blank line, so that a blank line in rendered text always is a border between two nodes. `paragraph` makes text so.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from schemas.drops import Drop
from schemas.errors import SchemaError

DOCUMENT_VERSION: Final = 1

# Line ends as in HTML and what Unicode calls a line or paragraph separator.
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?=\n)")
_LINE_ENDS = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")

MediumKind: TypeAlias = Literal["image", "video"]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
SampleKey = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
Side = Annotated[int, msgspec.Meta(ge=1)]


def paragraph(text: str) -> str:
    r"""Makes any text the text of one node: line ends to newlines, stripped, no blank lines (may become empty).

    >>> paragraph("  a\r\n\n \nb ")
    'a\nb'
    """
    if len(text.splitlines()) == 1:  # most are; this is ten times faster
        return text.strip()
    return _BLANK_LINES.sub("", _LINE_ENDS.sub("\n", text)).strip()


class Text(msgspec.Struct, frozen=True, tag_field="kind", tag="text", forbid_unknown_fields=True):
    """One paragraph of light Markdown: stripped, not empty, without blank lines.

    Raises:
        SchemaError: the text is not so; `paragraph` makes it so.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.text or self.text != paragraph(self.text):
            raise SchemaError(f"not the text of one node: {self.text[:80]!r}; schemas.document.paragraph makes it one")


class Candidate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One URL under which a medium may be had, absolute, with the attribute or place that it came from.

    `source` is the attribute's name (`src`, `srcset`, `data-src`...), or `noscript`, `link`, `css`, `og:image`, `og:video`, `json-ld`, `poster`.
    `width` is the descriptor's in px, where there is one.
    """

    url: str
    source: str
    width: int | None = None


class DraftMedium(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A medium that a page shows: its candidates (never empty, best first), its alt text and its caption.

    `width` and `height` are what the page declares, in px. `fallback` marks a medium that stands in the page's metadata only
    (og:image, og:video, JSON-LD), not in its body; `tracks` are URLs of a video's text tracks, best first.
    """

    kind: MediumKind = "image"
    candidates: list[Candidate]
    alt: str = ""
    title: str = ""
    caption: str = ""
    width: int | None = None
    height: int | None = None
    fallback: bool = False
    tracks: list[str] = []


DraftNode: TypeAlias = Text | DraftMedium


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """What extraction makes of one page, before filters and media.

    `language` is what the page declares (BCP 47, lower case), not what was detected; `date` what its metadata states; `licence` the URL of
    rel=license; `robots` the directives of its robots metas. `dropped` holds the paragraphs and media that are not in `nodes`.
    """

    url: str
    nodes: list[Text | DraftMedium]
    title: str = ""
    language: str = ""
    date: str = ""
    licence: str = ""
    robots: list[str] = []
    dropped: list[Drop] = []

    @property
    def text(self) -> str:
        """The text alone: text nodes with a blank line between them."""
        return "\n\n".join([node.text for node in self.nodes if type(node) is Text])

    @property
    def media(self) -> list[DraftMedium]:
        """The media in order."""
        return [node for node in self.nodes if type(node) is DraftMedium]


_DRAFT_NODES = msgspec.json.Decoder(list[str | DraftMedium])


def encode_draft_nodes(nodes: Iterable[Text | DraftMedium]) -> bytes:
    """A draft's nodes as the JSON that the documents table holds: a string a text node, an object a medium."""
    return msgspec.json.encode([node.text if type(node) is Text else node for node in nodes])


def decode_draft_nodes(data: str | bytes) -> list[Text | DraftMedium]:
    """What `encode_draft_nodes` was given.

    Raises:
        SchemaError: the JSON does not have that form.
    """
    try:
        return [Text(node) if isinstance(node, str) else node for node in _DRAFT_NODES.decode(data)]
    except msgspec.MsgspecError as error:
        raise SchemaError(f"not the nodes of a draft: {error}") from error


class Medium(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True, omit_defaults=True
):
    """A medium of a document: the member of its sample that holds the bytes, and what is known of it.

    `member` is the part of the file's name after the sample key (`000.jpg`). `url` is the candidate that was taken, `source` and `rank`
    (0 is best) say which. `width`, `height` are px, of a video's frames too; `duration_s` a video's seconds. `sha256` is that of
    the member's bytes, `source_sha256` that of the bytes on the web, `phash` a 64-bit perceptual hash in hex. `scores` are those of the scorers that the run was told to ask, by name.
    """

    member: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{3,}\.[a-z0-9]+$")]
    url: str
    source: str
    rank: Annotated[int, msgspec.Meta(ge=0)]
    width: Side
    height: Side
    bytes: Annotated[int, msgspec.Meta(ge=1)]
    sha256: Sha256
    source_sha256: Sha256
    phash: str = ""
    alt: str = ""
    caption: str = ""
    scores: dict[str, float] = {}


class Image(Medium, frozen=True, kw_only=True, tag="image"):
    """A still picture: JPEG, PNG or WebP."""


class Video(Medium, frozen=True, kw_only=True, tag="video"):
    """A short video: MP4 or WebM."""

    duration_s: Annotated[float, msgspec.Meta(gt=0)]
    fps: Annotated[float, msgspec.Meta(gt=0)]


Node: TypeAlias = Text | Image | Video


class Provenance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where a page came from: the input's name below its root, the record's byte offset and length, its payload's digest.

    `offset` and `length` are bytes in the (compressed) file; for a row of a Parquet file `offset` is the row, `length` 1.
    """

    source: str
    offset: Annotated[int, msgspec.Meta(ge=0)]
    length: Annotated[int, msgspec.Meta(ge=0)]
    digest: str = ""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An interleaved sample: the JSON member of a shard.

    `nodes` is the one truth; `text` is `markup.render(nodes)`, written out for readers that want the paper's form. `key` names the
    sample. `date` is the capture's (ISO 8601, UTC), `language` detected (ISO 639-1 where it has one) with its `language_score` in 0..1.
    """

    key: SampleKey
    url: str
    nodes: list[Text | Image | Video]
    text: str
    provenance: Provenance
    title: str = ""
    date: str = ""
    language: str = ""
    language_score: float | None = None
    licence: str = ""
    version: Literal[1] = DOCUMENT_VERSION

    @property
    def media(self) -> list[Image | Video]:
        """The media in order."""
        return [node for node in self.nodes if not isinstance(node, Text)]
