"""Model FLOPs utilisation: what an update's arithmetic would take at the device's peak, over the time that it took (Chowdhery et al. 2022, PaLM, App. B).

    MFU = FLOPs of an update / (seconds * ranks * peak FLOP/s)

FLOPs are those that the model needs, a multiplication and an addition two of them; what is computed twice to save memory, or for padding, counts once or not
at all. A matrix of P weights takes 2 P a token forward, 2 P backward for the gradient of what came in, and 2 P for its own:

| part                                     | forward | to its input | to its weights |
|------------------------------------------|---------|--------------|----------------|
| vision, frozen, nothing trained below    | x       |              |                |
| resampler, gated layers                  | x       | x            | x              |
| language model, frozen; its head         | x       | x            | if trained     |
| attention: 4 * width a token and one seen | x      | twice        |                |

Vision and resampler are counted by torch's own counter on one frame, so that any encoder is; the rest by its shapes.
"""

import msgspec
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trainer.model.decoder import ConditionedLayer
from trainer.model.flamingo import Flamingo
from trainer.model.xattn import GatedCrossAttention
from trainer.ranks import Ranks

# FLOP/s in bfloat16, dense, by a part of the device's name; the first that fits. From NVIDIA's data sheets, half of what they state with sparsity.
_PEAK = {
    "B200": 2.25e15,
    "H200": 989.5e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835.5e12,
    "H100": 989.5e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
}


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """FLOPs of an update by what there is of it: a `frame`, a `medium` of one frame, a `token`, and a token with one of its row, a `pair`."""

    frame: float
    medium: float
    token: float
    pair: float


def flops_per_step(costs: Costs, examples: int, images: int, tokens: int, encoded: int) -> float:
    """FLOPs of an update over so many examples, frames of media, and tokens without padding, of all ranks; rows are taken to be equally long.

    `encoded` are the frames that went through the encoder, fewer than `images` where features are kept.
    """
    of_text = tokens * (costs.token + costs.pair * tokens / max(1, examples))
    return encoded * costs.frame + images * costs.medium + of_text


class Utilisation(msgspec.Struct, frozen=True, kw_only=True):
    """What MFU is made of, besides an update: costs of the model, FLOP/s of a device, how many devices."""

    costs: Costs
    peak: float
    ranks: int

    def mfu(self, examples: int, images: int, tokens: int, encoded: int, seconds: float) -> float:
        """The share of the peak, 0 to 1, that an update of all ranks reached; counts are those of `flops_per_step`."""
        return flops_per_step(self.costs, examples, images, tokens, encoded) / (seconds * self.ranks * self.peak)


def utilisation_of(model: Flamingo, side: int, ranks: Ranks) -> Utilisation | None:
    """That of a model on a rank's device, for media of `side` pixels; None where the device's peak is not known."""
    peak = peak_flops(ranks.device, model.config.dtype)
    if peak is None:
        return None
    return Utilisation(costs=costs_of(model, side, ranks.device), peak=peak, ranks=ranks.ranks)


def peak_flops(device: str, dtype: str) -> float | None:
    """FLOP/s of a device in `model.dtype`; None where it is not in our table, and for float32, which has several."""
    if dtype != "bfloat16" or device == "cpu":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peak for part, peak in _PEAK.items() if part in name), None)


def costs_of(model: Flamingo, side: int, device: str = "cpu") -> Costs:
    """The costs of a model for media of `side` pixels; it sees one black frame. Of ranks that share its weights each may ask by itself."""
    language = (
        3 if model.config.train_language else 2
    )  # forward and backward to what came in, and to the weights if they are trained
    pixels = torch.zeros((1, 1, 3, side, side), device=device)
    with FlopCounterMode(display=False) as vision:
        features = model.features([pixels])
    with FlopCounterMode(display=False) as resampler:
        latents = model.resampled(features)
    gated = [layer.gated for layer in model.layers if layer.gated is not None]
    inner = [layer.layer for layer in model.layers if not isinstance(layer.layer, ConditionedLayer)]
    head: nn.Module = model.language.get_output_embeddings()
    text = model.language.config.get_text_config()
    width = text.num_attention_heads * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    return Costs(
        frame=vision.get_total_flops(),
        medium=3 * (resampler.get_total_flops() + sum(2 * _key_value(one) * latents.shape[1] for one in gated)),
        token=language * 2 * (sum(map(_matrices, inner)) + _matrices(head))
        + 3 * sum(2 * (_matrices(one) - _key_value(one)) + 4 * _width(one) * latents.shape[1] for one in gated),
        pair=3 * 4 * width * len(inner),
    )


def _matrices(part: nn.Module) -> int:
    """How many weights its matrices have; of shares, those of all ranks."""
    return sum(one.numel() for one in part.parameters() if one.ndim == 2)


def _key_value(one: GatedCrossAttention) -> int:
    """Those that media go through, and not tokens."""
    return one.key_value.weight.numel()


def _width(one: GatedCrossAttention) -> int:
    """Of all its heads together."""
    return len(one.query.weight)
