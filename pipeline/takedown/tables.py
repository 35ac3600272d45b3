"""The run's own tables and stores: what is meant in them, and they without it, so that its bytes and texts are nowhere in the folder.

    documents     a page's row stays, since others are numbered by it, but says nothing: empty nodes in place of its own
    media-copies  the bytes become zeros
    media         a medium's row says `taken_down`; its bytes in the tar become zeros
    scores        the embeddings of a medium become zeros
    assembled     goes whole: a later shard stage makes it anew
    fingerprints  the page's row goes

Each part's commit record is written again with the new digests.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.isolate import Note
from pipeline.runfolder import FileRecord, RunFolder
from pipeline.stages.scored import embedding_places
from pipeline.store import Store
from pipeline.takedown.entries import Entries
from pipeline.takedown.shards import Gone, PartTask, gone_in_tar
from schemas.document import Candidate, DraftMedium, Text, decode_draft_nodes, encode_draft_nodes
from schemas.drops import DropReason
from schemas.tables import DOCUMENTS, FINGERPRINTS, MEDIA, MEDIA_INDEX, MEDIA_URLS, read_table

_COPY_BYTES = 8 << 20
_NOTHING = "taken down"


def find(task: PartTask, note: Note, skip: frozenset[int]) -> None:
    """Looks for what is meant in a part of select, fetch or shard; notes it in the run's folder, where `found` reads it."""
    folder = RunFolder(task.run_url)
    commit = folder.commit(task.stage, task.part)
    gone: list[Gone] = []
    for path in sorted(file.path for file in commit.files):
        if path.endswith(".tar") and task.stage == "shard":
            gone += gone_in_tar(folder.store, commit, task.entries)
        elif path.startswith("media-urls/"):
            gone += _gone_urls(folder.store, path, task.entries)
        elif path.startswith("media/") and path.endswith(".parquet"):
            gone += _gone_media(folder.store, path, task.entries)
    folder.store.write(_note(task.stage, task.part), msgspec.json.encode(gone))


def found(store: Store, tasks: Iterable[PartTask]) -> dict[tuple[str, str], list[Gone]]:
    """What `find` noted of each part, by stage and part; the notes go."""
    names = {(task.stage, task.part): _note(task.stage, task.part) for task in tasks}
    notes = zip(names, store.read_all(list(names.values())), strict=True)
    gone = {part: msgspec.json.decode(data, type=list[Gone]) for part, data in notes}
    store.remove(list(names.values()))
    return gone


def _note(stage: str, part: str) -> str:
    return f"tombstones/found/{stage}-{part}.json"


def _gone_urls(store: Store, path: str, entries: Entries) -> Iterator[Gone]:
    """The media of domains that go: what the crawl holds has its URL only here."""
    if not entries.domains:
        return
    with store.open(path) as file:
        table = read_table(file, MEDIA_URLS, path, ["url", "media_key"])
    for url, key in zip(table["url"].to_pylist(), table["media_key"].to_pylist(), strict=True):
        if entries.means_host(url):
            yield Gone(kind="medium", url=url, key=key.hex())


def _gone_media(store: Store, path: str, entries: Entries) -> Iterator[Gone]:
    """The stored media that go, with the digests of what was fetched, which a pair does not tell."""
    with store.open(path) as file:
        table = read_table(file, MEDIA, path, ["media_key", "url", "sha256", "source_sha256", "phash"])
    for row in table.to_pylist():
        if _means(entries, row):
            hashes = {name: (row[name] or b"").hex() for name in ("sha256", "source_sha256", "phash")}
            yield Gone(kind="medium", url=row["url"] or "", key=row["media_key"].hex(), **hashes)


def purge(task: PartTask, note: Note, skip: frozenset[int]) -> int:
    """Takes what is meant out of a part's files; returns how many rows were changed."""
    folder = RunFolder(task.run_url)
    commit = folder.commit(task.stage, task.part)
    paths = {file.path for file in commit.files}
    changed = 0
    for path in sorted(paths):
        changed += _purge_file(folder.store, path, paths, task.entries)
    if changed:
        gone = {path for path in paths if path.startswith("assembled/")}
        files = [_file_record(folder.store, path) for path in sorted(paths - gone)]
        folder.record(msgspec.structs.replace(commit, files=files))
        folder.store.remove(sorted(gone))
    return changed


