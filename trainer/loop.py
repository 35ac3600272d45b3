"""The training loop: one batch of every set a step, their weighted gradients added up, one update. Flamingo 3.3."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from trainer.data.batch import Batch
from trainer.data.stream import SetConfig, Stream
from trainer.loss import learnt_tokens, set_loss
from trainer.model.flamingo import Flamingo
from trainer.optim import OptimConfig, rate


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one update says of itself: loss by set, before its weight; the norm of the gradient before it was clipped; the rate."""

    number: int
    losses: dict[str, float]
    norm: float
    lr: float
    faults: list[str]


class NotFinite(ArithmeticError):
    """The loss or the gradient of a step is not a number; `keys` are the samples of its batches."""

    def __init__(self, step: int, keys: list[str]) -> None:
        super().__init__(f"step {step}: the loss is not finite; samples {', '.join(keys[:20])}")
        self.keys = keys


def train(
    model: Flamingo,
    optim: torch.optim.Optimizer,
    stream: Stream,
    sets: Mapping[str, SetConfig],
    config: OptimConfig,
    updates: int,
    normalise: Any,
) -> Iterator[Step]:
    """Trains from where the stream is until `updates` updates are done, and yields what each was; between two the model may be saved.

    `normalise` makes the encoder's pixels of uint8 ones.

    Raises:
        NotFinite: before the weights are touched.
    """
    trained = [one for one in model.parameters() if one.requires_grad]
    batches = iter(stream)
    for number in range(stream.state.step, updates):
        losses, keys, faults = {}, [], []
        for batch in next(batches):
            loss = loss_of(model, batch, sets[batch.set].batch, normalise)
            (sets[batch.set].weight * loss).backward()
            losses[batch.set] = float(loss.detach())
            keys += batch.keys
            faults += batch.faults
        norm = nn.utils.clip_grad_norm_(trained, config.clip)
        if not torch.isfinite(norm):
            raise NotFinite(number, keys)
        lr = rate(number, updates, config)
        for group in optim.param_groups:
            group["lr"] = lr
        optim.step()
        optim.zero_grad(set_to_none=True)
        yield Step(number=number, losses=losses, norm=float(norm), lr=lr, faults=faults)


def loss_of(model: Flamingo, batch: Batch, examples: int, normalise: Any) -> Tensor:
    """The loss of one batch of a set whose global batch has so many examples."""
    latents = model.latents([normalise(group) for group in batch.pixels])
    logits = model(batch.ids_BL, batch.phi_BL, batch.slots_BK, latents, attention_mask=batch.mask_BL.long())
    return set_loss(logits, batch.labels_BL, examples, learnt_tokens(batch.labels_BL))
