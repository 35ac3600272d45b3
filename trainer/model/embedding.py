"""`<EOC>`: one trainable row in and out of a frozen vocabulary. Flamingo v1 3.2.1: added, randomly initialised, learnt.

The language model's own tables stay as they are, tied or not; each gets a module around it that knows the added ids, from the vocabulary's size on. So the
language model takes and gives the larger vocabulary by itself, and its own `generate` does.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from schemas.errors import ConfigError

ADDED = 1  # <EOC>


class AddedEmbedding(nn.Module):
    """Ids of both vocabularies to embeddings; `table` is the frozen one."""

    def __init__(self, table: nn.Embedding, vocabulary: int) -> None:
        super().__init__()
        self.table, self.vocabulary = table, vocabulary
        self.rows_in = nn.Parameter(_rows_like(table.weight))

    @property
    def weight(self) -> Tensor:
        """The frozen table's, for who asks of its type and place."""
        return self.table.weight

    def forward(self, ids_BL: Tensor) -> Tensor:
        """[B, L, D]."""
        own_BLD: Tensor = self.table(ids_BL.clamp(max=self.vocabulary - 1))
        added_BLD = self.rows_in[(ids_BL - self.vocabulary).clamp(min=0)].to(own_BLD.dtype)
        return torch.where((ids_BL >= self.vocabulary)[:, :, None], added_BLD, own_BLD)


class AddedHead(nn.Module):
    """Hidden states to logits of both vocabularies: the frozen head's, and those of the added rows behind them."""

    def __init__(self, head: nn.Linear) -> None:
        super().__init__()
        self.head = head
        self.rows_out = nn.Parameter(_rows_like(head.weight))

    @property
    def weight(self) -> Tensor:
        """The frozen head's, for who asks of its type and place."""
        return self.head.weight

    def forward(self, hidden_BLD: Tensor) -> Tensor:
        """[B, L, V + ADDED]."""
        own_BLV = self.head(hidden_BLD)
        added_BLA = hidden_BLD @ self.rows_out.to(hidden_BLD.dtype).T
        return torch.cat([own_BLV, added_BLA.to(own_BLV.dtype)], dim=-1)


def add_tokens(language: PreTrainedModel) -> int:
    """Puts the added rows around a language model's tables; returns the id of `<EOC>`.

    Raises:
        ConfigError: the model has no table of embeddings, or no linear head.
    """
    table, head = language.get_input_embeddings(), language.get_output_embeddings()
    if not isinstance(table, nn.Embedding) or not isinstance(head, nn.Linear):
        raise ConfigError(f"{type(language).__name__} has no output embeddings; name a causal language model")
    vocabulary = len(head.weight)
    language.set_input_embeddings(AddedEmbedding(table, vocabulary))
    language.set_output_embeddings(AddedHead(head))
    language.config.get_text_config().vocab_size = vocabulary + ADDED
    return vocabulary


def _rows_like(weight: Tensor) -> Tensor:
    """Random rows in float32, as wide and as large as a table's own."""
    return torch.randn(ADDED, weight.shape[1], device=weight.device) * weight.detach().float().std()
