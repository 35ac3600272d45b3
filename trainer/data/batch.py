"""Examples to a batch: padded ids, and the media that there are, packed.

Shapes: B examples, L tokens of the longest, K media of the example with the most, M media of the batch, T frames.

What a compiler sees is of few shapes: L is a multiple of 8, and media come in groups of 1, 2, 4, ... up to 256 frames, which any number is the sum of without
a padded one. So the memory that the encoder takes is bounded, too.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import torch
from torch import Tensor

from trainer.data.example import Example
from trainer.data.media import Pixels
from trainer.data.window import IGNORED

LENGTH_STEP: Final = 8  # ours: what matrix units like
MOST_FRAMES: Final = 256  # ours: at 320 px a GB of activations in a ViT-L
_TENSORS: Final = ("ids_BL", "phi_BL", "labels_BL", "mask_BL", "slots_BK")


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """What one step of one set is trained on.

    `ids_BL`, `phi_BL` (1 for an example's first medium, 0 for none), `labels_BL` and `slots_BK` (where an example's media stand among all) are int64;
    `mask_BL` is False on padding. `pixels` are uint8 [m, T, 3, side, side], all of a group of one number of frames; groups follow one another.
    A batch without a single medium holds one of zeros, so that the vision part takes part in every step. Of each row `keys`, `epochs` and `shards`
    (URLs) say where it was read; `faults` name those that broke.
    """

    set: str
    ids_BL: Tensor
    phi_BL: Tensor
    labels_BL: Tensor
    mask_BL: Tensor
    slots_BK: Tensor
    pixels: list[Tensor]
    keys: list[str]
    epochs: list[int]
    shards: list[str]
    faults: list[str]

    def pin_memory(self) -> "Batch":
        """The batch in memory from which a GPU copies by itself; torch's loader calls this."""
        fields = {name: getattr(self, name).pin_memory() for name in _TENSORS}
        return msgspec.structs.replace(self, **fields, pixels=[group.pin_memory() for group in self.pixels])

    def origins(self) -> list[str]:
        """Of each row set, epoch, shard and key, for who looks for the cause of a loss."""
        rows = zip(self.epochs, self.shards, self.keys, strict=True)
        return [f"{self.set} epoch {epoch} {shard} {key}" for epoch, shard, key in rows]


def collate(name: str, examples: Sequence[Example], side: int) -> Batch:
    """The batch of a set's examples, padded on the right; a picture that stands in it twice with the same pixels is held once."""
    length = padded_length(max(len(one.window.ids) for one in examples))
    ids, phi, labels = (np.full((len(examples), length), fill, np.int64) for fill in (0, 0, IGNORED))
    mask = np.zeros((len(examples), length), np.bool_)
    for row, one in enumerate(examples):
        tokens = len(one.window.ids)
        ids[row, :tokens], phi[row, :tokens], labels[row, :tokens] = one.window.ids, one.window.phi, one.window.labels
        mask[row, :tokens] = True
    pixels, slots = packed_media([one.pixels for one in examples], side)
    return Batch(
        set=name,
        ids_BL=torch.from_numpy(ids),
        phi_BL=torch.from_numpy(phi),
        labels_BL=torch.from_numpy(labels),
        mask_BL=torch.from_numpy(mask),
        slots_BK=slots,
        pixels=pixels,
        keys=[one.key for one in examples],
        epochs=[one.epoch for one in examples],
        shards=[one.shard for one in examples],
        faults=[f"{one.key}: {one.fault}" for one in examples if one.fault],
    )


def padded_length(tokens: int) -> int:
    """The next L.

    >>> padded_length(17)
    24
    """
    return -(-tokens // LENGTH_STEP) * LENGTH_STEP


def in_buckets(group: Tensor) -> list[Tensor]:
    """A group of media [m, T, ...] in parts of 1, 2, 4, ... media, the largest first, none of more than `MOST_FRAMES` frames where it has two."""
    most = 1 << max(1, MOST_FRAMES // group.shape[1]).bit_length() - 1
    sizes = [most] * (len(group) // most)
    sizes += [1 << bit for bit in reversed(range(most.bit_length() - 1)) if len(group) % most >> bit & 1]
    return list(group.split(sizes))


def packed_media(media: Sequence[Sequence[Pixels]], side: int) -> tuple[list[Tensor], Tensor]:
    """The media of rows in groups of one number of frames, each once; and for each row [B, K] where its media are, the groups in a row.

    Rows without a single medium among them get one of zeros.
    """
    groups: dict[int, dict[bytes, int]] = {}
    for of_row in media:
        for medium in of_row:
            group = groups.setdefault(len(medium), {})
            group.setdefault(medium.tobytes(), len(group))
    first, begins = 0, {}
    for frames in sorted(groups):
        begins[frames] = first
        first += len(groups[frames])
    slots = np.zeros((len(media), max(1, *map(len, media))), np.int64)
    for row, of_row in enumerate(media):
        for slot, medium in enumerate(of_row):
            slots[row, slot] = begins[len(medium)] + groups[len(medium)][medium.tobytes()]
    if not groups:
        return [torch.zeros((1, 1, 3, side, side), dtype=torch.uint8)], torch.from_numpy(slots)
    shape = (-1, 3, side, side)
    packed = [
        np.stack([np.frombuffer(data, np.uint8).reshape(shape) for data in groups[frames]]) for frames in sorted(groups)
    ]
    parts = [part for group in packed for part in in_buckets(torch.from_numpy(group))]
    return parts, torch.from_numpy(slots)
