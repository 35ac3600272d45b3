"""Shards of drawn shapes, whose captions nothing but the picture predicts."""

import io
from pathlib import Path
from typing import Final

import numpy as np

from jobs.demo.drawn import SOURCES, shape
from schemas.shard import Sample, encode_index, sample_key, write_shard

SIDE: Final = 32  # px
ENTROPY: Final = SOURCES["shapes"].entropy  # nats a caption


def sample(rng: np.random.Generator, key: str) -> Sample:
    """A pair with a shape."""
    image, caption = shape(rng, SIDE)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return Sample(key, {"png": file.getvalue(), "txt": caption.encode(), "json": b"{}"})


def write_shapes(folder: Path, number: int, seed: int) -> str:
    """A folder with one shard of so many pairs."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    path = folder / "00000.tar"
    with path.open("wb") as file:
        entries = write_shard((sample(rng, sample_key(f"{seed} {n}")) for n in range(number)), file)
        size = file.tell()
    path.with_name("00000.index.jsonl").write_bytes(encode_index(entries, size))
    return str(folder)
