"""What one update of a training says of itself, or what was wrong with it: the same for a Flamingo, for an encoder by contrast and for a language model."""

import math
import resource
import time
from collections.abc import Mapping, Sequence

import msgspec
import torch
from torch import Tensor

from schemas.errors import DataError
from trainer.data.batch import Batch
from trainer.flops import Utilisation
from trainer.ranks import Ranks

_NAMED = 20  # ours: samples that an error names


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one update says of itself.

    Over all ranks: `losses` by set, before its weight; `norm` of the gradient before it was clipped; `examples`, `images` (frames of videos each), `tokens`
    (without padding), `faults`. Of this rank: `seconds` of the whole step, `waited` of them for data, `memory_gb` at its highest; `samples`, by set the
    loss of each example and where it was read. `gates` are tanh(alpha) of the attention, layer by layer; `scale` is what a contrast's cosines are multiplied by.
    `mfu` is where the device's peak is known (`trainer.flops`).
    """

    number: int
    losses: dict[str, float]
    norm: float
    lr: float
    examples: int
    images: int
    tokens: int
    seconds: float
    waited: float
    memory_gb: float
    faults: list[str] = []
    samples: dict[str, list[tuple[float, str]]] = {}
    gates: list[float] = []
    scale: float | None = None
    mfu: float | None = None


class NotFinite(DataError):
    """The loss or the gradient of an update is not a number; `origins` are the samples of the batches at fault, those of all ranks."""

    def __init__(self, number: int, origins: list[str], at_fault: Sequence[str] = ()) -> None:
        what = f"the loss of {' and '.join(at_fault)}" if at_fault else "the gradient"
        more = f"; and {len(origins) - _NAMED} more" if len(origins) > _NAMED else ""
        super().__init__(f"update {number + 1:,}: {what} is not finite; samples {'; '.join(origins[:_NAMED])}{more}")
        self.origins = origins


def not_finite(number: int, losses: Mapping[str, float], batches: Sequence[Batch], ranks: Ranks) -> NotFinite:
    """The sets whose loss is at fault, or where none is all of them, with their samples."""
    at_fault = [name for name, loss in losses.items() if not math.isfinite(loss)]
    own = [origin for batch in batches if not at_fault or batch.set in at_fault for origin in batch.origins()]
    return NotFinite(number, ranks.all(own), at_fault)


def step_of(
    number: int,
    batches: Sequence[Batch],
    nlls: Sequence[Tensor],
    losses: dict[str, float],
    norm: Tensor,
    lr: float,
    began: float,
    waited: float,
    ranks: Ranks,
    *,
    gates: Sequence[float] = (),
    scale: float | None = None,
    utilisation: Utilisation | None = None,
) -> Step:
    """That of an update which is just done, and began at `began` of the monotonic clock; `nlls` [B] are the losses of each batch's examples. All ranks call it."""
    counts = ranks.counts(_counts(batches))
    seconds = time.monotonic() - began
    return Step(
        number=number,
        losses=losses,
        norm=float(norm),
        lr=lr,
        examples=counts[0],
        images=counts[1],
        tokens=counts[2],
        seconds=seconds,
        waited=waited,
        memory_gb=memory_gb(ranks.device),
        faults=ranks.all([fault for batch in batches for fault in batch.faults]) if counts[3] else [],
        samples={
            batch.set: list(zip(nll_B.tolist(), batch.origins(), strict=True))
            for nll_B, batch in zip(nlls, batches, strict=True)
        },
        gates=list(gates),
        scale=scale,
        mfu=utilisation.mfu(counts[0], counts[1], counts[2], counts[4], seconds) if utilisation is not None else None,
    )


def memory_gb(device: str) -> float:
    """The most memory that this process has held: on its GPU where it has one."""
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9  # KiB on Linux


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
