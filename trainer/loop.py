"""The training loop: one batch of every set a step, their weighted gradients added up, over ranks too, one update. Flamingo 2.4."""

import math
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor

from schemas.errors import DataError
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

_NAMED = 20  # ours: samples that an error names


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one update says of itself.

    Over all ranks: `losses` by set, before its weight; `norm` of the gradient before it was clipped; `examples`, `images` (frames of videos each), `tokens`
    (without padding), `faults`. Of this rank: `seconds` of the whole step, `waited` of them for data, `memory_gb` at its highest; `samples`, by set the
    loss of each example and where it was read. `gates` are tanh(alpha) of the attention, layer by layer. `mfu` is where the device's peak is known (`trainer.flops`).
    """

    number: int
    losses: dict[str, float]
    norm: float
    lr: float
    examples: int
    images: int
    tokens: int
    gates: list[float]
    seconds: float
    waited: float
    memory_gb: float
    faults: list[str]
    samples: dict[str, list[tuple[float, str]]] = {}
    mfu: float | None = None


class NotFinite(DataError):
    """The loss or the gradient of an update is not a number; `origins` are the samples of the batches at fault, those of all ranks."""

    def __init__(self, number: int, origins: list[str], at_fault: Sequence[str] = ()) -> None:
        what = f"the loss of {' and '.join(at_fault)}" if at_fault else "the gradient"
        more = f"; and {len(origins) - _NAMED} more" if len(origins) > _NAMED else ""
        super().__init__(f"update {number + 1:,}: {what} is not finite; samples {'; '.join(origins[:_NAMED])}{more}")
        self.origins = origins


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
        counts = ranks.counts(_counts(step))
        seconds = time.monotonic() - began
        yield Step(
            number=number,
            losses=losses,
            norm=float(norm),
            lr=lr,
            examples=counts[0],
            images=counts[1],
            tokens=counts[2],
            gates=model.gates(),
            seconds=seconds,
            waited=waited,
            memory_gb=_memory_gb(ranks.device),
            faults=ranks.all([fault for batch in step for fault in batch.faults]) if counts[3] else [],
            samples={
                batch.set: list(zip(nll_B.tolist(), batch.origins(), strict=True))
                for nll_B, batch in zip(nlls, step, strict=True)
            },
            mfu=utilisation.mfu(counts[0], counts[1], counts[2], counts[4], seconds)
            if utilisation is not None
            else None,
        )


def not_finite(number: int, losses: Mapping[str, float], step: Sequence[Batch], ranks: Ranks) -> NotFinite:
    """The sets whose loss is at fault, or where none is all of them, with their samples."""
    at_fault = [name for name, loss in losses.items() if not math.isfinite(loss)]
    own = [origin for batch in step if not at_fault or batch.set in at_fault for origin in batch.origins()]
    return NotFinite(number, ranks.all(own), at_fault)


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


def _counts(batches: Sequence[Batch]) -> list[int]:
    """Examples, images, tokens, faults of this rank's batches, and frames that go through the encoder."""
    return [
        sum(len(batch.keys) for batch in batches),
        sum(_images(batch) for batch in batches),
        sum(int(batch.mask_BL.sum()) for batch in batches),
        sum(len(batch.faults) for batch in batches),
        sum(len(group) * group.shape[1] for batch in batches for group in batch.pixels),
    ]


def _images(batch: Batch) -> int:
    """Frames of the media that tokens look at."""
    return sum(len(group) * group.shape[1] for group in (*batch.pixels, *batch.features)) if batch.phi_BL.any() else 0


def _memory_gb(device: str) -> float:
    """The most memory that this process has held: on its GPU where it has one."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # KiB on Linux
