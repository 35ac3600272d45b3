"""fetch, what to ask the web next.

    known_media   a media part       ->  (bucket, what the run knows of each medium)
    match         a bucket           ->  by documents part: its candidates of which something is known, and what
    wanted_urls   a documents part   ->  (bucket of the host, the URLs that it wants next)
    moved_urls    a part of the last round  ->  (bucket of the new host, where its answers led)

Each round asks, for each medium that has no bytes yet, its best-ranked candidate without a final answer. So a rendition is asked only after every
better one has failed, and what the crawl holds is never asked at all. All URLs of a registered domain are in one bucket: one worker asks it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec
import numpy as np
import pyarrow as pa

from pipeline.isolate import Note
from pipeline.runfolder import RunFolder
from pipeline.stages.extract import TRACK_RANK, ranked_urls
from pipeline.stages.media_index import key16
from pipeline.stages.packed import KEY, Records, by_part, find_keys, join, key_numbers, split, taken_over
from pipeline.stages.selection import PACKED_CANDIDATE, SEEN, SelectTask, unpack_candidates
from pipeline.urls import media_key
from pipeline.web.answer import MediumKind
from pipeline.web.host import registered_domain
from pipeline.web.status import PASSING
from schemas.document import DraftMedium, decode_draft_nodes
from schemas.drops import DropReason
from schemas.tables import DOCUMENTS, MEDIA, SELECTED, read_table

# What is known of a URL: its bytes; that there are none; that it may be asked again; that another host is about to be asked in its stead.
OK, FINAL, AGAIN, FOLLOWED = range(4)
NEW = 4  # nothing

KNOWN = np.dtype([*KEY, ("state", "<u1"), ("generation", "<u4"), ("rank", "<i4")])
STATE = np.dtype([*KEY, ("part", "<u4"), ("state", "<u1")])  # of a URL that a documents part names
_CANDIDATE_STATE = np.dtype([("row", "<u4"), ("medium", "<u2"), ("rank", "<u2"), ("state", "<u1")])
_GONE = np.dtype([("medium", "<u2"), ("rank", "<u2")])

Bucketed = list[tuple[int, bytes]]


class Wanted(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A URL to be asked on behalf of a medium's key; `hops` hosts have led on to it."""

    key: bytes
    url: str
    kind: MediumKind
    hops: int = 0


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(list[Wanted]).decode


class KnownTask(msgspec.Struct, frozen=True, kw_only=True):
    """A media part. `is_last`: it comes from the last round, so that where it leads is asked now.

    Failures of generations before `asks_again_before` that may pass are asked again.
    """

    run_url: str
    part: str
    buckets: int
    asks_again_before: int
    is_last: bool


