"""One pass over the tree: blocks of text and mentions of media in document order, with the containers that they stand in.

A block is a run of inline content between two borders of block elements: a paragraph, heading, list item, caption. Preformatted text and
tables of data are one block each. A mention is an element that shows a picture or a video. Containers are the block elements, numbered in
document order, so that a container's number is larger than its parent's: sums over subtrees are one loop backwards, what is inherited is
one loop forwards.

Nothing is judged here but what no reader sees: scripts, templates, hidden elements.
"""

from functools import lru_cache

from selectolax.lexbor import LexborNode

from pipeline.extract.candidates import names_video
from pipeline.extract.mentions import LAZY_NAMES, Attributes, Mention, are_twins, is_stand_in, noscript_images
from pipeline.extract.signs import PLAIN_ATTRIBUTES, TAG_BITS, element_bits, name_bits

MAX_DATA_CELL = 120  # ours: mean characters of a cell; longer ones are a page's layout
MAX_TITLE_CHARS = 200  # ours: a longer text of a link is a whole paragraph

# What the walk does with a tag; every tag that is not here is inline.
_BLOCK, _LINK, _PLAIN, _SKIP, _BREAK, _MEDIA, _INLINE, _PICTURE, _SOURCE, _PRE, _TABLE, _CELL = range(1, 13)
_NOSCRIPT, _META = range(13, 15)
_FORMS = (_PRE, _TABLE)
_KINDS = {
    tag: kind
    for kind, tags in {
        _BLOCK: "div p section article main header footer aside nav ul ol li dl dt dd h1 h2 h3 h4 h5 h6 blockquote figure figcaption form "
        "fieldset address details summary center hgroup dialog menu dir legend body caption button label search amp-carousel noframes",
        _LINK: "a",
        _PLAIN: "b i em strong u s small big mark sub sup tt kbd samp var abbr acronym dfn q del ins strike nobr bdi bdo ruby font",
        _SKIP: "style svg template iframe object embed canvas select textarea input datalist math head title param "
        "frameset frame applet map -comment audio progress meter rp rt wbr col colgroup track",
        _BREAK: "br hr",
        _MEDIA: "img amp-img amp-anim video amp-video",
        _PICTURE: "picture",
        _SOURCE: "source",
        _PRE: "pre listing xmp plaintext",
        _TABLE: "table",
        _CELL: "tr td th tbody thead tfoot",
        _NOSCRIPT: "noscript",
        _META: "meta link script base",
    }.items()
    for tag in tags.split()
}
# Marks in the raw text of a block. They are white space to str.split, so that what a page has of them by itself does no harm.
MEDIUM, LINE, ROW, CELL = "\x1c", "\x1d", "\x1e", "\x1f"
_UNSEEN_CLASSES = frozenset(
    "sr-only screen-reader-text visually-hidden visuallyhidden screen-reader element-invisible".split()
)


class Block:
    """A run of inline content: `raw` holds its text with marks, `text` is folded and without them."""

    __slots__ = ("container", "form", "level", "link_chars", "links", "marker", "media", "quoted", "raw", "text")

    def __init__(self, raw: str, text: str, container: int) -> None:
        self.raw = raw
        self.text = text
        self.container = container
        self.form = ""  # "pre" and "table" for what is one block however it is built
        self.level = 0  # of a heading
        self.marker = ""  # of a list's item
        self.quoted = False
        self.link_chars = 0
        self.links = 0
        self.media: list[Mention] = []


