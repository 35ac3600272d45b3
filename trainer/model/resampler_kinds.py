"""The resamplers that the paper compares the Perceiver with (Flamingo Table 3: 66.6 and 66.7 against 70.7). It names them and no more; these are ours.

Both take and give what `PerceiverResampler` does, with its time embeddings, latents and norms, as deep and as wide. Shapes are those of `resampler`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import ResamplerConfig
from trainer.model.feed_forward import FeedForward
from trainer.model.resampler import PerceiverResampler


class TransformerResampler(PerceiverResampler):
    """Latents stand before the patches in one sequence, which looks at all of itself; they alone are given on."""

    def __init__(self, encoder_width: int, config: ResamplerConfig) -> None:
        super().__init__(encoder_width, config.width, 0, config.heads, config.latents, config.frames)
        self.layers = nn.ModuleList(_SelfAttention(config.width, config.heads) for _ in range(config.layers))

    def forward(self, features_MTSC: Tensor) -> Tensor:
        """The latents of each medium."""
        x_MND = self.patches(features_MTSC)
        x_MND = torch.cat([self.latents.expand(len(x_MND), -1, -1), x_MND], dim=1)
        for layer in self.layers:
            x_MND = layer(x_MND)
        normed: Tensor = self.norm(x_MND[:, : len(self.latents)])
        return normed


class MLPResampler(PerceiverResampler):
    """No attention: each latent is the mean of a run of patches, those of a medium cut into as many runs, then put through dense halves alone."""

    def __init__(self, encoder_width: int, config: ResamplerConfig) -> None:
        super().__init__(encoder_width, config.width, 0, config.heads, config.latents, config.frames)
        self.layers = nn.ModuleList(FeedForward(config.width) for _ in range(config.layers))

    def forward(self, features_MTSC: Tensor) -> Tensor:
        """The latents of each medium; each is told by its own embedding which run it is."""
        x_MDN = self.patches(features_MTSC).transpose(1, 2)
        latents_MRD = F.adaptive_avg_pool1d(x_MDN, len(self.latents)).transpose(1, 2) + self.latents
        for layer in self.layers:
            latents_MRD = latents_MRD + layer(latents_MRD)
        normed: Tensor = self.norm(latents_MRD)
        return normed


class _SelfAttention(nn.Module):
    """A pre-norm layer of a Transformer, with the dense half of the others."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = FeedForward(width)

    def forward(self, x_MND: Tensor) -> Tensor:
        """[M, N, D] to the same."""
        parts = self.query_key_value(self.norm(x_MND)).chunk(3, dim=-1)
        heads = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts]
        x_MND = x_MND + self.out(F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2))
        updated: Tensor = x_MND + self.feed_forward(x_MND)
        return updated


def resampler_of(encoder_width: int, config: ResamplerConfig) -> PerceiverResampler:
    """The resampler that a configuration asks for."""
    match config.kind:
        case "perceiver":
            return PerceiverResampler(
                encoder_width, config.width, config.layers, config.heads, config.latents, config.frames
            )
        case "mlp":
            return MLPResampler(encoder_width, config)
        case "transformer":
            return TransformerResampler(encoder_width, config)
