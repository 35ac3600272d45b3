"""FLOPs of an update by shapes are what torch counts while it computes one."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.tiny_models import language, vision
from trainer.flops import Costs, Utilisation, costs_of, flops_per_step, utilisation_of
from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model.flamingo import Flamingo
from trainer.ranks import Ranks


@pytest.mark.parametrize("family", ["llama", "neox", "gpt2", "qwen3"])
@pytest.mark.parametrize("train_language", [False, True])
def test_what_torch_counts(family: str, train_language: bool) -> None:
    """Of rows that show one picture each, forward and backward, within two in a hundred: added rows and rounding of shapes."""
    config = ModelConfig(
        resampler=ResamplerConfig(width=16, layers=2, heads=2, latents=4),
        xattn=XattnConfig(every=2, head_dim=8),
        train_language=train_language,
    )
    model = Flamingo(vision(), language(family, vocabulary=997), config)
    rows, tokens = 3, 32
    with FlopCounterMode(display=False) as counted:
        latents = model.latents([torch.zeros(rows, 1, 3, 16, 16)])
        some = torch.ones((rows, tokens), dtype=torch.int64)
        model(some, some, torch.arange(rows)[:, None], latents).logsumexp(-1).sum().backward()

    costs = costs_of(model, 16)
    assert flops_per_step(costs, rows, rows, rows * tokens, rows) == pytest.approx(counted.get_total_flops(), rel=0.02)
    assert 0 == flops_per_step(costs, 0, 0, 0, 0)


def test_utilisation() -> None:
    """Half the peak of two devices; no peak is known of a CPU."""
    costs = Costs(frame=1e9, medium=1e9, token=1e9, pair=0.0)
    assert 0.5 == Utilisation(costs=costs, peak=2e12, ranks=2).mfu(
        examples=10, images=2000, tokens=3000, encoded=1000, seconds=3
    )
    model = Flamingo(vision(), language(), ModelConfig(dtype="bfloat16"))
    assert utilisation_of(model, 16, Ranks()) is None
