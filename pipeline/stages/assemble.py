"""shard, first half: documents meet their media.

    assemble   a documents part with the media of its URLs (`picks`)  ->  its finished documents and their pairs, sorted (`assembled`); fingerprints; drops

What select has ruled out of a document is no part of it any more. Documents without a medium go. A row of a captions table gives its one pair
and no document, and what goes of it is a pair.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.filters.pii import PiiConfig, scrub
from pipeline.isolate import Note
from pipeline.lists.lists import text_lists
from pipeline.pairs.config import PairsConfig
from pipeline.runfolder import PartWriter, RunFolder
from pipeline.stages.assembled import IMAGE_TEXT, INTERLEAVED, VIDEO_TEXT, Assembled, MediumBytes, write_sorted
from pipeline.stages.extract import drop_row
from pipeline.stages.media_records import EXTENSIONS, FOUND, is_video, phash_of
from pipeline.stages.packed import Records, join, key_bytes
from pipeline.stages.pairing import Beside, best_keys, frequent_hashes, make_pair, pair_drop, pairs_of
from pipeline.stages.picks import CandidateTask, failure, left_nodes, match, pick, selected_rows, usable_matches
from pipeline.stages.scored import RunScores, Similarities, named_scores, scrubbed_medium
from pipeline.stages.selection import unpack_candidates
from pipeline.stages.tracks import read_tracks
from pipeline.store import Store
from schemas.document import Candidate, Document, DraftMedium, Image, MediumKind, Provenance, Text, Video
from schemas.drops import Drop, DropReason
from schemas.markup import render
from schemas.pair import ImageTextPair, VideoTextPair
from schemas.tables import DOCUMENTS, DROPS, FINGERPRINTS, TableWriter, read_table

STAGE = "assemble"
RULES_VERSION = 7


class AssembleTask(msgspec.Struct, frozen=True, kw_only=True):
    """A documents part with the media of its URLs and its too frequent hashes (packed), and the sorted list of media parts that the media number.

    `lists` is the name of the lists of texts in the run's folder, "" for none.
    """

    candidates: CandidateTask
    output: str
    found: bytes = b""
    frequent: bytes = b""
    media_parts: list[str]
    seed: int
    pairs: PairsConfig
    pii: PiiConfig
    lists: str = ""
    scores: RunScores | None = None


class Finished(msgspec.Struct):
    """What comes of one row of the documents table.

    `texts` came in with it, and so did the media of `stand_ins`: pictures that stand for a video whose poster they are.
    """

    document: Document | None = None
    picks: list[Records] = []
    pairs: list[tuple[ImageTextPair | VideoTextPair, Records]] = []
    texts: int = 0
    stand_ins: list[MediumKind] = []
    drops: list[Drop] = []


def assemble(task: AssembleTask, note: Note, skip: frozenset[int]) -> None:
    """Writes the finished documents and pairs of one part with their indexes, the fingerprints and the drops."""
    select = task.candidates.select
    folder = RunFolder(select.run_url)
    selected = selected_rows(task.candidates)
    rows = np.array([one["row"] for one in selected], dtype=np.int64)
    name = f"documents/{select.part}.parquet"
    with folder.store.open(name) as file:
        table = read_table(file, DOCUMENTS, name)
    candidates = unpack_candidates(table["media_keys"].take(pa.array(rows)), select.number, rows)
    matches = match(candidates, join([task.found], FOUND))
    starts, ends = (np.searchsorted(matches["row"], rows, side).tolist() for side in ("left", "right"))
    every = Beside(
        config=task.pairs,
        pii=task.pii,
        pictures={},
        frequent=frequent_hashes(task.frequent),
        lists=text_lists(select.run_url, task.lists) if task.lists else None,
        scorers=task.scores.names if task.scores else [],
        similarities=_similarities(task, folder.store, matches),
    )
    with folder.part("shard", task.output) as part:
        part.detail = "assembled"
        writer = _Writer(task, part)
        for verdict, start, end in zip(selected, starts, ends, strict=True):
            stored = table.slice(verdict["row"], 1).to_pylist()[0]
            found = usable_matches(matches[start:end], verdict["gone_candidates"])
            beside = msgspec.structs.replace(
                every,
                pictures=best_keys(stored["media_keys"]),
                tracks=read_tracks(folder.store, task.media_parts, stored["media_keys"], found),
            )
            writer.add(stored, finish(stored, verdict, found, beside))
        writer.close()


def _similarities(task: AssembleTask, store: Store, matches: Records) -> Similarities | None:
    if task.scores is None or not task.scores.width:
        return None
    texts = task.scores.texts[task.candidates.selected_part]
    return Similarities(store, task.scores, texts, task.media_parts, matches)


class _Writer:
    """The files of one part."""

    def __init__(self, task: AssembleTask, part: PartWriter) -> None:
        self._task, self._part = task, part
        self._samples: dict[str, list[Assembled]] = {INTERLEAVED: [], IMAGE_TEXT: [], VIDEO_TEXT: []}
        self._drops = TableWriter(part.file(f"drops/shard-{task.output}.parquet"), DROPS)
        self._fingerprints = TableWriter(part.file(f"fingerprints/{task.output}.parquet"), FINGERPRINTS)

    def add(self, stored: dict[str, Any], made: Finished) -> None:
        self._part.counts["pairs.in"] += made.texts
        self._part.counts.update(f"{kind}s.in" for kind in made.stand_ins)
        self._drop(made.drops, stored["url"], _provenance(stored))
        if made.document is not None:
            _count(self._part, made.document)
            media = [self._bytes(m.member, one) for m, one in zip(made.document.media, made.picks, strict=True)]
            json = msgspec.Raw(msgspec.json.encode(made.document))
            self._samples[INTERLEAVED].append(Assembled(key=made.document.key, json=json, media=media))
        for pair, medium in made.pairs:
            kind = IMAGE_TEXT if isinstance(pair, ImageTextPair) else VIDEO_TEXT
            media = [self._bytes(EXTENSIONS[medium["extension"]], medium)]
            json = msgspec.Raw(msgspec.json.encode(pair))
            self._samples[kind].append(Assembled(key=pair.key, json=json, media=media, text=pair.caption))
        if made.picks:
            self._fingerprints.add(_fingerprint(stored, made.picks))

    def _bytes(self, member: str, match: Records) -> MediumBytes:
        return MediumBytes(
            member=member,
            sha256=match["sha256"].tobytes().hex(),
            part=self._task.media_parts[match["media_part"]],
            offset=int(match["offset"]),
            bytes=int(match["bytes"]),
        )

    def _drop(self, drops: Iterable[Drop], url: str, provenance: Provenance | None) -> None:
        for drop in drops:
            self._part.counts[f"{drop.kind}s.dropped.{drop.reason}"] += 1
            self._drops.add(drop_row("shard", drop, url, provenance))

    def close(self) -> None:
        for kind, samples in self._samples.items():
            self._drop(write_sorted(self._part, kind, self._task.output, samples, self._task.seed), "", None)
        self._drops.close()
        self._fingerprints.close()


def _provenance(stored: dict[str, Any]) -> Provenance:
    return msgspec.convert({field: stored[field] for field in ("source", "offset", "length", "digest")}, Provenance)


def finish(stored: dict[str, Any], verdict: dict[str, Any], matches: Records, beside: Beside) -> Finished:
    """What comes of one row of the documents table, with the usable matches of its media."""
    nodes, media = left_nodes(stored["nodes"], verdict["gone_nodes"])
    media = [(number, scrubbed_medium(medium, beside.pii)) for number, medium in media]
    picks = pick(media, matches, beside.scorers)
    if stored["columns"] is not None:
        return _table_pairs(stored, [medium for _, medium in media], picks, matches, beside)
    made = Finished(picks=[one for one in picks if not isinstance(one, Drop)])
    made.drops = [one for one in picks if isinstance(one, Drop)]
    if not made.picks:
        page = Drop(kind="page", reason=DropReason.NO_IMAGE, url=stored["url"])
        text = Drop(kind="paragraph", reason=DropReason.WITH_PAGE, detail=f"page: {page.reason}")
        return Finished(drops=[page, *[text for node in nodes if isinstance(node, Text)], *made.drops])
    made.document = _document(stored, _finished_nodes(nodes, media, picks, beside))
    _note_stand_ins(made, media, picks, matches, beside.scorers)
    if beside.config.from_pages:
        for (number, medium), picked in zip(media, picks, strict=True):
            if not isinstance(picked, Drop):
                pairs, gone = pairs_of(stored, number, medium, _clips(matches, number, picked), beside)
                made.pairs += pairs
                made.drops += gone
                made.texts += len(pairs) + len(gone)
    return made


def _note_stand_ins(
    made: Finished, media: list[tuple[int, DraftMedium]], picks: list[Any], matches: Records, scorers: list[str]
) -> None:
    """A medium whose candidate of the other kind was taken is dropped as what it was, and comes in as what it is."""
    for (number, medium), picked in zip(media, picks, strict=True):
        if isinstance(picked, Drop) or is_video(picked) == (medium.kind == "video"):
            continue
        better = matches[(matches["medium"] == number) & (matches["rank"] < picked["rank"])]
        drop = failure(medium, better, scorers)
        source = medium.candidates[picked["rank"]].source
        made.drops.append(msgspec.structs.replace(drop, detail=f"{source} stands in; {drop.detail}".rstrip("; ")))
        made.stand_ins.append("video" if is_video(picked) else "image")


def _table_pairs(
    stored: dict[str, Any], media: list[DraftMedium], picks: list[Any], matches: Records, beside: Beside
) -> Finished:
    """The pair of a table's row, of a cut video one for each clip; extract has counted the row as one."""
    made = Finished(picks=[one for one in picks if not isinstance(one, Drop)])
    for medium, picked in zip(media, picks, strict=True):
        if isinstance(picked, Drop):
            made.drops.append(pair_drop(medium, (picked.reason, picked.value, picked.threshold), picked.detail))
            continue
        for clip in _clips(matches, 0, picked):
            scores = beside.scores(clip, medium.caption)
            unlike = beside.judge_similarity(clip, scores)
            if unlike is not None:
                made.drops.append(pair_drop(medium, unlike, f"caption: {medium.caption}"))
                continue
            pair = make_pair(stored, medium, clip, "caption", medium.caption, scores, stored["columns"])
            made.pairs.append((pair, clip))
    made.texts = len(made.pairs) + len(made.drops) - 1
    return made


