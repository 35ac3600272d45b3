"""GATED XATTN-DENSE: between two blocks of the frozen language model, text looks at its medium. Flamingo 2.2, Fig. 4.

    y += tanh(alpha_xattn) * attention(y, latents of its medium)
    y += tanh(alpha_dense) * feed_forward(y)

Shapes: B rows of text, L tokens, D width of the language model, H heads of E = 128, M media of the batch, R latents of a medium, C their width, K media
that a row may see (the most of any row of the batch; a row with fewer leaves slots empty).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.model.config import XattnKind
from trainer.model.feed_forward import FeedForward

HEAD_DIM = 128  # Flamingo Table 4


class KeysValues(NamedTuple):
    """Keys and values of the media of each row, [B, H, K * R, E] both; in generation they are made once."""

    keys: Tensor
    values: Tensor


def seen_media(phi_BL: Tensor, slots: int, all_previous: bool = False) -> Tensor:
    """[B, L, K] of bool: which of its row's K = `slots` media a token sees whose own is `phi_BL`, 1 for the first of the row, 0 for none.

    It is its own, and no other; with `all_previous` every medium up to its own (Flamingo Table 10).
    """
    slot_K = torch.arange(1, slots + 1, device=phi_BL.device)
    own_BL1 = phi_BL[:, :, None]
    return slot_K <= own_BL1 if all_previous else slot_K == own_BL1


class GatedCrossAttention(nn.Module):
    """[B, L, D] to [B, L, D]; with both gates at 0, as they begin, exactly what came in.

    A token that sees no medium gets exactly zero from the attention. The dense half is for every token, as in the paper; with
    `dense_on_text=False` it leaves tokens alone that see no medium, so that text without pictures stays the bare language model's.

    For the ablation (Flamingo Table 3): "ungated" and "graft" add both halves whole, and "vanilla" the attention whole and no dense half, as the first Transformer's
    decoder does, where the block's own follows. (There it stands between a block's two halves, here before both, for blocks of any family.)
    """

    def __init__(
        self,
        width: int,
        latent_width: int,
        head_dim: int = HEAD_DIM,
        dense_on_text: bool = True,
        kind: XattnKind = "gated",
    ) -> None:
        super().__init__()
        self.heads = max(1, width // head_dim)
        self.dense_on_text = dense_on_text
        inner = self.heads * head_dim
        self.norm_text = nn.LayerNorm(width)
        self.norm_latents = nn.LayerNorm(latent_width)  # keys and values share it
        self.query = nn.Linear(width, inner, bias=False)
        self.key_value = nn.Linear(latent_width, 2 * inner, bias=False)
        self.out = nn.Linear(inner, width, bias=False)
        self.feed_forward = None if kind == "vanilla" else FeedForward(width)
        gated = kind == "gated"
        self.alpha_xattn = nn.Parameter(torch.zeros(())) if gated else None
        self.alpha_dense = nn.Parameter(torch.zeros(())) if gated else None

    def keys_values(self, latents_MRC: Tensor, slots_BK: Tensor) -> KeysValues:
        """Each medium's keys and values, made once and laid out by rows; `slots_BK` are the places of a row's media among all.

        A row with fewer than K media may hold any place in the slots that are left.
        """
        both_MRI = self.key_value(self.norm_latents(latents_MRC))
        both_BNI = both_MRI[slots_BK].flatten(1, 2)
        keys, values = both_BNI.unflatten(-1, (2 * self.heads, -1)).transpose(1, 2).chunk(2, dim=1)
        return KeysValues(keys=keys, values=values)

    def forward(self, y_BLD: Tensor, media: KeysValues, seen_BLK: Tensor) -> Tensor:
        """The text with what it saw."""
        has_medium_BL1 = seen_BLK.any(dim=-1, keepdim=True)
        attended = torch.where(has_medium_BL1, self.attention(y_BLD, media, seen_BLK | ~has_medium_BL1), 0)
        y_BLD = y_BLD + _through(self.alpha_xattn, attended)
        if self.feed_forward is None:
            return y_BLD
        dense = self.feed_forward(y_BLD)
        if not self.dense_on_text:
            dense = torch.where(has_medium_BL1, dense, 0)
        return y_BLD + _through(self.alpha_dense, dense)

    def attention(self, y_BLD: Tensor, media: KeysValues, seen_BLK: Tensor) -> Tensor:
        """[B, L, D]. Each token has to see something: a row of the mask without a single True gives NaN, whose gradient no `where` holds back."""
        latents = media.keys.shape[2] // seen_BLK.shape[2]
        mask_B1LN = seen_BLK.repeat_interleave(latents, dim=-1)[:, None]
        queries = self.query(self.norm_text(y_BLD)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        attended = F.scaled_dot_product_attention(queries, media.keys, media.values, attn_mask=mask_B1LN)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out


def _through(alpha: Tensor | None, x: Tensor) -> Tensor:
    """As much as the gate lets through; all without one."""
    return x if alpha is None else alpha.tanh().to(x.dtype) * x
