"""shard, first half: documents meet their media.

    assemble   a documents part with its matches (`picks`)  ->  its finished documents in shard order, references to their bytes; drops

What select has ruled out of a document is no part of it any more. Documents without a medium go.

Each part is written sorted by the number that decides a document's place in the whole output (`place`), with an index. A shard is a range of that
number, so it is one run of bytes in every part: no document goes through a shuffle, and nothing needs to know the number of shards before the last step.
"""

from typing import Any

import msgspec
import numpy as np

from pipeline.isolate import Note
from pipeline.runfolder import PartWriter, RunFolder
from pipeline.stages.extract import drop_row
from pipeline.stages.packed import Records, join
from pipeline.stages.picks import EXTENSIONS, MATCH, CandidateTask, is_video, pick, selected_rows, usable_matches
from pipeline.stages.selection import hash_number
from schemas.document import Candidate, Document, DraftMedium, Image, Provenance, Text, Video, decode_draft_nodes
from schemas.drops import Drop, DropReason
from schemas.markup import render
from schemas.tables import DOCUMENTS, DROPS, TableWriter, read_table

STAGE = "assemble"
RULES_VERSION = 2

# One finished document: its number, where its record lies, what it will take in a tar.
ASSEMBLED = np.dtype([("place", "<u8"), ("offset", "<u8"), ("length", "<u8"), ("sample_bytes", "<u8")])


class Assembled(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A finished document (its JSON) and the bytes of its media: (media part, offset, length) in order."""

    key: str
    json: msgspec.Raw
    media: list[tuple[str, int, int]]


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
    selected = selected_rows(task.candidates)
    rows = [one["row"] for one in selected]
    name = f"documents/{select.part}.parquet"
    with folder.store.open(name) as file:
        table = read_table(file, DOCUMENTS, name)
    matches = join([task.matches], MATCH)
    matches = matches[np.lexsort((matches["clip"], matches["rank"], matches["medium"], matches["row"]))]
    starts, ends = (np.searchsorted(matches["row"], rows, side).tolist() for side in ("left", "right"))
    with folder.part("shard", task.output) as part:
        part.detail = "assembled"
        drops = TableWriter(part.file(f"drops/shard-{task.output}.parquet"), DROPS)
        finished: list[tuple[int, int, bytes]] = []
        for verdict, start, end in zip(selected, starts, ends, strict=True):
            stored = table.slice(verdict["row"], 1).to_pylist()[0]
            document, gone, media = _finish(stored, verdict, matches[start:end], task.media_parts)
            for drop in gone:
                part.counts[f"{drop.kind}s.dropped.{drop.reason}"] += 1
                drops.add(drop_row("shard", drop, stored["url"], _provenance(stored)))
            if document is not None:
                _count(part, document)
                finished.append(_pack(document, media, task.seed))
        drops.close()
        _write_sorted(part, task.output, finished)


def _provenance(stored: dict[str, Any]) -> Provenance:
    return msgspec.convert({field: stored[field] for field in ("source", "offset", "length", "digest")}, Provenance)


def _finish(
    stored: dict[str, Any], verdict: dict[str, Any], matches: Records, media_parts: list[str]
) -> tuple[Document | None, list[Drop], list[tuple[str, int, int]]]:
    """The document with its media, what went, and where the media's bytes are."""
    nodes, media = left_nodes(stored["nodes"], verdict["gone_nodes"])
    picks = pick(media, usable_matches(matches, verdict["gone_candidates"]))
    finished: list[Text | Image | Video] = []
    places: list[tuple[str, int, int]] = []
    drops: list[Drop] = []
    following = iter(picks)
    for node in nodes:
        if isinstance(node, Text):
            finished.append(node)
            continue
        picked = next(following)
        if isinstance(picked, Drop):
            drops.append(picked)
        else:
            finished.append(_medium(node, picked, len(places)))
            places.append((media_parts[picked["media_part"]], int(picked["offset"]), int(picked["bytes"])))
    if not places:
        page = Drop(kind="page", reason=DropReason.NO_IMAGE, url=stored["url"])
        texts = [Drop(kind="paragraph", reason=DropReason.WITH_PAGE, detail=f"page: {page.reason}") for _ in finished]
        return None, [page, *texts, *drops], []
    return _document(stored, finished), drops, places


def left_nodes(stored: str, gone_nodes: bytes | None) -> tuple[list[Text | DraftMedium], list[tuple[int, DraftMedium]]]:
    """The nodes that select has left of a document; and its media among them, each with its number in the page."""
    gone = set(np.frombuffer(gone_nodes or b"", dtype="<u2").tolist())
    nodes: list[Text | DraftMedium] = []
    media: list[tuple[int, DraftMedium]] = []
    number = 0
    for place, node in enumerate(decode_draft_nodes(stored)):
        if place not in gone:
            nodes.append(node)
            if isinstance(node, DraftMedium):
                media.append((number, node))
        number += isinstance(node, DraftMedium)
    return nodes, media


def _medium(medium: DraftMedium, picked: Records, index: int) -> Image | Video:
    candidate: Candidate = medium.candidates[picked["rank"]]
    fields: dict[str, Any] = {
        "member": f"{index:03d}.{EXTENSIONS[picked['extension']]}",
        "url": candidate.url,
        "source": candidate.source,
        "alt": medium.alt,
        "caption": medium.caption,
        **{name: int(picked[name]) for name in ("rank", "width", "height", "bytes")},
        **{name: picked[name].tobytes().hex() for name in ("sha256", "source_sha256", "phash")},
    }
    if is_video(picked):
        return Video(**fields, duration_s=float(picked["duration_s"]), fps=float(picked["fps"]))
    return Image(**fields)


def _document(stored: dict[str, Any], nodes: list[Text | Image | Video]) -> Document:
    return Document(
        key=stored["key"],
        url=stored["url"],
        nodes=list(nodes),
        text=render(nodes),
        provenance=_provenance(stored),
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
        part.counts["videos" if isinstance(medium, Video) else "images"] += 1
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
