"""In which order the samples of a set are read: a pure function of (seed, epoch, shard list), with random access.

    position ──▶ epoch, place in it ──▶ stream, row of it ──▶ shard, sample of it

An epoch puts the shards in a new order, end to end, and cuts that line into `streams` stretches of the same length (by one sample at most).
Streams take turns: place p of an epoch is row p // streams of stream p % streams. Within a stretch the samples of `block` shards in a row are
shuffled. So a reader of one stream has few shards in hand at a time, every sample comes once an epoch, and nobody has to have read what came
before: to resume anywhere, on any number of readers, a position is enough. Ranks share out a batch by streams.
"""

from bisect import bisect_right
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from schemas.errors import InputError

Count = Annotated[int, msgspec.Meta(ge=1)]


class Place(NamedTuple):
    """Where the sample of one position is: its epoch, its shard's number in the list of shards, its own number in the shard."""

    epoch: int
    shard: int
    sample: int


class Order:
    """The order of a set whose shards hold `samples` samples each; `seed`, `streams` and `block` (shards) as above.

    Raises:
        InputError: there are no samples.
    """

    def __init__(self, samples: list[int], seed: int = 0, streams: int = 16, block: int = 4) -> None:
        self._samples = np.array(samples, dtype=np.int64)
        self._seed, self._streams, self._block = seed, streams, block
        self.total = int(self._samples.sum())
        if not self.total:
            raise InputError("the shards hold no samples")
        length, longer = divmod(self.total, streams)
        self._begins = [stream * length + min(stream, longer) for stream in range(streams + 1)]
        # Two epochs are in hand where one ends; the blocks in hand are one a stream, and one more where a block ends.
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)
        self._shuffled = lru_cache(maxsize=2 * streams)(self._shuffle)

    def __reduce__(self) -> tuple[Any, ...]:
        return Order, (self._samples.tolist(), self._seed, self._streams, self._block)

    def __getitem__(self, position: int) -> Place:
        """The sample of a position, 0 or more; positions past an epoch's end are of the next."""
        epoch, place = divmod(position, self.total)
        row, stream = divmod(place, self._streams)
        at = self._begins[stream] + row
        shards, starts, blocks = self._epoch(epoch)
        first, shuffled = self._shuffled(epoch, stream, bisect_right(blocks, at) - 1)
        at = shuffled[at - first]
        shard = bisect_right(starts, at) - 1
        return Place(epoch, shards[shard], at - starts[shard])

    def part(self, first: int, batch: int, rank: int, ranks: int) -> list[int]:
        """The positions that one of `ranks` takes of a batch of `batch` from `first` on: those of as few streams as there can be.

        Where the batch is a multiple of the streams, and these of the ranks, a rank has its own streams in all batches of an epoch.
        """
        share = batch // ranks
        by_stream = sorted(range(first, first + batch), key=lambda position: position % self.total % self._streams)
        return by_stream[rank * share : (rank + 1) * share]

    def _make_epoch(self, epoch: int) -> tuple[list[int], list[int], list[int]]:
        """The epoch's shards in its order, without empty ones, and where each one's samples begin in the line of all, and each block's."""
        shards = np.random.default_rng([self._seed, epoch]).permutation(len(self._samples))
        shards = shards[self._samples[shards] > 0]
        starts = [0, *np.cumsum(self._samples[shards]).tolist()]
        return shards.tolist(), starts, starts[: -1 : self._block]

    def _shuffle(self, epoch: int, stream: int, block: int) -> "tuple[int, memoryview[int]]":
        """Where in the line begins what a stream has of a block, and its places, shuffled; one place of a view is an int, of an array it is slower."""
        _, starts, blocks = self._epoch(epoch)
        first = max(self._begins[stream], blocks[block])
        end = min(self._begins[stream + 1], starts[min((block + 1) * self._block, len(starts) - 1)])
        generator = np.random.default_rng([self._seed, epoch, stream, block])
        return first, generator.permutation(np.arange(first, end)).data
