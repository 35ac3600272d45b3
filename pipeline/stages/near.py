"""select, near copies: of texts that are nearly the same the best stays.

    band_keys       a part's kept rows   ->  (bucket of the band key, the part's best K of each band)
    leaders         a bucket             ->  each band's best K, for the parts that hold a worse one; whom to ask for a signature
    signatures_for  a part               ->  signatures of its leaders, for the parts that asked
    drop_near       a part               ->  what stays, verdicts

"Better" is one order for all documents (`best_first`), made of the documents alone, so who goes does not depend on parts or workers. A document
goes when a better one is verified similar, kept or not: a chain goes to its best, and nothing is done twice. A band is a guess; a verdict is given on
both signatures. A band that ten thousand documents share sends K records from each part, and each of its documents is held against its K best; the
documents to which that happened are counted.
"""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.dedup.minhash import BANDS, PERMUTATIONS, bands, signatures, similarities
from pipeline.isolate import Note
from pipeline.stages.earlier import EarlierTask, signed_pages
from pipeline.stages.packed import Records, by_part, first_of_runs, join, key_numbers, split
from pipeline.stages.selection import (
    RANKED,
    TAKEN,
    VERDICT,
    VERDICTS,
    Bucketed,
    SelectTask,
    best_first,
    read_documents,
    why,
)
from schemas.drops import DropReason

TAKEN_SIMILARITY = (
    0.75  # FineWeb: so near a page comes to one that was taken down and goes with it, whatever the run's own threshold
)
BEST = 4  # ours: of a band, with how many a document is compared; 14 bands give some 50 chances

BAND = np.dtype([("hi", "<u8"), *RANKED.descr, ("count", "<u4")])  # how many documents of the part share the band
LEADER = np.dtype([("hi", "<u8"), *RANKED.descr, ("count", "<u4"), ("asker", "<u4")])  # how many of all parts share it
ASK = np.dtype([("part", "<u4"), ("row", "<u4"), ("asker", "<u4")])
SIGNED = np.dtype([*ASK.descr, ("better_hi", "<u8"), ("better_lo", "<u8"), ("values", "<u4", (PERMUTATIONS,))])
NEAR = np.dtype(
    [
        ("part", "<u4"),
        ("row", "<u4"),
        ("better_part", "<u4"),
        ("better_row", "<u4"),
        ("better_earlier", "<u1"),
        ("better_date", "<u4"),
        ("better_hi", "<u8"),
        ("better_lo", "<u8"),
        ("loser", "<i8"),
        ("similarity", "<f4"),
    ]
)


class NearTask(msgspec.Struct, frozen=True, kw_only=True):
    """A part with what has come to it, packed: its kept rows, LEADER records and signatures; or ASK records."""

    select: SelectTask | EarlierTask
    ranked: bytes = b""
    led: bytes = b""
    signed: bytes = b""
    asks: bytes = b""


class Stayed(msgspec.Struct, frozen=True, kw_only=True):
    """What of a part stays (RANKED), its verdicts (VERDICT), and how often a band held more documents than were compared."""

    part: int
    ranked: bytes
    verdicts: bytes
    capped: int


