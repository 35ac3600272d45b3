"""Tombstones: what later runs know the taken by, so that neither it nor a copy comes back.

A takedown writes one table, named by its content: a row a domain, a row a URL (as a page and as a medium, since a list does not say which), a row a
page that was found (with the hash and the signature of its text), a row a medium that was found (with its digests and its perceptual hash).
"""

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.runfolder import RunFolder, digest
from pipeline.store import Store
from pipeline.takedown.entries import Entries
from pipeline.takedown.shards import Gone
from pipeline.takedown.taken import FOLDER, tombstone_files
from schemas.tables import DOCUMENTS, TOMBSTONES, TableWriter, read_table


def write_tombstones(folder: RunFolder, entries: Entries, gone: Iterable[Gone]) -> int:
    """Writes the tombstones of one takedown, whose names do not depend on when it happened; returns their number."""
    rows = {digest(*(repr(row[name]) for name in sorted(row))): row for row in _rows(folder, entries, list(gone))}
    buffer = BytesIO()
    writer = TableWriter(buffer, TOMBSTONES)
    for name in sorted(rows):
        writer.add(rows[name])
    writer.close()
    folder.store.write(f"{FOLDER}{digest(sorted(rows))}.parquet", buffer.getvalue())
    return writer.count


def read_tombstones(store: Store) -> list[dict[str, Any]]:
    """All rows of all tombstone tables of a run."""
    rows: list[dict[str, Any]] = []
    for name in tombstone_files(store):
        with store.open(name) as file:
            rows.extend(read_table(file, TOMBSTONES, name).to_pylist())
    return rows


def _rows(folder: RunFolder, entries: Entries, gone: list[Gone]) -> Iterator[dict[str, Any]]:
    for domain in entries.domains:
        yield {"kind": "domain", "url": domain}
    for url, (page, medium) in entries.urls.items():
        yield {"kind": "page", "url": url, "key": page}
        yield {"kind": "medium", "url": url, "key": medium}
    for sha256 in entries.sha256s:
        yield {"kind": "medium", "sha256": sha256, "source_sha256": sha256}
    for one in gone:
        if one.kind == "medium":
            yield {
                "kind": "medium",
                "url": one.url or None,
                "key": bytes.fromhex(one.key),
                "sha256": bytes.fromhex(one.sha256) or None,
                "source_sha256": bytes.fromhex(one.source_sha256) or None,
                "phash": bytes.fromhex(one.phash) or None,
                "max_distance": None if entries.max_distance < 0 else entries.max_distance,
            }
    yield from _pages(folder, entries, {bytes.fromhex(one.key) for one in gone if one.kind == "page"})


def _pages(folder: RunFolder, entries: Entries, found: set[bytes]) -> Iterator[dict[str, Any]]:
    """The pages among the run's documents, in the shards or not, with what their texts are known by."""
    keys = found | entries.page_keys
    for commit in folder.commits("extract"):
        name = f"documents/{commit.part}.parquet"
        with folder.store.open(name) as file:
            table = read_table(file, DOCUMENTS, name, ["url", "url_key", "text_key", "minhash"])
        meant = pc.is_in(table["url_key"], value_set=pa.array(sorted(keys), pa.binary(16)))
        if entries.domains:
            meant = pc.or_(meant, pa.array([entries.means_host(url) for url in table["url"].to_pylist()], pa.bool_()))
        for row in table.filter(meant).to_pylist():
            yield {
                "kind": "page",
                "url": row["url"],
                "key": row["url_key"],
                "text_key": row["text_key"],
                "minhash": row["minhash"],
            }
