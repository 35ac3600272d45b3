"""Repeated pictures over the whole run: what stands in too many documents goes everywhere.

    picture_keys   a media part                      ->  its pictures by block keys (BLOCK), by SHA-256 (HOLDER), by URL (SHOWN)
    sightings      a bucket of URLs                  ->  (bucket of the SHA-256, SIGHTING): the documents of each picture
    better_copies  a bucket of block keys            ->  (bucket of the SHA-256, COPY): verified perceptual copies, the better one first
    clusters       a bucket of SHA-256               ->  (bucket of the best copy, holders and sightings of its cluster)
    too_frequent   a bucket of best copies           ->  (media part, FREQUENT)

Two pictures are copies if their pHashes are at most d bits apart, and dHash, aspect and mean colour agree. The 64 bits are cut into d + 2 blocks and a picture is listed
under every pair of blocks: d bits can spoil d blocks only, so two copies always meet. Each picture joins its best verified copy, once, without
iteration; best is the one with more source pixels, then the smaller SHA-256. What counts for a picture is the documents of that best copy and of all
that joined it. Sightings are capped at one more than the limit wherever they are combined, so a picture on a million pages sends no more than that
from each bucket; of a block key that many pictures share, each is compared with the best ones only.
"""

from collections.abc import Iterable
from itertools import combinations, pairwise
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.stages.packed import KEY, Records, by_part, find_keys, first_of_runs, join, key_numbers, split
from pipeline.stages.selection import SEEN

BEST = 64  # ours: of a block key, with how many a picture is compared; up to some 10 million pictures only faint ones share a key with so many
# Of 1,300 copies of 260 real pictures, at other sizes and qualities, 94% are found; of all pairs of 751 pictures 48 copies are, and two that are none:
# two screenshots of one program, two signs on one yellow triangle.
MAX_DHASH_BITS = 8  # ours
MAX_ASPECT_CHANGE = 0.05  # ours: of the aspect
MAX_COLOUR_CHANGE = 8  # ours: levels of 256, of the channel that differs most

# `hi` and `lo` are the first 16 bytes of a picture's SHA-256, but of a SHOWN those of the media key, and of a BLOCK `hi` is the block key.
# `colour` is the mean of red, green and blue below a byte of 1, or 0 where it was not measured.
LOOK = [("phash", "<u8"), ("dhash", "<u8"), ("width", "<u4"), ("height", "<u4"), ("colour", "<u4")]
PICTURE = np.dtype([*KEY, *LOOK, ("media_part", "<u4")])
BLOCK = np.dtype([("hi", "<u8"), ("sha_hi", "<u8"), ("sha_lo", "<u8"), *LOOK])
SHOWN = np.dtype([*KEY, ("sha_hi", "<u8"), ("sha_lo", "<u8")])  # which picture a media URL shows
HOLDER = np.dtype([*KEY, ("media_part", "<u4")])
SIGHTING = np.dtype([*KEY, ("part", "<u4"), ("row", "<u4")])
COPY = np.dtype([*KEY, ("better_hi", "<u8"), ("better_lo", "<u8"), ("pixels", "<u8")])
MEMBER = np.dtype([*KEY, ("sha_hi", "<u8"), ("sha_lo", "<u8"), ("media_part", "<u4")])
FREQUENT = np.dtype([("part", "<u4"), *KEY, ("documents", "<u4")])

Bucketed = list[tuple[int, bytes]]


def picture_keys(pictures: Records, media_keys: Records, distance: int, buckets: int) -> list[tuple[str, int, bytes]]:
    """("blocks", "holders" or "shown", bucket, packed records) of a media part's pictures (PICTURE; `media_keys` has KEY fields, row by row)."""
    shown = np.zeros(len(pictures), dtype=SHOWN)
    for field, of in (("sha_hi", "hi"), ("sha_lo", "lo")):
        shown[field], shown[of] = pictures[of], media_keys[of]
    unique = np.unique(pictures)
    holders = np.zeros(len(unique), dtype=HOLDER)
    for field in HOLDER.names or ():
        holders[field] = unique[field]
    kinds = {"blocks": block_records(unique, distance), "holders": holders, "shown": shown}
    return [(kind, bucket, blob) for kind, records in kinds.items() for bucket, blob in split(records, buckets)]


