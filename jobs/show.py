"""m3w inspect: a document as a reader sees it, with pictures; or what went, and why.

From shards it shows documents; from a WARC or an HTML file it extracts and filters the page here and now, with the default configuration.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text as Styled

from jobs.presets import read_config
from jobs.terminal_pictures import here, picture
from pipeline.extract.page import draft
from pipeline.filters import filter_draft
from pipeline.read.inputs import find_inputs
from pipeline.read.records import Page, read
from pipeline.read.slices import slices
from pipeline.report import read_manifest
from pipeline.runfolder import RunFolder
from pipeline.store import Store
from pipeline.urls import page_key
from schemas.document import Document, Draft, DraftMedium, Image, Text, Video
from schemas.drops import Drop
from schemas.errors import InputError
from schemas.shard import Sample, read_shard
from schemas.tables import DROPS, read_table


def run(options: argparse.Namespace) -> None:
    """Prints what the options ask for.

    Raises:
        InputError: nothing there, or nothing that fits.
    """
    kind = _kind(options.path)
    if kind == "run" and options.dropped:
        shown = _show_drops(RunFolder(options.path), options)
    elif kind in ("run", "tar"):
        shown = _show_samples(_tars(options.path) if kind == "run" else [options.path], options)
    else:
        shown = _show_drafts(_pages(options, kind), options)
    if not shown:
        wanted = options.key or options.url
        raise InputError(f"{options.path}: nothing to show" + (f" for {wanted}" if wanted else ""))


def _kind(path: str) -> str:
    if path.endswith(".tar"):
        return "tar"
    if path.endswith((".html", ".htm", ".xhtml")) and Path(path).is_file():
        return "html"
    return "run" if RunFolder(path).is_run() else "crawl"


def _tars(url: str) -> list[str]:
    """The shards of a run: documents first, then pairs."""
    shards = sorted(read_manifest(RunFolder(url)).shards, key=lambda shard: shard.kind != "interleaved")
    return [f"{url}/shards/{shard.path}" for shard in shards]


def _show_samples(tars: Iterable[str], options: argparse.Namespace) -> int:
    shown = 0
    for sample in islice(_samples(tars, options.key, options.url), options.number):
        if options.json:
            sys.stdout.write(sample.members["json"].decode() + "\n")
        else:
            _print_sample(sample, options.nodes)
        shown += 1
    return shown


def _samples(tars: Iterable[str], key: str | None, url: str | None) -> Iterator[Sample]:
    for tar in tars:
        folder, _, name = tar.rpartition("/")
        with Store(folder or ".").open(name) as file:
            for sample in read_shard(file):
                if key and not sample.key.startswith(key):
                    continue
                if url and page_key(url) != page_key(msgspec.json.decode(sample.members["json"]).get("url", "")):
                    continue
                yield sample


def _print_sample(sample: Sample, nodes: int | None) -> None:
    if "txt" in sample.members:
        _print_pair(sample)
        return
    try:
        document = msgspec.json.decode(sample.members["json"], type=Document)
    except (KeyError, msgspec.MsgspecError) as error:
        raise InputError(f"sample {sample.key} holds no document of m3w: {error}") from error
    console = Console(highlight=False)
    facts = [
        document.key,
        document.date,
        f"{document.language} {document.language_score or ''}".strip(),
        document.licence,
    ]
    _print_head(console, document.title, document.url, facts)
    start = _start(document.nodes, nodes)
    for node in document.nodes[start:][:nodes]:
        if isinstance(node, Text):
            console.print(Styled(node.text), "\n")
        else:
            _print_medium(console, node, sample.members[node.member])
    _print_rest(console, len(document.nodes), start, nodes)


def _print_pair(sample: Sample) -> None:
    """A pair of ours, or, of another's shard, its text and picture."""
    medium = next(((name, data) for name, data in sample.members.items() if name not in ("txt", "json")), None)
    facts = msgspec.json.decode(sample.members.get("json", b"{}"))
    caption = sample.members["txt"].decode("utf-8", "replace")
    console = Console(highlight=False)
    _print_head(console, caption, str(facts.get("page_url") or facts.get("url", "")), [sample.key])
    if medium is not None:
        if medium[0] not in ("mp4", "webm"):
            sys.stdout.write(picture(medium[1], here()))
        label = f"{medium[0]}  {facts.get('width')} x {facts.get('height')}, {len(medium[1]):,} bytes, {facts.get('caption_source', '')}"
        _print_label(console, label, scores=_scores(facts.get("scores", {})))


