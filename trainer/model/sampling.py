"""Sampling with a generator for each row, so that neither batch size nor order changes what a prompt is answered with.

transformers draws for all rows from one generator. Here greedy search is left nothing to choose: what is drawn from a row's distribution, by its own generator, is the
only token with a finite score.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

_WARPERS = {  # in the order in which transformers applies them
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
    "typical_p": TypicalLogitsWarper,
}


class DrawnByRow(LogitsProcessor):
    """[B, V] scores to scores of minus infinity but for one token of each row; `seeds` are one a row, `options` those of transformers that warp."""

    def __init__(self, seeds: Sequence[int], **options: float) -> None:
        self._rows = [np.random.default_rng(seed) for seed in seeds]
        warpers = [warper(options[name]) for name, warper in _WARPERS.items() if name in options]
        self._warpers = LogitsProcessorList(warpers)

    def __call__(self, input_ids: torch.LongTensor, scores: Tensor) -> Tensor:
        """Draws from each row the token at which the running sum of probabilities passes an even number of [0, 1)."""
        sums_BV = self._warpers(input_ids, scores).double().softmax(dim=-1).cumsum(dim=-1)
        even_B1 = torch.tensor([[row.random()] for row in self._rows], dtype=torch.float64, device=scores.device)
        drawn_B1 = (sums_BV <= even_B1 * sums_BV[:, -1:]).sum(dim=-1, keepdim=True)
        return torch.full_like(scores, -torch.inf).scatter(1, drawn_B1, 0.0)


def drawn_by_row(seeds: Sequence[int], options: dict[str, Any]) -> dict[str, Any]:
    """Options of transformers' `generate` that sample with a generator a row, from those that sample."""
    warped = {name: options[name] for name in _WARPERS if options.get(name) is not None}
    given = [*options.get("logits_processor", []), DrawnByRow(seeds, **warped)]
    others = {name: value for name, value in options.items() if name not in _WARPERS}
    return {**others, "do_sample": False, "logits_processor": LogitsProcessorList(given)}