def _clips(matches: Records, number: int, picked: Records) -> Records:
    """All matches of the candidate that was picked for a medium: one, or its clips in order."""
    clips: Records = matches[(matches["medium"] == number) & (matches["rank"] == picked["rank"]) & matches["ok"]]
    return clips


def _finished_nodes(
    nodes: list[Text | DraftMedium], media: list[tuple[int, DraftMedium]], picks: list[Any], beside: Beside
) -> list[Text | Image | Video]:
    finished: list[Text | Image | Video] = []
    following = iter(zip(media, picks, strict=True))
    index = 0
    for node in nodes:
        if isinstance(node, Text):
            finished.append(Text(scrub(node.text, beside.pii)[0]))
            continue
        (_, medium), picked = next(following)
        if not isinstance(picked, Drop):
            finished.append(_medium(medium, picked, index, beside.scorers))
            index += 1
    return finished


def _medium(medium: DraftMedium, picked: Records, index: int, scorers: list[str]) -> Image | Video:
    candidate: Candidate = medium.candidates[picked["rank"]]
    fields: dict[str, Any] = {
        "member": f"{index:03d}.{EXTENSIONS[picked['extension']]}",
        "url": candidate.url,
        "source": candidate.source,
        "alt": medium.alt,
        "caption": medium.caption,
        "scores": named_scores(picked, scorers),
        **{name: int(picked[name]) for name in ("rank", "width", "height", "bytes")},
        **{name: picked[name].tobytes().hex() for name in ("sha256", "source_sha256")},
        "phash": phash_of(picked),
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


def _fingerprint(stored: dict[str, Any], picks: list[Records]) -> dict[str, Any]:
    media = [
        key_bytes(one["hi"], one["lo"])
        + b"".join(one[field].tobytes() for field in ("sha256", "source_sha256", "phash"))
        for one in picks
    ]
    fields = {name: stored[name] for name in ("key", "url", "url_key", "text_key", "minhash")}
    return {**fields, "media": b"".join(media)}
