"""Flamingo: a frozen vision encoder, a resampler, and gated layers in a frozen language model. Flamingo 2.

    pixels ──vision──▶ features ──resampler──▶ latents ──keys, values──▶ gated layers
    ids ────────────────────────────────────────▶ embeddings ──▶ layer 0 ──▶ ... ──▶ logits

Shapes: B rows of text, L tokens, D width of the language model, V its vocabulary and one; M media of the batch, packed (no row has media that it
does not show), T frames, K slots of a row.
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from trainer.model.config import ModelConfig
from trainer.model.decoder import Looking, condition, graft, looking_at
from trainer.model.embedding import add_tokens
from trainer.model.resampler_kinds import resampler_of
from trainer.model.vision import VisionEncoder
from trainer.model.xattn import GatedCrossAttention, seen_media


class Flamingo(nn.Module):
    """The model; what is trained is float32, what is frozen has `config.dtype`, in which all compute.

    Raises:
        ConfigError: the language model is none that the gated layers fit into.
    """

    def __init__(self, vision: PreTrainedModel, language: PreTrainedModel, config: ModelConfig) -> None:
        super().__init__()
        text = language.config.get_text_config()
        self.config = config
        self.vision = VisionEncoder(vision)
        self.language = language
        self.vision.requires_grad_(False)
        self.language.requires_grad_(config.train_language)
        for one in self.parameters():  # not buffers: positions that rotate by bfloat16 angles are other positions
            one.data = one.data.to(torch.float32 if one.requires_grad else getattr(torch, config.dtype))
        resampler, xattn = config.resampler, config.xattn
        self.resampler = resampler_of(self.vision.width, resampler)
        self._takes_positions = "position_ids" in inspect.signature(language.forward).parameters
        self.eoc = add_tokens(language)
        put = graft if xattn.kind == "graft" else condition
        self.layers = put(
            language,
            xattn.first,
            xattn.every,
            lambda: GatedCrossAttention(
                text.hidden_size, resampler.width, xattn.head_dim, xattn.dense_on_text, xattn.kind
            ),
        )
        self.train()

    def train(self, mode: bool = True) -> "Flamingo":
        """Frozen parts stay in evaluation mode: their dropout is never active."""
        super().train(mode)
        self.vision.eval()
        self.language.train(mode and self.config.train_language)
        for layer in self.layers:
            layer.training = mode
            if layer.gated is not None:
                layer.gated.train(mode)
        return self

    def computing(self) -> torch.autocast:
        """Within it trained layers, too, compute in the type of the frozen ones, whatever they are kept in."""
        device = self.resampler.latents.device.type
        return torch.autocast(
            "cpu" if device == "meta" else device, torch.bfloat16, enabled=self.config.dtype == "bfloat16"
        )

    def gates(self) -> list[float]:
        """How far the gated layers let the attention through, tanh(alpha), from the first on; none without gates."""
        alphas = [layer.gated.alpha_xattn for layer in self.layers if layer.gated is not None]
        open_by = [alpha.detach().tanh() for alpha in alphas if alpha is not None]
        return torch.stack(open_by).tolist() if open_by else []

    def latents(self, pixels: Sequence[Tensor]) -> Tensor:
        """[M, R, C] of media in groups of one size, each [m, T, 3, height, width]; the groups' media follow one another."""
        return self.resampled(self.features(pixels))

    @torch.no_grad()
    def features(self, pixels: Sequence[Tensor]) -> list[Tensor]:
        """[m, T, S, C] of each group: what the frozen encoder makes of it."""
        return [self.vision(group) for group in pixels]

    def resampled(self, features: Sequence[Tensor]) -> Tensor:
        """[M, R, C] of features in groups."""
        with self.computing():
            return torch.cat([self.resampler(group) for group in features])

    def looking(self, phi_BL: Tensor, slots_BK: Tensor) -> Looking:
        """Which media each token looks at, in the way of this model, before it is said what they are."""
        seen_BLK = seen_media(phi_BL, slots_BK.shape[1], self.config.xattn.sees == "all_previous")
        return Looking(seen_BLK=seen_BLK, slots_BK=slots_BK)

    @torch.no_grad()
    def generate(
        self,
        ids_BL: Tensor,
        phi_BL: Tensor,
        slots_BK: Tensor,
        latents_MRC: Tensor,
        attention_mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """[B, L + new]: the prompt and what the model says after it, by transformers' own `generate` and its options.

        Prompts are padded on the left. What is generated looks where the prompt's last token does, whatever it spells: a generated `<image>` brings no
        medium. It ends at `<EOC>` or the end of text, unless `eos_token_id` says otherwise. Keys and values of media are made once.
        """
        looking = self.looking(phi_BL, slots_BK)
        with self.computing():
            keys_values = {
                layer.number: layer.gated.keys_values(latents_MRC, slots_BK)
                for layer in self.layers
                if layer.gated is not None
            }
        ends = self.language.generation_config.eos_token_id  # none, one, or several
        options.setdefault("eos_token_id", [self.eoc, *([ends] if isinstance(ends, int) else ends or [])])
        options.setdefault("pad_token_id", self.eoc)
        if attention_mask is None:  # which transformers would read off ids: a prompt's `<EOC>` is no padding
            attention_mask = torch.ones_like(ids_BL)
        with self.computing(), looking_at(looking._replace(keys_values=keys_values)):
            said: Tensor = self.language.generate(input_ids=ids_BL, attention_mask=attention_mask, **options)  # type: ignore[operator]
        return said

    def forward(
        self,
        ids_BL: Tensor,
        phi_BL: Tensor,
        slots_BK: Tensor,
        latents_MRC: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, L, V], of no meaning on padding, which may be on either side.

        `phi_BL` is the medium of each token, from 1 on, 0 for none; `slots_BK` where a row's media stand among the latents.
        """
        placed = {}
        if attention_mask is not None and self._takes_positions:
            placed = {"position_ids": (attention_mask.cumsum(dim=-1) - 1).clamp(min=0)}
        with self.computing(), looking_at(self.looking(phi_BL, slots_BK)._replace(latents_MRC=latents_MRC)):
            out = self.language(input_ids=ids_BL, attention_mask=attention_mask, use_cache=False, **placed)
        logits: Tensor = out.logits
        return logits
