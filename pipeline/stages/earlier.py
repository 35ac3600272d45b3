"""select, pages of before: what earlier runs put into their shards, and what was taken down.

    earlier_run    a folder of --against  ->  its tables of fingerprints and of tombstones; the latter become the run's own
    earlier_keys   a table                ->  (bucket of the URL, keys), as of a documents part
    signed_pages   rows of a table        ->  their URLs' keys and signatures

Both kinds of table go through the shuffles of the documents: a page of before is a document that is better than any of this run and never goes itself, a
taken one better still. So a page is dropped that has the URL, the text or nearly the text of one of before, whatever has become of it since: who wants
new captures of old pages runs without --against. Pictures of earlier runs may be used again; taken ones may not.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.isolate import Note
from pipeline.runfolder import FileRecord, RunFolder
from pipeline.stages.media_index import key16
from pipeline.stages.packed import key_numbers, split
from pipeline.stages.selection import DOCUMENT_KEY, EARLIER, TAKEN, Bucketed
from pipeline.store import Store
from pipeline.takedown.taken import FOLDER as TOMBSTONES_FOLDER
from pipeline.takedown.taken import tombstone_files
from schemas.errors import OutputError, SchemaError
from schemas.tables import FINGERPRINTS, TOMBSTONES, read_table

FINGERPRINTS_FOLDER = "fingerprints/"
_NO_TEXT = key16("")  # such pages are no copies of one another


class EarlierTask(msgspec.Struct, frozen=True, kw_only=True):
    """A table of fingerprints or of tombstones; `number` stands behind those of the run's own documents parts."""

    run_url: str
    path: str
    number: int
    buckets: int


class EarlierRun(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run that another one is deduplicated against."""

    url: str
    fingerprints: list[FileRecord]
    tombstones: list[str]


def earlier_run(url: str) -> EarlierRun:
    """What a run's folder says about its pages.

    Raises:
        OutputError: it holds no finished run.
        SchemaError: it was written by another version.
    """
    folder = RunFolder(url)
    if not folder.is_run():
        raise OutputError(f"--against {url}: no output folder of m3w")
    if folder.stage("shard") is None:
        raise OutputError(f"--against {url}: its run is not finished; run m3w crawl or m3w shard there first")
    parts = [commit for commit in folder.commits("shard") if commit.detail == "assembled"]
    fingerprints = [file for part in parts for file in part.files if file.path.startswith(FINGERPRINTS_FOLDER)]
    if len(fingerprints) < len(parts):
        raise SchemaError(f"--against {url}: its shards were written by a version without fingerprints")
    tombstones = tombstone_files(folder.store)
    for path in [*(file.path for file in fingerprints[:1]), *tombstones]:  # a stage's parts are of one version
        with folder.store.open(path) as file:
            read_table(file, _schema(path), f"--against {url}: {path}", columns=[])
    return EarlierRun(url=folder.store.url, fingerprints=fingerprints, tombstones=tombstones)


def inherit(store: Store, runs: Iterable[EarlierRun]) -> list[str]:
    """Copies the tombstones of earlier runs to a run's own, whose names tell what is in them; returns the names of all."""
    own = set(tombstone_files(store))
    for run in runs:
        for name in run.tombstones:
            if name not in own:
                store.write(name, Store(run.url).read(name))
                own.add(name)
    return sorted(own)


def earlier_keys(task: EarlierTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The keys of a table's pages, by bucket of their URL."""
    table = _read(task)
    rows = np.flatnonzero(table["is_page"].to_numpy())
    pages = table.take(rows)
    records = np.zeros(len(rows), dtype=DOCUMENT_KEY)
    records["hi"], records["lo"] = key_numbers(pages["url_key"].to_pylist()).T
    text_keys = pc.if_else(pc.equal(pages["text_key"], _NO_TEXT), pages["url_key"], pages["text_key"])
    records["text_hi"], records["text_lo"] = key_numbers(text_keys.to_pylist()).T
    records["earlier"] = TAKEN if task.path.startswith(TOMBSTONES_FOLDER) else EARLIER
    records["tie"] = records["text_hi"]  # two of one URL are told apart by their texts
    records["part"], records["row"] = task.number, rows
    return list(split(records, task.buckets))


def signed_pages(task: EarlierTask, rows: NDArray[np.uint32]) -> pa.Table:
    """Columns `url_key` and `minhash` of a table's rows."""
    return _read(task).select(["url_key", "minhash"]).take(rows)


def _read(task: EarlierTask) -> pa.Table:
    """Columns url_key, text_key, minhash and is_page of either kind of table; a page whose text is not known has its URL's key in place of it."""
    is_tombstones = task.path.startswith(TOMBSTONES_FOLDER)
    columns = ["kind", "key", "text_key", "minhash"] if is_tombstones else ["url_key", "text_key", "minhash"]
    with Store(task.run_url).open(task.path) as file:
        table = read_table(file, _schema(task.path), task.path, columns)
    url_keys = table["key" if is_tombstones else "url_key"]
    is_page: Any = pc.equal(table["kind"], "page") if is_tombstones else pa.array(np.ones(table.num_rows, dtype=bool))
    text_keys = pc.coalesce(table["text_key"], url_keys)
    return pa.table({"url_key": url_keys, "text_key": text_keys, "minhash": table["minhash"], "is_page": is_page})


def _schema(path: str) -> pa.Schema:
    return TOMBSTONES if path.startswith(TOMBSTONES_FOLDER) else FINGERPRINTS
