"""Shards to batches, for ever: `for batches in Stream(...)`.

    step ──▶ sets and their positions ──▶ this rank's share ──▶ samples (`order`, `shards`) ──▶ examples ──▶ batches

A step is one batch of every set, as in the paper (Flamingo 2.4), or one batch of one set, in turns or drawn by their shares. The global batch of a set is its next B
positions, whoever reads them: ranks share them out by streams, worker processes take whole steps. Which sets a step takes is a function of (seed, step). So the
sequence is the same with any number of ranks and workers, and `state`, what was consumed of each set, is all that a checkpoint needs.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from schemas.errors import ConfigError, DataError, M3wError, SurroundingsError
from schemas.shard import Sample
from trainer.data.batch import Batch, collate
from trainer.data.example import Example, ExampleConfig, example_of
from trainer.data.features import FeatureCache
from trainer.data.media import MediaConfig
from trainer.data.order import Order, Place
from trainer.data.shards import Shards, find_shards
from trainer.data.tokens import Tokens

Mode: TypeAlias = Literal["every", "round_robin", "weighted"]
Plan: TypeAlias = list[tuple[str, int]]  # the sets of a step, and the position at which each one's batch begins

WINDOW: Final = 10_000  # ours: samples in a row among which broken ones are counted; a batch where that is larger
_NAMED: Final = 5  # ours: broken samples that an error names
_ENDS_S: Final = 2.0  # ours: after a socket of it broke, until a process has ended
_DRAW: Final = int.from_bytes(b"sets", "big")  # so that the draw is not that of an epoch


class SetConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of shards: its tars (files, globs, folders; any fsspec URL) and its global batch.

    `weight` is lambda, by which the loss is multiplied where every step takes every set; `share`, relative to the other sets', how often the set is drawn where a
    step takes one. `max_broken` is the share of samples in a row that may be broken before the run stops. `micro_batch` is how many examples a rank takes
    through the model at once, 0 for all that it has; the gradient is the same.
    """

    shards: list[str]
    batch: Annotated[int, msgspec.Meta(ge=1)]
    micro_batch: Annotated[int, msgspec.Meta(ge=0)] = 0
    weight: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    share: Annotated[float, msgspec.Meta(gt=0)] | None = None
    streams: Annotated[int, msgspec.Meta(ge=1)] = 16
    block: Annotated[int, msgspec.Meta(ge=1)] = 4
    max_broken: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.01  # ours
    example: ExampleConfig = ExampleConfig()


class SetState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was consumed of a set: samples in all, and how many since the last whole window were broken; `order` fingerprints what its order is made of."""

    order: str
    samples: int = 0
    broken: int = 0


class State(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was consumed: steps, and of each set."""

    step: int
    seed: int
    sets: dict[str, SetState]


