"""Tiny models of one shape: ours, open-flamingo's modules around the same language model and encoder, and transformers' Idefics.

All are `WIDTH` wide in each part, with heads of `HEAD`, random weights, float32, and train what they train around frozen parts. Shapes that follow from their code
and not from ours: open-flamingo gives every row `MEDIA` pictures, zeros where there are fewer (its loader does); Idefics as many as the row with the most has. Idefics
is its own language model and encoder of these numbers, and the dense half of its gated layers has three matrices of the language model's width, not two of four
times its own: here that is 1.5 times the work.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from trainer.data.batch import Batch
from trainer.loop import nll_of
from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model.flamingo import Flamingo

WIDTH, HEAD, LATENTS, RESAMPLER_LAYERS = 256, 32, 64, 2
LAYERS, VISION_LAYERS = 4, 4
SIDE, PATCH, VOCABULARY, MEDIA = 112, 16, 2048, 5
TAG = 3  # the token that stands for <image>

Loss = Callable[[Batch], Tensor]


def language() -> PreTrainedModel:
    """A Llama with random weights."""
    torch.manual_seed(1)
    config = LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // HEAD,
        vocab_size=VOCABULARY,
    )
    return LlamaForCausalLM(config).eval()


def vision() -> PreTrainedModel:
    """CLIP's encoder with random weights."""
    torch.manual_seed(2)
    config = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=VISION_LAYERS,
        num_attention_heads=WIDTH // HEAD,
        image_size=SIDE,
        patch_size=PATCH,
    )
    return CLIPVisionModel(config).eval()


def normalise(pixels: Tensor) -> Tensor:
    """uint8 to what encoders take."""
    return pixels.float() / 127.5 - 1


def ours() -> tuple[nn.Module, Loss]:
    """Our model, and the loss as `trainer.loop` has it."""
    config = ModelConfig(
        resampler=ResamplerConfig(width=WIDTH, layers=RESAMPLER_LAYERS, heads=WIDTH // HEAD, latents=LATENTS, frames=1),
        xattn=XattnConfig(head_dim=HEAD),
    )
    model = Flamingo(vision(), language(), config)
    return model, lambda batch: nll_of(model, batch, normalise).mean()


class _Visual(nn.Module):
    """What open-flamingo asks of an encoder: something, and the features of the patches."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.visual = model
        self.visual.forward = self._tokens(model.forward)

    @staticmethod
    def _tokens(forward: Callable[..., Any]) -> Callable[[Tensor], tuple[None, Tensor]]:
        return lambda pixels: (None, forward(pixel_values=pixels).last_hidden_state)


def by_open_flamingo() -> tuple[nn.Module, Loss]:
    """open-flamingo's model with its modules at these shapes; embeddings are frozen, which spares it a gradient of the whole table."""
    from open_flamingo.src.flamingo import Flamingo as OpenFlamingo
    from open_flamingo.src.flamingo_lm import FlamingoLMMixin
    from open_flamingo.src.helpers import GatedCrossAttentionBlock, PerceiverResampler
    from open_flamingo.src.utils import extend_instance

    text = language()
    extend_instance(text, FlamingoLMMixin)
    text.set_decoder_layers_attr_name("model.layers")
    model = OpenFlamingo(_Visual(vision()), text, VOCABULARY - 1, TAG, vis_dim=WIDTH)
    heads = {"dim_head": HEAD, "heads": WIDTH // HEAD}
    model.perceiver = PerceiverResampler(dim=WIDTH, depth=RESAMPLER_LAYERS, num_latents=LATENTS, **heads)
    text.gated_cross_attn_layers = nn.ModuleList(
        GatedCrossAttentionBlock(dim=WIDTH, dim_visual=WIDTH, **heads) for _ in range(LAYERS)
    )
    text.init_flamingo_layers(False)
    model.requires_grad_(False)
    model.perceiver.requires_grad_(True)
    text.gated_cross_attn_layers.requires_grad_(True)

    def loss(batch: Batch) -> Tensor:
        pixels = padded(batch, MEDIA)[:, :, None]
        ids, mask = batch.ids_BL, batch.mask_BL.long()
        out: Tensor = model(vision_x=pixels, lang_x=ids, attention_mask=mask, labels=batch.labels_BL).loss
        return out

    return model, loss


def by_idefics() -> tuple[nn.Module, Loss]:
    """transformers' Idefics, with all that belongs to the language model and the encoder frozen."""
    from transformers import IdeficsConfig, IdeficsForVisionText2Text

    torch.manual_seed(3)
    config = IdeficsConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=WIDTH // HEAD,
        freeze_lm_head=True,
        use_resampler=True,
        vision_config={
            "embed_dim": WIDTH,
            "intermediate_size": 4 * WIDTH,
            "num_hidden_layers": VISION_LAYERS,
            "num_attention_heads": WIDTH // HEAD,
            "image_size": SIDE,
            "patch_size": PATCH,
        },
        perceiver_config={
            "resampler_n_latents": LATENTS,
            "resampler_depth": RESAMPLER_LAYERS,
            "resampler_n_heads": WIDTH // HEAD,
            "resampler_head_dim": HEAD,
        },
    )
    model = IdeficsForVisionText2Text(config)
    model.requires_grad_(False)
    model.model.perceiver_resampler.requires_grad_(True)
    model.model.gated_cross_attn_layers.requires_grad_(True)

    def loss(batch: Batch) -> Tensor:
        pixels = padded(batch, batch.slots_BK.shape[1])
        seen = batch.phi_BL[:, :, None] == torch.arange(1, pixels.shape[1] + 1)
        out: Tensor = model(
            input_ids=batch.ids_BL,
            attention_mask=batch.mask_BL.long(),
            pixel_values=pixels,
            image_attention_mask=seen.long(),
            labels=batch.labels_BL,
        ).loss
        return out

    return model, loss


def padded(batch: Batch, media: int) -> Tensor:
    """The normalised pictures of each row [B, media, 3, side, side], zeros where it has fewer."""
    packed = torch.cat([normalise(group[:, 0]) for group in batch.pixels])
    rows = torch.zeros(len(batch.keys), media, *packed.shape[1:])
    for row, slots in enumerate(batch.slots_BK):
        has = int(batch.phi_BL[row].max())
        rows[row, :has] = packed[slots[:has]]
    return rows