def band_keys(task: NearTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The best of each band of a part's kept rows, by bucket."""
    ranked = np.sort(join([task.ranked], RANKED), order="row")
    own = _signed(task.select, ranked["row"])
    has_signature = ranked[np.isin(ranked["row"], own["row"])]
    return list(split(best_of_part(band_records(has_signature, own["values"])), task.select.buckets))


def signatures_for(task: NearTask, note: Note, skip: frozenset[int]) -> list[tuple[int, bytes]]:
    """(asking part, packed signatures)."""
    asks = join([task.asks], ASK)
    return list(by_part(answers(asks, _signed(task.select, np.unique(asks["row"]))), "asker"))


def drop_near(task: NearTask, note: Note, skip: frozenset[int]) -> Stayed:
    """The verdicts about a part's near copies."""
    assert isinstance(task.select, SelectTask), "pages of before stay"
    ranked = np.sort(join([task.ranked], RANKED), order="row")
    own = _signed(task.select, ranked["row"])
    gone, capped = verify(
        ranked, own, join([task.led], LEADER), join([task.signed], SIGNED), task.select.config.near_duplicates
    )
    verdicts = np.zeros(len(gone), dtype=VERDICT)
    verdicts["reason"] = why(gone["better_earlier"], VERDICTS.index(DropReason.NEAR_DUPLICATE))
    for field in ("part", "row", "better_hi", "better_lo", "better_date", "similarity"):
        verdicts[field] = gone[field]
    stays = ranked[~np.isin(ranked["row"], gone["row"])]
    return Stayed(part=task.select.number, ranked=stays.tobytes(), verdicts=verdicts.tobytes(), capped=capped)


def _signed(task: SelectTask | EarlierTask, rows: NDArray[np.uint32]) -> Records:
    """The signatures of those of a part's rows (ascending) that have one."""
    if isinstance(task, EarlierTask):
        table = signed_pages(task, rows)
    else:
        table = read_documents(task, ["url_key", "minhash"]).take(rows)
    places, values = signatures(table["minhash"].to_pylist())
    records = np.zeros(len(places), dtype=SIGNED)
    records["part"], records["row"], records["values"] = task.number, rows[places], values
    records["better_hi"], records["better_lo"] = key_numbers(table["url_key"].to_pylist())[places].T
    return records


def band_records(ranked: Records, values: NDArray[np.uint32]) -> Records:
    """A record for each document and band; row i of `values` is the signature of `ranked[i]`."""
    keys = bands(values)
    records = np.zeros(keys.size, dtype=BAND)
    records["hi"] = keys.ravel()
    for field in RANKED.names or ():
        records[field] = np.repeat(ranked[field], keys.shape[1])
    return records


def best_of_part(records: Records) -> Records:
    """Of each band the part's best K, which know how many share it."""
    records = records[np.lexsort((*best_first(records), records["hi"]))]
    first, length = _runs(records["hi"])
    records["count"] = length
    best: Records = records[np.arange(len(records)) - first < BEST]
    return best


def leaders(blobs: Iterable[bytes]) -> tuple[Records, Records]:
    """(LEADER, ASK) of one bucket of bands."""
    records = join(blobs, BAND)
    records = records[np.lexsort((*best_first(records), records["hi"]))]
    first, length = _runs(records["hi"])
    place = np.arange(len(records)) - first
    # One group for each part in each band: its last record says how far down the part's documents stand.
    by_group = np.lexsort((place, records["part"], first))
    ends = np.ones(len(records), dtype=bool)
    ends[:-1] = (np.diff(first[by_group]) != 0) | (np.diff(records["part"][by_group].astype(np.int64)) != 0)
    group = by_group[ends]
    total = np.zeros(len(records), dtype=np.uint32)
    np.add.at(total, first[group], records["count"][group])
    found = []
    for rank in range(BEST):
        below = (place[group] > rank) | (records["count"][group] > BEST)
        wanted = group[below & (length[group] > rank) & (records["earlier"][group] == 0)]
        chosen = first[wanted] + rank
        one = np.zeros(len(wanted), dtype=LEADER)
        for field in BAND.names or ():
            one[field] = records[field][chosen]
        one["count"], one["asker"] = total[first[wanted]], records["part"][wanted]
        found.append(one)
    led = np.concatenate(found)
    asks = np.zeros(len(led), dtype=ASK)
    for field in ("part", "row", "asker"):
        asks[field] = led[field]
    return led, np.unique(asks[asks["part"] != asks["asker"]])


def answers(asks: Records, own: Records) -> Records:
    """The signatures that other parts asked for, out of all of a part's, each once for each asking part."""
    asks = np.unique(asks)
    asked: Records = own[np.searchsorted(own["row"], asks["row"])]
    asked["asker"] = asks["asker"]
    return asked


def verify(ranked: Records, own: Records, led: Records, asked: Records, threshold: float) -> tuple[Records, int]:
    """What goes (NEAR, at most one a document), and how many times a document shared a band with more than were compared.

    `own` are the signatures of all of `ranked` that have one, both by row; `led` the part's LEADER records, `asked` the signatures of other parts' leaders.
    """
    documents = ranked[np.isin(ranked["row"], own["row"])]
    mine = band_records(documents, own["values"])
    which = np.repeat(np.arange(len(documents)), BANDS)
    pairs, cut = _pairs(mine, which, led, documents)
    known = np.concatenate([own, asked])
    known = known[np.argsort(_place(known), kind="stable")]
    better = known[np.searchsorted(_place(known), _place(pairs, "better_"))]
    pairs["similarity"] = similarities(own["values"][pairs["loser"]], better["values"])
    pairs["better_hi"], pairs["better_lo"] = better["better_hi"], better["better_lo"]
    pairs = pairs[pairs["similarity"] >= least_similarity(pairs["better_earlier"], threshold).astype(np.float32)]
    return pairs[first_of_runs(pairs, ("row",)) == np.arange(len(pairs))], cut


def least_similarity(known_from: NDArray[np.uint8], threshold: float) -> NDArray[np.float64]:
    """From which similarity on a document goes for a better one, by where this is known from; `threshold` is the run's own, 0 for none."""
    own = threshold or np.inf
    return np.where(known_from == TAKEN, min(own, TAKEN_SIMILARITY), own)


def _pairs(mine: Records, which: NDArray[np.int64], led: Records, documents: Records) -> tuple[Records, int]:
    """Each document with each better leader of its bands once, best first; `loser` holds its place in `documents`."""
    led = led[np.lexsort((*best_first(led), led["hi"]))]
    left, right = (np.searchsorted(led["hi"], mine["hi"], side) for side in ("left", "right"))
    found = []
    capped = np.zeros(len(mine), dtype=bool)
    for place in range(BEST):
        there = np.flatnonzero(left + place < right)
        chosen = led[(left + place)[there]]
        is_better = _better(chosen, mine[there])
        there, chosen = there[is_better], chosen[is_better]
        if place == BEST - 1:
            capped[there] = chosen["count"] > BEST + 1
        found.append((which[there], chosen))
    loser, winner = np.concatenate([one for one, _ in found]), np.concatenate([one for _, one in found])
    order = np.lexsort((*best_first(winner), loser))
    loser, winner = loser[order], winner[order]
    pairs = np.zeros(len(loser), dtype=NEAR)
    for field in ("part", "row"):
        pairs[field] = documents[field][loser]
    for field in ("part", "row", "earlier", "date"):
        pairs[f"better_{field}"] = winner[field]
    pairs["loser"] = loser
    return pairs[first_of_runs(pairs, ("row", "better_part", "better_row")) == np.arange(len(pairs))], int(capped.sum())


def _better(a: Records, b: Records) -> NDArray[np.bool_]:
    """Whether a is before b in the order, record by record."""
    before, equal = np.zeros(len(a), dtype=bool), np.ones(len(a), dtype=bool)
    for field in ("earlier", "media", "date"):
        before |= equal & (a[field] > b[field])
        equal &= a[field] == b[field]
    for field in ("url", "tie"):
        before |= equal & (a[field] < b[field])
        equal &= a[field] == b[field]
    return before


def _runs(keys: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each place in sorted keys where its run starts, and how long it is."""
    starts = np.ones(len(keys), dtype=bool)
    starts[1:] = keys[1:] != keys[:-1]
    begins = np.flatnonzero(starts)
    lengths = np.diff(np.append(begins, len(keys)))
    return np.repeat(begins, lengths), np.repeat(lengths, lengths)


def _place(records: Records, prefix: str = "") -> NDArray[np.uint64]:
    part: NDArray[np.uint64] = records[f"{prefix}part"].astype(np.uint64)
    return (part << np.uint64(32)) | records[f"{prefix}row"].astype(np.uint64)
