"""Repeated pictures: copies meet, the best one leads, and what stands in too many documents goes, whatever the order."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli import main
from pipeline.report import MANIFEST
from pipeline.stages import repeats
from pipeline.stages.packed import join
from pipeline.stages.selection import SEEN
from schemas.manifest import decode_manifest
from tests import crawls

LIMIT, DISTANCE = 10, 4


def flipped(number: int, bits: int, seed: int) -> int:
    """The number with so many of its 64 bits turned."""
    for bit in random.Random(seed).sample(range(64), bits):
        number ^= 1 << bit
    return number


def media_row(
    name: int, phash: int, dhash: int = 0, side: int = 100, aspect: float = 1.0, colour: str = ""
) -> dict[str, Any]:
    """A row of the media table, as far as it matters here."""
    sha256 = name.to_bytes(2, "big") * 16
    hashes = {"phash": phash.to_bytes(8, "big"), "dhash": dhash.to_bytes(8, "big")}
    size = {"source_width": side, "source_height": round(side / aspect)}
    return {"sha256": sha256, "colour": bytes.fromhex(colour) or None, **size, **hashes}


def gone(rows: list[dict[str, Any]], documents: list[tuple[int, int]], buckets: int = 1, seed: int = 0) -> set[int]:
    """Which of the pictures go; `documents` are (place of a picture, document). Two media parts, records come in any order."""
    shuffle = random.Random(seed)
    groups: dict[str, dict[int, list[bytes]]] = {"blocks": {}, "holders": {}, "shown": {}, "seen": {}}
    pictures = repeats.picture_records(rows, 0)
    pictures["media_part"] = np.arange(len(rows)) % 2
    for part in (0, 1):
        places = np.flatnonzero(pictures["media_part"] == part)
        keys = np.zeros(len(places), dtype=repeats.KEY)
        keys["hi"] = places
        for kind, bucket, blob in repeats.picture_keys(pictures[places], keys, DISTANCE, buckets):
            groups[kind].setdefault(bucket, []).append(blob)
    for place, document in documents:
        seen = np.zeros(1, dtype=SEEN)
        seen["hi"], seen["part"], seen["row"] = place, document % 3, document
        groups["seen"].setdefault(place % buckets, []).append(seen.tobytes())
    for group in groups.values():
        for blobs in group.values():
            shuffle.shuffle(blobs)
    copies = [repeats.better_copies(blobs, DISTANCE).tobytes() for blobs in groups["blocks"].values()]
    found = [
        repeats.sightings(groups["seen"].get(bucket, []), blobs, LIMIT).tobytes()
        for bucket, blobs in groups["shown"].items()
    ]
    holders = [blob for blobs in groups["holders"].values() for blob in blobs]
    members, sightings = repeats.clusters(holders, found, copies, LIMIT)
    verdicts = repeats.too_frequent([members.tobytes()], [sightings.tobytes()], LIMIT)
    records = join([blob for _, blob in verdicts], repeats.FREQUENT)
    return {int(hi >> np.uint64(48)) for hi in records["hi"]}


def test_a_picture_in_more_documents_than_the_limit_goes() -> None:
    """Eleven documents are too many, ten are not; two URLs of one file and several places in a document count once each."""
    rows = [media_row(1, 0x1111), media_row(1, 0x1111), media_row(2, 2**40 - 1), media_row(3, 2**63 - 2**35)]
    often = [(0, n) for n in range(6)] + [(1, n) for n in range(5, 11)]
    just = [(2, n) for n in range(10)] * 3
    once = [(3, 1)]

    assert {1} == gone(rows, often + just + once)


def test_perceptual_copies_count_together() -> None:
    """Two near copies with six documents each go, both; a picture of the same pHash but another dHash stays."""
    phash = random.Random(3).getrandbits(64)
    rows = [media_row(1, phash), media_row(2, flipped(phash, 4, 7), 3, side=300), media_row(3, phash, 2**30 - 1)]
    documents = [(picture, 10 * picture + n) for picture in range(3) for n in range(6)]

    assert {1, 2} == gone(rows, documents)


def test_far_pictures_count_apart() -> None:
    """Five bits are no copy."""
    rows = [media_row(1, 0), media_row(2, flipped(0, 5, 1))]

    assert set() == gone(rows, [(picture, 10 * picture + n) for picture in range(2) for n in range(6)])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 5))
def test_copies_always_meet(seed: int, distance: int) -> None:
    """Wherever the bits differ, two pictures within the distance share a block key."""
    number = random.Random(seed).getrandbits(64)
    rows = [media_row(1, number), media_row(2, flipped(number, distance, seed))]
    blocks = repeats.block_records(repeats.picture_records(rows, 0), distance)

    assert 1 == len(repeats.better_copies([blocks.tobytes()], distance))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_order_and_buckets_change_nothing(seed: int) -> None:
    """The same pictures go with records in another order and other buckets."""
    draw = random.Random(seed)
    centres = [draw.getrandbits(64) for _ in range(4)]
    rows = [
        media_row(n, flipped(draw.choice(centres), draw.randint(0, 3), n), side=draw.choice([100, 200]))
        for n in range(30)
    ]
    documents = [(draw.randrange(30), draw.randrange(40)) for _ in range(80)]
    alone = gone(rows, documents)

    assert alone == gone(rows, documents, buckets=5, seed=seed + 1)


def test_a_hot_block_key_costs_a_bounded_number_of_comparisons() -> None:
    """Of 5,000 pictures with one pHash each gets at most `BEST` better copies, and joins the best."""
    pictures = repeats.picture_records([media_row(n, 0, side=1 + n) for n in range(5000)], 0)
    copies = repeats.better_copies([repeats.block_records(pictures, 4).tobytes()], 4)
    members, _ = repeats.clusters(
        [pictures[["hi", "lo", "media_part"]].copy().astype(repeats.HOLDER).tobytes()], [], [copies.tobytes()], 4
    )

    assert len(copies) <= repeats.BEST * 5000
    assert {int(pictures["hi"][4999])} == set(members["hi"].tolist())


def test_repeats_in_a_page_name_the_first() -> None:
    """The second copy points to the first; what differs in either hash stays."""
    rows = [media_row(1, 5), media_row(2, 7), media_row(3, 5, 2**20 - 1), media_row(4, 2**60 - 1), media_row(5, 5, 1)]

    assert [-1, 0, -1, -1, 0] == repeats.repeats_in_page(repeats.picture_records(rows, 0), 5).tolist()


def test_shape_and_colour_part_what_hashes_do_not() -> None:
    """Pictures of one pattern that differ in aspect or mean colour are no copies; a colour that was not measured parts nothing."""
    known = [("ff0000", 1.0), ("0000ff", 1.0), ("f80108", 1.04), ("ff0000", 1.1)]
    rows = [media_row(n, 5, side=300, colour=colour, aspect=aspect) for n, (colour, aspect) in enumerate(known)]
    rows.append(media_row(9, 5))

    assert [-1, -1, 0, -1, 0] == repeats.repeats_in_page(repeats.picture_records(rows, 0), 4).tolist()


def test_a_picture_counts_with_its_best_copy_and_what_joined_that() -> None:
    """Of a chain of three, six documents each, the first goes by what it joined, the others by the last; alone none would."""
    chain = [media_row(n, 0x0FF0 >> 4 * (2 - n) & 0xFF, side=100 * (n + 1)) for n in range(3)]
    documents = [(picture, 10 * picture + n) for picture in range(3) for n in range(6)]

    assert {0, 1, 2} == gone(chain, documents)
    assert set() == gone(chain, documents[:6] + documents[12:])


def test_a_run_loses_pictures_that_stand_everywhere(tmp_path: Path) -> None:
    """A picture and its larger copy, on six pages each, go from all twelve; the pages' own pictures stay; a copy in one page goes too."""
    base = "http://a.example"
    banner = {"small": crawls.picture(99, 240, 200), "large": crawls.picture(99, 480, 400)}
    pages = [crawls.page(n, [f"/{n}.png", f"/{('small', 'large')[n % 2]}.png"]) for n in range(12)]
    pages.append(crawls.page(12, ["/0.png", "/twice-as-large.png", "/12.png"]))
    records = [crawls.record(f"{base}/{n}.html", html, "text/html") for n, html in enumerate(pages)]
    pictures = (
        {f"{n}": crawls.picture(n, 240, 200) for n in range(13)}
        | banner
        | {"twice-as-large": crawls.picture(0, 480, 400)}
    )
    records += [crawls.record(f"{base}/{name}.png", data, "image/png") for name, data in pictures.items()]
    crawl = crawls.write_warc(tmp_path / "crawl.warc.gz", records)
    out = tmp_path / "run"

    assert main(["crawl", str(crawl), "--out", str(out), "--workers", "1"]) == 0

    rows = [row for file in (out / "drops").glob("shard-*") for row in pq.read_table(file).to_pylist()]
    drops = [row for row in rows if row["kind"] == "image"]
    assert {"frequent_image": 12, "repeated_in_page": 1} == Counter(row["reason"] for row in drops)
    assert {(11.0, 10.0)} == {(row["value"], row["threshold"]) for row in drops if row["reason"] == "frequent_image"}
    assert 14 == decode_manifest((out / MANIFEST).read_bytes()).images.kept