class Walk:
    """Walks one tree; `items` are blocks and mentions in document order, the other public lists are of containers, by number."""

    def __init__(self, body: LexborNode) -> None:
        self.items: list[Block | Mention] = []
        self.parents = [0]
        self.tags = ["body"]
        self.bits = [0]
        self.starts = [0]  # the first item in or after the container
        self.ends = [0]
        self.depths = [0]
        self.lasts = [0]  # one more than the number of the last container within
        self.metas: list[Attributes] = []
        self.links: list[Attributes] = []
        self.bases: list[Attributes] = []
        self.scripts: list[str] = []
        self._container = 0
        self._pieces: list[str] = []
        self._media: list[Mention] = []
        self._last: Mention | None = None
        self._lists: list[int] = []
        self._marker = ""
        self._level = 0
        self._quotes = 0
        self._form = ""
        self._href: str | None = None
        self._links = 0
        self._link_chars = 0
        self._sources: list[Attributes] = []
        self._walk(body)
        self._flush()
        self.ends[0] = len(self.items)
        self.lasts[0] = len(self.tags)

    def _walk(self, body: LexborNode) -> None:
        """The loop over nodes; the stack holds the open elements, each with what its end does."""
        pieces, kinds = self._pieces, _KINDS
        stack: list[tuple[LexborNode, int]] = []
        node = body.first_child
        while True:
            while node is None:
                if not stack:
                    return
                node, end = stack.pop()
                if end:
                    self._close(end)
                node = node.next
            tag = node.tag or ""
            if tag == "-text":
                text = node.text_content or ""
                if pieces or not text.isspace():
                    pieces.append(text)
                    if self._href is not None:
                        self._link_chars += len(text)
                node = node.next
                continue
            kind = kinds.get(tag, _INLINE)
            if kind == _PLAIN:
                stack.append((node, 0))
                node = node.first_child
                continue
            end = -1 if kind == _SKIP else self._open(node, tag, kind)
            if end >= 0:
                stack.append((node, end))
                node = node.first_child
            else:
                node = node.next

    def _open(self, node: LexborNode, tag: str, kind: int) -> int:
        """Opens an element: what its end does (0 for nothing), or -1 where the walk does not go into it."""
        attributes = node.attributes
        is_plain = PLAIN_ATTRIBUTES.issuperset(attributes)
        if not is_plain and _is_hidden(attributes, kind):
            return -1
        if kind == _BLOCK:
            if not is_plain:
                self._look_for_picture(tag, attributes)
            return self._open_container(tag, attributes, is_plain)
        if kind == _INLINE:
            if not is_plain:
                self._look_for_picture(tag, attributes)
            return -1 if is_plain and _is_unseen(attributes.get("class")) else 0
        if kind == _LINK:
            return self._open_link(node, attributes)
        if kind == _CELL:
            return self._open_cell(tag, attributes, is_plain)
        if kind in _FORMS:
            end = self._open_container(tag, attributes, is_plain)
            if not self._form:
                self._form = "pre" if kind == _PRE else "table" if _is_data(node) else ""
            return end
        if kind == _PICTURE:
            self._sources = []
            return _PICTURE
        self._read(node, tag, kind, attributes)
        return -1

    def _read(self, node: LexborNode, tag: str, kind: int, attributes: Attributes) -> None:
        """Takes what an element without content for us says."""
        if kind == _SOURCE:
            self._sources.append(attributes)
        elif kind == _BREAK:
            self._break(tag)
        elif kind == _META:
            self.read_meta(node, tag, attributes)
        elif kind == _NOSCRIPT:
            self._add_noscript(node)
        else:
            self._add_medium(node, tag, attributes)

    def read_meta(self, node: LexborNode, tag: str, attributes: Attributes) -> None:
        """Remembers what the page says of itself."""
        if tag == "meta":
            self.metas.append(attributes)
        elif tag == "link":
            self.links.append(attributes)
        elif tag == "base":
            self.bases.append(attributes)
        elif attributes.get("type") == "application/ld+json":
            self.scripts.append(node.text())

    def _look_for_picture(self, tag: str, attributes: Attributes) -> None:
        """Adds an element that is no picture but shows one, as its background or when a script has run."""
        if not LAZY_NAMES.isdisjoint(attributes) or "url(" in (attributes.get("style") or ""):
            self._add(Mention(tag, attributes, self._container, self._href))

    def _open_link(self, node: LexborNode, attributes: Attributes) -> int:
        """Opens a link; one to a video's file shows the video, and the link's text is its title."""
        self._href = attributes.get("href") or ""
        self._links += 1
        if "rel" in attributes or "creativecommons.org" in self._href:
            self.links.append(attributes)
        if names_video(self._href):
            title = attributes.get("title") or " ".join(node.text().split())[:MAX_TITLE_CHARS]
            self._add(Mention("video", {"href": self._href, "title": title}, self._container, None))
        return _LINK

    def _open_cell(self, tag: str, attributes: Attributes, is_plain: bool) -> int:
        if self._form != "table":
            return self._open_container(tag, attributes, is_plain)
        if tag == "tr":
            self._pieces.append(ROW)
        elif tag == "td" or tag == "th":
            self._pieces.append(CELL)
        return 0

    def _open_container(self, tag: str, attributes: Attributes, is_plain: bool) -> int:
        if self._form:
            self._pieces.append("\n")
            return _PRE
        if self._pieces:
            self._flush()
        self.parents.append(self._container)
        self._container = len(self.tags)
        self.tags.append(tag)
        bits = name_bits(tag, attributes.get("class"), attributes.get("id")) if attributes else TAG_BITS.get(tag, 0)
        self.bits.append(bits if is_plain else bits | element_bits(attributes))
        self.starts.append(len(self.items))
        self.ends.append(0)
        self.lasts.append(0)
        self.depths.append(self.depths[self.parents[-1]] + 1)
        if tag in _OPENERS:
            if tag == "li":
                self._marker = "- "
                if self._lists and self._lists[-1] >= 0:
                    self._marker = f"{self._lists[-1]}. "
                    self._lists[-1] += 1
            elif tag == "ul" or tag == "ol":
                self._lists.append(_first_number(attributes) if tag == "ol" else -1)
            elif tag == "blockquote":
                self._quotes += 1
            else:
                self._level = int(tag[1])
        return _BLOCK

    def _close(self, end: int) -> None:
        if end == _BLOCK:
            if self._pieces:
                self._flush()
            tag = self.tags[self._container]
            self.ends[self._container] = len(self.items)
            self.lasts[self._container] = len(self.tags)
            self._container = self.parents[self._container]
            if tag in _CLOSERS:
                if tag == "li":
                    self._marker = ""
                elif tag == "ul" or tag == "ol":
                    self._lists.pop()
                elif tag == "blockquote":
                    self._quotes -= 1
                elif tag == "table" or tag in _PRE_TAGS:
                    self._form = ""
                else:
                    self._level = 0
        elif end == _LINK:
            self._href = None
        elif end == _PICTURE:
            if self._sources:
                self._add(Mention("picture", {}, self._container, self._href))
        else:
            self._pieces.append("\n")

    def _break(self, tag: str) -> None:
        pieces = self._pieces
        if not pieces:
            return
        if self._form:
            pieces.append("\n")
        elif tag == "hr" or LINE in pieces[-1] or (pieces[-1].isspace() and len(pieces) > 1 and pieces[-2] == LINE):
            self._flush()
        else:
            pieces.append(LINE)

    def _flush(self) -> None:
        """Ends the block that is being read."""
        raw = "".join(self._pieces)
        self._pieces.clear()
        links, link_chars, media = self._links, self._link_chars, self._media
        self._links = self._link_chars = 0
        self._media = []
        text = " ".join(raw.split())
        for mention in media:
            mention.item = len(self.items)
        if not text:
            self.items += media
            return
        block = Block(raw, text, self._container)
        block.form, block.level, block.quoted = self._form, self._level, self._quotes > 0
        block.marker, self._marker = self._marker, ""
        block.links, block.link_chars, block.media = links, link_chars, media
        self._last = None
        self.items.append(block)

    def _add(self, mention: Mention) -> None:
        """Adds a mention where it stands: in the running text, or between two blocks."""
        twin = self._last
        if twin is not None and twin.tag == "noscript" and twin.container == mention.container and is_stand_in(mention):
            twin.tag, twin.attributes, twin.sources, twin.href = (
                mention.tag,
                mention.attributes,
                mention.sources,
                mention.href,
            )
            return
        self._last = mention
        if self._pieces and not all(map(str.isspace, self._pieces)):
            self._pieces.append(MEDIUM)
            self._media.append(mention)
        else:
            mention.item = len(self.items)
            self.items.append(mention)

    def _add_medium(self, node: LexborNode, tag: str, attributes: Attributes) -> None:
        mention = Mention(tag, attributes, self._container, self._href)
        if tag.endswith("video"):
            for child in node.iter():
                if child.tag == "source":
                    mention.sources.append(child.attributes)
                elif child.tag == "track":
                    mention.tracks.append(child.attributes)
        else:
            mention.sources, self._sources = self._sources, []
            if tag == "amp-img" and (inner := node.css_first("noscript")) is not None:
                mention.noscript = noscript_images(inner)
        self._add(mention)

    def _add_noscript(self, node: LexborNode) -> None:
        """Joins the picture in a `noscript` to the placeholder beside it; without one it is a mention itself."""
        images = noscript_images(node)
        twin = self._last
        if not images:
            return
        if twin is not None and not twin.noscript and are_twins(twin, images[0], self._container):
            twin.noscript = images
            return
        for image in images:
            mention = Mention("noscript", {}, self._container, self._href)
            mention.noscript = [image]
            self._add(mention)


