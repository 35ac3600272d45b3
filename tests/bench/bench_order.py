"""Text-picture order against a browser: do neighbours of a draft stand as in the DOM that Chromium builds?

Pages of crawls and of annotated sets are shown in headless Chromium, scripts and all; `draft` then reads the rendered HTML. For every
text node and picture that are neighbours in the draft, their places in the browser's DOM are looked up: pictures by a mark that is put
into their `title`, texts by their letters. A text that stands at several places of the page, on both sides of the picture, is not judged.

Run: python -m tests.bench.bench_order [--limit PAGES_PER_SET] [--show]
"""

import argparse
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
from fastwarc.warc import ArchiveIterator, WarcRecordType

import pipeline
from schemas.document import Draft, DraftMedium, Text
from schemas.drops import Drop
from tests.bench.chromium import Body, Chromium, lacking, without_scheme

DATA = Path(__file__).parents[2].parent / "shared" / "data"
TARGET = 0.99

# Marks the pictures, then gives the rendered HTML and the texts (strings) and pictures (numbers) in DOM order.
SCRIPT = """
if (!document.body) return ["", []];
const pictures = new Set(["IMG", "AMP-IMG", "VIDEO"]);
const hidden = new Set(["SCRIPT", "STYLE", "NOSCRIPT", "TEMPLATE", "TEXTAREA", "SELECT", "IFRAME", "OBJECT"]);
let count = 0, items = [];
(function walk(node) {
  for (const child of node.childNodes) {
    if (child.nodeType == 3) items.push(child.data);
    else if (child.nodeType == 1 && !hidden.has(child.nodeName.toUpperCase())) {
      if (pictures.has(child.nodeName.toUpperCase())) {
        child.setAttribute("title", "m3w-order-" + count);
        items.push(count++);
      }
      walk(child);
    }
  }
})(document.body);
return [document.documentElement.outerHTML, items];
"""
_MARK = re.compile(r"m3w-order-(\d+)")
_NO_LETTER = re.compile(r"[\W_]+")
_LINK = re.compile(r"\]\([^)\s]*\)")


class Page(NamedTuple):
    """A page to be shown, or what pages show: the name of its set, its URL, its body."""

    set: str
    url: str
    body: Body


class Order(NamedTuple):
    """The browser's DOM as one text without spaces and signs, and the place of each picture in it."""

    letters: str
    places: list[int]


def letters(text: str) -> str:
    """What a text keeps whatever its spacing, case and Markdown."""
    return _NO_LETTER.sub("", _LINK.sub("", text)).lower()


def browser_order(items: Sequence[str | int]) -> Order:
    """Reads what `SCRIPT` gives."""
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for item in items:
        if isinstance(item, int):
            places.append(at)
        else:
            parts.append(letters(item))
            at += len(parts[-1])
    return Order("".join(parts), places)


def text_places(draft: Draft, order: Order) -> list[list[tuple[int, int]]]:
    """Where each node's text stands in the browser's letters (start, end); empty for pictures and for what is not found.

    A text that stands at several places is narrowed to those between its neighbours in the draft that stand at one.
    """
    places: list[list[tuple[int, int]]] = []
    for node in draft.nodes:
        wanted = letters(node.text) if isinstance(node, Text) else ""
        starts = [match.start() for match in re.finditer(f"(?={re.escape(wanted)})", order.letters)] if wanted else []
        places.append([(start, start + len(wanted)) for start in starts])
    single = [(i, found[0]) for i, found in enumerate(places) if len(found) == 1]
    for i, found in enumerate(places):
        if len(found) > 1:
            after = max((end for at, (_, end) in single if at < i), default=0)
            before = min((start for at, (start, _) in single if at > i), default=len(order.letters))
            places[i] = [place for place in found if after <= place[0] and place[1] <= before] or found
    return places


def verdict(texts: list[tuple[int, int]], medium: DraftMedium, text_first: bool, order: Order) -> str:
    """`right`, `wrong`, or why the pair cannot be judged. A picture within a text may stand on either side of it."""
    mark = _MARK.search(medium.title)
    if mark is None:
        return "no mark"
    if not texts:
        return "text not found"
    picture = order.places[int(mark[1])]
    right = {start < picture if text_first else end > picture for start, end in texts}
    return "text repeated" if len(right) > 1 else "right" if right == {True} else "wrong"


