"""shard, first half: documents meet their media.

    candidate_keys   a documents part  ->  (bucket, candidate keys of its selected rows)
    media_records    a media part      ->  (bucket, what is known of each medium)
    match            a bucket          ->  the candidates that have a medium, by documents part
    assemble         a documents part  ->  its finished documents in shard order, and references to their bytes; drops

A medium of a document is its best-ranked candidate whose bytes are a picture that passes the filters; if none does, the best-ranked candidate that was found says why.
Pictures of the page's metadata stand in only where the body has none of its own. Documents without a medium go.

Each part is written sorted by the number that decides a document's place in the whole output (`place`), with an index. A shard is a range of that
number, so it is one run of bytes in every part: no document goes through a shuffle, and nothing needs to know the number of shards before the last step.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from pipeline.images import ImageFilterConfig, judge
from pipeline.isolate import Note
from pipeline.runfolder import PartWriter, RunFolder
from pipeline.stages.extract import drop_row
from pipeline.stages.packed import KEY, Records, by_part, find_keys, join, key_numbers, split
from pipeline.stages.selection import CANDIDATE, SelectTask, candidate_records, hash_number
from schemas.document import Candidate, Document, DraftMedium, Image, Provenance, Text, decode_draft_nodes
from schemas.drops import Drop, DropReason
from schemas.markup import render
from schemas.tables import DOCUMENTS, DROPS, MEDIA, SELECTED, TableWriter, read_table

STAGE = "assemble"
RULES_VERSION = 1

REASONS = tuple(DropReason)
EXTENSIONS = ("jpg", "png", "webp")
_MEASURES = [
    ("ok", "?"),
    ("reason", "<u2"),
    ("value", "<f8"),
    ("threshold", "<f8"),
    ("media_part", "<u4"),
    ("offset", "<u8"),
    ("bytes", "<u8"),
    ("width", "<u4"),
    ("height", "<u4"),
    ("extension", "<u1"),
    ("phash", "V8"),
    ("sha256", "V32"),
    ("source_sha256", "V32"),
]
MEDIUM = np.dtype([*KEY, *_MEASURES])
MATCH = np.dtype([("part", "<u4"), ("row", "<u4"), ("medium", "<u2"), ("rank", "<u2"), *_MEASURES])
# One finished document: its number, where its record lies, what it will take in a tar.
ASSEMBLED = np.dtype([("place", "<u8"), ("offset", "<u8"), ("length", "<u8"), ("sample_bytes", "<u8")])

Bucketed = list[tuple[int, bytes]]


class Assembled(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A finished document (its JSON) and the bytes of its media: (media part, offset, length) in order."""

    key: str
    json: msgspec.Raw
    media: list[tuple[str, int, int]]


class MediaTask(msgspec.Struct, frozen=True, kw_only=True):
    """A media part; `number` is its place in the sorted list of media parts."""

    run_url: str
    part: str
    number: int
    buckets: int
    filters: ImageFilterConfig


