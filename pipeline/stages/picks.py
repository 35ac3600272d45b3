"""Media by the documents that want them: which picture or video a medium of a page becomes.

    seen_keys        a documents part  ->  (bucket, the media URLs that its selected rows name)
    found            a bucket          ->  the media that there are, by documents part
    match            a documents part's candidates and found media  ->  its candidates that have a medium
    pick             a document's media and matches  ->  for each medium its match, or why it goes

A medium of a document is its best-ranked candidate whose bytes passed the filters; if none did, the best-ranked candidate that was found says why.
Of several media rows of one URL a good one counts before a failure, then the latest asking, then its last round, which is what came of a redirect. Pictures of
the page's metadata stand in only where the page has no other medium, videos of it where the body has no video. A video that was cut is a run of rows, a clip each: all of them are matched, the first one stands in the document.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from pipeline.isolate import Note
from pipeline.runfolder import RunFolder
from pipeline.stages import repeats
from pipeline.stages.extract import TRACK_RANK
from pipeline.stages.media_records import EXTENSIONS, FOUND, MATCH, MEDIUM, REASONS, Bucketed, is_video
from pipeline.stages.packed import Records, by_part, find_runs, first_of_runs, join, split, taken_over
from pipeline.stages.selection import SEEN, SelectTask, candidate_records
from schemas.document import DraftMedium, MediumKind, Text, decode_draft_nodes
from schemas.drops import Drop, DropReason
from schemas.tables import SELECTED, read_table

_TAKEN_DOWN = REASONS.index(DropReason.TAKEN_DOWN)
MAX_PAGE_PHASH_BITS = 5  # mmc4: by so many bits at most two pictures of one document differ that are copies
_GONE_CANDIDATE = np.dtype([("medium", "<u2"), ("rank", "<u2")])  # selected.gone_candidates


class CandidateTask(msgspec.Struct, frozen=True, kw_only=True):
    """A documents part (as the select stage numbers them) and its selected part; of how many documents it tells for each URL, at most."""

    select: SelectTask
    selected_part: str
    documents: int = 1


def selected_rows(task: CandidateTask) -> list[dict[str, Any]]:
    """The rows of the selected table of a documents part, by `row`."""
    name = f"selected/{task.selected_part}.parquet"
    with RunFolder(task.select.run_url).store.open(name) as file:
        return sorted(read_table(file, SELECTED, name).to_pylist(), key=lambda row: int(row["row"]))


def seen_keys(task: CandidateTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The media URLs of a part's selected documents, by bucket."""
    rows: Any = np.array([row["row"] for row in selected_rows(task)], dtype=np.int32)
    return list(split(first_documents(candidate_records(task.select, rows), task.documents), task.select.buckets))


def first_documents(candidates: Records, documents: int) -> Records:
    """The first `documents` of a part's documents that name a URL (SEEN), for each: a picture may stand on every page, and a bucket is one worker's."""
    candidates = candidates[np.lexsort((candidates["row"], candidates["lo"], candidates["hi"]))]
    once = candidates[first_of_runs(candidates, ("hi", "lo", "row")) == np.arange(len(candidates))]
    return taken_over(once[np.arange(len(once)) - first_of_runs(once, ("hi", "lo")) < documents], SEEN)


