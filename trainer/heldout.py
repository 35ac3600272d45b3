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
from trainer.data.window import IGNORED
from trainer.loop import latents_of, nll_seeing
from trainer.model.flamingo import Flamingo
from trainer.ranks import Ranks

_SUMS = ("all examples", "their loss", "examples", "right", "exchanged", "difference", "difference squared")


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """Nats an example, summed over its tokens, of the `examples` that show a medium which could be exchanged.

    `z` is the mean of exchanged minus right in its standard errors: chance alone keeps it within 2 or 3. Where no medium could be, because there are none or too
    few, both are None, and `right` is the loss of all examples.
    """

    examples: int
    right: float
    exchanged: float | None
    z: float | None


def held_out(
    model: Flamingo,
    sets: Mapping[str, SetConfig],
    tokens: Tokens,
    media: MediaConfig,
    normalise: Any,
    seed: int = 0,
    ranks: Ranks = Ranks(),
) -> dict[str, HeldOut]:
    """Every sample of each set once, in the set's own batches, which ranks share, with `seed` for the order and for windows; no picture is mirrored or recoloured.

    Raises:
        InputError: a set has nothing to measure.
    """
    training = model.training
    model.eval()
    media = msgspec.structs.replace(media, flip=0.0, colour=0.0)
    found = {}
    for name, one in sets.items():
        sums = torch.zeros(len(_SUMS), dtype=torch.float64, device=ranks.device)
        for batch, is_own in _batches(name, one, tokens, media, seed, ranks):
            ranks.at(f"measures the held-out loss of {name}")
            measured = _sums(model, batch, normalise)
            if is_own:
                sums += measured
        found[name] = _found(name, ranks.add(sums).tolist())
    model.train(training)
    return found


def _found(name: str, sums: list[float]) -> HeldOut:
    rows, loss, count, right, exchanged, difference, squares = sums
    if not rows:
        raise InputError(f"held_out.{name}: no sample has a text to measure the loss of")
    if not count:
        return HeldOut(examples=int(rows), right=loss / rows, exchanged=None, z=None)
    spread = max(0.0, squares - difference**2 / count)  # around the mean, squared
    error = (spread / (count - 1) / count) ** 0.5 if count > 1 else 0.0
    return HeldOut(
        examples=int(count),
        right=right / count,
        exchanged=exchanged / count,
        z=difference / count / error if error > 0 else 0.0,
    )


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
def _sums(model: Flamingo, batch: Batch, normalise: Any) -> Tensor:
    """What is added up over batches and ranks, in the order of `_SUMS`; the model is gone through twice in any case, since ranks may share it."""
    other = exchanged(batch)
    latents_MRC = latents_of(model, batch, normalise, str(model.resampler.latents.device))
    right_B, exchanged_B = (nll_seeing(model, one, latents_MRC).double() for one in (batch, other or batch))
    learns_B = (batch.labels_BL != IGNORED).any(dim=1).to(right_B.device)
    shows_B = (batch.phi_BL.amax(dim=1) > 0).to(right_B.device) & (other is not None)
    right_N, exchanged_N, difference_N = right_B[shows_B], exchanged_B[shows_B], (exchanged_B - right_B)[shows_B]
    return torch.stack(
        [
            *(learns_B.double().sum(), right_B[learns_B].sum()),
            *(shows_B.double().sum(), right_N.sum(), exchanged_N.sum()),
            *(difference_N.sum(), difference_N.square().sum()),
        ]
    )


def _batches(
    name: str, one: SetConfig, tokens: Tokens, media: MediaConfig, seed: int, ranks: Ranks
) -> Iterator[tuple[Batch, bool]]:
    """This rank's part of the batches of a set, and whether each is its own; what does not fill a batch is spread over the others.

    Ranks that have a model together go through it equally often, so one that has a batch less takes the last one again.
    """
    shards = Shards(find_shards(one.shards))
    order = Order(shards.counts, seed, one.streams, one.block)
    batches = np.array_split(np.arange(order.total), max(1, order.total // one.batch))
    for first in range(0, len(batches), ranks.ranks):
        number = first + ranks.rank
        places = [order[int(position)] for position in batches[min(number, len(batches) - 1)]]
        samples = [shards.read(place.shard, place.sample) for place in places]
        examples = [example_of(sample, tokens, one.example, media, (seed, 0)) for sample in samples]
        yield collate(name, examples, media.side), number < len(batches)