def _purge_file(store: Store, path: str, paths: set[str], entries: Entries) -> int:
    match path.partition("/")[0]:
        case "documents":
            return _rewrite(store, path, DOCUMENTS, lambda row: _blank(row) if entries.means_page(row["url"]) else row)
        case "fingerprints":
            return _rewrite(store, path, FINGERPRINTS, lambda row: None if entries.means_page(row["url"]) else row)
        case "media-index":
            return _zero_copies(store, path, entries)
        case "media" if path.endswith(".parquet"):
            return _purge_media(store, path, entries)
        case "scores" if path.endswith(".npy"):
            return _zero_embeddings(store, path, entries)
        case "assembled" if path.endswith(".index"):
            return 1  # whole
    return 0


def _blank(row: dict[str, Any]) -> dict[str, Any]:
    """A documents row without what the page said; how many nodes of which kind it had stays, so that a later select counts the same."""
    nodes = [
        Text(_NOTHING)
        if isinstance(node, Text)
        else DraftMedium(kind=node.kind, candidates=[Candidate(url="", source=_NOTHING)])
        for node in decode_draft_nodes(row["nodes"])
    ]
    return row | {
        "title": "",
        "nodes": encode_draft_nodes(nodes).decode(),
        "media_keys": b"",
        "paragraph_keys": b"",
        "columns": None if row["columns"] is None else "{}",
    }


def _rewrite(
    store: Store, path: str, schema: pa.Schema, change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> int:
    with store.open(path) as file:
        rows = read_table(file, schema, path).to_pylist()
    changed = [change(row) for row in rows]
    number: int = sum(after is None or after != before for before, after in zip(rows, changed, strict=True))
    if number:
        table = pa.Table.from_pylist([row for row in changed if row is not None], schema=schema)
        with store.spool(path) as file:
            pq.write_table(table, file, compression="zstd")
    return number


def _purge_media(store: Store, path: str, entries: Entries) -> int:
    with store.open(path) as file:
        rows = read_table(file, MEDIA, path).to_pylist()
    meant = [row for row in rows if _means(entries, row)]
    ranges = [(row["offset"], row["bytes"]) for row in meant if row["status"] == "ok"]
    if ranges:
        _zero(store, path.removesuffix(".parquet") + ".tar", ranges)

    def change(row: dict[str, Any]) -> dict[str, Any]:
        if not _means(entries, row):
            return row
        kept = {name: row[name] for name in ("media_key", "url", "kind", "clip", "generation", "rank")}
        return dict.fromkeys(MEDIA.names) | kept | {"status": DropReason.TAKEN_DOWN.value}

    return _rewrite(store, path, MEDIA, change)


def _means(entries: Entries, row: dict[str, Any]) -> bool:
    return (
        row["media_key"] in entries.media_keys
        or bool(row["url"] and entries.means_host(row["url"]))
        or row["sha256"] in entries.sha256s
        or row["source_sha256"] in entries.sha256s
        or entries.means_picture(row["phash"] or b"")
    )


def _zero_copies(store: Store, path: str, entries: Entries) -> int:
    with store.open(path) as file:
        rows = read_table(file, MEDIA_INDEX, path).to_pylist()
    meant = [
        row
        for row in rows
        if row["copied"] and (row["media_key"] in entries.media_keys or entries.means_host(row["url"]))
    ]
    if meant:
        _zero(store, meant[0]["ref_name"], [(row["ref_offset"], row["ref_length"]) for row in meant])
    return len(meant)


def _zero_embeddings(store: Store, path: str, entries: Entries) -> int:
    places = embedding_places(store, path)
    meant = [place for key, place in places if key in entries.media_keys]
    if meant:
        _zero(store, path, meant)
    return len(meant)


def _zero(store: Store, path: str, ranges: list[tuple[int, int]]) -> None:
    """The file with zeros in place of these bytes; all else keeps its place."""
    with store.open(path) as source, store.spool(path) as target:
        while block := source.read(_COPY_BYTES):
            target.write(block)
        for offset, length in ranges:
            target.seek(offset)
            target.write(bytes(length))


def _file_record(store: Store, path: str) -> FileRecord:
    with store.open(path) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        return FileRecord(path=path, bytes=file.tell(), sha256=sha256)
