"""open_flamingo's modules agree with ours where they follow the paper, weights carried over; where they do not (facts of its code), theirs are set right first.

What is set right: squared ReLU for GELU, and no norm of latents before keys and values, which theirs lack. Skipped without the package `open-flamingo`.
"""

import pytest
import torch
from torch import Tensor, nn

from trainer.model.feed_forward import FeedForward, SquaredReLU
from trainer.model.resampler import PerceiverResampler
from trainer.model.xattn import GatedCrossAttention, seen_media

theirs = pytest.importorskip("open_flamingo.src.helpers", exc_type=ImportError)

PHI = torch.tensor([[0, 1, 1, 1, 1, 2, 2, 2, 2], [0, 0, 0, 1, 1, 1, 1, 1, 1]])
TAGS = PHI.diff(dim=1, prepend=torch.zeros(2, 1, dtype=torch.long)).bool()


def randomised(module: nn.Module) -> nn.Module:
    """In float64, with no weight at its beginning."""
    torch.manual_seed(0)
    for one in module.parameters():
        nn.init.normal_(one, std=0.3)
    return module.double()


def carry_dense(ours: FeedForward, other: nn.Sequential) -> None:
    """Our weights into their dense half, and the paper's activation."""
    other[2] = SquaredReLU()
    other.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("frames", [1, 3])
def test_resamplers_agree(frames: int) -> None:
    """Pictures and clips, in float64."""
    ours = randomised(PerceiverResampler(32, width=32, layers=2, heads=4, latents=5, frames=3))
    other = theirs.PerceiverResampler(dim=32, depth=2, dim_head=8, heads=4, num_latents=5, max_num_frames=3).double()
    with torch.no_grad():
        other.latents.copy_(ours.latents)
        other.frame_embs.copy_(ours.time)
    other.norm.load_state_dict(ours.norm.state_dict())
    for layer, (attention, dense) in zip(ours.layers, other.layers, strict=True):
        names = {"norm_patches": "norm_media", "query": "to_q", "key_value": "to_kv", "out": "to_out"}
        for own, name in {**names, "norm_latents": "norm_latents"}.items():
            getattr(attention, name).load_state_dict(getattr(layer, own).state_dict())
        carry_dense(layer.feed_forward, dense)
    features = torch.randn(4, frames, 7, 32, dtype=torch.float64)

    torch.testing.assert_close(ours(features), other(features[:, None])[:, 0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("all_previous", [False, True])
def test_gated_layers_agree(all_previous: bool) -> None:
    """Two rows, the first with two media: text before them, between them and after; each its own medium, or all before."""
    ours = randomised(GatedCrossAttention(32, 16, head_dim=8))
    ours.norm_latents = nn.Identity()
    other = theirs.GatedCrossAttentionBlock(
        dim=32, dim_visual=16, dim_head=8, heads=4, only_attend_immediate_media=not all_previous
    ).double()
    with torch.no_grad():
        other.attn_gate.copy_(ours.alpha_xattn)
        other.ff_gate.copy_(ours.alpha_dense)
    for own, name in {"norm_text": "norm", "query": "to_q", "key_value": "to_kv", "out": "to_out"}.items():
        getattr(other.attn, name).load_state_dict(getattr(ours, own).state_dict())
    carry_dense(ours.feed_forward, other.ff)
    y, latents = torch.randn(2, 9, 32, dtype=torch.float64), torch.randn(3, 5, 16, dtype=torch.float64)
    slots = torch.tensor([[0, 1], [2, 0]])
    got = ours(y, ours.keys_values(latents, slots), seen_media(PHI, 2, all_previous))
    wanted: Tensor = other(y, latents[slots], TAGS)

    # Their text without a medium looks at all media, evenly, where it may look at all before.
    compared = PHI > 0 if all_previous else PHI >= 0
    torch.testing.assert_close(got[compared], wanted[compared], rtol=1e-10, atol=1e-10)
