"""Batches: real media only, each once, in groups of few sizes; rows of few lengths."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.batch import MOST_FRAMES, Batch, collate, in_buckets
from trainer.data.example import Example
from trainer.data.media import Pixels
from trainer.data.pieces import pieces
from trainer.data.window import IGNORED, Window

SIDE = 2
COLOURS = st.tuples(st.integers(0, 40), st.sampled_from([1, 1, 1, 2, 8]))  # of a medium, and its frames


def medium(colour: int, frames: int) -> Pixels:
    """A medium of one colour."""
    return np.full((frames, 3, SIDE, SIDE), colour, np.uint8)


def example(number: int, media: list[tuple[int, int]], text: int) -> Example:
    """A token for each medium, which looks at it, and `text` more, which look at the last."""
    looks = np.array([*range(1, len(media) + 1), *[len(media)] * text], np.int32)
    window = Window(
        ids=looks + 7, phi=looks, labels=np.full(len(looks), IGNORED, np.int32), media=list(range(len(media)))
    )
    return Example(key=str(number), window=window, media=[medium(*one) for one in media], names=[""] * len(media))


ROWS = st.lists(st.tuples(st.lists(COLOURS, max_size=5), st.integers(1, 30)), min_size=1, max_size=12)


def shown(batch: Batch) -> list[list[tuple[int, int]]]:
    """Of each row the colour and frames of the media that its tokens look at, in order."""
    packed = [one for group in batch.pixels for one in group]
    return [
        [(int(packed[slot][0, 0, 0, 0]), len(packed[slot])) for slot in slots[: looks.max()]]
        for slots, looks in zip(batch.slots_BK, batch.phi_BL, strict=True)
    ]


@given(ROWS, st.integers(0, 5))
def test_media_are_packed(rows: list[tuple[list[tuple[int, int]], int]], micro_batch: int) -> None:
    """Whatever rows show, each finds its own media, no medium is held twice or for nothing; so it is in pieces of the batch."""
    batch = collate("any", [example(number, *row) for number, row in enumerate(rows)], SIDE)
    parts = list(pieces(batch, micro_batch))

    assert [media for media, _ in rows] == shown(batch) == [row for part in parts for row in shown(part)]
    for part in [batch, *parts]:
        different = {one for row in shown(part) for one in row}
        assert max(1, len(different)) == sum(len(group) for group in part.pixels)
        assert all(len(group) & (len(group) - 1) == 0 for group in part.pixels)
        assert part.ids_BL.shape[1] % 8 == 0
        assert part.ids_BL.shape[1] - part.mask_BL.sum(1).max() < 8


def test_few_shapes() -> None:
    """Any number of media comes in nine sizes at most, and never in more frames at once than fit."""
    for frames in (1, 8, 300):
        groups = [in_buckets(torch.zeros(1).expand(media, frames)) for media in range(1, 300)]
        sizes = {len(part) for parts in groups for part in parts}

        assert list(range(1, 300)) == [sum(map(len, parts)) for parts in groups]
        assert len(sizes) <= 9
        assert max(sizes) * frames <= max(MOST_FRAMES, frames)