def _start(nodes: Sequence[object], shown: int | None) -> int:
    """Where `shown` nodes around the first picture begin; 0 where all are shown."""
    first = next((place for place, node in enumerate(nodes) if not isinstance(node, Text)), 0)
    return max(0, min(first - shown // 2, len(nodes) - shown)) if shown is not None else 0


def _print_rest(console: Console, number: int, start: int, shown: int | None) -> None:
    if shown is not None and number > shown:
        console.print(Styled(f"({start} nodes before, {number - start - shown} after)", style="dim"), "\n")


def _print_head(console: Console, title: str, url: str, facts: list[str]) -> None:
    console.print(Styled(title or "(no title)", style="bold"))
    console.print(Styled(url, style="blue"))
    console.print(Styled("  ".join(fact for fact in facts if fact), style="dim"), "\n")


def _print_medium(console: Console, node: Image | Video, data: bytes) -> None:
    if isinstance(node, Image):
        sys.stdout.write(picture(data, here()))
    label = f"<image> {node.member}  {node.width} x {node.height}, {len(data):,} bytes, {node.source}"
    _print_label(console, label, alt=node.alt, caption=node.caption, scores=_scores(node.scores))


def _scores(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {score}" for name, score in scores.items())


def _print_label(console: Console, label: str, **texts: str) -> None:
    """A medium's line, and below it each text that is not empty."""
    console.print(Styled(label, style="magenta"))
    for name, text in texts.items():
        if text:
            console.print(Styled(f"  {name}: {text}", style="dim"))
    console.print()


def _pages(options: argparse.Namespace, kind: str) -> Iterator[Page | tuple[bytes, str]]:
    """Pages of a crawl, or the one (bytes, URL) of an HTML file."""
    if kind == "html":
        path = Path(options.path)
        yield path.read_bytes(), options.url or path.absolute().as_uri()
        return
    for one in find_inputs([options.path]):
        for piece in slices(one):
            for record in read(piece):
                if isinstance(record, Page) and (not options.url or page_key(record.url) == page_key(options.url)):
                    yield record


def _show_drafts(pages: Iterable[Page | tuple[bytes, str]], options: argparse.Namespace) -> int:
    filters = read_config("m3w").filters
    shown = 0
    for page in islice(pages, options.number):
        html, url, charset = (page.html, page.url, page.charset) if isinstance(page, Page) else (*page, None)
        made = draft(html, url, charset=charset)
        filtered = made if isinstance(made, Drop) else filter_draft(made, filters)
        shown += 1
        if options.json:
            sys.stdout.write(_draft_json(made, filtered if isinstance(filtered, Drop) else None) + "\n")
        elif isinstance(made, Drop):
            sys.stdout.write(f"{url}\ndropped: {_drop_line(made)}\n")
        else:
            _print_draft(made, options.nodes)
            if options.dropped:
                gone = [*made.dropped, *([filtered] if isinstance(filtered, Drop) else filtered.drops)]
                sys.stdout.write("".join(f"dropped {_drop_line(drop)}\n" for drop in gone))
            elif isinstance(filtered, Drop):
                sys.stdout.write(f"the default filters drop this page: {_drop_line(filtered)}\n")
    return shown


def _draft_json(made: Draft | Drop, filtered: Drop | None) -> str:
    if isinstance(made, Drop):
        return msgspec.json.encode({"drop": made}).decode()
    fields = {**msgspec.structs.asdict(made), "text": made.text, "filtered": filtered}
    return msgspec.json.encode(fields).decode()


def _print_draft(made: Draft, nodes: int | None) -> None:
    console = Console(highlight=False)
    _print_head(console, made.title, made.url, [made.date, made.language, made.licence])
    start = _start(made.nodes, nodes)
    for node in made.nodes[start:][:nodes]:
        if isinstance(node, DraftMedium):
            best = node.candidates[0]
            mark = " (from the page's metadata)" if node.fallback else ""
            _print_label(
                console,
                f"<{node.kind}> {best.url[:200]}  {best.source}, {len(node.candidates)} candidates{mark}",
                alt=node.alt,
                caption=node.caption,
            )
        else:
            console.print(Styled(node.text), "\n")
    _print_rest(console, len(made.nodes), start, nodes)


def _drop_line(drop: Drop) -> str:
    measured = "" if drop.value is None else f" {drop.value:g}"
    against = "" if drop.threshold is None else f" (threshold {drop.threshold:g})"
    return f"{drop.kind}: {drop.reason}{measured}{against} {drop.medium_url[:120]} {drop.detail}".rstrip()


def _show_drops(folder: RunFolder, options: argparse.Namespace) -> int:
    """Rows of the drops tables, of one page if --url names it."""
    shown = 0
    for stage in ("extract", "select", "shard"):
        for name in [
            file.path for commit in folder.commits(stage) for file in commit.files if file.path.startswith("drops/")
        ]:
            with folder.store.open(name) as file:
                rows = read_table(file, DROPS, name).to_pylist()
            for row in rows:
                if options.url and (not row["url"] or page_key(row["url"]) != page_key(options.url)):
                    continue
                if not options.url and shown >= options.number:
                    return shown
                shown += 1
                _print_drop_row(row, options.json)
    return shown


def _print_drop_row(row: dict[str, object], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(msgspec.json.encode(row).decode() + "\n")
        return
    fields = {name: row[name] for name in ("kind", "reason", "url", "value", "threshold", "detail")}
    drop = msgspec.convert(
        {**fields, "medium_url": row["medium_url"] or "", "detail": row["detail"] or "", "url": row["url"] or ""}, Drop
    )
    sys.stdout.write(f"{row['stage']}  {drop.url}\n  {_drop_line(drop)}\n")