def known_media(task: KnownTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """What is known of each medium of a part, by bucket of its key."""
    name = f"media/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        table = read_table(file, MEDIA, name, ["media_key", "status", "generation", "rank"])
    records = np.zeros(table.num_rows, dtype=KNOWN)
    records["hi"], records["lo"] = key_numbers(table["media_key"].to_pylist()).T
    records["generation"] = table["generation"].fill_null(0).to_numpy()
    records["rank"] = table["rank"].fill_null(-1).to_numpy()
    earlier = (records["generation"] < task.asks_again_before).tolist()
    records["state"] = [
        _state(status, before, task.is_last)
        for status, before in zip(table["status"].to_pylist(), earlier, strict=True)
    ]
    return list(split(records, task.buckets))


def _state(status: str, is_earlier: bool, is_last: bool) -> int:
    if status == "ok":
        return OK
    moved = status == DropReason.REDIRECTED
    if moved and is_last:
        return FOLLOWED
    return AGAIN if is_earlier and (moved or status in PASSING) else FINAL


def match(seen_blobs: Iterable[bytes], known_blobs: Iterable[bytes]) -> list[tuple[int, bytes]]:
    """(documents part, packed states) of one bucket; of several answers for one URL bytes count, else the latest."""
    seen, known = join(seen_blobs, SEEN), join(known_blobs, KNOWN)
    latest_first = (-known["rank"].astype(np.int64), -known["generation"].astype(np.int64))
    known = known[np.lexsort((known["state"], *latest_first, known["state"] != OK, known["lo"], known["hi"]))]
    at = find_keys(seen, known)
    states = taken_over(seen[at >= 0], STATE)
    states["state"] = known["state"][at[at >= 0]]
    return list(by_part(states))


class WantTask(msgspec.Struct, frozen=True, kw_only=True):
    """A documents part with its selected part and what is known of its URLs (packed STATE).

    `asks_new`: whether what was never asked is wanted; a retry asks only what has failed.
    """

    select: SelectTask
    selected_part: str
    hosts: int
    videos: bool
    asks_new: bool
    states: bytes = b""


def wanted_urls(task: WantTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """What a part's selected documents want asked next, by bucket of the host."""
    folder = RunFolder(task.select.run_url)
    name = f"selected/{task.selected_part}.parquet"
    with folder.store.open(name) as file:
        selected = read_table(file, SELECTED, name).sort_by("row")
    name = f"documents/{task.select.part}.parquet"
    with folder.store.open(name) as file:
        documents = read_table(file, DOCUMENTS, name, ["media_keys", "nodes", "videos"]).take(selected["row"])
    rows = selected["row"].to_numpy()
    states = _states_of(
        unpack_candidates(documents["media_keys"], task.select.number, rows), join([task.states], STATE)
    )
    starts, ends = np.searchsorted(states["row"], rows, "left"), np.searchsorted(states["row"], rows, "right")
    found: set[Wanted] = set()
    for place, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        has_videos = documents["videos"][place].as_py() > 0
        if has_videos or not _is_settled(documents["media_keys"][place].as_py(), states[start:end]):
            found.update(_wants(task, documents["nodes"][place].as_py(), selected.slice(place, 1), states[start:end]))
    return list(by_host(found, task.hosts))


def _states_of(candidates: Records, known: Records) -> Records:
    """What is known of each candidate (_CANDIDATE_STATE), by row; of whom nothing is, there is no record."""
    at = find_keys(candidates, known)
    states = taken_over(candidates[at >= 0], _CANDIDATE_STATE)
    states["state"] = known["state"][at[at >= 0]]
    return states[np.argsort(states["row"], kind="stable")]


def _is_settled(packed: bytes, states: Records) -> bool:
    """Whether each picture of a document has bytes: its nodes need not be read."""
    candidates = np.frombuffer(packed, dtype=PACKED_CANDIDATE)
    have_bytes = states["medium"][states["state"] == OK]
    return bool(np.isin(candidates["medium"], have_bytes).all())


def _wants(task: WantTask, nodes: str, selected: pa.Table, states: Records) -> Iterator[Wanted]:
    """The URLs of one document that are to be asked next."""
    gone_nodes = set(np.frombuffer(selected["gone_nodes"][0].as_py() or b"", dtype="<u2").tolist())
    gone = set(np.frombuffer(selected["gone_candidates"][0].as_py() or b"", dtype=_GONE).tolist())
    known = {(medium, rank): state for _, medium, rank, state in states.tolist()}
    media = [(place, node) for place, node in enumerate(decode_draft_nodes(nodes)) if isinstance(node, DraftMedium)]
    for medium, (place, node) in enumerate(media):
        if place in gone_nodes or (node.kind == "video" and not task.videos):
            continue
        urls = {
            rank: url
            for rank, url in ranked_urls(node)
            if (medium, rank) not in gone and url.startswith(("http://", "https://"))
        }
        unknown = NEW if task.asks_new else FINAL
        ranks = {rank: known.get((medium, rank), unknown) for rank in urls}
        # A poster that is there does not settle its video.
        open_ranks = {rank: state for rank, state in ranks.items() if state != OK or _kind(node, rank) == node.kind}
        for rank in next_ranks(open_ranks):
            yield Wanted(key16(media_key(urls[rank])), urls[rank], _kind(node, rank))


def _kind(medium: DraftMedium, rank: int) -> MediumKind:
    """What a candidate is asked as; a video's poster is a picture."""
    if rank >= TRACK_RANK:
        return "track"
    return "image" if medium.candidates[rank].source == "poster" else medium.kind


def next_ranks(states: Mapping[int, int]) -> list[int]:
    """Which ranks of one medium to ask: its first candidate that is not settled, if none has bytes; a video's tracks beside it.

    >>> next_ranks({0: FINAL, 1: NEW, 2: NEW}), next_ranks({0: FINAL, 1: NEW, 2: OK}), next_ranks({0: FOLLOWED, 1: NEW})
    ([1], [], [])
    """
    candidates = {rank: state for rank, state in states.items() if rank < TRACK_RANK}
    has_bytes = OK in candidates.values()
    open_rank = next((rank for rank in sorted(candidates) if candidates[rank] != FINAL), None)
    if open_rank is None:
        return []
    tracks = [rank for rank, state in states.items() if rank >= TRACK_RANK and state in (NEW, AGAIN)]
    return tracks if has_bytes or candidates[open_rank] == FOLLOWED else [open_rank, *tracks]


class MovedTask(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the last round."""

    run_url: str
    part: str
    hosts: int


def moved_urls(task: MovedTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """Where the answers of a part led, by bucket of the new host; asked on behalf of the first URL's key."""
    name = f"media/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        table = read_table(file, MEDIA, name, ["media_key", "kind", "status", "value", "target_url"])
    moved = [row for row in table.to_pylist() if row["status"] == DropReason.REDIRECTED]
    return list(
        by_host(
            (Wanted(row["media_key"], row["target_url"], row["kind"], int(row["value"])) for row in moved), task.hosts
        )
    )


def by_host(wanted: Iterable[Wanted], buckets: int) -> Iterator[tuple[int, bytes]]:
    """(bucket of the registered domain, packed URLs)."""
    packed: dict[int, list[Wanted]] = {}
    for one in sorted(wanted):
        packed.setdefault(host_number(one.url) % buckets, []).append(one)
    for bucket, found in packed.items():
        yield bucket, _encode(found)


def host_number(url: str) -> int:
    """A number of the URL's registered domain."""
    return int.from_bytes(hashlib.sha256(registered_domain(url).encode()).digest()[:8], "big")


def unpack_wanted(blobs: Iterable[bytes]) -> list[Wanted]:
    """All URLs of a host bucket, each medium once, sorted by key: of several spellings of one URL the first."""
    first: dict[bytes, Wanted] = {}
    for one in sorted(one for blob in blobs for one in _decode(blob)):
        first.setdefault(one.key, one)
    return list(first.values())
