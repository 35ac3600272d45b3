"""Perceiver Resampler: the patches of a picture, or of a video's frames, become a fixed number of latents. Flamingo 2.1, Fig. 5.

Shapes: M media, T frames, S patches of a frame, R latents, C width of the encoder, D width of the resampler, H heads. A picture is a video of
one frame. The time embedding is the only position that is added: patches have theirs from the encoder.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.feed_forward import FeedForward


class PerceiverResampler(nn.Module):
    """[M, T, S, C] to [M, R, D].

    More frames than `frames` are told apart by linear interpolation of the time embeddings (Flamingo B.1.2: 8 in training, 30 at inference).
    Encoder features of another width than `width` are projected first.
    """

    def __init__(
        self,
        encoder_width: int,
        width: int = 1536,
        layers: int = 6,
        heads: int = 16,
        latents: int = 64,
        frames: int = 8,
    ) -> None:
        super().__init__()
        self.project = nn.Linear(encoder_width, width, bias=False) if encoder_width != width else nn.Identity()
        self.time = nn.Parameter(torch.randn(frames, width) * width**-0.5)
        self.latents = nn.Parameter(torch.randn(latents, width) * width**-0.5)
        self.layers = nn.ModuleList(ResamplerLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, features_MTSC: Tensor) -> Tensor:
        """The latents of each medium; all have the same number of frames."""
        x_MND = self.patches(features_MTSC)
        latents_MRD = self.latents.expand(len(x_MND), -1, -1)
        for layer in self.layers:
            latents_MRD = layer(latents_MRD, x_MND)
        normed: Tensor = self.norm(latents_MRD)
        return normed

    def patches(self, features_MTSC: Tensor) -> Tensor:
        """[M, T * S, D]: the features of all frames with their times."""
        x_MTSD: Tensor = self.project(features_MTSC) + self.time_embedding(features_MTSC.shape[1])[:, None, :]
        return x_MTSD.flatten(1, 2)

    def time_embedding(self, frames: int) -> Tensor:
        """[frames, D]: the learnt rows in order, or drawn out over more frames than were learnt."""
        if frames <= len(self.time):
            return self.time[:frames]
        drawn = F.interpolate(self.time.T[None], size=frames, mode="linear", align_corners=True)
        return drawn[0].T


class ResamplerLayer(nn.Module):
    """Latents look at patches and at themselves, then the dense half; both are added."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_latents = nn.LayerNorm(width)
        self.norm_patches = nn.LayerNorm(width)  # keys and values share it
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.feed_forward = FeedForward(width)

    def forward(self, latents_MRD: Tensor, x_MND: Tensor) -> Tensor:
        """[M, R, D] and [M, N, D] to [M, R, D]."""
        queries = self.norm_latents(latents_MRD)
        seen = torch.cat([self.norm_patches(x_MND), queries], dim=1)
        keys, values = self.key_value(seen).chunk(2, dim=-1)
        heads = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(queries), keys, values)]
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        latents_MRD = latents_MRD + self.out(attended)
        updated: Tensor = latents_MRD + self.feed_forward(latents_MRD)
        return updated
