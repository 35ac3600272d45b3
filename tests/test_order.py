"""The order of training samples: everything once an epoch, few shards in hand, the same from any position on."""

import hashlib
import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from trainer.data.order import Order, Place

SIZES = st.lists(st.integers(0, 40), min_size=1, max_size=30).filter(any)


def tuple_of(place: Place) -> tuple[int, int, int]:
    """What can be sorted, and cut."""
    return place.epoch, place.shard, place.sample


@given(SIZES, st.integers(0, 3), st.integers(1, 9), st.integers(1, 5))
def test_every_sample_comes_once_an_epoch(sizes: list[int], seed: int, streams: int, block: int) -> None:
    """However the shards are cut into streams and blocks, an epoch is a permutation of the set."""
    order = Order(sizes, seed, streams, block)
    every = {(shard, sample) for shard, size in enumerate(sizes) for sample in range(size)}

    for epoch in range(2):
        places = [order[epoch * order.total + place] for place in range(order.total)]

        assert {epoch} == {place.epoch for place in places}
        assert every == {(place.shard, place.sample) for place in places}


@given(SIZES, st.integers(1, 9), st.integers(0, 99), st.integers(1, 6), st.integers(1, 4))
def test_ranks_share_a_batch(sizes: list[int], streams: int, first: int, share: int, ranks: int) -> None:
    """The parts of all ranks are the batch, none twice; one rank takes what several do, in the same order."""
    order, batch = Order(sizes, 1, streams), share * ranks
    parts = [order.part(first, batch, rank, ranks) for rank in range(ranks)]
    whole = order.part(first, batch)

    assert whole == list(itertools.chain(*parts))
    assert sorted(map(tuple_of, whole)) == sorted(tuple_of(order[position]) for position in range(first, first + batch))
    assert {share} == set(map(len, parts))


def test_a_rank_reads_its_own_shards() -> None:
    """Of 64 shards each of four ranks sees its quarter in an epoch, and those that a cut goes through."""
    order = Order([50] * 64, seed=0, streams=8, block=2)
    seen = [
        {place.shard for first in range(0, 3200, 16) for place in order.part(first, 16, rank, 4)} for rank in range(4)
    ]

    assert sum(map(len, seen)) <= 64 + 3


@given(SIZES, st.integers(1, 9))
def test_a_position_needs_no_past(sizes: list[int], streams: int) -> None:
    """A new order asked for one position first gives what the same order gives in its turn."""
    order = Order(sizes, 5, streams)
    for position in (0, order.total - 1, order.total, 2 * order.total + 3):
        assert Order(sizes, 5, streams)[position] == order[position]


def test_seeds_and_epochs_differ() -> None:
    """Another seed is another order, and so is the next epoch; the same seed is the same."""
    first, again, other = (Order([50] * 8, seed) for seed in (1, 1, 2))
    epoch = [tuple_of(first[position])[1:] for position in range(400)]

    assert epoch == [tuple_of(again[position])[1:] for position in range(400)]
    assert epoch != [tuple_of(other[position])[1:] for position in range(400)]
    assert epoch != [tuple_of(first[400 + position])[1:] for position in range(400)]


def test_the_order_stays_what_it_is() -> None:
    """Runs that were begun before go on in the same order: a digest of what it gave when it was first written."""
    order = Order([30, 0, 7, 100, 64, 1, 50, 12, 80], seed=3, streams=5, block=2)
    places = [place for first in range(0, 1000, 40) for rank in range(4) for place in order.part(first, 40, rank, 4)]
    assert "615448afedb46877" == hashlib.sha256(repr([*map(tuple_of, places)]).encode()).hexdigest()[:16]


def test_a_stream_reads_few_shards_at_a_time() -> None:
    """Between one place of a stream and fifty of it later lie no more shards than those of two blocks."""
    order = Order([100] * 64, seed=0, streams=4, block=4)
    rows = [[order[row * 4 + stream].shard for row in range(1600)] for stream in range(4)]

    for stream in rows:
        assert max(len(set(stream[start : start + 50])) for start in range(1550)) <= 8
    # The streams part the shards: only those that a cut went through stand in two.
    assert sum(len(set(stream)) for stream in rows) <= 64 + 3


def test_neighbours_are_shuffled() -> None:
    """Samples that lie side by side in a shard are seldom read side by side."""
    order = Order([100] * 16, seed=0, streams=1, block=4)
    places = [order[position] for position in range(1600)]
    beside = sum(a.shard == b.shard and abs(a.sample - b.sample) == 1 for a, b in itertools.pairwise(places))

    assert beside < 40


def test_a_set_without_samples_is_refused() -> None:
    """No shards, or empty ones only."""
    for sizes in ([], [0, 0]):
        with pytest.raises(InputError, match="no samples"):
            Order(sizes)


def test_an_order_goes_to_other_processes() -> None:
    """A pickled order, as workers that are not forked get it, is the same order."""
    order = Order([3, 0, 20, 7], seed=2, streams=3, block=2)
    sent = pickle.loads(pickle.dumps(order))
    assert [order[position] for position in range(90)] == [sent[position] for position in range(90)]
