"""Pairs of finished documents: each medium with each text about it.

    text_keys   a documents part  ->  (bucket, texts and pictures that may be too frequent)
    pairs_of    a finished document's media  ->  its pairs, and the texts that make none

Every text that stands with a medium of a finished document counts as having come in: its alt text, its caption, its title; of a cut video each of them for each
clip, and what is said in the clip where the video has a text track. A row of a captions table is one pair, whose text the user has chosen: the rules for texts of pages are not for it.

The key of a pair is a function of its picture's perceptual hash and its text, so that copies get the same place and meet in the same shard (COYO's rule).
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from pipeline.filters.pii import PiiConfig, scrub
from pipeline.isolate import Note
from pipeline.lists.lists import TextLists
from pipeline.pairs.config import PairsConfig
from pipeline.pairs.frequency import FREQUENT, PICTURE, TEXT, occurrences
from pipeline.pairs.rules import TextSource, Verdict, clean, judge_picture, judge_text
from pipeline.runfolder import RunFolder
from pipeline.scores.config import SIMILARITY
from pipeline.stages.media_records import Bucketed, is_video, phash_of
from pipeline.stages.packed import Records, join, split
from pipeline.stages.picks import CandidateTask, left_nodes, selected_rows
from pipeline.stages.scored import Similarities, named_scores
from pipeline.stages.selection import PACKED_CANDIDATE, hash_number
from pipeline.stages.tracks import Track, spoken
from schemas.document import DraftMedium
from schemas.drops import Drop, DropReason
from schemas.pair import ImageTextPair, VideoTextPair
from schemas.shard import sample_key
from schemas.tables import DOCUMENTS, read_table

_NO_FREQUENT: frozenset[tuple[int, int]] = frozenset()


class TextTask(msgspec.Struct, frozen=True, kw_only=True):
    """A documents part whose texts are counted."""

    candidates: CandidateTask
    config: PairsConfig


def text_keys(task: TextTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The hashes of a part's texts that pass the rules, with their pictures', by bucket."""
    select = task.candidates.select
    name = f"documents/{select.part}.parquet"
    with RunFolder(select.run_url).store.open(name) as file:
        table = read_table(file, DOCUMENTS, name, ["nodes", "media_keys", "columns"])
    found: list[tuple[int, int]] = []
    for verdict in selected_rows(task.candidates):
        stored = table.slice(verdict["row"], 1).to_pylist()[0]
        if stored["columns"] is not None:
            continue
        pictures = best_keys(stored["media_keys"])
        for number, medium in left_nodes(stored["nodes"], verdict["gone_nodes"])[1]:
            for source, text in texts_of(medium):
                if number in pictures and judge_text(text, source, task.config) is None:
                    found.append((text_hash(text), pictures[number]))
    return list(split(occurrences(found, select.number, task.config), select.buckets))


def best_keys(media_keys: bytes) -> dict[int, int]:
    """The hash of the best candidate's URL of each medium of a document, by the medium's number."""
    candidates = np.frombuffer(media_keys, dtype=PACKED_CANDIDATE)
    return {int(one["medium"]): int(one["hi"]) for one in candidates if one["rank"] == 0}


def text_hash(text: str) -> int:
    """By which a text is counted: its letters' case does not matter."""
    return hash_number(text.casefold())