def found(seen_blobs: Iterable[bytes], media_blobs: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """(documents part, packed FOUND) of one bucket: for each URL that a part names its best row, and the clips that were cut with it."""
    seen, media = join(seen_blobs, SEEN), join(media_blobs, MEDIUM)
    seen = seen[np.lexsort((seen["part"], seen["lo"], seen["hi"]))]
    seen = seen[first_of_runs(seen, ("hi", "lo", "part")) == np.arange(len(seen))]
    latest_first = -media["round"].astype(np.int64), -media["generation"].astype(np.int64)
    order = (media["offset"], media["clip"], media["media_part"], *latest_first, ~media["ok"], media["lo"], media["hi"])
    media = media[np.lexsort(order)]
    first = first_of_runs(media, ("hi", "lo"))
    with_first = np.ones(len(media), dtype=bool)
    for field in ("ok", "generation", "media_part"):
        with_first &= media[field] == media[field][first]
    later_clip = (media["clip"] > np.roll(media["clip"], 1)) & media["ok"]
    best = media[with_first & (later_clip | (first == np.arange(len(media))))]
    which, at = find_runs(seen, best)
    media = taken_over(best[at], FOUND)
    media["part"] = seen["part"][which]
    return list(by_part(media))


def match(candidates: Records, media: Records) -> Records:
    """The matches (MATCH) of a part's candidates with the media (FOUND) of its URLs, sorted by document, medium, rank and clip."""
    media = media[np.lexsort((media["clip"], media["lo"], media["hi"]))]
    which, at = find_runs(candidates, media)
    matches = taken_over(media[at], MATCH)
    for field in ("row", "medium", "rank"):
        matches[field] = candidates[field][which]
    return matches[np.lexsort((matches["clip"], matches["rank"], matches["medium"], matches["row"]))]


def usable_matches(matches: Records, gone_candidates: bytes | None) -> Records:
    """A document's matches without the candidates that select has ruled out."""
    gone = np.frombuffer(gone_candidates or b"", dtype=_GONE_CANDIDATE)
    if not len(gone):
        return matches
    return matches[~np.isin(_pair_number(matches), _pair_number(gone))]


def _pair_number(records: Records) -> Any:
    return records["medium"].astype(np.uint32) << np.uint32(16) | records["rank"]


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


def pick(media: list[tuple[int, DraftMedium]], matches: Records, scorers: Sequence[str] = ()) -> list[Any]:
    """For each (number in the page, medium) the match to take, or the drop.

    `matches` are sorted by medium, rank and clip; `scorers` are the names of their scores.
    """
    is_text = matches["ok"] & (matches["extension"] == EXTENSIONS.index("vtt"))
    matches = matches[(matches["rank"] < TRACK_RANK) & (matches["clip"] == 0) & ~is_text]
    picks = [_best(medium, matches[matches["medium"] == number], scorers) for number, medium in media]
    _drop_fallbacks([medium for _, medium in media], picks)  # first: a body's picture is no twin of one that goes
    _drop_twins([medium.kind for _, medium in media], picks)
    return picks


def _best(medium: DraftMedium, matches: Records, scorers: Sequence[str]) -> Any:
    taken = matches[~matches["ok"] & (matches["reason"] == _TAKEN_DOWN)]
    if len(taken):  # candidates of one medium show the same
        return failure(medium, taken)
    usable = matches[matches["ok"]]
    return usable[0] if len(usable) else failure(medium, matches, scorers)


def failure(medium: DraftMedium, matches: Records, scorers: Sequence[str] = ()) -> Drop:
    """Why a medium is not to be had, by the matches of its candidates that failed: the best one's reason."""
    if not len(matches):
        url = medium.candidates[0].url
        why = f"{len(medium.candidates)} candidates"
        return Drop(kind=medium.kind, reason=DropReason.NOT_IN_CRAWL, medium_url=url, detail=why)
    best = matches[0]
    value, threshold = (None if np.isnan(best[field]) else float(best[field]) for field in ("value", "threshold"))
    reason = REASONS[best["reason"]]
    return Drop(
        kind=medium.kind,
        reason=reason,
        medium_url=medium.candidates[best["rank"]].url,
        value=value,
        threshold=threshold,
        detail=scorers[best["scorer"]] if reason == DropReason.SCORE else "",
    )


def _drop_twins(kinds: list[MediumKind], picks: list[Any]) -> None:
    """Of media with the same bytes in one document the first stays."""
    seen: set[bytes] = set()
    for place, picked in enumerate(picks):
        if isinstance(picked, Drop):
            continue
        sha256 = picked["sha256"].tobytes()
        if sha256 in seen:
            picks[place] = Drop(kind=kinds[place], reason=DropReason.REPEATED_IN_PAGE, detail=f"sha256 {sha256.hex()}")
        seen.add(sha256)
    _drop_copies(kinds, picks)


def _drop_copies(kinds: list[MediumKind], picks: list[Any]) -> None:
    """Of pictures in one document that look the same the first stays."""
    places = [place for place, one in enumerate(picks) if not isinstance(one, Drop) and not is_video(one)]
    looks = np.zeros(len(places), dtype=repeats.LOOK)
    for look, place in zip(looks, places, strict=True):
        for field in ("phash", "dhash"):
            look[field] = int.from_bytes(picks[place][field].tobytes(), "big")
        look["width"], look["height"] = picks[place]["source_width"], picks[place]["source_height"]
        look["colour"] = picks[place]["colour"]
    sha256 = [picks[place]["sha256"].tobytes().hex() for place in places]
    for place, of in zip(places, repeats.repeats_in_page(looks, MAX_PAGE_PHASH_BITS).tolist(), strict=True):
        if of >= 0:
            detail = f"looks like sha256 {sha256[of]}"
            picks[place] = Drop(kind=kinds[place], reason=DropReason.REPEATED_IN_PAGE, detail=detail)


def _drop_fallbacks(media: list[DraftMedium], picks: list[Any]) -> None:
    good = [medium for medium, picked in zip(media, picks, strict=True) if not isinstance(picked, Drop)]
    has_own_video = any(medium.kind == "video" and not medium.fallback for medium in good)
    has_other = any(medium.kind == "video" or not medium.fallback for medium in good)
    for place, (medium, picked) in enumerate(zip(media, picks, strict=True)):
        is_needed = not (has_own_video if medium.kind == "video" else has_other)
        if medium.fallback and not is_needed and not isinstance(picked, Drop):
            url = medium.candidates[0].url
            picks[place] = Drop(kind=medium.kind, reason=DropReason.FALLBACK_NOT_NEEDED, medium_url=url)
