"""The loss: over sets, lambda times the mean over examples of the summed negative log-likelihood of an example's tokens. Flamingo 2.4."""

from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.data.window import IGNORED

Mean: TypeAlias = Literal["example", "token"]


def summed_nll(logits_BLV: Tensor, labels_BL: Tensor) -> Tensor:
    """[B]: of each example the sum over its tokens of the negative log-likelihood of the next, in float32 or better.

    `labels_BL[:, l]` is what position l - 1 is to predict; the first is passed over.
    """
    logits = logits_BLV.flatten(0, 1).to(torch.promote_types(logits_BLV.dtype, torch.float32))
    next_BL = F.pad(labels_BL[:, 1:], (0, 1), value=IGNORED)  # labels are moved, since of logits a part would be a copy
    nll = F.cross_entropy(logits, next_BL.flatten(), ignore_index=IGNORED, reduction="none")
    summed: Tensor = nll.reshape(labels_BL.shape).sum(1)
    return summed


def learnt_tokens(labels_BL: Tensor) -> Tensor:
    """How many tokens of a batch are learnt."""
    return (labels_BL[:, 1:] != IGNORED).sum()


def set_loss(nll_B: Tensor, examples: int, tokens: Tensor, mean: Mean = "example") -> Tensor:
    """A rank's part of a set's loss, of its examples' summed losses: parts of all ranks add up to the mean over the global batch.

    `examples` and `tokens` are counts of the global batch, empty slots counted with the examples; so ranks with few tokens weigh no more than theirs.
    """
    nll = nll_B.sum()
    return nll / examples if mean == "example" else nll / torch.clamp(tokens, min=1)
