"""extract, for captions tables: one slice of a table to the same set of parts that a slice of a crawl gives.

A row becomes a document of one medium with its caption, with the row's other columns beside it: so duplicates, lists, fetch, resume and shards are
those of a crawl. What tells it from a page is that `columns` is not null. All of its drops are pairs; no page, paragraph or image of a table is counted.

A document is known by medium and caption together: the same row twice is a duplicate, another caption of the same picture is not. Files beside the table are
copied, and named by their path and their content: no name says where on a machine the table is, and two files never meet under one.
"""

import hashlib
import math
import re
from datetime import date, datetime, time
from typing import Any
from urllib.parse import quote

import msgspec

from pipeline.isolate import Note
from pipeline.read.beside import Beside, url_beside
from pipeline.read.slices import Slice
from pipeline.read.sniff import sniff
from pipeline.read.tables import Columns, table_rows
from pipeline.runfolder import PartWriter, RunFolder
from pipeline.stages.extract import STAGE, drop_row
from pipeline.stages.media_index import MediaIndexWriter, key16
from pipeline.urls import Base, media_key
from schemas.document import Candidate, DraftMedium, MediumKind, Provenance, encode_draft_nodes, paragraph
from schemas.drops import Drop, DropReason
from schemas.pair import Cell
from schemas.shard import sample_key
from schemas.tables import DOCUMENTS, DROPS, TableWriter

RULES_VERSION = 2  # raised when the same row and configuration give another document
MAX_CAPTION_CHARS = (
    10_000  # ours: COYO's longest is 256 words, descriptions of long-text data sets have some 2,000 characters
)
MAX_COLUMNS_CHARS = 1 << 18  # ours: of a row's other columns as JSON; a thousand rows are held in memory

_WEB = re.compile(r"https?:", re.IGNORECASE)


