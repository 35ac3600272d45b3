"""Bytes to the HTML5 tree, within deterministic budgets.

The engine is lexbor (selectolax): it builds the tree that a browser builds. Three shapes of input make it slow, all of them rare and
hostile: nesting (its time is quadratic in the depth), very many attributes on one tag (quadratic too), and formatting elements that stay
open (the standard opens them again in every paragraph, so that m of them and n paragraphs make m * n nodes). `parse` recognises them by
a look at the bytes that costs ordinary pages 0.1 ms. Nested and misnested pages are flattened first: libxml2 (lxml) reads them as a
stream of events, in linear time and whatever their depth, and what comes out is the same text and media at a bounded depth. What is
beyond the budgets is a drop.
"""

import re
from html import escape

from lxml import etree
from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser

from pipeline.extract.charset import to_utf8
from schemas.drops import Drop, DropReason

MAX_BYTES = 16 << 20  # ours: one second, for the worst content of that size; books of a whole volume have about a tenth
MAX_TAGS = 100_000  # ours: a second and a half of walking
MAX_ATTRIBUTES = 2_000  # ours: real tags have up to about 100
MAX_DEPTH = 400  # ours: real pages go to about 60; Chromium's own limit is 512
MAX_REOPENED = 1_000  # ours: formatting elements open at once times tags, in thousands; three per tag is the standard's own limit for equal ones
FEW_TAGS = 2_500  # ours: so few cannot take 0.6 s, however they are nested
SHALLOW_TAGS = 6_000  # ours: so few cannot take 0.2 s by their depth

_TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9:-]*)")
_FORMATTING_TAG = re.compile(rb"<(/?)(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[\s/>]", re.IGNORECASE)
_TAG_NAME = re.compile(rb"<[a-zA-Z][^\s/>]*")
_ATTRIBUTE = re.compile(rb"""[\s/]+[^\s/>=]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s>"']+))?""")
_WINDOW = 16_384  # bytes: eight thousand attributes at most, 0.1 s
# Tags that do not nest by themselves: void ones, and those that end where a sibling starts.
_FLAT = frozenset(
    b"area base br col embed hr img input link meta source track wbr param p li td th tr dd dt option body html head tbody thead tfoot".split()
)
_VOID = frozenset("area base br col embed hr img input link meta source track wbr param".split())
_FORMATTING = frozenset("b big code em font i nobr s small strike strong tt u".split())
_INLINE = frozenset("a abbr bdi bdo cite dfn ins del kbd label mark q samp span sub sup time var".split())
_UNSEEN = frozenset("script style".split())


def parse(html: bytes, url: str, charset: str | None = None) -> LexborHTMLParser | Drop:
    """The tree of a page, or the drop of one beyond the budgets. Costs at most about a second whatever the bytes are."""
    if len(html) > MAX_BYTES:
        return _drop(DropReason.BODY_TOO_LARGE, url, len(html), MAX_BYTES)
    html = to_utf8(html, charset)
    attributes = _most_attributes(html)
    if attributes > MAX_ATTRIBUTES:
        return _drop(DropReason.TOO_MANY_ATTRIBUTES, url, attributes, MAX_ATTRIBUTES)
    tags = html.count(b"<")
    if tags > MAX_TAGS:
        return _drop(DropReason.TOO_MANY_NODES, url, tags, MAX_TAGS)
    if (tags > FEW_TAGS and _reopens(html, tags)) or (tags > SHALLOW_TAGS and _is_deep(html)):
        html = flatten(html)
    return LexborHTMLParser(html, options=LexborDocumentOptions.WO_EVENTS)


def _drop(reason: DropReason, url: str, value: int, threshold: int) -> Drop:
    return Drop(kind="page", reason=reason, url=url, value=value, threshold=threshold)


def _most_attributes(html: bytes) -> int:
    """The number of attributes of a tag that has more than `MAX_ATTRIBUTES`, counted that far; 0 where there is none.

    A tag so long leaves a window of the page without a "<" or without a ">", unless it has both in its values.
    """
    seen = -1
    for start in range(0, len(html) - _WINDOW, _WINDOW):
        end = start + _WINDOW
        if html.find(b"<", start, end) < 0:
            tag = html.rfind(b"<", 0, start)
        elif html.find(b">", start, end) < 0:
            tag = html.find(b"<", html.rfind(b">", 0, start) + 1)
        else:
            continue
        if tag > seen:
            seen = tag
            if (attributes := _attributes_at(html, tag)) > MAX_ATTRIBUTES:
                return attributes
    return 0


def _attributes_at(html: bytes, start: int) -> int:
    """The number of attributes of the tag that starts at a place, as far as one more than `MAX_ATTRIBUTES`; 0 where none starts."""
    match = _TAG_NAME.match(html, start)
    count = -1
    while match is not None and count <= MAX_ATTRIBUTES:
        count += 1
        match = _ATTRIBUTE.match(html, match.end())
    return max(count, 0)


def _reopens(html: bytes, tags: int) -> bool:
    """Whether formatting elements stay open over so many tags that opening them again makes too many nodes."""
    found = _FORMATTING_TAG.findall(html)
    if len(found) * tags <= MAX_REOPENED * 1000:
        return False
    opened = most = 0
    for slash in found:
        opened += -1 if slash else 1
        if opened < 0:
            opened = 0
        elif opened > most:
            most = opened
    return most * tags > MAX_REOPENED * 1000


def _is_deep(html: bytes) -> bool:
    """Whether elements may nest deeper than `MAX_DEPTH`, counted without the tags that end by themselves."""
    depth = 0
    for slash, name in _TAG.findall(html):
        if name.lower() not in _FLAT:
            depth += -1 if slash else 1
            if depth > MAX_DEPTH:
                return True
            if depth < 0:
                depth = 0
    return False


def flatten(html: bytes) -> bytes:
    """The same text and media, nested at most `MAX_DEPTH` deep and without formatting elements, as well-formed HTML."""
    target = _Flattener()
    parser = etree.HTMLParser(target=target, encoding="utf-8", huge_tree=True)  # type: ignore[call-overload]
    parser.feed(html)
    out: bytes = parser.close()
    return out


class _Flattener:
    """Takes libxml2's events and writes markup again; elements below `MAX_DEPTH` lose their tags and keep their content."""

    def __init__(self) -> None:
        self._depth = 0
        self._unseen = 0
        self._out: list[str] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _VOID or tag not in _FORMATTING:
            if tag not in _VOID:
                self._depth += 1
            if self._depth > MAX_DEPTH and tag not in _VOID:
                self._border(tag)
            else:
                written = "".join(f' {name}="{escape(value)}"' for name, value in attributes.items())
                self._out.append(f"<{tag}{written}>")

    def end(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen -= 1
        elif tag not in _VOID and tag not in _FORMATTING:
            if self._depth > MAX_DEPTH:
                self._border(tag)
            else:
                self._out.append(f"</{tag}>")
            self._depth -= 1

    def _border(self, tag: str) -> None:
        """What is left of a tag that is too deep: text on both sides of a block element does not run together."""
        if tag not in _INLINE and self._out and self._out[-1] != "<hr>":
            self._out.append("<hr>")

    def data(self, text: str) -> None:
        if not self._unseen:
            self._out.append(escape(text, quote=False))

    def close(self) -> bytes:
        return "".join(self._out).encode("utf-8", "replace")
