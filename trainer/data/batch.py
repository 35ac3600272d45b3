"""Examples to a batch: padded ids, and the media that there are, packed.

Shapes: B examples, L tokens of the longest, K media of the example with the most, M media of the batch, T frames.

What a compiler sees is of few shapes: L is a multiple of 8, and media come in groups of 1, 2, 4, ... up to 256 frames, which any number is the sum of without
a padded one. So the memory that the encoder takes is bounded, too.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np
import torch
import xxhash
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
    A batch without a single medium holds one of zeros, so that the vision part takes part in every step. `features` [m, T, S, C] are those of media that the encoder
    has seen before; their groups follow those of `pixels`. `names`, one a medium of `pixels`, are those under which its features may be kept, empty where not. Of each row `keys`, `epochs` and `shards`
    (URLs) say where it was read; `faults` name those that broke.
    """

    set: str
    ids_BL: Tensor
    phi_BL: Tensor
    labels_BL: Tensor
    mask_BL: Tensor
    slots_BK: Tensor
    pixels: list[Tensor]
    features: list[Tensor]
    names: list[str]
    keys: list[str]
    epochs: list[int]
    shards: list[str]
    faults: list[str]

    def pin_memory(self) -> "Batch":
        """The batch in memory from which a GPU copies by itself; torch's loader calls this."""
        fields = {name: getattr(self, name).pin_memory() for name in _TENSORS}
        pixels, features = ([group.pin_memory() for group in groups] for groups in (self.pixels, self.features))
        return msgspec.structs.replace(self, **fields, pixels=pixels, features=features)

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
    groups, slots = packed_media([one.media for one in examples], side)
    pixels, features = parted(groups)
    names = [""] * sum(map(len, pixels))
    for one, places in zip(examples, slots.tolist(), strict=True):
        for kept, place in zip(one.names, places, strict=False):
            if place < len(names):
                names[place] = kept
    return Batch(
        set=name,
        ids_BL=torch.from_numpy(ids),
        phi_BL=torch.from_numpy(phi),
        labels_BL=torch.from_numpy(labels),
        mask_BL=torch.from_numpy(mask),
        slots_BK=slots,
        pixels=pixels,
        features=features,
        names=names,
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


def parted(groups: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Groups of media by what they are: pixels, which are bytes, and features."""
    pixels = [group for group in groups if group.dtype == torch.uint8]
    return pixels, list(groups[len(pixels) :])


def packed_media(media: Sequence[Sequence[Pixels | Tensor]], side: int) -> tuple[list[Tensor], Tensor]:
    """The media of rows in groups of one number of frames, each once; and for each row [B, K] where its media are, the groups in a row.

    Features stand behind all pixels. Rows without a single medium among them get one of zeros.
    """
    marks = [[((isinstance(one, Tensor), len(one)), _content(one)) for one in of_row] for of_row in media]
    groups: dict[tuple[bool, int], dict[bytes, Any]] = {}
    for (kind, content), medium in zip(chain(*marks), chain(*media), strict=True):
        groups.setdefault(kind, {}).setdefault(content, medium)
    places = {mark: place for place, mark in enumerate((kind, one) for kind in sorted(groups) for one in groups[kind])}
    slots = np.zeros((len(media), max(1, *map(len, media))), np.int64)
    for row, of_row in enumerate(marks):
        slots[row, : len(of_row)] = [places[mark] for mark in of_row]
    if not groups:
        return [torch.zeros((1, 1, 3, side, side), dtype=torch.uint8)], torch.from_numpy(slots)
    held = [list(groups[kind].values()) for kind in sorted(groups)]
    packed = [torch.stack(one) if isinstance(one[0], Tensor) else torch.from_numpy(np.stack(one)) for one in held]
    return [part for group in packed for part in in_buckets(group)], torch.from_numpy(slots)


def _content(medium: Pixels | Tensor) -> bytes:
    """What two media have in common only where they are the same."""
    pixels = medium.flatten().view(torch.uint8).numpy() if isinstance(medium, Tensor) else medium
    return bytes(xxhash.xxh3_128_digest(np.ascontiguousarray(pixels).data))
