"""Interleaved prompts: texts and media in any order to what the model is asked with.

    "Two cats.", picture, "Output: a dog", picture, "Output:"   ->   BOS Two cats. EOC <image> Output: a dog EOC <image> Output:

As in training, `<EOC>` stands before a medium, but not at the beginning, so that a prompt of one picture is a pair whose text is to come. Nothing is put between a text
and its neighbours: a prompt says what it says. Prompts of one batch are padded on the left.
"""

from collections.abc import Sequence

import msgspec
import numpy as np
import torch
from torch import Tensor

from schemas.errors import UsageError
from trainer.data.batch import packed_media
from trainer.data.media import Pixels
from trainer.data.tokens import Tokens


class Prompts(msgspec.Struct, frozen=True, kw_only=True):
    """What `Flamingo.generate` takes: ids, mask and phi [B, L], slots [B, K], pixels by number of frames."""

    ids_BL: Tensor
    mask_BL: Tensor
    phi_BL: Tensor
    slots_BK: Tensor
    pixels: list[Tensor]


def prompts(batch: Sequence[Sequence[str | Pixels]], tokens: Tokens, side: int) -> Prompts:
    """The prompts of a batch, each a run of texts and media ([T, 3, side, side] bytes).

    Raises:
        UsageError: a prompt is empty.
    """
    rows = [_row(parts, tokens) for parts in batch]
    if not rows or not all(ids for ids, _ in rows):
        raise UsageError("an empty prompt: give a text or a medium")
    length = max(len(ids) for ids, _ in rows)
    ids, phi = (np.full((len(rows), length), fill, np.int64) for fill in (tokens.eos, 0))
    mask = np.zeros((len(rows), length), np.int64)
    for number, (row, looks) in enumerate(rows):
        ids[number, length - len(row) :], phi[number, length - len(row) :] = row, looks
        mask[number, length - len(row) :] = 1
    media = [[part for part in parts if not isinstance(part, str)] for parts in batch]
    pixels, slots = packed_media(media, side)
    return Prompts(
        ids_BL=torch.from_numpy(ids),
        mask_BL=torch.from_numpy(mask),
        phi_BL=torch.from_numpy(phi),
        slots_BK=slots,
        pixels=pixels,
    )


def _row(parts: Sequence[str | Pixels], tokens: Tokens) -> tuple[list[int], list[int]]:
    """Ids and phi of one prompt."""
    ids, medium = list(tokens.bos), 0
    phi = [0] * len(ids)
    for place, part in enumerate(parts):
        if isinstance(part, str):
            said = tokens.encode(part)
        else:
            ends = [tokens.eoc] if place else []
            ids += ends
            phi += [medium] * len(ends)
            medium += 1
            said = tokens.tag
        ids += said
        phi += [medium] * len(said)
    return ids, phi