def pairs(draft: Draft) -> Iterator[tuple[int, int]]:
    """Neighbours of unlike kinds, as indices of nodes; pictures of the metadata have no place."""
    shown = [i for i, node in enumerate(draft.nodes) if isinstance(node, Text) or not node.fallback]
    for one, other in pairwise(shown):
        if isinstance(draft.nodes[one], Text) != isinstance(draft.nodes[other], Text):
            yield one, other


def crawled() -> Iterator[Page]:
    """The responses of the crawls: pages, and what they load."""
    for path in sorted((DATA / "warc").glob("*.warc.gz")):
        name = path.name.split("-")[0].split(".")[0]
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
                url = (record.headers.get("WARC-Target-URI") or "").strip("<>")
                if record.http_headers.status_code == 200:
                    yield Page(name, url, (record.http_content_type or "", record.reader.read()))


def annotated() -> Iterator[Page]:
    """The annotated pages under their own URLs; those of Readability have none and get one each."""
    for file, content in members(DATA / "pages" / "pages.tar.xz"):
        if file == "gold.jsonl":
            urls = {row["file"]: row["url"] for row in map(json.loads, content.splitlines())}
    for file, content in members(DATA / "pages" / "pages.tar.xz"):
        if urls.get(file, "").startswith("http"):
            yield Page("pages", urls[file], ("text/html", content))
    for file, content in members(DATA / "readability" / "pages.tar.xz"):
        if file.endswith("source.html"):
            yield Page("readability", f"http://{file.split('/')[-2]}.example/page.html", ("text/html", content))


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files of a tar."""
    with tarfile.open(path) as tar:
        for member in tar:
            if file := tar.extractfile(member):
                yield member.name, file.read()


def sample(found: Sequence[Page], limit: int) -> list[Page]:
    """At most `limit` HTML pages of each set, evenly spaced."""
    by_set: dict[str, list[Page]] = {}
    for page in found:
        if page.body[0].startswith("text/html") and not page.url.endswith("robots.txt"):
            by_set.setdefault(page.set, []).append(page)
    return [page for pages in by_set.values() for page in pages[:: -(-len(pages) // limit)]]


def judge(browser: Chromium, page: Page, show: bool) -> Counter[str]:
    """Verdicts of one page."""
    try:
        rendered = browser.run("http:" + page.url.partition(":")[2], SCRIPT)
    except RuntimeError:
        return Counter({"page not shown": 1})
    html, items = msgspec.convert(rendered, tuple[str, list[str | int]])
    draft = pipeline.draft(html.encode("utf-8", "replace"), page.url, charset="utf-8")
    if isinstance(draft, Drop):
        return Counter({f"page dropped: {draft.reason}": 1})
    order = browser_order(items)
    counts = Counter({"pages": 1, "pictures": len(draft.media)})
    texts = text_places(draft, order)
    for one, other in pairs(draft):
        text_first = isinstance(draft.nodes[one], Text)
        at, medium = (one, draft.nodes[other]) if text_first else (other, draft.nodes[one])
        assert isinstance(medium, DraftMedium)
        result = verdict(texts[at], medium, text_first, order)
        counts[result] += 1
        if show and result != "right":
            side = "before" if text_first else "after"
            print(f"{result:14} {page.url}\n    {draft.nodes[at]!r:.100} {side} {medium.candidates[0].url:.100}")
    return counts


def main() -> None:
    """Prints a table: a row a set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=40, help="pages of each set")
    parser.add_argument("--show", action="store_true", help="print the pairs that are not right")
    options = parser.parse_args()
    if reason := lacking() or (None if DATA.is_dir() else f"no pages at {DATA}"):
        print(f"skipped: {reason}")
        return
    found = [*crawled(), *annotated()]
    totals: dict[str, Counter[str]] = {}
    with Chromium(without_scheme((page.url, page.body) for page in found)) as browser:
        for page in sample(found, options.limit):
            totals.setdefault(page.set, Counter()).update(judge(browser, page, options.show))
    totals["all"] = sum(totals.values(), Counter())
    print(f"{'set':14}{'pages':>7}{'pictures':>10}{'pairs':>8}{'right':>8}{'share':>9}   not judged")
    for name, counts in totals.items():
        judged = counts["right"] + counts["wrong"]
        share = f"{counts['right'] / judged:9.4f}" if judged else f"{'-':>9}"
        other = {key: n for key, n in counts.items() if key not in ("right", "wrong", "pages", "pictures")}
        print(
            f"{name:14}{counts['pages']:7}{counts['pictures']:10}{judged:8}{counts['right']:8}{share}   {other or ''}"
        )
    print(f"target {TARGET}")


if __name__ == "__main__":
    main()
