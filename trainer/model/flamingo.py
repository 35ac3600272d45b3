"""Flamingo: a frozen vision encoder, a resampler, and gated layers in a frozen language model. Flamingo 3.1.

    pixels ──vision──▶ features ──resampler──▶ latents ──keys, values──▶ gated layers
    ids ────────────────────────────────────────▶ embeddings ──▶ layer 0 ──▶ ... ──▶ logits

Shapes: B rows of text, L tokens, D width of the language model, V its vocabulary and one; M media of the batch, packed (no row has media that it
does not show), T frames, K slots of a row.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from schemas.errors import ConfigError
from trainer.model.config import ModelConfig
from trainer.model.decoder import Looking, condition, looking_at
from trainer.model.embedding import AddedTokens
from trainer.model.resampler import PerceiverResampler
from trainer.model.vision import VisionEncoder
from trainer.model.xattn import GatedCrossAttention, sight


class Flamingo(nn.Module):
    """The model; what is trained is float32, what is frozen has the type that it came with.

    Raises:
        ConfigError: the language model is none that the gated layers fit into.
    """

    def __init__(self, vision: PreTrainedModel, language: PreTrainedModel, config: ModelConfig) -> None:
        super().__init__()
        text = language.config.get_text_config()
        self.config = config
        self.vision = VisionEncoder(vision)
        self.language = language
        for frozen in (self.vision, self.language):
            frozen.requires_grad_(False)
        resampler, xattn = config.resampler, config.xattn
        self.resampler = PerceiverResampler(
            self.vision.width, resampler.width, resampler.layers, resampler.heads, resampler.latents, resampler.frames
        )
        self.head = output_head(language)
        self.added = AddedTokens(
            self.head.weight.shape[0], self.head.weight.shape[1], float(self.head.weight.detach().float().std())
        )
        gated = (
            GatedCrossAttention(text.hidden_size, resampler.width, xattn.head_dim, xattn.dense_on_text)
            for _ in iter(int, 1)
        )
        self.layers = condition(language, xattn.every, gated)
        self.train()

    def train(self, mode: bool = True) -> "Flamingo":
        """Frozen parts stay in evaluation mode: their dropout is never active."""
        super().train(mode)
        self.vision.eval()
        self.language.eval()
        for layer in self.layers:
            layer.training = mode
            if layer.gated is not None:
                layer.gated.train(mode)
        return self

    def latents(self, pixels: Sequence[Tensor]) -> Tensor:
        """[M, R, C] of media in groups of one size, each [m, T, 3, height, width]; the groups' media follow one another."""
        with torch.no_grad():
            features = [self.vision(group) for group in pixels]
        return torch.cat([self.resampler(group) for group in features])

    def forward(
        self,
        ids_BL: Tensor,
        phi_BL: Tensor,
        slots_BK: Tensor,
        latents_MRC: Tensor,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Logits [B, L, V]. `phi_BL` is the medium of each token, from 1 on, 0 for none; `slots_BK` where a row's media stand among the latents."""
        all_previous = self.config.xattn.sees == "all_previous"
        looking = Looking(sight=sight(slots_BK, phi_BL, all_previous), latents_MRC=latents_MRC)
        embedded = self.added.embed(ids_BL, self.language.get_input_embeddings())
        with looking_at(looking):
            out = self.language.base_model(
                inputs_embeds=embedded, attention_mask=attention_mask, use_cache=False, **kwargs
            )
        hidden: Tensor = out.last_hidden_state
        return self.added.logits(hidden, self.head(hidden))


def output_head(language: PreTrainedModel) -> nn.Linear:
    """The linear map from hidden states to logits.

    Raises:
        ConfigError: the model has none, or does more than that to make its logits.
    """
    head = language.get_output_embeddings()
    if not isinstance(head, nn.Linear):
        raise ConfigError(f"{type(language).__name__} has no output embeddings; name a causal language model")
    return head