class TableTask(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of a table to be extracted into one part of a run; `max_medium_bytes` bounds a file beside the table."""

    run_url: str
    part: str
    slice: Slice
    columns: Columns
    kind: MediumKind
    max_medium_bytes: int


def extract_table_slice(task: TableTask, note: Note, skip: frozenset[int]) -> dict[str, int]:
    """Writes the part of one slice and returns its counts; rows whose place in the slice is in `skip` become drops."""
    with RunFolder(task.run_url).part(STAGE, task.part) as part:
        part.detail = task.slice.input.name
        writer = _TableWriter(task, part)
        for ordinal, (number, values) in enumerate(table_rows(task.slice, task.columns)):
            if ordinal in skip:
                writer.add(number, Drop(kind="pair", reason=DropReason.WORKER_KILLED))
                continue
            note(ordinal)
            writer.add(number, values)
        writer.close()
        return dict(part.counts)


class _TableWriter:
    """The tables of one slice in the making."""

    def __init__(self, task: TableTask, part: PartWriter) -> None:
        self._task, self._counts = task, part.counts
        self._documents = TableWriter(part.file(f"documents/{task.part}.parquet"), DOCUMENTS)
        self._media_index = MediaIndexWriter(part, task.part)
        self._drops = TableWriter(part.file(f"drops/{STAGE}-{task.part}.parquet"), DROPS)
        self._beside = Beside(task.slice.input.url, task.max_medium_bytes)
        self._copied: set[str] = set()

    def close(self) -> None:
        self._documents.close()
        self._media_index.close()
        self._drops.close()

    def add(self, number: int, values: dict[str, Any] | Drop) -> None:
        self._counts["records.row"] += 1
        self._counts["pairs.in"] += 1
        document = values if isinstance(values, Drop) else self._document(values)
        provenance = Provenance(source=self._task.slice.input.name, offset=number, length=1)
        if isinstance(document, Drop):
            self._counts[f"pairs.dropped.{document.reason}"] += 1
            self._drops.add(drop_row(STAGE, document, document.medium_url, provenance))
            return
        self._counts["documents"] += 1
        self._counts["candidates"] += 1
        self._documents.add(document | msgspec.structs.asdict(provenance))

    def _document(self, values: dict[str, Any]) -> dict[str, object] | Drop:
        """The row of the documents table, but for its provenance."""
        names = self._task.columns
        raw, caption = _text(values.get(names.media)), _text(values.get(names.caption))
        if (wrong := _wrong(raw, caption)) is not None:
            return wrong
        columns = {name: cell(value) for name, value in values.items() if name not in (names.media, names.caption)}
        encoded = msgspec.json.encode(columns).decode()
        if len(encoded) > MAX_COLUMNS_CHARS:
            return _drop(DropReason.BODY_TOO_LARGE, raw or "", len(encoded), MAX_COLUMNS_CHARS)
        url = self._locate(raw or "")
        if isinstance(url, Drop):
            return url
        caption = paragraph(caption or "")
        medium = DraftMedium(kind=self._task.kind, candidates=[Candidate(url=url, source=names.media)], caption=caption)
        key = sample_key(f"{media_key(url)}\0{caption}")
        return {
            "key": key,
            "url": url,
            "url_key": bytes.fromhex(key),
            "date": "",
            "title": "",
            "language": "",
            "licence": "",
            "robots": [],
            "not_judged": [],
            "text_key": bytes.fromhex(key),
            "words": len(caption.split()),
            "paragraphs": 0,
            "images": int(self._task.kind == "image"),
            "videos": int(self._task.kind == "video"),
            "nodes": encode_draft_nodes([medium]).decode(),
            "media_keys": bytes(4) + key16(media_key(url)),  # medium 0, rank 0
            "minhash": b"",
            "paragraph_keys": b"",
            "columns": encoded,
        }

    def _locate(self, raw: str) -> str | Drop:
        """The medium's URL; a file beside the table is copied on the way."""
        if _WEB.match(raw):
            return Base("").join(raw) or _drop(DropReason.BAD_URL, raw)
        table_url = self._task.slice.input.url
        if _WEB.match(table_url):
            return url_beside(table_url, raw)
        data = self._beside.read(raw)
        if isinstance(data, Drop):
            return data
        digest = hashlib.sha256(data).hexdigest()
        url = f"file:///{quote(raw)}#sha256={digest}"
        if url not in self._copied:
            self._copied.add(url)
            self._media_index.add(url, self._task.kind, sniff(data[:512]), "", digest, self._media_index.copy(data))
        return url


def row_drops(drops: list[Drop]) -> list[Drop]:
    """What a later stage drops of a table's row, page and medium, as the one pair that came in; where its medium went, that says why."""
    media = [drop for drop in drops if drop.kind in ("image", "video")]
    whole = media[0] if media and drops[0].reason == DropReason.NO_IMAGE else drops[0]
    return [msgspec.structs.replace(whole, kind="pair", medium_url=whole.medium_url or whole.url)]


def cell(value: Any) -> Cell:
    """A value of a table as a scalar of JSON; what is nested becomes JSON text, what is no number null.

    >>> cell([1, "a"])
    '[1,"a"]'
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list | dict):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return str(value)


def _text(value: Any) -> str | None:
    """A cell that is to be text, stripped; None where it is none."""
    if isinstance(value, bytes):  # text columns of writers that do not say so
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(cell(value) if value == value else "")
    return value.strip() if isinstance(value, str) else "" if value is None else None


def _wrong(raw: str | None, caption: str | None) -> Drop | None:
    """What is wrong with the two cells of a pair, before the medium is looked for."""
    if raw is None or caption is None:
        which = "medium" if raw is None else "caption"
        return _drop(DropReason.BAD_RECORD, raw or "", detail=f"the {which} is no text")
    if "\0" in raw or "\0" in caption:
        return _drop(DropReason.BAD_RECORD, raw.replace("\0", "?"), detail="a NUL character")
    if not raw:
        return _drop(DropReason.NO_CANDIDATE, "")
    if not caption:
        return _drop(DropReason.NO_CAPTION, raw)
    if len(caption) > MAX_CAPTION_CHARS:
        return _drop(DropReason.CAPTION_TOO_LONG, raw, len(caption), MAX_CAPTION_CHARS)
    return None


def _drop(
    reason: DropReason, medium: str, value: float | None = None, threshold: float | None = None, detail: str = ""
) -> Drop:
    return Drop(kind="pair", reason=reason, medium_url=medium, value=value, threshold=threshold, detail=detail)
