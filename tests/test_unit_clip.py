"""Adaptive gradient clipping, beside the rule of its paper written out a unit at a time."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.unit_clip import clip_units

LIMIT = 0.01


def by_hand(weights: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """G_i becomes LIMIT * W_i / |G_i| * G_i, W_i the larger of |W_i| and 0.001, where |G_i| is more than LIMIT of it; i runs over outputs, of vectors there is one."""
    whole = weights.ndim < 2
    units = [(weights, gradient)] if whole else list(zip(weights, gradient, strict=True))
    clipped = []
    for unit, change in units:
        most = LIMIT * max(math.sqrt((unit**2).sum()), 1e-3)
        size = math.sqrt((change**2).sum())
        clipped.append(change * most / size if size > most else change)
    return clipped[0] if whole else np.stack(clipped)


@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (6, 3, 2, 2)])
def test_units(shape: tuple[int, ...]) -> None:
    """Rows, filters, and vectors as a whole; small gradients stay, and weights at 0 may change."""
    rng = np.random.default_rng(len(shape))
    weights, gradient = rng.normal(size=shape), rng.normal(size=shape) * 0.1
    if len(shape) > 1:
        weights[0], gradient[1] = 0, gradient[1] * 1e-3
    one = nn.Parameter(torch.tensor(weights))
    one.grad = torch.tensor(gradient)
    frozen = nn.Parameter(torch.ones(2))
    clip_units([frozen, one], LIMIT)

    expected = by_hand(weights, gradient)
    np.testing.assert_allclose(one.grad.numpy(), expected, rtol=1e-12)
    assert (expected != gradient).any()
    if len(shape) > 1:
        assert (expected[1] == gradient[1]).all()
        assert np.linalg.norm(expected[0]) == pytest.approx(LIMIT * 1e-3)
    assert frozen.grad is None


def test_gains_of_filters_are_a_vector() -> None:
    """Whatever the shape that they are kept in: one is not measured by itself."""
    gains = nn.Parameter(torch.tensor([0.0, 1.0])[:, None, None, None])
    gains.grad = torch.full_like(gains, 1e-3)
    clip_units([gains], LIMIT)
    assert (gains.grad == 1e-3).all()
