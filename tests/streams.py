"""Small shards of pairs and pages, and streams of them."""

import io
from pathlib import Path
from typing import Any

import msgspec
from PIL import Image

from schemas.document import Document, Provenance, Text
from schemas.document import Image as Picture
from schemas.markup import render
from schemas.shard import Sample, encode_index, sample_key, write_shard
from tests.tiny_models import tokenizer
from trainer.data.batch import Batch
from trainer.data.example import ExampleConfig
from trainer.data.media import MediaConfig
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import tokens_of

TOKENS = tokens_of(tokenizer(), 1000)
SIDE = MediaConfig(side=16)
PAIRS = ExampleConfig(tokens=32)


def png(colour: tuple[int, ...], size: tuple[int, int] = (16, 16), mode: str = "RGB") -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "PNG")
    return file.getvalue()


def pair(number: int) -> Sample:
    """A pair whose picture and text say its number."""
    members = {"png": png((number % 256, number // 256, 0)), "txt": f"number {number}".encode(), "json": b"{}"}
    return Sample(f"{number:06d}", members)


def document(number: int, pictures: int) -> Sample:
    """A page with so many pictures, all of one colour."""
    key, data = sample_key(str(number)), png((number % 256, 9, 9))
    fields: dict[str, Any] = {"url": "", "source": "src", "rank": 0, "width": 16, "height": 16, "bytes": len(data)}
    nodes: list[Any] = [Text(f"page {number}")]
    for place in range(pictures):
        member = Picture(member=f"{place:03d}.png", sha256="0" * 64, source_sha256="0" * 64, **fields)
        nodes += [member, Text(f"under picture {place}")]
    made = Document(
        key=key, url="", nodes=nodes, text=render(nodes), provenance=Provenance(source="x", offset=0, length=1)
    )
    members = {"json": msgspec.json.encode(made), **{f"{place:03d}.png": data for place in range(pictures)}}
    return Sample(key, members)


def write(folder: Path, name: str, samples: list[Sample], index: bool = True) -> str:
    """A shard with its index beside it."""
    path = folder / f"{name}.tar"
    with path.open("wb") as file:
        entries = write_shard(samples, file)
        size = file.tell()
    if index:
        (folder / f"{name}.index.jsonl").write_bytes(encode_index(entries, size))
    return str(path)


def stream(folder: Path, batch: int = 12, **options: Any) -> Stream:
    """A stream of one set."""
    sets = {"pairs": SetConfig(shards=[str(folder)], batch=batch, streams=3, block=2, example=PAIRS)}
    return Stream(sets, TOKENS, SIDE, seed=7, **options)


def take(one: Stream, steps: int) -> list[list[str]]:
    """The keys of the next steps."""
    batches = iter(one)
    return [[key for batch in next(batches) for key in batch.keys] for _ in range(steps)]


def rows(batch: Batch) -> list[tuple[str, int, str]]:
    """Set, epoch and key of each."""
    return [(batch.set, epoch, key) for epoch, key in zip(batch.epochs, batch.keys, strict=True)]
