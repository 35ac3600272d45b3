"""In which order the samples of a set are read: a pure function of (seed, epoch, shard list), with random access.

    position ──▶ epoch, place in it ──▶ stream, row of it ──▶ shard, sample of it

An epoch puts the shards in a new order, end to end, and cuts that line into `streams` stretches of the same length (by one sample at most).
Streams take turns: place p of an epoch is row p // streams of stream p % streams. Within a stretch the samples of `block` shards in a row are
shuffled. So a reader of one stream has few shards in hand at a time, every sample comes once an epoch, and nobody has to have read what came
before: to resume anywhere, on any number of readers, a position is enough. Ranks share out a batch by streams.
"""

from bisect import bisect_right
from functools import lru_cache
from itertools import repeat
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.errors import InputError

Count = Annotated[int, msgspec.Meta(ge=1)]


class Place(msgspec.Struct, frozen=True, gc=False):
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
        return self._run(epoch, stream, range(row, row + 1))[0]

    def part(self, first: int, batch: int, rank: int = 0, ranks: int = 1) -> list[Place]:
        """The samples that one of `ranks` takes of a batch of `batch` positions from `first` on: stream by stream, those of as few streams as there can be.

        Where the batch is a multiple of the streams, and these of the ranks, a rank has its own streams in all batches of an epoch.
        """
        share, last = batch // ranks, first + batch
        before = rank * share  # samples that ranks before this one take
        epochs = range(first // self.total, (last - 1) // self.total + 1)
        spans = [(one, max(0, first - one * self.total), min(self.total, last - one * self.total)) for one in epochs]
        places: list[Place] = []
        for stream in range(self._streams):
            for epoch, begin, end in spans:
                rows = range(-((stream - begin) // self._streams), -((stream - end) // self._streams))
                places += self._run(epoch, stream, rows[before : before + share - len(places)])
                before = max(0, before - len(rows))
        return places

    def _run(self, epoch: int, stream: int, rows: range) -> list[Place]:
        """The samples of rows of a stream that follow one another."""
        places: list[Place] = []
        at, end = self._begins[stream] + rows.start, self._begins[stream] + rows.stop
        while at < end:
            block = bisect_right(self._epoch(epoch)[2], at) - 1
            first, shards, samples = self._shuffled(epoch, stream, block)
            some = slice(at - first, end - first)
            places += map(Place, repeat(epoch), shards[some], samples[some])
            at = first + len(shards)
        return places

    def _make_epoch(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
        """The epoch's shards in its order, without empty ones, and where each one's samples begin in the line of all, and each block's."""
        shards = np.random.default_rng([self._seed, epoch]).permutation(len(self._samples))
        shards = shards[self._samples[shards] > 0]
        starts = np.concatenate([[0], np.cumsum(self._samples[shards])])
        return shards, starts, starts[: -1 : self._block].tolist()

    def _shuffle(self, epoch: int, stream: int, block: int) -> "tuple[int, memoryview[int], memoryview[int]]":
        """Where in the line begins what a stream has of a block; and of its places, shuffled, the shards and the samples in these, as views, whose items are ints."""
        shards, starts, blocks = self._epoch(epoch)
        first = max(self._begins[stream], blocks[block])
        end = min(self._begins[stream + 1], int(starts[min((block + 1) * self._block, len(shards))]))
        line = np.random.default_rng([self._seed, epoch, stream, block]).permutation(np.arange(first, end))
        at = np.searchsorted(starts, line, "right") - 1
        return first, shards[at].astype(np.int32).data, (line - starts[at]).astype(np.int32).data
