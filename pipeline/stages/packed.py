"""Packed records: how keys go through a shuffle.

A shuffle of the in-process runner lives in memory, a Python object a record. So a worker packs its records into one numpy array, splits it by bucket and
sends one byte string a bucket; who receives a bucket joins arrays. Memory is the records' own bytes, a hot key is a longer run in one
array, and nothing depends on the order in which the strings arrive: every join sorts by a total order.
"""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Records: TypeAlias = NDArray[np.void]
BUCKET_BYTES = 2 << 20  # ours: what one join holds in memory, some ten times over
MAX_BUCKETS = 4096  # ours: every part sends a byte string to every bucket; past this many, buckets grow

# A 16-byte key as two numbers: numpy sorts them, and byte strings would lose their trailing zeros.
KEY = [("hi", "<u8"), ("lo", "<u8")]


def key_numbers(keys: Iterable[bytes]) -> NDArray[np.uint64]:
    """16-byte keys as an array of shape (n, 2)."""
    return np.frombuffer(b"".join(keys), dtype=">u8").reshape(-1, 2).astype(np.uint64)


def key_bytes(hi: Any, lo: Any) -> bytes:
    """The 16 bytes of a key."""
    return int(hi).to_bytes(8, "big") + int(lo).to_bytes(8, "big")


def split(records: Records, buckets: int) -> Iterator[tuple[int, bytes]]:
    """(bucket, packed records) by the key's first number; the order inside a bucket is kept."""
    bucket = (records["hi"] % np.uint64(buckets)).astype(np.int64)
    order = np.argsort(bucket, kind="stable")
    borders = np.flatnonzero(np.diff(bucket[order])) + 1
    for run in np.split(order, borders):
        if len(run):
            yield int(bucket[run[0]]), records[run].tobytes()


def by_part(records: Records, field: str = "part") -> Iterator[tuple[int, bytes]]:
    """(part, packed records) by the field that holds a part's number."""
    order = np.argsort(records[field], kind="stable")
    borders = np.flatnonzero(np.diff(records[field][order])) + 1
    for run in np.split(order, borders):
        if len(run):
            yield int(records[field][run[0]]), records[run].tobytes()


def join(blobs: Iterable[bytes], dtype: np.dtype[np.void]) -> Records:
    """All records of a group as one array; equal inputs give equal arrays only after a sort by a total order."""
    return np.frombuffer(b"".join(blobs), dtype=dtype)


def find_keys(wanted: Records, table: Records) -> NDArray[np.int64]:
    """For each wanted record the place of the first record of `table` with its key, -1 where there is none.

    Arrays all the way: a Python object a key would be ten times the memory of the records.
    """
    if not len(table):
        return np.full(len(wanted), -1, dtype=np.int64)
    keys = _sortable(table)
    order = np.argsort(keys, kind="stable")
    places = np.minimum(np.searchsorted(keys[order], _sortable(wanted)), len(table) - 1)
    found = order[places]
    return np.where(keys[found] == _sortable(wanted), found, -1)


def taken_over(records: Records, dtype: np.dtype[np.void]) -> Records:
    """Records of another form with the fields that both have; the others are 0."""
    made = np.zeros(len(records), dtype=dtype)
    for field in set(made.dtype.names or ()) & set(records.dtype.names or ()):
        made[field] = records[field]
    return made


def find_runs(wanted: Records, table: Records) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of all pairs of a wanted record and a record of `table`, sorted by key, that has its key, in the order of the wanted ones."""
    sizes = np.bincount(first_of_runs(table, ("hi", "lo")), minlength=len(table))
    at = find_keys(wanted, table)
    which = np.flatnonzero(at >= 0)
    numbers = sizes[at[which]]
    further = np.arange(numbers.sum()) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    return np.repeat(which, numbers), np.repeat(at[which], numbers) + further


def _sortable(records: Records) -> NDArray[np.bytes_]:
    """Keys as byte strings of one width, which sort like the keys."""
    keys = np.empty(len(records), dtype=[("hi", ">u8"), ("lo", ">u8")])
    keys["hi"], keys["lo"] = records["hi"], records["lo"]
    return keys.view("S16")


def first_of_runs(sorted_records: Records, fields: tuple[str, ...]) -> NDArray[np.int64]:
    """For each record the index of the first one of its run of equal `fields`."""
    n = len(sorted_records)
    starts = np.ones(n, dtype=bool)
    if n > 1:
        same = np.ones(n - 1, dtype=bool)
        for field in fields:
            same &= sorted_records[field][1:] == sorted_records[field][:-1]
        starts[1:] = ~same
    return np.maximum.accumulate(np.where(starts, np.arange(n), 0))


def bucket_count(total_bytes: int) -> int:
    """How many buckets so many bytes of records need."""
    return min(MAX_BUCKETS, max(1, -(-total_bytes // BUCKET_BYTES)))
