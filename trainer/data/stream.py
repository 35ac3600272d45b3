"""Shards to batches, for ever: `for batches in Stream(...)`.

    step ──▶ positions of each set ──▶ this rank's share ──▶ samples (`order`, `shards`) ──▶ examples ──▶ batches

A step is one batch of every set, as in the paper (Flamingo 3.3). The global batch of a set at step n is its positions n * B to (n + 1) * B - 1, whoever reads
them: ranks take equal runs of it, worker processes whole steps. So the sequence is the same with any number of ranks and workers, and `state`, the
number of steps that were consumed, is all that a checkpoint needs.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import msgspec
from torch.utils.data import DataLoader, Dataset, Sampler

from schemas.errors import ConfigError
from trainer.data.batch import Batch, collate
from trainer.data.example import Example, ExampleConfig, example_of
from trainer.data.media import MediaConfig
from trainer.data.order import Order
from trainer.data.shards import Shards, find_shards
from trainer.data.tokens import Tokens


class SetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of shards: its tars (files, globs, folders; any fsspec URL), its global batch, and lambda, the weight of its loss."""

    shards: list[str]
    batch: Annotated[int, msgspec.Meta(ge=1)]
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    streams: Annotated[int, msgspec.Meta(ge=1)] = 16
    block: Annotated[int, msgspec.Meta(ge=1)] = 4
    example: ExampleConfig = ExampleConfig()


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was consumed: steps, of sets with these fingerprints."""

    step: int
    seed: int
    sets: dict[str, str]


class Stream:
    """Batches of every set, step by step, from `state` on; `rank` of `ranks` reads its share of each global batch.

    Raises:
        InputError: a pattern names no shards.
        ConfigError: a batch that ranks cannot share equally, or a state of other shards or another seed.
    """

    def __init__(
        self,
        sets: dict[str, SetConfig],
        tokens: Tokens,
        media: MediaConfig = MediaConfig(),
        seed: int = 0,
        state: State | None = None,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        prefetch: int = 2,
    ) -> None:
        for name, one in sets.items():
            if one.batch % ranks:
                raise ConfigError(f"sets.{name}.batch = {one.batch} does not divide among {ranks} ranks")
        self._steps = _Steps(sets, tokens, media, seed, rank, ranks)
        fingerprints = {name: shards.fingerprint for name, shards in self._steps.shards.items()}
        self.state = State(step=0, seed=seed, sets=fingerprints)
        if state is not None:
            if (state.seed, state.sets) != (seed, fingerprints):
                raise ConfigError(
                    "the checkpoint was made with other shards or another seed; they decide the order of samples"
                )
            self.state = state
        self._workers, self._prefetch = workers, prefetch

    def __iter__(self) -> Iterator[list[Batch]]:
        loader: Any = DataLoader(
            self._steps,
            batch_size=None,
            sampler=_From(self.state.step),
            num_workers=self._workers,
            prefetch_factor=self._prefetch if self._workers else None,
        )
        for batches in loader:
            self.state = msgspec.structs.replace(self.state, step=self.state.step + 1)
            yield batches


class _From(Sampler[int]):
    """Steps from one on, without end."""

    def __init__(self, step: int) -> None:
        self._step = step

    def __iter__(self) -> Iterator[int]:
        step = self._step
        while True:
            yield step
            step += 1


class _Steps(Dataset[Sequence[Batch]]):
    """Batches by step."""

    def __init__(
        self, sets: dict[str, SetConfig], tokens: Tokens, media: MediaConfig, seed: int, rank: int, ranks: int
    ) -> None:
        self._sets, self._tokens, self._media, self._seed = sets, tokens, media, seed
        self._rank, self._ranks = rank, ranks
        self.shards = {name: Shards(find_shards(one.shards)) for name, one in sets.items()}
        self._orders = {
            name: Order(self.shards[name].counts, seed, one.streams, one.block) for name, one in sets.items()
        }

    def __getitem__(self, step: int) -> list[Batch]:
        return [collate(name, self._examples(name, step), self._media.side) for name in self._sets]

    def _examples(self, name: str, step: int) -> list[Example]:
        share = self._sets[name].batch // self._ranks
        first = step * self._sets[name].batch + self._rank * share
        return [self._example(name, position) for position in range(first, first + share)]

    def _example(self, name: str, position: int) -> Example:
        place = self._orders[name][position]
        sample = self.shards[name].read(place.shard, place.sample)
        return example_of(sample, self._tokens, self._sets[name].example, self._media, (self._seed, place.epoch))