def texts_of(medium: DraftMedium) -> Iterator[tuple[TextSource, str]]:
    """The texts that a page gives to a medium, cleaned."""
    for source, text in (("alt", medium.alt), ("caption", medium.caption), ("title", medium.title)):
        if cleaned := clean(text):
            yield source, cleaned  # type: ignore[misc]


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What a document's texts are judged by, beside themselves: what was counted over the run, the user's lists.

    `tracks` are the text tracks of its videos, by the video's number among the page's media; `scorers` the names of the pictures' scores.
    """

    config: PairsConfig
    pii: PiiConfig
    pictures: dict[int, int]
    frequent: frozenset[tuple[int, int]] = _NO_FREQUENT
    lists: TextLists | None = None
    tracks: dict[int, Track] = {}
    scorers: list[str] = []
    similarities: Similarities | None = None

    def judge(self, number: int, source: TextSource, text: str) -> Verdict | None:
        """Why the text of medium `number` makes no pair."""
        verdict = judge_text(text, source, self.config) or self.listed(text)
        if verdict is not None:
            return verdict
        if (text_hash(text), TEXT) in self.frequent:
            return DropReason.FREQUENT_CAPTION, None, self.config.max_pictures_of_text
        if (self.pictures.get(number), PICTURE) in self.frequent:
            return DropReason.TOO_MANY_CAPTIONS, None, self.config.max_texts_of_picture
        return None

    def listed(self, text: str) -> Verdict | None:
        """Whether a text holds a blocked word, or shares words with an evaluation set."""
        drop = self.lists.refused_text(text) if self.lists is not None else None
        return (drop.reason, drop.value, None) if drop else None

    def scores(self, match: Records, text: str) -> dict[str, float]:
        """The scores of a picture, and its similarity to a text, as far as they are known."""
        similarity = self.similarities.of(match, text) if self.similarities is not None else None
        return named_scores(match, self.scorers) | ({} if similarity is None else {SIMILARITY: similarity})

    def judge_similarity(self, match: Records, scores: dict[str, float]) -> Verdict | None:
        """Whether a picture and a text fit too little, or nothing is known of it; a clip of a video is not asked."""
        least, similarity = self.config.min_similarity, scores.get(SIMILARITY)
        if is_video(match) or least <= -1 or (similarity is not None and similarity >= least):
            return None
        return DropReason.LOW_SIMILARITY, similarity, least

    def texts_of_clip(self, number: int, medium: DraftMedium, clip: Records) -> Iterator[tuple[TextSource, str]]:
        """The texts of medium `number`; of a clip also what is said in it, which may be nothing."""
        yield from texts_of(medium)
        if number in self.tracks and is_video(clip):
            yield "track", scrub(clean(spoken(self.tracks[number], clip)), self.pii)[0]


def frequent_hashes(packed: bytes) -> frozenset[tuple[int, int]]:
    """(hash, of what) of all that is too frequent in a part."""
    return frozenset((int(one["hi"]), int(one["lo"])) for one in join([packed], FREQUENT))


def pairs_of(
    stored: dict[str, Any], number: int, medium: DraftMedium, clips: Records, beside: Beside
) -> tuple[list[tuple[ImageTextPair | VideoTextPair, Records]], list[Drop]]:
    """The pairs of one medium, each with the match that holds its bytes, and the texts that make none; `clips` has one match if it is a picture."""
    made: list[tuple[ImageTextPair | VideoTextPair, Records]] = []
    drops: list[Drop] = []
    for clip in clips:
        seen: set[str] = set()
        size = None if is_video(clip) else judge_picture(clip["source_width"], clip["source_height"], beside.config)
        for source, text in beside.texts_of_clip(number, medium, clip):
            scores = beside.scores(clip, text)
            verdict = size or beside.judge(number, source, text) or beside.judge_similarity(clip, scores)
            if verdict is None and text in seen:
                verdict = DropReason.DUPLICATE_PAIR, None, None
            if verdict is None:
                seen.add(text)
                made.append((make_pair(stored, medium, clip, source, text, scores), clip))
            else:
                fault = beside.tracks.get(number) if source == "track" else None
                drops.append(pair_drop(medium, verdict, f"{source}: {fault if isinstance(fault, str) else text}"))
    return made, drops


def make_pair(
    stored: dict[str, Any],
    medium: DraftMedium,
    match: Records,
    source: str,
    text: str,
    scores: dict[str, float],
    columns: str | None = None,
) -> ImageTextPair | VideoTextPair:
    """One pair; `columns` is the JSON of a table row's other columns."""
    phash = phash_of(match)
    sha256 = match["sha256"].tobytes().hex()
    fields: dict[str, Any] = {
        "key": sample_key(f"{phash or sha256}\0{text}"),
        "url": medium.candidates[match["rank"]].url,
        "caption": text,
        "caption_source": source,
        "width": int(match["width"]),
        "height": int(match["height"]),
        "original_width": int(match["source_width"]),
        "original_height": int(match["source_height"]),
        "sha256": sha256,
        "source_sha256": match["source_sha256"].tobytes().hex(),
        "phash": phash,
        "page_url": stored["url"] if columns is None else "",
        "language": stored["language"] or "",
        "scores": scores,
        "columns": msgspec.json.decode(columns) if columns else {},
    }
    if not is_video(match):
        return ImageTextPair(**fields)
    # Clips of one film may look alike in the middle: their bytes tell them apart.
    fields["key"] = sample_key(f"{sha256}\0{text}")
    fields |= {name: float(match[name]) for name in ("start_s", "duration_s", "fps")}
    return VideoTextPair(**fields)


def pair_drop(medium: DraftMedium, verdict: Verdict, detail: str) -> Drop:
    """The drop of one text."""
    reason, value, threshold = verdict
    url = medium.candidates[0].url
    return Drop(kind="pair", reason=reason, medium_url=url, value=value, threshold=threshold, detail=detail[:200])
