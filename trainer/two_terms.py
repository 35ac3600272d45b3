"""The loss of a contrast: of each pair, which text is its picture's, and which picture its text's? Flamingo B.1.3.

With many ranks the negatives are those of all of them. Two pairs with one text, or with one picture, are no negatives of each other.

Shapes: B pairs of this rank, N pairs of all, E channels of the joint space.
"""

from typing import Any

import torch
from torch import Tensor, distributed

from trainer.ranks import Ranks


def two_terms(
    pictures_BE: Tensor,
    texts_BE: Tensor,
    marks_B2: Tensor,
    real_B: Tensor,
    scale: Tensor,
    smoothing: float = 0.0,
    ranks: Ranks = Ranks(),
) -> Tensor:
    """[B]: of each of a rank's pairs the mean of its losses from picture to text and from text to picture.

    Pairs whose picture or text have the same mark, an int64 of each, are no negatives of each other; those that are not `real` count for nothing.
    """
    pictures_NE, texts_NE, marks_N2, real_N = (
        _gathered(one, ranks) for one in (pictures_BE, texts_BE, marks_B2, real_B)
    )
    own_B = torch.arange(len(real_B), device=real_B.device) + ranks.rank * len(real_B)
    same_BN = (marks_B2[:, None] == marks_N2[None]).any(-1)
    told_apart_BN = (~same_BN & real_N).scatter(1, own_B[:, None], True)
    terms = [
        _nll(scale * one_BE @ other_NE.T, own_B, told_apart_BN, smoothing)
        for one_BE, other_NE in ((pictures_BE, texts_NE), (texts_BE, pictures_NE))
    ]
    return torch.stack(terms).mean(0) * real_B


def _nll(logits_BN: Tensor, own_B: Tensor, told_apart_BN: Tensor, smoothing: float) -> Tensor:
    """[B]: of each row's own column among those that it is told apart from, and itself."""
    log_p_BN = logits_BN.masked_fill(~told_apart_BN, -torch.inf).log_softmax(-1)
    own_nll_B = -log_p_BN.gather(1, own_B[:, None])[:, 0]
    others_B = -torch.where(told_apart_BN, log_p_BN, 0).sum(1) / told_apart_BN.sum(1)
    return (1 - smoothing) * own_nll_B + smoothing * others_B


class _Gather(torch.autograd.Function):
    """The rows of all ranks, in their order; each rank gets back the gradients that all have for its rows."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        rows = [torch.empty_like(one) for _ in range(ranks.ranks)]
        distributed.all_gather(rows, one.contiguous())
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        ranks: Ranks = ctx.ranks
        return ranks.add(grads[0].clone()).chunk(ranks.ranks)[ranks.rank], None


def _gathered(one: Tensor, ranks: Ranks) -> Tensor:
    """The rows of all ranks, or of the one that there is."""
    gathered: Tensor = one if ranks.ranks == 1 else _Gather.apply(one, ranks)
    return gathered
