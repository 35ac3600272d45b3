"""Contrastive pretraining: the loss against torch's own, what is no negative, what is saved."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.nn import functional as F

from schemas.errors import ConfigError
from tests.test_stream import PAIRS, SIDE, pair, write
from tests.tiny_models import tokenizer, vision
from trainer.contrastive import ContrastiveConfig, TextTowerConfig, Towers, contrast, save_vision, two_terms
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import tokens_of
from trainer.load import Normalisation
from trainer.model.vision import VisionEncoder

TOKENS = tokens_of(tokenizer(), 300)
HALF = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
CONFIG = ContrastiveConfig(
    vision=vision().config.to_dict(), text=TextTowerConfig(width=16, layers=1, heads=2), joint=16, updates=4
)


def unit(rows: int) -> torch.Tensor:
    """Random directions."""
    return F.normalize(torch.randn(rows, 8, dtype=torch.float64), dim=-1).requires_grad_()


def marks(pictures: list[int], texts: list[int]) -> torch.Tensor:
    """Marks by pair."""
    return torch.tensor([pictures, texts]).T


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_both_terms(smoothing: float) -> None:
    """Where all pairs are distinct the loss is the mean of torch's cross entropy over rows and over columns."""
    pictures, texts, scale = unit(5), unit(5), torch.tensor(9.0, dtype=torch.float64)
    logits, own = scale * pictures @ texts.T, torch.arange(5)
    expected = (
        F.cross_entropy(logits, own, label_smoothing=smoothing)
        + F.cross_entropy(logits.T, own, label_smoothing=smoothing)
    ) / 2

    all_real = torch.ones(5, dtype=torch.bool)
    found = two_terms(pictures, texts, marks([*range(5)], [*range(5)]), all_real, scale, smoothing)
    torch.testing.assert_close(found, expected)


def test_what_is_no_negative() -> None:
    """Pairs that share a picture or a text do not push each other away, nor does an empty slot; it has no loss itself."""
    pictures, texts, one = unit(5), unit(5), torch.ones(())
    real = torch.tensor([True, True, True, True, False])
    loss = two_terms(pictures, texts, marks([0, 0, 1, 2, 9], [5, 6, 7, 7, 9]), real, one)
    logits = pictures @ texts.T
    told_apart = {0: [2, 3], 1: [2, 3], 2: [0, 1], 3: [0, 1]}
    terms = [
        -side[row, [row, *others]].log_softmax(0)[0]
        for side in (logits, logits.T)
        for row, others in told_apart.items()
    ]
    torch.testing.assert_close(loss, torch.stack(terms).sum() / 8)

    loss.backward()
    assert pictures.grad is not None
    assert (pictures.grad[4] == 0).all()
    assert torch.isfinite(pictures.grad).all()
    nothing = two_terms(pictures, texts, marks([0] * 5, [0] * 5), torch.zeros(5, dtype=torch.bool), one)
    assert 0 == nothing


def one_of_two(rank: int, folder: Path) -> None:
    """A process with half of the pairs; leaves its loss and its gradients."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    half = slice(3 * rank, 3 * rank + 3)
    given = torch.load(folder / "given.pt")
    pictures, texts = (one[half].requires_grad_() for one in given[:2])
    loss = two_terms(pictures, texts, given[2][half], given[3][half], torch.ones(()), 0.1)
    loss.backward()
    torch.save((loss.detach(), pictures.grad, texts.grad), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_are_one(tmp_path: Path) -> None:
    """The negatives are those of both: losses add up to that of all pairs, and gradients find their way back."""
    pictures, texts, real = unit(6), unit(6), torch.tensor([True] * 5 + [False])
    both = marks([0, 1, 2, 3, 4, 5], [0, 1, 2, 2, 4, 5])
    torch.save((pictures.detach(), texts.detach(), both, real), tmp_path / "given.pt")
    forks = multiprocessing.get_context("fork")
    processes = [forks.Process(target=one_of_two, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]

    loss = two_terms(pictures, texts, both, real, torch.ones(()), 0.1)
    loss.backward()
    torch.testing.assert_close(parts[0][0] + parts[1][0], loss.detach())
    assert pictures.grad is not None
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), pictures.grad)
    torch.testing.assert_close(torch.cat([part[2] for part in parts]), texts.grad)


def test_from_pairs_to_an_encoder(tmp_path: Path) -> None:
    """A few updates move both towers and the temperature; the encoder comes back from its folder as it was, with its mean and deviation."""
    write(tmp_path, "0", [pair(16 * number) for number in range(16)])
    sets = {"pairs": SetConfig(shards=[str(tmp_path)], batch=8, example=PAIRS)}
    torch.manual_seed(0)
    towers = Towers(CONFIG, TOKENS)
    before = {name: one.clone() for name, one in towers.state_dict().items()}
    losses = [step["pairs"] for step in contrast(towers, Stream(sets, TOKENS, SIDE), sets, TOKENS, CONFIG, HALF)]

    assert 4 == len(losses)
    assert losses[-1] < losses[0]
    moved = {name for name, one in towers.state_dict().items() if not torch.equal(one, before[name])}
    assert {"log_scale", "map_text.weight", "map_picture.weight"} <= moved
    assert any(name.startswith("vision.") for name in moved)
    save_vision(towers, 16, HALF, tmp_path / "vision")
    again = VisionEncoder(type(towers.vision).from_pretrained(tmp_path / "vision"))
    pixels = torch.randn(2, 1, 3, 16, 16)
    torch.testing.assert_close(again(pixels), towers.encoder(pixels), rtol=0, atol=0)
    assert '"image_std"' in (tmp_path / "vision" / "preprocessor_config.json").read_text()


@pytest.mark.parametrize(
    "settings",
    [{"model_type": "no such"}, {}, {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 1, "vocab_size": 8}],
)
def test_no_vision_model(settings: dict[str, Any]) -> None:
    """A configuration of another kind is refused."""
    with pytest.raises(ConfigError):
        Towers(ContrastiveConfig(vision=settings, text=CONFIG.text), TOKENS)
