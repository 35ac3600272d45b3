"""One page: bytes in, the draft of a document or a drop out. Pure; never raises, whatever the bytes are.

bytes ─dom─▶ tree ─blocks─▶ blocks and mentions ─content─▶ kept blocks ─pictures, captions─▶ media ─render─▶ nodes
"""

from selectolax.lexbor import LexborHTMLParser

from pipeline.extract.blocks import Block, Mention, Walk
from pipeline.extract.captions import captions
from pipeline.extract.content import content_items
from pipeline.extract.dom import parse
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
    nodes, dropped = _nodes(walk, kept, head, url)
    if not nodes:
        return Drop(kind="page", reason=DropReason.NO_CONTENT, url=url, value=len(walk.items))
    metadata = head.metadata
    return Draft(
        url=url,
        nodes=nodes,
        title=head.title,
        language=head.language,
        date=metadata.date,
        licence=metadata.licence,
        robots=metadata.robots,
        dropped=dropped,
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


def _nodes(walk: Walk, kept: list[bool], head: _Head, url: str) -> tuple[list[Text | DraftMedium], list[Drop]]:
    """The nodes of a page in order, and what is left out."""
    nodes: list[Text | DraftMedium] = []
    dropped: list[Drop] = []
    lead = head.metadata.pictures
    pictures = Pictures(walk, kept, head.base, url, lead)
    described = captions(walk)

    def show(medium: DraftMedium) -> None:
        last = nodes[-1] if nodes else None
        one = pictures.joined(last, medium) if type(last) is DraftMedium else None
        if one is not None:
            nodes[-1] = one
            dropped.append(
                Drop(kind=medium.kind, reason=DropReason.REPEATED_IN_PAGE, url=url, medium_url=medium.candidates[0].url)
            )
        else:
            nodes.append(medium)

    def media(mentions: list[Mention]) -> dict[Mention, DraftMedium]:
        found = {}
        for mention in mentions:
            judged = pictures.judge(mention, described.get(mention, ""))
            if isinstance(judged, Drop):
                dropped.append(judged)
            else:
                found[mention] = judged
        return found

    for item, is_kept in zip(walk.items, kept, strict=True):
        if type(item) is Mention:
            for medium in media([item]).values():
                show(medium)
        elif type(item) is Block:
            shown = media(item.media) if item.media else {}
            if is_kept:
                texts = node_texts(item, list(shown))
                nodes += [Text(texts[0])] if texts[0] else []
                for medium, text in zip(shown.values(), texts[1:], strict=True):
                    show(medium)
                    nodes += [Text(text)] if text else []
            else:
                for medium in shown.values():
                    show(medium)
                dropped.append(Drop(kind="paragraph", reason=DropReason.BOILERPLATE, url=url, detail=item.text[:80]))
    if (fallback := pictures.fallback(lead)) is not None:
        nodes.insert(0, fallback)
    return nodes, dropped
