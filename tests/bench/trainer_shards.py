"""The same pairs in the form of each loader: our shards (webdataset reads them as they are), MDS for mosaicml-streaming, chunks for litdata."""

import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from schemas.shard import Sample, encode_index, write_shard
from tests.bench.bench_images import scene

SIZES = ((427, 320), (320, 427), (480, 320), (320, 320))  # short side 320, as fetch leaves pictures
WORDS = "a heron stands by the river while two boats pass under an old bridge of red stone in the morning".split()


def pairs(count: int) -> list[Sample]:
    """Pairs of a JPEG of about 30 KB, a caption and metadata."""
    rng = np.random.default_rng(0)
    large = scene(2000, 1600)
    return [_pair(large, number, rng) for number in range(count)]


def _pair(large: Image.Image, number: int, rng: np.random.Generator) -> Sample:
    width, height = SIZES[number % len(SIZES)]
    left, top = int(rng.integers(large.width - width)), int(rng.integers(large.height - height))
    data = io.BytesIO()
    large.crop((left, top, left + width, top + height)).save(data, "JPEG", quality=85)
    caption = " ".join(rng.choice(WORDS, 14))
    stated = {"url": f"http://pictures.example/{number}.jpg", "width": width, "height": height, "caption": caption}
    members = {"jpg": data.getvalue(), "txt": caption.encode(), "json": json.dumps(stated).encode()}
    return Sample(key=hashlib.sha256(str(number).encode()).hexdigest()[:32], members=members)


def write_tars(samples: list[Sample], folder: Path, shards: int) -> None:
    """Tars with their indexes."""
    folder.mkdir(parents=True)
    for number in range(shards):
        with (folder / f"{number:06}.tar").open("wb") as file:
            entries = write_shard(sorted(samples[number::shards], key=lambda one: one.key), file)
            size = file.tell()
        (folder / f"{number:06}.index.jsonl").write_bytes(encode_index(entries, size))


def write_mds(samples: list[Sample], folder: Path) -> None:
    """Mosaic data shards of the library's own size, without compression."""
    from streaming import MDSWriter

    columns = {"key": "str", "jpg": "bytes", "txt": "bytes", "json": "bytes"}
    with MDSWriter(out=str(folder), columns=columns) as writer:
        for one in samples:
            writer.write({"key": one.key, **one.members})


def write_chunks(samples: list[Sample], folder: Path) -> None:
    """litdata's chunks of 64 MB, as its documentation has them."""
    from litdata import optimize

    optimize(
        fn=_Fields(samples),
        inputs=list(range(len(samples))),
        output_dir=str(folder),
        num_workers=1,
        chunk_bytes="64MB",
        verbose=False,
        start_method="fork",
    )


def read_anew(folder: Path) -> None:
    """Has this machine's memory hold the files as one plain read leaves them there: how they were written, in small steps or large ones, must not count."""
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        with path.open("rb", buffering=0) as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(1 << 20):
                pass


class _Fields:
    """The fields of a sample by its number; litdata asks in a process of its own."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    def __call__(self, number: int) -> dict[str, Any]:
        one = self._samples[number]
        return {"key": one.key, **one.members}