def media_records(task: MediaTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """What is known of each medium of a part, judged by the image filters, by bucket."""
    name = f"media/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        table = read_table(file, MEDIA, name)
    records = np.zeros(table.num_rows, dtype=MEDIUM)
    records["hi"], records["lo"] = key_numbers(table["media_key"].to_pylist()).T
    records["media_part"] = task.number
    for record, row in zip(records, table.to_pylist(), strict=True):
        _fill(record, row, task.filters)
    return list(split(records, task.buckets))


def _fill(record: Any, row: dict[str, Any], filters: ImageFilterConfig) -> None:
    if row["status"] != "ok":
        record["reason"] = REASONS.index(DropReason(row["status"]))
        record["value"], record["threshold"] = _number(row["value"]), _number(row["threshold"])
        return
    verdict = judge(row["source_width"], row["source_height"], int(row["spread"]), filters)
    record["ok"] = verdict is None
    if verdict is not None:
        record["reason"], record["value"], record["threshold"] = REASONS.index(verdict[0]), verdict[1], verdict[2]
    record["extension"] = EXTENSIONS.index(row["extension"])
    for field in ("offset", "bytes", "width", "height"):
        record[field] = row[field]
    for field in ("phash", "sha256", "source_sha256"):
        record[field] = np.void(row[field])


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def selected_rows(task: SelectTask, selected_part: str) -> Records:
    """The rows of a documents part that were selected, ascending."""
    name = f"selected/{selected_part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        return np.sort(read_table(file, SELECTED, name, ["row"])["row"].to_numpy())


class CandidateTask(msgspec.Struct, frozen=True, kw_only=True):
    """A documents part (as the select stage numbers them) and its selected part."""

    select: SelectTask
    selected_part: str


def candidate_keys(task: CandidateTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The candidate keys of a part's selected documents, by bucket."""
    return list(
        split(candidate_records(task.select, selected_rows(task.select, task.selected_part)), task.select.buckets)
    )


def match(candidate_blobs: Iterable[bytes], media_blobs: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """(documents part, packed matches) of one bucket."""
    candidates, media = join(candidate_blobs, CANDIDATE), join(media_blobs, MEDIUM)
    media = media[np.lexsort((media["offset"], media["media_part"], media["lo"], media["hi"]))]
    at = find_keys(candidates, media)
    candidates, hits = candidates[at >= 0], media[at[at >= 0]]
    matches = np.zeros(len(hits), dtype=MATCH)
    for field in ("part", "row", "medium", "rank"):
        matches[field] = candidates[field]
    for field, *_ in _MEASURES:
        matches[field] = hits[field]
    return list(by_part(matches))


class AssembleTask(msgspec.Struct, frozen=True, kw_only=True):
    """A documents part with its matches (packed), and the sorted list of media parts that they number."""

    candidates: CandidateTask
    output: str
    matches: bytes
    media_parts: list[str]
    seed: int


def assemble(task: AssembleTask, note: Note, skip: frozenset[int]) -> None:
    """Writes the finished documents of one part with their index, and the drops."""
    select = task.candidates.select
    folder = RunFolder(select.run_url)
    rows = selected_rows(select, task.candidates.selected_part)
    name = f"documents/{select.part}.parquet"
    with folder.store.open(name) as file:
        table = read_table(file, DOCUMENTS, name)
    matches = join([task.matches], MATCH)
    matches = matches[np.lexsort((matches["rank"], matches["medium"], matches["row"]))]
    starts, ends = np.searchsorted(matches["row"], rows, "left"), np.searchsorted(matches["row"], rows, "right")
    with folder.part("shard", task.output) as part:
        part.detail = "assembled"
        drops = TableWriter(part.file(f"drops/shard-{task.output}.parquet"), DROPS)
        finished: list[tuple[int, int, bytes]] = []
        for row, start, end in zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True):
            stored = table.slice(row, 1).to_pylist()[0]
            document, gone, media = _finish(stored, matches[start:end], task.media_parts)
            for drop in gone:
                part.counts[f"{drop.kind}s.dropped.{drop.reason}"] += 1
                drops.add(
                    drop_row(
                        "shard", drop, stored["url"], msgspec.convert({k: stored[k] for k in _PROVENANCE}, Provenance)
                    )
                )
            if document is not None:
                _count(part, document)
                finished.append(_pack(document, media, task.seed))
        drops.close()
        _write_sorted(part, task.output, finished)


_PROVENANCE = ("source", "offset", "length", "digest")


def _finish(
    stored: dict[str, Any], matches: Records, media_parts: list[str]
) -> tuple[Document | None, list[Drop], list[tuple[str, int, int]]]:
    """The document with its media, what went, and where the media's bytes are."""
    nodes = decode_draft_nodes(stored["nodes"])
    media = [node for node in nodes if isinstance(node, DraftMedium)]
    picks = [_pick(medium, matches[matches["medium"] == index]) for index, medium in enumerate(media)]
    _drop_fallbacks(media, picks)  # first: a picture of the body is not the twin of one that goes
    _drop_twins(picks)
    finished: list[Text | Image] = []
    places: list[tuple[str, int, int]] = []
    drops: list[Drop] = []
    following = iter(picks)
    for node in nodes:
        if isinstance(node, Text):
            finished.append(node)
            continue
        pick = next(following)
        if isinstance(pick, Drop):
            drops.append(pick)
        else:
            finished.append(_image(node, pick, len(places)))
            places.append((media_parts[pick["media_part"]], int(pick["offset"]), int(pick["bytes"])))
    if not places:
        page = Drop(kind="page", reason=DropReason.NO_IMAGE, url=stored["url"])
        texts = [Drop(kind="paragraph", reason=DropReason.WITH_PAGE, detail=f"page: {page.reason}") for _ in finished]
        return None, [page, *texts, *drops], []
    return _document(stored, finished), drops, places


def _pick(medium: DraftMedium, matches: Records) -> Any:
    """The match to take, or the drop."""
    url = medium.candidates[0].url
    if medium.kind == "video":
        return Drop(kind="video", reason=DropReason.VIDEO_NOT_TAKEN, medium_url=url)
    usable = matches[matches["ok"]]
    if len(usable):
        return usable[0]
    if not len(matches):
        return Drop(
            kind="image", reason=DropReason.NOT_IN_CRAWL, medium_url=url, detail=f"{len(medium.candidates)} candidates"
        )
    best = matches[0]
    value, threshold = (None if np.isnan(best[field]) else float(best[field]) for field in ("value", "threshold"))
    return Drop(
        kind="image",
        reason=REASONS[best["reason"]],
        medium_url=medium.candidates[best["rank"]].url,
        value=value,
        threshold=threshold,
    )


def _drop_twins(picks: list[Any]) -> None:
    """Of pictures with the same bytes in one document the first stays."""
    seen: set[bytes] = set()
    for place, pick in enumerate(picks):
        if isinstance(pick, Drop):
            continue
        sha256 = pick["sha256"].tobytes()
        if sha256 in seen:
            picks[place] = Drop(kind="image", reason=DropReason.REPEATED_IN_PAGE, detail=f"sha256 {sha256.hex()}")
        seen.add(sha256)


def _drop_fallbacks(media: list[DraftMedium], picks: list[Any]) -> None:
    has_own = any(not isinstance(pick, Drop) and not medium.fallback for medium, pick in zip(media, picks, strict=True))
    for place, (medium, pick) in enumerate(zip(media, picks, strict=True)):
        if medium.fallback and has_own and not isinstance(pick, Drop):
            url = medium.candidates[0].url
            picks[place] = Drop(kind="image", reason=DropReason.FALLBACK_NOT_NEEDED, medium_url=url)


def _image(medium: DraftMedium, pick: Records, index: int) -> Image:
    candidate: Candidate = medium.candidates[pick["rank"]]
    return Image(
        member=f"{index:03d}.{EXTENSIONS[pick['extension']]}",
        url=candidate.url,
        source=candidate.source,
        rank=int(pick["rank"]),
        width=int(pick["width"]),
        height=int(pick["height"]),
        bytes=int(pick["bytes"]),
        sha256=pick["sha256"].tobytes().hex(),
        source_sha256=pick["source_sha256"].tobytes().hex(),
        phash=pick["phash"].tobytes().hex(),
        alt=medium.alt,
        caption=medium.caption,
    )


def _document(stored: dict[str, Any], nodes: list[Text | Image]) -> Document:
    return Document(
        key=stored["key"],
        url=stored["url"],
        nodes=list(nodes),
        text=render(nodes),
        provenance=msgspec.convert({field: stored[field] for field in _PROVENANCE}, Provenance),
        title=stored["title"],
        date=stored["date"],
        language=stored["language"],
        language_score=None if stored["language_score"] is None else round(stored["language_score"], 4),
        licence=stored["licence"],
    )


def _count(part: PartWriter, document: Document) -> None:
    part.counts["documents"] += 1
    part.counts["paragraphs"] += len(document.nodes) - len(document.media)
    part.counts["words"] += sum(len(node.text.split()) for node in document.nodes if isinstance(node, Text))
    part.counts[f"languages.{document.language or 'none'}"] += 1
    for medium in document.media:
        part.counts["images"] += 1
        part.counts[f"fields.{medium.member}"] += 1


def _pack(document: Document, media: list[tuple[str, int, int]], seed: int) -> tuple[int, int, bytes]:
    """(place, bytes in a tar, record)."""
    json = msgspec.json.encode(document)
    record = msgspec.json.encode(Assembled(key=document.key, json=msgspec.Raw(json), media=media))
    sample_bytes = sum(512 + size + -size % 512 for size in (len(json), *(length for _, _, length in media)))
    return hash_number(f"{seed}\0{document.key}"), sample_bytes, record


def _write_sorted(part: PartWriter, name: str, finished: list[tuple[int, int, bytes]]) -> None:
    finished.sort()
    index = np.zeros(len(finished), dtype=ASSEMBLED)
    file = part.file(f"assembled/{name}.jsonl")
    for entry, (place, sample_bytes, record) in zip(index, finished, strict=True):
        entry["place"], entry["offset"], entry["length"], entry["sample_bytes"] = (
            place,
            file.tell(),
            len(record),
            sample_bytes,
        )
        file.write(record + b"\n")
        part.counts["sample_bytes"] += sample_bytes
    part.file(f"assembled/{name}.index").write(index.tobytes())
