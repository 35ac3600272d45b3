"""Packed records: splitting, joining and looking up give what dictionaries give."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.stages.packed import KEY, Records, find_keys, first_of_runs, join, key_bytes, key_numbers, split

# Few distinct keys, some that end with zeros, so that runs and near misses are frequent.
keys = st.lists(
    st.sampled_from([bytes(16), b"\1" + bytes(15), bytes(15) + b"\1", b"\1" * 16, b"\1" * 15 + b"\0"]), max_size=30
)
DTYPE = np.dtype([*KEY, ("n", "<u4")])


def records(of: list[bytes]) -> Records:
    made = np.zeros(len(of), dtype=DTYPE)
    made["hi"], made["lo"] = key_numbers(of).T
    made["n"] = np.arange(len(of))
    return made


@given(keys)
def test_keys_survive(of: list[bytes]) -> None:
    """Sixteen bytes, two numbers, sixteen bytes."""
    assert [key_bytes(hi, lo) for hi, lo in key_numbers(of)] == of


@given(keys, st.integers(1, 5))
def test_split_is_a_partition(of: list[bytes], buckets: int) -> None:
    """Every record is in one bucket, equal keys in the same one, in the order they came."""
    parts = dict(split(records(of), buckets))
    together = join(parts.values(), DTYPE)

    assert sorted(together["n"].tolist()) == list(range(len(of)))
    bucket_of = {n: bucket for bucket, blob in parts.items() for n in join([blob], DTYPE)["n"].tolist()}
    assert all(bucket_of[a] == bucket_of[b] for a in range(len(of)) for b in range(a) if of[a] == of[b])
    assert all((np.diff(join([blob], DTYPE)["n"].astype(int)) > 0).all() for blob in parts.values())


@given(keys, keys)
def test_find_keys_is_a_dictionary(wanted: list[bytes], table: list[bytes]) -> None:
    """The first place of each key, or -1."""
    places = {key: place for place, key in reversed(list(enumerate(table)))}

    assert find_keys(records(wanted), records(table)).tolist() == [places.get(key, -1) for key in wanted]


@given(keys)
def test_runs_start_where_keys_change(of: list[bytes]) -> None:
    """For sorted records the first place of each run of equal keys."""
    made = records(sorted(of))

    assert first_of_runs(made, ("hi", "lo")).tolist() == [sorted(of).index(key) for key in sorted(of)]
