"""Assembled samples: what a shard will hold, before there are shards.

Each documents part gives one sorted file a kind of sample, with an index. A sample's place is a number in [0, 2^64), the hash of seed and key; a shard is a
range of that number, so it is one run of bytes in every part: no sample goes through a shuffle, and nothing needs to know the number of shards before
the last step. Of samples with the same key, which are copies of one pair, the one with the most bytes of medium comes first, then the one whose record sorts first.
"""

from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from pipeline.runfolder import PartWriter
from pipeline.stages.selection import hash_number
from schemas.drops import Drop, DropReason

INTERLEAVED, IMAGE_TEXT, VIDEO_TEXT = "interleaved", "image_text", "video_text"
KINDS = (INTERLEAVED, IMAGE_TEXT, VIDEO_TEXT)
PLACES = 1 << 64
# One sample: its place, what sorts samples of one place, where its record lies, what it will take in a tar.
ASSEMBLED = np.dtype(
    [("place", "<u8"), ("order", "<u8"), ("offset", "<u8"), ("length", "<u8"), ("sample_bytes", "<u8")]
)


class MediumBytes(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A medium's member name in the sample, its digest, and where its bytes are."""

    member: str
    sha256: str
    part: str
    offset: int
    bytes: int


class Assembled(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A sample: its JSON, its media; `text` is that of a pair."""

    key: str
    json: msgspec.Raw
    media: list[MediumBytes]
    text: str | None = None


class _PairFacts(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    caption: str
    caption_source: str
    page_url: str = ""


def duplicate_drop(sample: Assembled) -> Drop:
    """The drop of a pair that another sample has already."""
    pair = msgspec.json.decode(sample.json, type=_PairFacts)
    detail = f"{pair.caption_source}: {pair.caption}"[:200]
    return Drop(kind="pair", reason=DropReason.DUPLICATE_PAIR, url=pair.page_url, medium_url=pair.url, detail=detail)


def split_copies(samples: Iterable[Assembled]) -> Iterator[tuple[Assembled, bool]]:
    """Sorted samples, each with whether it is a copy of the one before it."""
    last = ""
    for sample in samples:
        yield sample, sample.key == last
        last = sample.key


def write_sorted(part: PartWriter, kind: str, name: str, samples: Iterable[Assembled], seed: int) -> list[Drop]:
    """Writes one kind's samples of a part in the order of their places, with their index; returns the drops of copies."""
    rows = sorted(
        (hash_number(f"{seed}\0{sample.key}"), _order(sample), msgspec.json.encode(sample)) for sample in samples
    )
    decode = msgspec.json.Decoder(Assembled).decode
    file = part.file(f"assembled/{kind}/{name}.jsonl")
    entries: list[tuple[int, ...]] = []
    drops: list[Drop] = []
    decoded = split_copies(decode(record) for _, _, record in rows)
    for (place, order, record), (sample, is_copy) in zip(rows, decoded, strict=True):
        if is_copy:
            drops.append(duplicate_drop(sample))
            continue
        size = _sample_bytes(sample)
        entries.append((place, order, file.tell(), len(record), size))
        file.write(record + b"\n")
        part.counts[f"sample_bytes.{kind}"] += size
    part.file(f"assembled/{kind}/{name}.index").write(np.array(entries, dtype=ASSEMBLED).tobytes())
    return drops


def _order(sample: Assembled) -> int:
    return PLACES - 1 - sum(medium.bytes for medium in sample.media)


def _sample_bytes(sample: Assembled) -> int:
    texts = [len(sample.json)] + ([] if sample.text is None else [len(sample.text.encode())])
    return sum(512 + size + -size % 512 for size in (*texts, *(medium.bytes for medium in sample.media)))
