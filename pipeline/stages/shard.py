"""shard, second half: assembled documents become tars.

The number of shards S follows from the total size. A document's place is a number in [0, 2^64), the hash of seed and key; shard s holds the places
from s/S to (s+1)/S of that range, in order. So a shard depends on nothing but the documents in it, and is one run of bytes in each assembled part.
"""

import hashlib
import heapq
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from pipeline.isolate import Note
from pipeline.runfolder import RunFolder
from pipeline.stages.assemble import ASSEMBLED, Assembled
from pipeline.store import Store
from schemas.errors import ShardError
from schemas.shard import INDEX_SUFFIX, IndexEntry, Sample, encode_index, write_shard

STAGE = "shard"
KIND = "interleaved"
PLACES = 1 << 64
READ_AHEAD = 64  # ours: documents whose pictures are asked for together, some 20 MB


class ShardTask(msgspec.Struct, frozen=True, kw_only=True):
    """One shard of `count`: the assembled parts it draws from, sorted."""

    run_url: str
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
        return f"{self.name}-{self.identity[:12]}"


def shard_count(total_bytes: int, target_bytes: int) -> int:
    """How many shards of about `target_bytes` hold `total_bytes`; at least one."""
    return max(1, round(total_bytes / target_bytes))


def write_one_shard(task: ShardTask, note: Note, skip: frozenset[int]) -> None:
    """Writes one tar and its index."""
    folder = RunFolder(task.run_url)
    with folder.part(STAGE, task.output) as part:
        part.detail = KIND
        tar = part.file(f"shards/{KIND}/{task.name}.tar")
        entries: list[IndexEntry] = write_shard(_samples(folder.store, _records(folder.store, task)), tar)
        part.file(f"shards/{KIND}/{task.name}{INDEX_SUFFIX}").write(encode_index(entries, tar.tell()))
        part.counts["samples"] = len(entries)


def _records(store: Store, task: ShardTask) -> Iterator[Assembled]:
    """The shard's documents in order, merged from all parts."""
    low, high = (-(-number * PLACES // task.count) for number in (task.number, task.number + 1))
    decode = msgspec.json.Decoder(Assembled).decode
    runs = [_run(store, part, low, high) for part in task.parts]
    for _, _, line in heapq.merge(*runs):
        yield decode(line)


def _run(store: Store, part: str, low: int, high: int) -> Iterator[tuple[int, str, bytes]]:
    """(place, part, record) of the documents of one part in [low, high), ascending."""
    index = np.frombuffer(store.read(f"assembled/{part}.index"), dtype=ASSEMBLED)
    inside = index[(index["place"] >= low) & (index["place"] <= high - 1)]
    if not len(inside):
        return
    start = int(inside["offset"][0])
    length = int(inside["offset"][-1] + inside["length"][-1]) - start
    block = store.read_ranges([(f"assembled/{part}.jsonl", start, length)])[0]
    for entry in inside:
        at = int(entry["offset"]) - start
        yield int(entry["place"]), part, block[at : at + int(entry["length"])]


def _samples(store: Store, records: Iterator[Assembled]) -> Iterator[Sample]:
    batch: list[Assembled] = []
    for record in records:
        batch.append(record)
        if len(batch) == READ_AHEAD:
            yield from _with_media(store, batch)
            batch = []
    yield from _with_media(store, batch)


def _with_media(store: Store, records: list[Assembled]) -> Iterator[Sample]:
    wanted = sorted({place for record in records for place in record.media})
    blocks = dict(
        zip(wanted, store.read_ranges([(f"media/{part}.tar", at, size) for part, at, size in wanted]), strict=True)
    )
    for record in records:
        members: dict[str, bytes] = {"json": bytes(record.json)}
        media = [node for node in msgspec.json.decode(record.json)["nodes"] if node["kind"] != "text"]
        for medium, place in zip(media, record.media, strict=True):
            members[medium["member"]] = _checked(blocks[place], medium, place)
        yield Sample(record.key, members)


def _checked(data: bytes, medium: dict[str, Any], place: tuple[str, int, int]) -> bytes:
    if hashlib.sha256(data).hexdigest() != medium["sha256"]:
        raise ShardError(
            f"media/{place[0]}.tar does not hold {medium['url']} at {place[1]}: it was changed; run fetch again in a new folder"
        )
    return data
