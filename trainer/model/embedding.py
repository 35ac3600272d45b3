"""`<EOC>`: one trainable row in and out of a frozen vocabulary. Flamingo v1 3.2.1: added, randomly initialised, learnt.

The language model's own tables stay as they are, tied or not: ids from `vocabulary` on are rows of ours, and their logits are computed beside the
model's own.
"""

import torch
from torch import Tensor, nn

ADDED = 1  # <EOC>


class AddedTokens(nn.Module):
    """Embedding and output rows of the added tokens; `vocabulary` is the number of the language model's own ids."""

    def __init__(self, vocabulary: int, width: int, std: float) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.rows_in = nn.Parameter(torch.randn(ADDED, width) * std)
        self.rows_out = nn.Parameter(torch.randn(ADDED, width) * std)

    @property
    def eoc(self) -> int:
        """The id of `<EOC>`."""
        return self.vocabulary

    def embed(self, ids_BL: Tensor, table: nn.Module) -> Tensor:
        """[B, L, D] of ids of both vocabularies."""
        own_BLD: Tensor = table(ids_BL.clamp(max=self.vocabulary - 1))
        added_BLD = self.rows_in[(ids_BL - self.vocabulary).clamp(min=0)].to(own_BLD.dtype)
        return torch.where((ids_BL >= self.vocabulary)[:, :, None], added_BLD, own_BLD)

    def logits(self, hidden_BLD: Tensor, own_BLV: Tensor) -> Tensor:
        """The model's logits with those of the added tokens behind them."""
        added_BL1 = hidden_BLD @ self.rows_out.to(hidden_BLD.dtype).T
        return torch.cat([own_BLV, added_BL1.to(own_BLV.dtype)], dim=-1)
