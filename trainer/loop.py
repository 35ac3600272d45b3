"""The training loop: one batch of every set a step, their weighted gradients added up, over ranks too, one update. Flamingo 2.4."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.data.batch import Batch
from trainer.data.features import FeatureCache
from trainer.data.pieces import pieces
from trainer.data.stream import SetConfig, Stream
from trainer.flops import Utilisation
from trainer.loss import Mean, learnt_tokens, set_loss, summed_nll
from trainer.model.flamingo import Flamingo
from trainer.optim import OptimConfig, rate, set_rate
from trainer.ranks import Ranks
from trainer.sharding import clip
from trainer.step import Step, not_finite, step_of


def train(
    model: Flamingo,
    optim: torch.optim.Optimizer,
    stream: Stream,
    sets: Mapping[str, SetConfig],
    config: OptimConfig,
    updates: int,
    normalise: Any,
    mean: Mean = "example",
    ranks: Ranks = Ranks(),
    utilisation: Utilisation | None = None,
) -> Iterator[Step]:
    """Trains from where the stream is until `updates` updates are done, and yields what each was; between two the model may be saved.

    `normalise` makes the encoder's pixels of uint8 ones.

    Raises:
        NotFinite: before the weights are touched; on all ranks, since the gradient is the sum of theirs.
    """
    trained = [one for one in model.parameters() if one.requires_grad]
    ranks.same(trained)
    batches = iter(stream)
    for number in range(stream.state.step, updates):
        began = time.monotonic()
        ranks.at(f"reads the batch of update {number + 1:,}")
        step = next(batches)
        waited = time.monotonic() - began
        tokens = ranks.add(torch.stack([learnt_tokens(batch.labels_BL) for batch in step]).to(ranks.device))
        ranks.seed(stream.state.seed, number)
        ranks.at(f"computes update {number + 1:,}")
        nlls = [
            backward(model, batch, sets[batch.set], learnt, normalise, mean, ranks.device, stream.features)
            for batch, learnt in zip(step, tokens, strict=True)
        ]
        parts = torch.stack(
            [
                set_loss(nll_B, sets[batch.set].batch, learnt, mean)
                for nll_B, batch, learnt in zip(nlls, step, tokens, strict=True)
            ]
        )
        ranks.add_gradients(trained)
        losses = dict(zip((batch.set for batch in step), ranks.add(parts).tolist(), strict=True))
        ranks.at(f"makes update {number + 1:,}")
        norm = clip(trained, config.clip, ranks)
        if not torch.isfinite(norm):
            raise not_finite(number, losses, step, ranks)
        lr = rate(number, updates, config)
        set_rate(optim, lr)
        optim.step()
        optim.zero_grad(set_to_none=True)
        yield step_of(
            number,
            step,
            nlls,
            losses,
            norm,
            lr,
            began,
            waited,
            ranks,
            gates=model.gates(),
            utilisation=utilisation,
        )


def backward(
    model: Flamingo,
    batch: Batch,
    config: SetConfig,
    tokens: Tensor,
    normalise: Any,
    mean: Mean,
    device: str,
    kept: FeatureCache | None = None,
) -> Tensor:
    """Adds the weighted gradient of a rank's batch, piece by piece; `tokens` are learnt by all ranks together. Returns [B], the loss of each example."""
    parts = []
    for piece in pieces(batch, config.micro_batch):
        nll_b = nll_of(model, piece, normalise, device, kept)
        (config.weight * set_loss(nll_b, config.batch, tokens, mean)).backward()
        parts.append(nll_b.detach().double())
    return torch.cat(parts)


def nll_of(
    model: Flamingo, batch: Batch, normalise: Any, device: str = "cpu", kept: FeatureCache | None = None
) -> Tensor:
    """[B]: what the losses of an example's tokens sum up to."""
    return nll_seeing(model, batch, latents_of(model, batch, normalise, device, kept))


def latents_of(
    model: Flamingo, batch: Batch, normalise: Any, device: str = "cpu", kept: FeatureCache | None = None
) -> Tensor:
    """[M, R, C] of a batch's media, in the order that `slots_BK` names."""
    features = model.features([normalise(group.to(device, non_blocking=True)) for group in batch.pixels])
    if kept is not None:
        kept.keep(batch.names, features)
    return model.resampled([*features, *(group.to(device, non_blocking=True) for group in batch.features)])


def nll_seeing(model: Flamingo, batch: Batch, latents_MRC: Tensor) -> Tensor:
    """[B]: the same where the media are there as latents already, on the device that all is computed on."""
    ids_BL, phi_BL, slots_BK, mask_BL, labels_BL = (
        one.to(latents_MRC.device, non_blocking=True)
        for one in (batch.ids_BL, batch.phi_BL, batch.slots_BK, batch.mask_BL, batch.labels_BL)
    )
    return summed_nll(model(ids_BL, phi_BL, slots_BK, latents_MRC, attention_mask=mask_BL.long()), labels_BL)
