"""Texts beside too many pictures and pictures with too many texts: ALIGN's two counts, over a whole run.

    occurrences   (text, picture) of a part  ->  records under the text's hash and under the picture's, each once
    too_frequent  a bucket of them           ->  the hashes that go, by part

What is counted is different pictures and different texts, so that no part has to send more than the threshold and one of any key, however often it
stands there: what a part has more of is over the threshold already. A hot key is so many records a part and no more.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.pairs.config import PairsConfig

TEXT, PICTURE = 0, 1
# `hi` is the hash that is counted for, `lo` says what it is of, `other` is the hash of what is counted.
OCCURRENCE = np.dtype([("hi", "<u8"), ("lo", "<u8"), ("other", "<u8"), ("part", "<u4")])
FREQUENT = np.dtype([("part", "<u4"), ("hi", "<u8"), ("lo", "<u8")])


def occurrences(texts: list[tuple[int, int]], part: int, config: PairsConfig) -> NDArray[np.void]:
    """The records of a part's (text's hash, picture's hash)."""
    pairs = np.array(sorted(set(texts)), dtype=np.uint64).reshape(-1, 2)
    records = np.zeros(2 * len(pairs), dtype=OCCURRENCE)
    for kind, half in ((TEXT, records[: len(pairs)]), (PICTURE, records[len(pairs) :])):
        half["hi"], half["other"], half["lo"] = pairs[:, kind], pairs[:, 1 - kind], kind
    records["part"] = part
    records = records[np.lexsort((records["other"], records["hi"], records["lo"]))]
    starts, _ = _runs(records)
    needed: NDArray[np.void] = records[np.arange(len(records)) - starts <= _limits(records, config)]
    return needed


def too_frequent(blobs: Iterable[bytes], config: PairsConfig) -> NDArray[np.void]:
    """Where the hashes stand that have more of the other kind than the configuration allows."""
    records = np.frombuffer(b"".join(blobs), dtype=OCCURRENCE)
    records = records[np.lexsort((records["part"], records["other"], records["hi"], records["lo"]))]
    starts, sizes = _runs(records)
    is_new = np.ones(len(records), dtype=bool)
    is_new[1:] = (records["other"][1:] != records["other"][:-1]) | (starts[1:] != starts[:-1])
    before = np.cumsum(is_new) - is_new
    distinct = np.append(before, int(is_new.sum()))[starts + sizes] - before[starts]
    gone = records[distinct > _limits(records, config)]
    frequent = np.zeros(len(gone), dtype=FREQUENT)
    for field in ("part", "hi", "lo"):
        frequent[field] = gone[field]
    return np.unique(frequent)


def _runs(records: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each sorted record where the run of its key begins, and how long that run is."""
    is_first = np.ones(len(records), dtype=bool)
    is_first[1:] = (records["hi"][1:] != records["hi"][:-1]) | (records["lo"][1:] != records["lo"][:-1])
    borders = np.flatnonzero(is_first)
    sizes = np.diff(np.append(borders, len(records)))
    return np.repeat(borders, sizes), np.repeat(sizes, sizes)


def _limits(records: NDArray[np.void], config: PairsConfig) -> Any:
    return np.where(records["lo"] == TEXT, config.max_pictures_of_text, config.max_texts_of_picture)
