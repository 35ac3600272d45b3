"""A batch in pieces of fewer rows, for who has not the memory for all of it at once: their losses add up to the batch's."""

from collections.abc import Iterator

import msgspec
import torch
from torch import Tensor

from trainer.data.batch import Batch, in_buckets, padded_length, parted


def pieces(batch: Batch, rows: int) -> Iterator[Batch]:
    """The batch by `rows` rows (0: all at once), each with its own media only, and as long as its longest row.

    A picture that rows of two pieces show is in both.
    """
    if not rows or len(batch.ids_BL) <= rows:
        yield batch
        return
    for first in range(0, len(batch.ids_BL), rows):
        yield _piece(batch, slice(first, first + rows))


def _piece(batch: Batch, rows: slice) -> Batch:
    length = padded_length(max(1, int(batch.mask_BL[rows].sum(1).max())))
    phi_bL, slots_bK = batch.phi_BL[rows, :length], batch.slots_BK[rows]
    # The tags of a row look at its media, so the largest medium that a token looks at is how many it has.
    has_bK = torch.arange(1, slots_bK.shape[1] + 1) <= phi_bL.amax(1, keepdim=True)
    wanted = slots_bK[has_bK].unique()
    groups, places = _only([*batch.pixels, *batch.features], wanted)
    pixels, features = parted(groups)
    return msgspec.structs.replace(
        batch,
        ids_BL=batch.ids_BL[rows, :length],
        phi_BL=phi_bL,
        labels_BL=batch.labels_BL[rows, :length],
        mask_BL=batch.mask_BL[rows, :length],
        slots_BK=torch.where(has_bK, places[slots_bK], 0),
        pixels=pixels,
        features=features,
        names=[batch.names[place] for place in wanted.tolist() if place < len(batch.names)] or [""] * len(pixels),
        keys=batch.keys[rows],
        epochs=batch.epochs[rows],
        shards=batch.shards[rows],
        faults=[],
    )


def _only(groups: list[Tensor], wanted: Tensor) -> tuple[list[Tensor], Tensor]:
    """The wanted media of all groups (none: the first, which nobody looks at), and for each old place its new one."""
    media = sum(len(group) for group in groups)
    if not len(wanted):
        return [groups[0][:1]], torch.zeros(media, dtype=torch.int64)
    places = torch.zeros(media, dtype=torch.int64)
    places[wanted] = torch.arange(len(wanted))
    kept: dict[torch.Size, list[Tensor]] = {}
    first = 0
    for group in groups:
        own = wanted[(wanted >= first) & (wanted < first + len(group))] - first
        if len(own):
            kept.setdefault(group.shape[1:], []).append(group[own])
        first += len(group)
    return [part for groups in kept.values() for part in in_buckets(torch.cat(groups))], places
