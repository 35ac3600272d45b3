"""The choice of the DOM engine: our whole extraction over lexbor (selectolax) and over lxml, on the same pages.

    python -m tests.bench.bench_engines [--pages N]

lxml keeps text in its elements and has no text nodes, so the walk reads it through a thin view of five attributes; the bare walks show
both engines without it. The last lines show what each engine keeps of text nested ever deeper.
"""

import argparse
import time
from collections.abc import Callable, Iterator

from lxml import etree
from selectolax.lexbor import LexborDocumentOptions, LexborHTMLParser

from pipeline.extract.blocks import Walk
from pipeline.extract.charset import to_utf8
from pipeline.extract.content import content_items
from tests.bench.annotated import snippets

ROUNDS = 3


class View:
    """An lxml element, or the text before or after one, as the node that the walk reads."""

    __slots__ = ("element", "is_tail", "text_content")

    def __init__(self, element: etree._Element, text: str | None = None, *, is_tail: bool = False) -> None:
        self.element = element
        self.text_content = text
        self.is_tail = is_tail

    @property
    def tag(self) -> str:
        """The name as lexbor gives it."""
        if self.text_content is not None:
            return "-text"
        tag = self.element.tag
        return tag if isinstance(tag, str) else "-comment"

    @property
    def attributes(self) -> dict[str, str]:
        """A copy of the attributes; lxml refuses some names that pages have (`{}`), then none."""
        try:
            return dict(self.element.attrib)
        except ValueError:
            return {}

    @property
    def first_child(self) -> "View | None":
        """The first text or element within."""
        if self.text_content is not None:
            return None
        if self.element.text:
            return View(self.element, self.element.text)
        return View(self.element[0]) if len(self.element) else None

    @property
    def next(self) -> "View | None":
        """The next text or element beside this."""
        element = self.element
        if self.text_content is not None and not self.is_tail:
            return View(element[0]) if len(element) else None
        if not self.is_tail and element.tail:
            return View(element, element.tail, is_tail=True)
        following = element.getnext()
        return View(following) if following is not None else None

    def text(self, *, deep: bool = True) -> str:
        """All text within."""
        return "".join(self.element.itertext()) if deep else self.element.text or ""

    def iter(self) -> Iterator["View"]:
        """The elements directly within."""
        return map(View, self.element)

    def traverse(self) -> Iterator["View"]:
        """This element and all within."""
        return map(View, self.element.iter())

    def css(self, tag: str) -> list["View"]:
        """The elements of one name within."""
        return list(map(View, self.element.iter(tag)))

    def css_first(self, tag: str) -> "View | None":
        """The first of them."""
        return next(iter(self.css(tag)), None)


def _lexbor(html: bytes) -> LexborHTMLParser:
    return LexborHTMLParser(html, options=LexborDocumentOptions.WO_EVENTS)


def _lxml(html: bytes) -> etree._Element:
    return etree.fromstring(html, etree.HTMLParser(encoding="utf-8", huge_tree=True))


def _walk_lexbor(html: bytes) -> None:
    body = _lexbor(html).body
    for node in body.traverse(include_text=True) if body is not None else ():
        _ = node.tag


def _walk_lxml(html: bytes) -> None:
    for node in _lxml(html).iter():
        _ = node.tag, node.text, node.tail


def _extract_lexbor(html: bytes) -> None:
    body = _lexbor(html).body
    if body is not None:
        content_items(Walk(body))


def _extract_lxml(html: bytes) -> None:
    body = _lxml(html).find("body")
    if body is not None:
        content_items(Walk(View(body)))  # type: ignore[arg-type]


STEPS: dict[str, tuple[Callable[[bytes], object], Callable[[bytes], object]]] = {
    "parse": (_lexbor, _lxml),
    "parse, bare walk": (_walk_lexbor, _walk_lxml),
    "parse, our walk, content": (_extract_lexbor, _extract_lxml),
}


def _milliseconds(step: Callable[[bytes], object], pages: list[bytes]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        for html in pages:
            step(html)
        best = min(best, time.process_time() - start)
    return best / len(pages) * 1e3


def main() -> None:
    """Prints the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pages", type=int, default=150)
    pages = [to_utf8(page.html, None) for page in snippets()[: arguments.parse_args().pages]]
    print(f"{len(pages)} pages, mean {sum(map(len, pages)) / len(pages) / 1e3:.0f} kB; CPU ms a page")
    print(f"{'':28}{'lexbor':>10}{'lxml':>10}")
    for name, steps in STEPS.items():
        print(f"{name:28}" + "".join(f"{_milliseconds(step, pages):10.2f}" for step in steps))
    for depth in (200, 1_000, 5_000):
        html = b"<div>text" * depth
        kept = _lexbor(html).html or "", etree.tostring(_lxml(html), encoding="unicode")
        print(f"{f'texts kept of {depth} nested':28}" + "".join(f"{markup.count('text'):10}" for markup in kept))


if __name__ == "__main__":
    main()
