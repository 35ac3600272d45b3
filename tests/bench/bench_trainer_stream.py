"""Samples a second of our stream beside webdataset, mosaicml-streaming and litdata, in one run.

All read the same pairs (a JPEG of 30 KB with short side 320, caption, metadata), shuffled, from this disk and warm, each in the form of its own, and are set up as
their documentation has it: webdataset makes batches within its workers, litdata and mosaicml-streaming have their own loaders. "bytes" hands out
batches of samples as they are stored; "pixels" makes of each batch what ours does, with our own functions: JPEG to RGB at 320 px, caption to ids, padded
and packed. So what differs is how samples are found, read, shuffled and brought from the workers. A turn is an epoch (of bytes) or a quarter of one (of pixels), from
the first batch on.

Run: python -m tests.bench.bench_trainer_stream [--samples N] [--rounds N]
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from schemas.shard import Sample
from tests.bench.contest import Rates, Stopwatch, Turn, contest
from tests.bench.trainer_shards import pairs, read_anew, write_chunks, write_mds, write_tars
from tests.tiny_models import tokenizer
from trainer.data.batch import Batch, collate
from trainer.data.example import ExampleConfig, example_of
from trainer.data.media import MediaConfig
from trainer.data.order import Order
from trainer.data.shards import Shards, find_shards
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import Tokens, tokens_of

BATCH, SHARDS, PREFETCH = 64, 8, 2
EXAMPLE, MEDIA = ExampleConfig(tokens=32), MediaConfig()

Make = Callable[[list[Any]], Any]  # a batch of samples
Loader = Callable[[Make, int], Iterable[Any]]  # from how batches are made, and the number of workers


def as_stored(samples: list[Any]) -> list[Any]:
    """A batch of bytes."""
    return samples


def as_batch(tokens: Tokens, samples: list[dict[str, Any]]) -> Batch:
    """A batch of pixels and ids, of samples as the peers give them."""
    members = ("jpg", "txt", "json")
    return collate(
        "pairs",
        [
            example_of(
                Sample(one.get("key") or one["__key__"], {name: one[name] for name in members}),
                tokens,
                EXAMPLE,
                MEDIA,
                (0, 0),
            )
            for one in samples
        ],
        MEDIA.side,
    )


class Stored(Dataset[list[Sample]]):
    """Batches of our samples as they are stored, in the stream's order and by its reader."""

    def __init__(self, shards: list[str]) -> None:
        self._shards = Shards(find_shards(shards))
        self._order = Order(self._shards.counts)

    def __len__(self) -> int:
        return self._order.total // BATCH

    def __getitem__(self, step: int) -> list[Sample]:
        return list(self._shards.read_all(self._order.part(step * BATCH, BATCH)))


def ours_stored(folder: Path, _: Any, workers: int) -> Iterable[list[Sample]]:
    """Our reader and order, beneath the stream."""
    return DataLoader(Stored([str(folder)]), batch_size=None, collate_fn=as_stored, **_workers(workers))


def ours(tokens: Tokens, folder: Path, _: Any, workers: int) -> Iterator[Batch]:
    """Our stream, which makes its batches itself."""
    sets = {"pairs": SetConfig(shards=[str(folder)], batch=BATCH, example=EXAMPLE)}
    for batches in Stream(sets, tokens, MEDIA, workers=workers, prefetch=PREFETCH):
        yield batches[0]


def by_webdataset(folder: Path, make: Make, workers: int) -> Iterable[Any]:
    """webdataset: shards and 1,000 samples shuffled, batches made within the workers."""
    import webdataset

    shards = sorted(str(path) for path in folder.glob("*.tar"))
    read = webdataset.WebDataset(shards, shardshuffle=SHARDS, empty_check=False)
    made = read.shuffle(1000).batched(BATCH, collation_fn=make, partial=False)
    return webdataset.WebLoader(made, batch_size=None, **_workers(workers))


def by_mosaicml(folder: Path, make: Make, workers: int) -> Iterable[Any]:
    """mosaicml-streaming, which wants to know the size of batches, in torch's loader."""
    from streaming import StreamingDataset

    read = StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
    return DataLoader(read, batch_size=BATCH, collate_fn=make, drop_last=True, **_workers(workers))


def by_litdata(folder: Path, make: Make, workers: int) -> Iterable[Any]:
    """litdata, with its loader."""
    from litdata import StreamingDataLoader, StreamingDataset

    read = StreamingDataset(str(folder), shuffle=True, drop_last=True)
    return StreamingDataLoader(read, batch_size=BATCH, collate_fn=make, **_workers(workers))


def _workers(count: int) -> dict[str, Any]:
    return {"num_workers": count, "prefetch_factor": PREFETCH} if count else {}


def turn(loader: Loader, make: Make, workers: int, batches: int) -> Turn:
    """Samples a second of a loader made anew, from its first batch on."""

    def run() -> Rates:
        steps = iter(loader(make, workers))
        next(steps)
        watch = Stopwatch()
        seen = sum(1 for _ in islice(steps, batches - 1))
        rates = watch.rates(seen * BATCH)
        assert seen >= 0.9 * (batches - 1), f"{seen + 1} batches of {batches}"
        return rates

    return run


def main() -> None:
    """Prints four tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # the peers' own
    tokens = tokens_of(tokenizer(), eoc=300)
    samples = pairs(options.samples)
    print(
        f"{len(samples):,} pairs of {sum(len(one.members['jpg']) for one in samples) / len(samples) / 1e3:.0f} KB, batches of {BATCH}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = name
        write_tars(samples, folder / "tars", SHARDS)
        write_mds(samples, folder / "mds")
        write_chunks(samples, folder / "chunks")
        read_anew(folder)
        peers: dict[str, Loader] = {
            "webdataset": partial(by_webdataset, folder / "tars"),
            "mosaicml-streaming": partial(by_mosaicml, folder / "mds"),
            "litdata": partial(by_litdata, folder / "chunks"),
        }
        every = len(samples) // BATCH
        for workers in (0, 2):
            stored = {"m3w": partial(ours_stored, folder / "tars"), **peers}
            turns = {name: turn(loader, as_stored, workers, every) for name, loader in stored.items()}
            contest(f"bytes, {workers} workers", turns, options.rounds)
        for workers in (0, 2):
            made = {"m3w": partial(ours, tokens, folder / "tars"), **peers}
            turns = {
                name: turn(loader, partial(as_batch, tokens), workers, every // 4) for name, loader in made.items()
            }
            contest(f"pixels, {workers} workers", turns, options.rounds)


if __name__ == "__main__":
    main()