def picture_records(rows: list[dict[str, Any]], media_part: int) -> Records:
    """PICTURE records of rows of the media table that hold pictures."""
    records = np.zeros(len(rows), dtype=PICTURE)
    if rows:
        records["hi"], records["lo"] = key_numbers(row["sha256"][:16] for row in rows).T
    for record, row in zip(records, rows, strict=True):
        # What has no such hash (a folder that another tool made) is a copy of its own bytes only.
        record["phash"], record["dhash"] = (
            int.from_bytes(row[field] or row["sha256"][:8], "big") for field in ("phash", "dhash")
        )
        record["width"], record["height"] = row["source_width"], row["source_height"]
        record["colour"] = colour_number(row["colour"])
    records["media_part"] = media_part
    return records


def colour_number(colour: bytes | None) -> int:
    """The mean colour of a row of the media table as LOOK has it."""
    return int.from_bytes(b"\x01" + colour, "big") if colour else 0


def block_records(pictures: Records, distance: int) -> Records:
    """A record for each picture and pair of blocks, so that pictures within `distance` bits share one at least."""
    borders = [64 * n // (distance + 2) for n in range(distance + 3)]
    masks = [((1 << end) - 1) ^ ((1 << start) - 1) for start, end in pairwise(borders)]
    pairs = [one | other for one, other in combinations(masks, 2)]
    records = np.zeros((len(pairs), len(pictures)), dtype=BLOCK)
    for number, mask in enumerate(pairs):
        records["hi"][number] = _mixed((pictures["phash"] & np.uint64(mask)) + np.uint64(number))
    records["sha_hi"], records["sha_lo"] = pictures["hi"], pictures["lo"]
    for field, *_ in LOOK:
        records[field] = pictures[field]
    return records.ravel()


def block_bytes(distance: int) -> int:
    """What a picture is in packed block keys."""
    return comb(distance + 2, 2) * BLOCK.itemsize


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers spread over all 64 bits (the finaliser of splitmix64): buckets are taken of them."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def sightings(seen_blobs: Iterable[bytes], shown_blobs: Iterable[bytes], limit: int) -> Records:
    """The documents in which the pictures of one bucket of URLs stand; of each picture at most limit + 1."""
    seen, media = join(seen_blobs, SEEN), np.unique(join(shown_blobs, SHOWN))
    at = find_keys(seen, media)
    seen, hits = seen[at >= 0], media[at[at >= 0]]
    found = np.zeros(len(hits), dtype=SIGHTING)
    found["hi"], found["lo"] = hits["sha_hi"], hits["sha_lo"]
    found["part"], found["row"] = seen["part"], seen["row"]
    return capped(found, limit)


def capped(found: Records, limit: int) -> Records:
    """Sightings, each document once, the first limit + 1 of each picture."""
    found = np.unique(found)
    kept: Records = found[np.arange(len(found)) - first_of_runs(found, ("hi", "lo")) <= limit]
    return kept


def better_copies(blobs: Iterable[bytes], distance: int) -> Records:
    """The verified pairs (COPY) of one bucket of block keys: a picture and the best copy of it that shares the key."""
    blocks = np.unique(join(blobs, BLOCK))
    pixels = blocks["width"].astype(np.uint64) * blocks["height"]
    order = np.lexsort((blocks["sha_lo"], blocks["sha_hi"], ~pixels, blocks["hi"]))
    blocks, pixels = blocks[order], pixels[order]
    first = first_of_runs(blocks, ("hi",))
    alone = np.arange(len(blocks))
    found = [np.zeros(0, dtype=COPY)]
    for rank in range(BEST):
        alone = alone[alone > first[alone] + rank]
        if not len(alone):
            break
        near = look_alike(blocks[alone], blocks[first[alone] + rank], distance)
        near &= ~_same_bytes(blocks[alone], blocks[first[alone] + rank])
        better = first[alone[near]] + rank
        copies = np.zeros(len(better), dtype=COPY)
        copies["hi"], copies["lo"] = blocks["sha_hi"][alone[near]], blocks["sha_lo"][alone[near]]
        copies["better_hi"], copies["better_lo"] = blocks["sha_hi"][better], blocks["sha_lo"][better]
        copies["pixels"] = pixels[better]
        found.append(copies)
        alone = alone[~near]
    return np.unique(np.concatenate(found))


def look_alike(some: Records, others: Records, distance: int) -> NDArray[np.bool_]:
    """Whether pictures (with the fields of LOOK) are perceptual copies; the arrays are broadcast."""
    alike: NDArray[np.bool_] = np.bitwise_count(some["phash"] ^ others["phash"]) <= distance
    alike &= np.bitwise_count(some["dhash"] ^ others["dhash"]) <= MAX_DHASH_BITS
    across = some["width"].astype(np.float64) * others["height"], others["width"].astype(np.float64) * some["height"]
    alike &= np.abs(across[0] - across[1]) <= MAX_ASPECT_CHANGE * np.maximum(*across)
    for shift in (16, 8, 0):
        one, other = (
            (records["colour"] >> np.uint32(shift) & np.uint32(255)).astype(np.int64) for records in (some, others)
        )
        alike &= (np.abs(one - other) <= MAX_COLOUR_CHANGE) | (some["colour"] == 0) | (others["colour"] == 0)
    return alike


def _same_bytes(some: Records, others: Records) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (some["sha_hi"] == others["sha_hi"]) & (some["sha_lo"] == others["sha_lo"])
    return same


def clusters(
    holder_blobs: Iterable[bytes], sighting_blobs: Iterable[bytes], copy_blobs: Iterable[bytes], limit: int
) -> tuple[Records, Records]:
    """(MEMBER, SIGHTING) of one bucket of SHA-256, keyed by the best copy of each picture, which may be itself; sightings by the picture too."""
    copies = join(copy_blobs, COPY)
    order = (copies["better_lo"], copies["better_hi"], ~copies["pixels"], copies["lo"], copies["hi"])
    best = copies[np.lexsort(order)]
    holders = np.unique(join(holder_blobs, HOLDER))
    members = np.zeros(len(holders), dtype=MEMBER)
    members["sha_hi"], members["sha_lo"], members["media_part"] = holders["hi"], holders["lo"], holders["media_part"]
    members["hi"], members["lo"] = _leaders(holders, best)
    found = capped(join(sighting_blobs, SIGHTING), limit)
    led = found.copy()
    led["hi"], led["lo"] = _leaders(found, best)
    return members, capped(np.concatenate([found, led]), limit)


def _leaders(records: Records, best: Records) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The keys of each record's best copy; its own where it has none."""
    hi, lo = records["hi"].copy(), records["lo"].copy()
    at = find_keys(records, best)
    hi[at >= 0], lo[at >= 0] = best["better_hi"][at[at >= 0]], best["better_lo"][at[at >= 0]]
    return hi, lo


def too_frequent(member_blobs: Iterable[bytes], sighting_blobs: Iterable[bytes], limit: int) -> list[tuple[int, bytes]]:
    """(media part, FREQUENT): the pictures whose cluster stands in more than `limit` documents; their number is counted up to limit + 1."""
    members, found = np.unique(join(member_blobs, MEMBER)), capped(join(sighting_blobs, SIGHTING), limit)
    first, counts = np.unique(first_of_runs(found, ("hi", "lo")), return_counts=True)
    many = found[first[counts > limit]]
    gone = members[find_keys(members, many) >= 0]
    verdicts = np.zeros(len(gone), dtype=FREQUENT)
    verdicts["part"], verdicts["documents"] = gone["media_part"], limit + 1
    verdicts["hi"], verdicts["lo"] = gone["sha_hi"], gone["sha_lo"]
    return list(by_part(np.unique(verdicts)))


def repeats_in_page(pictures: Records, distance: int) -> NDArray[np.int64]:
    """For each picture of a document (with the fields of LOOK), in order, the place of the first earlier one that it is a copy of, or -1."""
    near = look_alike(pictures[:, None], pictures[None, :], distance)
    near &= pictures["phash"][:, None] != 0  # not measured: half of a pHash's bits are set
    found = np.full(len(pictures), -1, dtype=np.int64)
    later, earlier = np.nonzero(np.tril(near, -1))
    found[later[::-1]] = earlier[::-1]  # by row, then column: what is written last is the first
    return found