_OPENERS = frozenset("li ul ol blockquote h1 h2 h3 h4 h5 h6".split())
_PRE_TAGS = frozenset("pre listing xmp plaintext".split())
_CLOSERS = _OPENERS | _PRE_TAGS | {"table"}


def _is_hidden(attributes: Attributes, kind: int) -> bool:
    """Whether no reader sees an element, by its own attributes; inline text that is for screen readers alone counts as hidden."""
    if "hidden" in attributes and attributes["hidden"] != "until-found":
        return True
    style = attributes.get("style")
    if style and ("none" in style or "hidden" in style):
        style = style.replace(" ", "").lower()
        if "display:none" in style or "visibility:hidden" in style:
            return True
    if kind != _INLINE:
        return False
    return attributes.get("aria-hidden") == "true" or _is_unseen(attributes.get("class"))


@lru_cache(maxsize=4096)
def _is_unseen(names: str | None) -> bool:
    """Whether inline text is for screen readers alone, by its class."""
    return names is not None and not _UNSEEN_CLASSES.isdisjoint(names.split())


def _is_data(table: LexborNode) -> bool:
    """Whether a table holds data, not a page's layout: at least two columns of short cells and no table within."""
    text = table.text(deep=True)
    cells = rows = 0
    for node in table.traverse():
        tag = node.tag
        if tag == "td" or tag == "th":
            cells += 1
        elif tag == "tr":
            rows += 1
        elif tag == "table" and cells:
            return False
    return cells >= 2 * rows > 0 and len(text) <= MAX_DATA_CELL * cells


def _first_number(attributes: Attributes) -> int:
    start = attributes.get("start") or ""
    return int(start) if start.isdecimal() and len(start) < 6 else 1