class Stream:
    """Batches step by step, from `state` on; `rank` of `ranks` reads its share of each global batch.

    `mode` says what a step takes: a batch of `every` set, or one of one set, in turns (`round_robin`) or `weighted` by their shares. Shards of a store are kept on this disk within
    `cache_bytes`. Pictures whose `features` are kept come as those. `total` adds counts over ranks; all of them call it once a step. `wait_s` are the seconds that were spent waiting for batches.

    Raises:
        InputError: a pattern names no shards.
        ConfigError: a batch that ranks cannot share equally, weights of the other mode, or a state of other shards or another seed.
        DataError: while iterating: more samples broke than a set allows, or a shard is not what it was.
        SurroundingsError: while iterating: a store fails for good, or a worker process was killed.
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
        mode: Mode = "every",
        cache_bytes: int = 0,
        features: FeatureCache | None = None,
        total: Callable[[list[int]], list[int]] = list,
    ) -> None:
        _check(sets, mode, ranks)
        self._steps = _Steps(sets, tokens, media, seed, rank, ranks, cache_bytes, features)
        self.state = State(
            step=0, seed=seed, sets={name: SetState(order=made_of) for name, made_of in self._steps.orders_of().items()}
        )
        if state is not None:
            if (state.seed, _orders(state)) != (seed, _orders(self.state)):
                raise ConfigError(
                    "the checkpoint was made with other shards, streams or blocks, or another seed; they decide the order of samples"
                )
            self.state = state
        self._sets, self._mode, self._total = sets, mode, total
        self._workers, self._prefetch, self.features = workers, prefetch, features
        self._faults: deque[str] = deque(maxlen=_NAMED)
        self.wait_s = 0.0

    def __iter__(self) -> Iterator[list[Batch]]:
        loader: Any = DataLoader(
            self._steps,
            batch_size=None,
            sampler=_From(self._sets, self._mode, self.state),
            num_workers=self._workers,
            prefetch_factor=self._prefetch if self._workers else None,
            pin_memory=torch.cuda.is_available(),
        )
        steps = iter(loader)
        try:
            while True:
                yield self._taken(self._next(steps))
        finally:
            del loader, steps  # ends the worker processes, even while somebody holds the error's traceback

    def _next(self, steps: Iterator[list[Batch] | M3wError]) -> list[Batch] | M3wError:
        began = time.monotonic()
        try:
            batches = next(steps)
        except (RuntimeError, OSError, EOFError) as error:
            return lost_worker(error, steps)
        self.wait_s += time.monotonic() - began
        return batches

    def _taken(self, batches: list[Batch] | M3wError) -> list[Batch]:
        """Counts a step as consumed. An error of one rank ends all, so that none waits for one that is gone."""
        names = drawn(self._sets, self._mode, self.state.seed, self.state.step)
        faults = [[]] * len(names) if isinstance(batches, M3wError) else [batch.faults for batch in batches]
        failed, *broken = self._total([isinstance(batches, M3wError), *map(len, faults)])
        if isinstance(batches, M3wError):
            raise batches
        if failed:
            raise SurroundingsError("another rank cannot read its part of the batch; see what it says")
        self._faults.extend(f"{name}: {fault}" for name, those in zip(names, faults, strict=True) for fault in those)
        sets = dict(self.state.sets)
        for name, count in zip(names, broken, strict=True):
            sets[name] = self._consumed(name, count)
        self.state = msgspec.structs.replace(self.state, step=self.state.step + 1, sets=sets)
        return batches

    def _consumed(self, name: str, broken: int) -> SetState:
        config, before = self._sets[name], self.state.sets[name]
        window = max(WINDOW, config.batch)
        samples, broken = before.samples + config.batch, before.broken + broken
        if broken > config.max_broken * window:
            raise DataError(
                f"{broken} samples of sets.{name} broke within {window:,} in a row, more than max_broken = {config.max_broken} allows; "
                f"the last of this rank: {'; '.join(self._faults)}"
            )
        is_over = samples // window > before.samples // window
        return msgspec.structs.replace(before, samples=samples, broken=0 if is_over else broken)


def lost_worker(error: Exception, steps: Any = None) -> SurroundingsError:
    """What to say where a worker process is gone, of which torch tells in its own words, whatever the rank is at, or a socket to it breaks.

    Raises:
        the error itself: it is of something else.
    """
    workers = getattr(steps, "_workers", [])
    for worker in workers:
        worker.join(_ENDS_S / len(workers))
    said = [f"DataLoader worker (pid {one.pid}) ended with {one.exitcode}." for one in workers if one.exitcode]
    if not said and "DataLoader worker (pid" not in str(error):
        raise error
    return SurroundingsError(
        f"{said[0] if said else error} Was it killed for memory? Take fewer workers, or prefetch less."
    )


def drawn(sets: Mapping[str, SetConfig], mode: Mode, seed: int, step: int) -> list[str]:
    """The sets of which a step takes a batch."""
    if mode == "every":
        return list(sets)
    if mode == "round_robin":
        return [list(sets)[step % len(sets)]]
    shares = np.array([one.share or 0 for one in sets.values()])
    chance = np.random.default_rng([seed, step, _DRAW]).random()
    return [list(sets)[int(np.searchsorted(shares.cumsum() / shares.sum(), chance, "right"))]]


def _orders(state: State) -> dict[str, str]:
    return {name: one.order for name, one in state.sets.items()}


def _check(sets: Mapping[str, SetConfig], mode: Mode, ranks: int) -> None:
    for name, one in sets.items():
        if one.batch % ranks:
            raise ConfigError(f"sets.{name}.batch = {one.batch} does not divide among {ranks} ranks")
        if mode == "weighted" and one.share is None:
            raise ConfigError(f"sets.{name}.share is not set; with mode = weighted it says how often the set is drawn")
        if mode == "weighted" and one.weight != 1:
            raise ConfigError(f"sets.{name}.weight = {one.weight} is for other modes; with weighted there is share")
        if mode != "weighted" and one.share is not None:
            raise ConfigError(f"sets.{name}.share = {one.share} is for mode = weighted; with {mode} there is weight")


class _From(Sampler[Plan]):
    """What the steps from a state on take, without end."""

    def __init__(self, sets: Mapping[str, SetConfig], mode: Mode, state: State) -> None:
        self._sets, self._mode, self._state = sets, mode, state

    def __iter__(self) -> Iterator[Plan]:
        step, seed = self._state.step, self._state.seed
        positions = {name: one.samples for name, one in self._state.sets.items()}
        while True:
            names = drawn(self._sets, self._mode, seed, step)
            yield [(name, positions[name]) for name in names]
            for name in names:
                positions[name] += self._sets[name].batch
            step += 1


class _Steps(Dataset[list[Batch] | M3wError]):
    """Batches by what a step takes; an error is a value, which a worker's traceback does not bury."""

    def __init__(
        self,
        sets: dict[str, SetConfig],
        tokens: Tokens,
        media: MediaConfig,
        seed: int,
        rank: int,
        ranks: int,
        cache_bytes: int,
        features: FeatureCache | None,
    ) -> None:
        self._sets, self._tokens, self._media, self._seed = sets, tokens, media, seed
        self._rank, self._ranks, self._features = rank, ranks, features
        self._shards = {
            name: Shards(find_shards(one.shards), cache_bytes, one.streams * one.block) for name, one in sets.items()
        }
        self._orders = {
            name: Order(self._shards[name].counts, seed, one.streams, one.block) for name, one in sets.items()
        }

    def orders_of(self) -> dict[str, str]:
        """What the order of each set is made of, besides the seed."""
        return {name: f"{self._shards[name].fingerprint}-{one.streams}-{one.block}" for name, one in self._sets.items()}

    def __getitem__(self, plan: Plan) -> list[Batch] | M3wError:
        try:
            return [collate(name, self._examples(name, first), self._media.side) for name, first in plan]
        except M3wError as error:
            return error

    def _examples(self, name: str, first: int) -> list[Example]:
        places = self._orders[name].part(first, self._sets[name].batch, self._rank, self._ranks)
        samples = self._shards[name].read_all(places)
        return [self._example(name, place, sample) for place, sample in zip(places, samples, strict=True)]

    def _example(self, name: str, place: Place, sample: Sample) -> Example:
        chance = self._seed, place.epoch
        made = example_of(sample, self._tokens, self._sets[name].example, self._media, chance, self._features)
        return msgspec.structs.replace(made, epoch=place.epoch, shard=self._shards[name].urls[place.shard])
