"""Does the model look? Held-out loss with the right pictures beside that with exchanged ones, for each set by itself.

A loss that falls says little: a language model learns the captions of a set without a single look. What only looking gives is the difference between
the two losses. Pictures are exchanged within a set, because one of another source tells a model the source, which is no grounding.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from schemas.errors import InputError
from trainer.data.batch import Batch, collate
from trainer.data.example import example_of
from trainer.data.media import MediaConfig
from trainer.data.order import Order
from trainer.data.shards import Shards, find_shards
from trainer.data.stream import SetConfig
from trainer.data.tokens import Tokens
from trainer.loss import summed_nll
from trainer.model.flamingo import Flamingo


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """Nats an example, summed over its tokens, of the `examples` that show a medium.

    `z` is the mean of exchanged minus right in its standard errors: chance alone keeps it within 2 or 3.
    """

    examples: int
    right: float
    exchanged: float
    z: float


def held_out(
    model: Flamingo, sets: Mapping[str, SetConfig], tokens: Tokens, media: MediaConfig, normalise: Any, seed: int = 0
) -> dict[str, HeldOut]:
    """Every sample of each set once, in the set's own batches, with `seed` for the order and for windows; no picture is mirrored or recoloured.

    Raises:
        InputError: a set has too few examples with media to exchange any.
    """
    training = model.training
    model.eval()
    media = msgspec.structs.replace(media, flip=0.0, colour=0.0)
    found = {}
    for name, one in sets.items():
        pairs = [
            both for batch in _batches(name, one, tokens, media, seed) if (both := _compared(model, batch, normalise))
        ]
        if not pairs:
            raise InputError(f"sets.{name}: too few media to exchange; hold out more samples")
        right_N, exchanged_N = (torch.cat(parts).double() for parts in zip(*pairs, strict=True))
        difference_N = exchanged_N - right_N
        error = difference_N.std() / len(difference_N) ** 0.5
        found[name] = HeldOut(
            examples=len(right_N),
            right=float(right_N.mean()),
            exchanged=float(exchanged_N.mean()),
            z=float(difference_N.mean() / error) if error > 0 else 0.0,
        )
    model.train(training)
    return found


def exchanged(batch: Batch) -> Batch | None:
    """The batch with every medium from another example; None where it has too few.

    Media move along the line of all by the shift that leaves the fewest as they were, so the same picture twice is told apart where that is possible.
    """
    counts_B1 = batch.phi_BL.amax(dim=1, keepdim=True)  # each medium's tag looks at it
    shown_BK = torch.arange(batch.slots_BK.shape[1]) < counts_B1
    line, most = batch.slots_BK[shown_BK], int(counts_B1.max())
    shifts = range(max(1, most), len(line) - most + 1)
    if not shifts:
        return None
    shift = min(shifts, key=lambda by: int((line == line.roll(by)).sum()))
    slots_BK = batch.slots_BK.masked_scatter(shown_BK, line.roll(shift))
    return msgspec.structs.replace(batch, slots_BK=slots_BK)


@torch.no_grad()
def _compared(model: Flamingo, batch: Batch, normalise: Any) -> tuple[Tensor, Tensor] | None:
    """[N] both: the losses of a batch's examples that show a medium, with the right one and with another."""
    other = exchanged(batch)
    if other is None:
        return None
    device = model.resampler.latents.device
    ids_BL, phi_BL, mask_BL, labels_BL = (
        one.to(device) for one in (batch.ids_BL, batch.phi_BL, batch.mask_BL, batch.labels_BL)
    )
    latents = model.latents([normalise(group.to(device)) for group in batch.pixels])
    shows_B = phi_BL.amax(dim=1) > 0
    right_N, exchanged_N = (
        summed_nll(model(ids_BL, phi_BL, slots_BK.to(device), latents, mask_BL.long()), labels_BL)[shows_B]
        for slots_BK in (batch.slots_BK, other.slots_BK)
    )
    return right_N, exchanged_N


def _batches(name: str, one: SetConfig, tokens: Tokens, media: MediaConfig, seed: int) -> Iterator[Batch]:
    """All samples of a set, each once; what does not fill a batch is spread over the others."""
    shards = Shards(find_shards(one.shards))
    order = Order(shards.counts, seed, one.streams, one.block)
    for positions in np.array_split(np.arange(order.total), max(1, order.total // one.batch)):
        places = [order[int(position)] for position in positions]
        samples = [shards.read(place.shard, place.sample) for place in places]
        yield collate(
            name, [example_of(sample, tokens, one.example, media, (seed, 0)) for sample in samples], media.side
        )
