"""shard, second half: assembled samples become tars.

The number of shards S of a kind follows from that kind's total size. A sample's place is a number in [0, 2^64), the hash of seed and key; shard s holds the
places from s/S to (s+1)/S of that range, in order. So a shard depends on nothing but the samples in it, and is one run of bytes in each assembled part.
Copies of a pair have one key, so they stand side by side here: the first one stays.
"""

import hashlib
import heapq
from collections.abc import Iterator
from typing import TypeAlias

import msgspec
import numpy as np

from pipeline.isolate import Note
from pipeline.runfolder import RunFolder
from pipeline.stages.assembled import (
    ASSEMBLED,
    INTERLEAVED,
    PLACES,
    Assembled,
    MediumBytes,
    duplicate_drop,
    split_copies,
)
from pipeline.stages.extract import drop_row
from pipeline.stages.packed import Records
from pipeline.store import Store
from schemas.errors import ShardError
from schemas.shard import INDEX_SUFFIX, IndexEntry, Sample, encode_index, write_shard
from schemas.tables import DROPS, TableWriter

STAGE = "shard"
READ_AHEAD = 64  # ours: samples whose media are asked for together, some 20 MB
READ_TOGETHER = 64  # ours: parts whose indexes, of some 10 KB each, are asked for together

_Record: TypeAlias = tuple[int, int, bytes]  # place, what sorts samples of one place, the record


class ShardTask(msgspec.Struct, frozen=True, kw_only=True):
    """One shard of the `count` of its kind: the assembled parts it draws from, sorted."""

    run_url: str
    kind: str
    number: int
    count: int
    identity: str
    parts: list[str]

    @property
    def name(self) -> str:
        """The tar's name without its ending."""
        return f"{self.number:05d}"

    @property
    def output(self) -> str:
        """The part's name."""
        return f"{self.kind}-{self.name}-{self.identity[:12]}"


def shard_count(total_bytes: int, target_bytes: int) -> int:
    """How many shards of about `target_bytes` hold `total_bytes`; at least one."""
    return max(1, round(total_bytes / target_bytes))


def write_one_shard(task: ShardTask, note: Note, skip: frozenset[int]) -> None:
    """Writes one tar and its index, and the drops of copies."""
    folder = RunFolder(task.run_url)
    with folder.part(STAGE, task.output) as part:
        part.detail = task.kind
        drops = TableWriter(part.file(f"drops/shard-{task.output}.parquet"), DROPS)

        def firsts() -> Iterator[Assembled]:
            for sample, is_copy in split_copies(_records(folder.store, task)):
                if not is_copy:
                    yield sample
                    continue
                drop = duplicate_drop(sample)
                part.counts[f"pairs.dropped.{drop.reason}"] += 1
                drops.add(drop_row(STAGE, drop, "", None))

        tar = part.file(f"shards/{task.kind}/{task.name}.tar")
        entries: list[IndexEntry] = write_shard(_samples(folder.store, firsts()), tar)
        part.file(f"shards/{task.kind}/{task.name}{INDEX_SUFFIX}").write(encode_index(entries, tar.tell()))
        drops.close()
        part.counts["samples"] = len(entries)
        if task.kind != INTERLEAVED:
            part.counts["pairs"] = len(entries)


def _records(store: Store, task: ShardTask) -> Iterator[Assembled]:
    """The shard's samples in order, merged from all parts."""
    low, high = (-(-number * PLACES // task.count) for number in (task.number, task.number + 1))
    decode = msgspec.json.Decoder(Assembled).decode
    paths = [f"assembled/{task.kind}/{part}" for part in task.parts]
    runs: list[Iterator[_Record]] = []
    for first in range(0, len(paths), READ_TOGETHER):
        runs += _runs(store, paths[first : first + READ_TOGETHER], low, high)
    for _, _, line in heapq.merge(*runs):
        yield decode(line)


def _runs(store: Store, paths: list[str], low: int, high: int) -> Iterator[Iterator[_Record]]:
    """The samples in [low, high) of each of these parts, ascending; of a part's index only their entries are kept."""
    indexes = store.read_all([f"{path}.index" for path in paths])
    entries = [
        (path, inside) for path, index in zip(paths, indexes, strict=True) if len(inside := _inside(index, low, high))
    ]
    blocks = store.read_ranges([(f"{path}.jsonl", *_stretch(inside)) for path, inside in entries])
    return (_split(block, inside) for block, (_, inside) in zip(blocks, entries, strict=True))


def _inside(index: bytes, low: int, high: int) -> Records:
    entries = np.frombuffer(index, dtype=ASSEMBLED)
    return entries[(entries["place"] >= low) & (entries["place"] <= high - 1)]


def _stretch(entries: Records) -> tuple[int, int]:
    """Where the records of these entries begin, and how many bytes they are."""
    start = int(entries["offset"][0])
    return start, int(entries["offset"][-1] + entries["length"][-1]) - start


def _split(block: bytes, entries: Records) -> Iterator[_Record]:
    start = int(entries["offset"][0])
    for entry in entries:
        at = int(entry["offset"]) - start
        yield int(entry["place"]), int(entry["order"]), block[at : at + int(entry["length"])]


def _samples(store: Store, records: Iterator[Assembled]) -> Iterator[Sample]:
    batch: list[Assembled] = []
    for record in records:
        batch.append(record)
        if len(batch) == READ_AHEAD:
            yield from _with_media(store, batch)
            batch = []
    yield from _with_media(store, batch)


def _with_media(store: Store, samples: list[Assembled]) -> Iterator[Sample]:
    wanted = sorted({(medium.part, medium.offset, medium.bytes) for sample in samples for medium in sample.media})
    ranges = [(f"media/{part}.tar", at, size) for part, at, size in wanted]
    blocks = dict(zip(wanted, store.read_ranges(ranges), strict=True))
    for sample in samples:
        media = {
            medium.member: _checked(blocks[medium.part, medium.offset, medium.bytes], medium, sample.key)
            for medium in sample.media
        }
        json = {"json": bytes(sample.json)}
        yield Sample(
            sample.key, json | media if sample.text is None else {**media, "txt": sample.text.encode(), **json}
        )


def _checked(data: bytes, medium: MediumBytes, key: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != medium.sha256:
        raise ShardError(
            f"media/{medium.part}.tar does not hold {key}.{medium.member} at {medium.offset}: it was changed; run fetch again in a new folder"
        )
    return data
