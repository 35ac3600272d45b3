"""One page: bytes in, the draft of a document or a drop out. Pure; never raises, whatever the bytes are.

bytes ─dom─▶ tree ─blocks─▶ blocks and mentions ─content─▶ kept blocks ─pictures, captions─▶ media ─render─▶ nodes
"""

from collections.abc import Iterable

from selectolax.lexbor import LexborHTMLParser

from pipeline.extract.blocks import Block, Walk
from pipeline.extract.captions import captions
from pipeline.extract.content import content_items
from pipeline.extract.dom import parse
from pipeline.extract.mentions import Mention
from pipeline.extract.metadata import Metadata, page_metadata
from pipeline.extract.pictures import Pictures
from pipeline.extract.render import node_texts
from pipeline.urls import Base
from schemas.document import Draft, DraftMedium, Text
from schemas.drops import Drop, DropReason


def draft(html: bytes, url: str, *, charset: str | None = None) -> Draft | Drop:
    """Extracts one page: its main text and media in document order, or the reason why there is none.

    `charset` is the label of the HTTP header, where there was one.
    """
    tree = parse(html, url, charset)
    if isinstance(tree, Drop):
        return tree
    body = tree.body
    if body is None:
        return Drop(kind="page", reason=DropReason.EMPTY, url=url)
    walk = Walk(body)
    if not walk.items:
        return Drop(kind="page", reason=DropReason.EMPTY, url=url)
    head = _Head(tree, walk, url)
    kept = content_items(walk)
    page = _Nodes(walk, kept, head, url)
    if not page.nodes:
        return Drop(kind="page", reason=DropReason.NO_CONTENT, url=url, value=len(walk.items))
    metadata = head.metadata
    return Draft(
        url=url,
        nodes=page.nodes,
        title=head.title,
        language=head.language,
        date=metadata.date,
        licence=metadata.licence,
        robots=metadata.robots,
        dropped=page.dropped,
    )


class _Head:
    """What the page says of itself."""

    def __init__(self, tree: LexborHTMLParser, walk: Walk, url: str) -> None:
        title = ""
        head = tree.head
        for node in head.iter() if head is not None else ():
            tag = node.tag
            if tag == "title":
                title = title or node.text()
            elif tag in ("meta", "link", "base", "script"):
                walk.read_meta(node, tag, node.attributes)
        bases = [href for attributes in walk.bases if (href := attributes.get("href")) is not None]
        self.base = Base(url, bases[0] if bases else None)
        self.title = " ".join(title.split())
        root = tree.root
        self.language = (root.attributes.get("lang") or "").strip().lower() if root is not None else ""
        self.metadata: Metadata = page_metadata(walk.metas, walk.links, walk.scripts, self.base)


class _Nodes:
    """The nodes of a page in order, and what is left out."""

    def __init__(self, walk: Walk, kept: list[bool], head: _Head, url: str) -> None:
        self.nodes: list[Text | DraftMedium] = []
        self.dropped: list[Drop] = []
        self._url = url
        self._pictures = Pictures(walk, kept, head.base, url, head.metadata, head.language)
        self._captions = captions(walk)
        for item, is_kept in zip(walk.items, kept, strict=True):
            if type(item) is Mention:
                self._show(self._judged([item]).values())
            elif type(item) is Block:
                self._add_block(item, is_kept)
        has_video = any(isinstance(node, DraftMedium) and node.kind == "video" for node in self.nodes)
        video = None if has_video else self._pictures.fallback_video()
        self.nodes[:0] = [medium for medium in (self._pictures.fallback(), video) if medium is not None]

    def _add_block(self, block: Block, is_kept: bool) -> None:
        shown = self._judged(block.media) if block.media else {}
        if not is_kept:
            self.dropped.append(
                Drop(kind="paragraph", reason=DropReason.BOILERPLATE, url=self._url, detail=block.text[:80])
            )
            self._show(shown.values())
            return
        first, *others = node_texts(block, list(shown))
        if first:
            self.nodes.append(Text(first))
        for medium, text in zip(shown.values(), others, strict=True):
            self._show([medium])
            if text:
                self.nodes.append(Text(text))

    def _judged(self, mentions: list[Mention]) -> dict[Mention, DraftMedium]:
        media = {}
        for mention in mentions:
            judged = self._pictures.judge(mention, self._captions.get(mention, ""))
            if isinstance(judged, Drop):
                self.dropped.append(judged)
            else:
                media[mention] = judged
        return media

    def _show(self, media: Iterable[DraftMedium]) -> None:
        """Adds media; one that shows the same picture as the medium right before it becomes one with it."""
        for medium in media:
            last = self.nodes[-1] if self.nodes else None
            one = self._pictures.joined(last, medium) if isinstance(last, DraftMedium) else None
            if one is None:
                self.nodes.append(medium)
                continue
            self.nodes[-1] = one
            best = medium.candidates[0].url
            self.dropped.append(
                Drop(kind=medium.kind, reason=DropReason.REPEATED_IN_PAGE, url=self._url, medium_url=best)
            )
