"""Adaptive gradient clipping: a gradient is measured by the weights that it changes, unit by unit. Brock et al. 2021, arXiv:2102.06171, eq. 3.

A unit is a row of a matrix, or the filter of a convolution for one of its channels; a vector or a number, such as a bias or a gain, is one as a whole.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_LEAST = 1e-3  # Brock et al. 2021, after eq. 3: a norm of weights, so that those at 0 can change


@torch.no_grad()
def clip_units(parameters: Iterable[nn.Parameter], limit: float) -> None:
    """Scales the gradient of each unit down to `limit` of the norm of its weights, where it is larger."""
    for one in parameters:
        if one.grad is not None:
            most = limit * _norms(one).clamp(min=_LEAST)
            one.grad.mul_((most / _norms(one.grad)).clamp(max=1.0))


def _norms(one: Tensor) -> Tensor:
    """Of each unit, in a shape that goes with the whole."""
    dims = tuple(range(one.ndim) if one.squeeze().ndim < 2 else range(1, one.ndim))
    norms: Tensor = torch.linalg.vector_norm(one, dim=dims, keepdim=True) if dims else one.abs()
    return norms
