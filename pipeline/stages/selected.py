"""select, the end: the media URLs that the kept documents name, each once, and one verdict part for each documents part.

media_keys       a part's kept rows, what stands on too many pages  ->  (bucket of the media URL, keys)
write_selected   a part with all that was decided about it          ->  selected, media-urls, drops
"""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.config import SelectConfig
from pipeline.isolate import Note
from pipeline.runfolder import RunFolder
from pipeline.stages.extract import TRACK_RANK, drop_row, fallen
from pipeline.stages.frequency import GONE_CANDIDATE, PAGES, FrequencyTask, Weeded, usable, weeded
from pipeline.stages.media_index import key16
from pipeline.stages.near import least_similarity
from pipeline.stages.packed import Records, join, key_bytes, split
from pipeline.stages.refused import Refused, unpack_refused
from pipeline.stages.selection import (
    OWN,
    OWNED,
    RANKED,
    STAGE,
    TAKEN,
    VERDICT,
    VERDICTS,
    Bucketed,
    SelectTask,
    candidate_records,
    first_of_urls,
    read_documents,
)
from pipeline.stages.table import row_drops
from pipeline.urls import media_key
from schemas.document import DraftMedium, Provenance, decode_draft_nodes
from schemas.drops import Drop, DropReason
from schemas.tables import DROPS, MEDIA_URLS, SELECTED, TableWriter


def media_keys(task: FrequencyTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The keys of all URLs that a part's kept documents still name, by bucket: where they stand first."""
    rows = np.sort(join([task.kept], RANKED)["row"])
    candidates = candidate_records(task.select, rows)
    named = usable(candidates, join([task.frequent], PAGES), unpack_refused(task.refused))
    return list(split(first_of_urls(named), task.select.buckets))


class WriteTask(msgspec.Struct, frozen=True, kw_only=True):
    """A part with all that was decided about it: kept rows, verdicts, what is too frequent or refused, owned media URLs (packed)."""

    select: SelectTask
    kept: bytes
    verdicts: bytes
    frequent: bytes
    refused: bytes
    owned: bytes
    capped: int = 0


def write_selected(task: WriteTask, note: Note, skip: frozenset[int]) -> dict[str, int]:
    """Writes the verdict part of one documents part; returns its counts."""
    select = task.select
    table = read_documents(select, None)
    kept_rows = set(join([task.kept], RANKED)["row"].tolist())
    verdicts = {int(verdict["row"]): verdict for verdict in join([task.verdicts], VERDICT)}
    refused = unpack_refused(task.refused)
    gone = _gone(select, table.num_rows, verdicts, refused, join([task.frequent], PAGES))
    name = select.output
    with RunFolder(select.run_url).part(STAGE, name) as part:
        part.detail = select.part
        selected = TableWriter(part.file(f"selected/{name}.parquet"), SELECTED)
        drops = TableWriter(part.file(f"drops/{STAGE}-{name}.parquet"), DROPS)
        urls = TableWriter(part.file(f"media-urls/{name}.parquet"), MEDIA_URLS)
        columns = ["key", "url", "nodes", "columns", "source", "offset", "length", "digest"]
        for row, document in enumerate(table.select(columns).to_pylist()):
            weeded_out = gone.get(row, _NOTHING)
            dropped = weeded_out.drops
            if row in kept_rows:
                selected.add({"row": row, "key": document["key"], **_packed(weeded_out)})
                part.counts["documents"] += 1
            else:
                page = refused.pages.get(row) or _page_drop(
                    document["url"], verdicts.get(row), weeded_out.page, select.config
                )
                left = [
                    node
                    for place, node in enumerate(decode_draft_nodes(document["nodes"]))
                    if place not in weeded_out.nodes
                ]
                dropped = [page, *dropped, *fallen(left, page)]
            if dropped and document["columns"] is not None:
                dropped = row_drops(dropped)
            for drop in dropped:
                part.counts[f"{drop.kind}s.dropped.{drop.reason}"] += 1
                drops.add(drop_row(STAGE, drop, document["url"], _provenance(document)))
        for url in _media_url_rows(table, join([task.owned], OWNED)):
            urls.add(url)
        part.counts["media_urls"] = urls.count
        part.counts["near_duplicates.capped"] = task.capped
        for writer in (selected, drops, urls):
            writer.close()
        return dict(part.counts)


_NOTHING = Weeded(nodes=[], candidates=[], drops=[], page=None)
_AFTER_WEEDING = VERDICTS.index(DropReason.SAME_IMAGES)


def _gone(
    task: SelectTask, rows: int, verdicts: dict[int, Records], refused: Refused, frequent: Records
) -> dict[int, Weeded]:
    """What went from the documents that were still there when repetitions were counted."""
    before = {row for row, verdict in verdicts.items() if verdict["reason"] != _AFTER_WEEDING} | refused.pages.keys()
    there = [row for row in range(rows) if row not in before]
    return weeded(task, np.array(there, dtype=np.uint32), frequent, refused)


def _packed(gone: Weeded) -> dict[str, bytes | None]:
    return {
        "gone_nodes": np.array(gone.nodes, dtype="<u2").tobytes() or None,
        "gone_candidates": np.array(gone.candidates, dtype=GONE_CANDIDATE).tobytes() or None,
    }


def _page_drop(url: str, verdict: Records | None, emptied: DropReason | None, config: SelectConfig) -> Drop:
    if verdict is None:
        assert emptied is not None, "a row that is neither kept nor refused nor judged"
        return Drop(kind="page", reason=emptied, url=url)
    reason = VERDICTS[verdict["reason"]]
    detail = key_bytes(verdict["better_hi"], verdict["better_lo"]).hex()
    is_near = bool(verdict["similarity"])
    if reason not in (DropReason.IN_EARLIER_RUN, DropReason.TAKEN_DOWN):
        detail = f"{'better' if is_near else 'kept'}: {detail}"
        if seconds := int(verdict["better_date"]):  # rows of tables have none
            detail += datetime.fromtimestamp(seconds, UTC).strftime(" of %Y-%m-%dT%H:%M:%SZ")
    if not is_near:
        return Drop(kind="page", reason=reason, url=url, detail=detail)
    known_from = np.array(TAKEN if reason == DropReason.TAKEN_DOWN else OWN)
    threshold = float(least_similarity(known_from, config.near_duplicates))
    value = round(float(verdict["similarity"]), 4)
    return Drop(kind="page", reason=reason, url=url, value=value, threshold=threshold, detail=detail)


def _media_url_rows(table: pa.Table, owned: Records) -> list[dict[str, object]]:
    owned = owned[np.lexsort((owned["rank"], owned["medium"], owned["row"]))]
    rows: list[dict[str, object]] = []
    media: list[DraftMedium] = []
    decoded_row = -1
    for record in owned:
        row = int(record["row"])
        if row != decoded_row:
            nodes = decode_draft_nodes(table["nodes"][row].as_py())
            media, decoded_row = [node for node in nodes if isinstance(node, DraftMedium)], row
        medium = media[record["medium"]]
        rank = int(record["rank"])
        url = medium.tracks[rank - TRACK_RANK] if rank >= TRACK_RANK else medium.candidates[rank].url
        kind = "track" if rank >= TRACK_RANK else medium.kind
        rows.append(
            {"url": url, "media_key": key16(media_key(url)), "kind": kind, "page_url": table["url"][row].as_py()}
        )
    return rows


def _provenance(document: dict[str, object]) -> Provenance:
    return msgspec.convert({field: document[field] for field in ("source", "offset", "length", "digest")}, Provenance)
