"""Contrastive pretraining: the loss against torch's own, what is no negative, what is saved."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch.nn import functional as F

from jobs.presets import PRETRAINING, toml_of
from schemas.errors import ConfigError
from schemas.settings import read_settings
from schemas.shard import Sample
from tests.processes import exit_codes
from tests.streams import PAIRS, SIDE, pair, write
from tests.tiny_models import language, tokenizer, vision
from trainer.contrastive import ContrastiveConfig, TextTowerConfig, Towers, adam, contrast, save_vision
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import tokens_of
from trainer.load import load_frozen, normalisation
from trainer.model.config import ModelConfig
from trainer.model.vision import VisionEncoder
from trainer.ranks import Ranks, joined
from trainer.step import NotFinite, Step
from trainer.two_terms import two_terms

TOKENS = tokens_of(tokenizer(), 300)
CONFIG = ContrastiveConfig(
    sets={},
    tokenizer="",
    vision=vision().config.to_dict(),
    text=TextTowerConfig(width=16, layers=1, heads=2),
    joint=16,
    media=SIDE,
    updates=4,
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
    torch.testing.assert_close(found.mean(), expected)


def test_what_is_no_negative() -> None:
    """Pairs that share a picture or a text do not push each other away, nor does an empty slot; it has no loss itself."""
    pictures, texts, one = unit(5), unit(5), torch.ones(())
    real = torch.tensor([True, True, True, True, False])
    losses = two_terms(pictures, texts, marks([0, 0, 1, 2, 9], [5, 6, 7, 7, 9]), real, one)
    logits = pictures @ texts.T
    told_apart = {0: [2, 3], 1: [2, 3], 2: [0, 1], 3: [0, 1]}
    terms = [
        -side[row, [row, *others]].log_softmax(0)[0]
        for side in (logits, logits.T)
        for row, others in told_apart.items()
    ]
    both_ways = torch.stack(terms).view(2, 4).mean(0)
    torch.testing.assert_close(losses, torch.cat([both_ways, torch.zeros(1, dtype=torch.float64)]))

    losses.sum().backward()
    assert pictures.grad is not None
    assert (pictures.grad[4] == 0).all()
    assert torch.isfinite(pictures.grad).all()
    nothing = two_terms(pictures, texts, marks([0] * 5, [0] * 5), torch.zeros(5, dtype=torch.bool), one)
    assert [0] * 5 == nothing.tolist()


def sets_of(folder: Path, samples: list[Sample]) -> ContrastiveConfig:
    """The configuration with a set of these pairs, twice, the second with less weight."""
    write(folder, "0", samples)
    one = SetConfig(shards=[str(folder)], batch=8, example=PAIRS)
    return msgspec.structs.replace(CONFIG, sets={"pairs": one, "again": msgspec.structs.replace(one, weight=0.2)})


def contrasted(towers: Towers, config: ContrastiveConfig, ranks: Ranks = Ranks()) -> list[Step]:
    """What each update says."""
    stream = Stream(config.sets, TOKENS, SIDE, rank=ranks.rank, ranks=ranks.ranks, total=ranks.counts)
    return list(contrast(towers, adam(towers, config.optim), stream, TOKENS, config, ranks))


def one_of_two(rank: int, folder: Path, config: ContrastiveConfig) -> None:
    """A process with half of the pairs and weights of its own to begin with; leaves its losses, its gradients, its weights, and what it says of a loss that is none."""
    half = slice(3 * rank, 3 * rank + 3)
    with joined() as ranks:
        given = torch.load(folder / "given.pt")
        pictures, texts = (one[half].requires_grad_() for one in given[:2])
        loss = two_terms(pictures, texts, given[2][half], given[3][half], torch.ones(()), 0.1, ranks).sum()
        loss.backward()
        towers = Towers(msgspec.structs.replace(config, seed=rank), TOKENS).double()
        losses = [step.losses for step in contrasted(towers, config, ranks)]
        nobody = msgspec.structs.replace(SIDE, mean=(math.nan,) * 3)
        with pytest.raises(NotFinite) as raised:
            contrasted(towers, msgspec.structs.replace(config, media=nobody if rank else SIDE), ranks)
        left = (loss.detach(), pictures.grad, texts.grad, losses, towers.state_dict(), str(raised.value))
        torch.save(left, folder / f"{rank}.pt")


def test_two_ranks_are_one(tmp_path: Path) -> None:
    """The negatives are those of both: losses add up to that of all pairs, gradients find their way back, and both come to the weights of one; a loss that is no number on one ends both."""
    pictures, texts, real = unit(6), unit(6), torch.tensor([True] * 5 + [False])
    both = marks([0, 1, 2, 3, 4, 5], [0, 1, 2, 2, 4, 5])
    torch.save((pictures.detach(), texts.detach(), both, real), tmp_path / "given.pt")
    samples = [pair(16 * (number // 2)) for number in range(16)]  # each twice
    samples[5].members["png"] = b"no picture"
    config = sets_of(tmp_path, [Sample(f"{n:03}", one.members) for n, one in enumerate(samples)])
    assert [0, 0] == exit_codes(2, one_of_two, tmp_path, config)
    parts = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]

    loss = two_terms(pictures, texts, both, real, torch.ones(()), 0.1).sum()
    loss.backward()
    torch.testing.assert_close(parts[0][0] + parts[1][0], loss.detach())
    assert pictures.grad is not None
    torch.testing.assert_close(torch.cat([part[1] for part in parts]), pictures.grad)
    torch.testing.assert_close(torch.cat([part[2] for part in parts]), texts.grad)

    alone = Towers(config, TOKENS).double()
    losses = [step.losses for step in contrasted(alone, config)]
    for _, _, _, told, weights, error in parts:
        assert all(step == pytest.approx(one, rel=1e-9) for step, one in zip(told, losses, strict=True))
        for name, weight in alone.state_dict().items():
            torch.testing.assert_close(weights[name], weight, rtol=1e-7, atol=1e-9)
        assert "the loss of pairs and again is not finite; samples pairs epoch 0" in error


def test_copies_do_not_push_each_other_away(tmp_path: Path) -> None:
    """Where all pairs share their text, with and without a space in front, or their picture, there is nothing to be told apart, and no loss."""
    for name, shared in (("text", "txt"), ("picture", "png")):
        (tmp_path / name).mkdir()
        samples = [pair(16 * number) for number in range(16)]
        for one in samples:
            one.members[shared] = samples[0].members[shared]
        config = msgspec.structs.replace(sets_of(tmp_path / name, samples), updates=1, smoothing=0.0)
        (step,) = contrasted(Towers(config, TOKENS), config)
        assert {"pairs": 0.0, "again": 0.0} == step.losses


def test_from_pairs_to_an_encoder(tmp_path: Path) -> None:
    """A few updates move both towers and the temperature; the encoder comes back from its folder as it was, with its mean and deviation."""
    config = sets_of(tmp_path, [pair(16 * number) for number in range(16)])
    towers = Towers(config, TOKENS)
    before = {name: one.clone() for name, one in towers.state_dict().items()}
    losses = [step.losses["pairs"] for step in contrasted(towers, config)]

    assert 4 == len(losses)
    assert losses[-1] < losses[0]
    moved = {name for name, one in towers.state_dict().items() if not torch.equal(one, before[name])}
    assert {"log_scale", "map_text.weight", "map_picture.weight"} <= moved
    assert any(name.startswith("vision.") for name in moved)
    save_vision(towers, 16, config.normalise, tmp_path / "vision")
    again = VisionEncoder(type(towers.vision).from_pretrained(tmp_path / "vision"))
    pixels = torch.randn(2, 1, 3, 16, 16)
    torch.testing.assert_close(again(pixels), towers.encoder(pixels), rtol=0, atol=0)
    assert '"image_std"' in (tmp_path / "vision" / "preprocessor_config.json").read_text()


def test_what_an_update_says(tmp_path: Path) -> None:
    """What there was of it, the temperature that it computed with, and of each pair its loss and where it was read: a set's loss is the mean over its whole pairs."""
    samples = [pair(16 * number) for number in range(16)]
    samples[5].members["png"] = b"no picture"
    config = sets_of(tmp_path, samples)
    first, second = contrasted(Towers(config, TOKENS), config)[:2]  # an epoch of both sets

    assert [0, 1] == [first.number, second.number]
    assert [16, 16] == [first.examples, second.examples]
    assert 30 == first.images + second.images
    assert 2 == len(first.faults + second.faults)
    assert first.scale == pytest.approx(1 / 0.07)
    assert second.scale not in (None, first.scale)
    for name in config.sets:
        told = [*first.samples[name], *second.samples[name]]
        assert 16 == len({origin for _, origin in told})
        assert [0.0] == [nll for nll, origin in told if nll == 0 and origin.endswith(samples[5].key)]
        for step in (first, second):
            nlls = [nll for nll, _ in step.samples[name] if nll]
            assert step.losses[name] == pytest.approx(sum(nlls) / len(nlls))


def test_computing_in_bfloat16(tmp_path: Path) -> None:
    """Products of both towers are in it, weights and what comes of cosines are not; losses are those of float32 to its rounding."""
    config = sets_of(tmp_path, [pair(16 * number) for number in range(16)])
    towers = Towers(msgspec.structs.replace(config, dtype="bfloat16"), TOKENS)
    seen = set()
    for part in towers.modules():
        if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d)):
            part.register_forward_hook(lambda part, given, made: seen.add(made.dtype))
    steps = contrasted(towers, config)

    assert {torch.bfloat16} == seen
    assert {torch.float32} == {one.dtype for one in towers.parameters()}
    whole = contrasted(Towers(config, TOKENS), config)
    assert steps[0].losses != whole[0].losses
    assert steps[-1].losses == pytest.approx(whole[-1].losses, rel=0.02)


def test_the_encoder_is_clipped_by_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its gradient is within its weights' share; that of all else within its norm; what is told is the norm before."""
    config = sets_of(tmp_path, [pair(16 * number) for number in range(16)])
    limits = {"optim": msgspec.structs.replace(config.optim, clip=1e-3), "unit_clip": 1e-3, "updates": 1}
    config = msgspec.structs.replace(config, **limits)
    towers, grads = Towers(config, TOKENS), {}
    weights = {name: one.clone() for name, one in towers.named_parameters()}

    def kept(*_: object) -> None:
        grads.update({name: one.grad.clone() for name, one in towers.named_parameters() if one.grad is not None})

    monkeypatch.setattr(torch.optim.Adam, "step", kept)
    (step,) = contrasted(towers, config)
    rest = [grad.norm() for name, grad in grads.items() if not name.startswith("vision.")]

    assert step.norm > 0.01
    assert float(torch.stack(rest).norm()) == pytest.approx(1e-3, rel=0.01)
    layer = next(name for name in grads if name.endswith("layers.0.mlp.fc1.weight") and name.startswith("vision."))
    torch.testing.assert_close(grads[layer].norm(dim=1), 1e-3 * weights[layer].norm(dim=1))


def test_an_nfnet_of_timm(tmp_path: Path) -> None:
    """It is contrasted, clipped by units, and comes back from its folder with the mean and deviation that it was contrasted with."""
    pytest.importorskip("timm")
    config = sets_of(tmp_path, [pair(16 * number) for number in range(16)])
    nfnet = {"model_type": "timm_wrapper", "architecture": "test_nfnet"}
    media = msgspec.structs.replace(SIDE, side=64)
    config = msgspec.structs.replace(config, vision=nfnet, unit_clip=0.01, media=media, dtype="bfloat16")
    towers = Towers(config, TOKENS)
    assert 4 == len(
        list(contrast(towers, adam(towers, config.optim), Stream(config.sets, TOKENS, media), TOKENS, config))
    )
    save_vision(towers, 64, config.normalise, tmp_path / "vision")
    again, _ = load_frozen(ModelConfig(vision=str(tmp_path / "vision"), language=language("llama").config.to_dict()))

    assert config.normalise == normalisation(again, str(tmp_path / "vision"))
    pixels = torch.randn(2, 1, 3, 64, 64)
    torch.testing.assert_close(VisionEncoder(again).eval()(pixels), towers.encoder.eval()(pixels), rtol=0, atol=0)


def test_the_papers_numbers() -> None:
    """Those of the preset are the paper's, and `m3w pretrain` says what it leaves open."""
    config = read_settings(ContrastiveConfig, toml_of("flamingo-vision", PRETRAINING), "flamingo-vision")
    assert (288, 1376, 0.1, 0.01) == (config.media.side, config.joint, config.smoothing, config.unit_clip)
    assert (1e-3, "linear", 0) == (config.optim.lr, config.optim.schedule, config.optim.warmup)
    assert [16_384, 16_384] == [one.batch for one in config.sets.values()]
    assert "nfnet_f6" == config.vision["architecture"]


@pytest.mark.parametrize(
    "settings",
    [{"model_type": "no such"}, {}, {"model_type": "gpt2", "n_embd": 8, "n_layer": 1, "n_head": 1, "vocab_size": 8}],
)
def test_no_vision_model(settings: dict[str, Any]) -> None:
    """A configuration of another kind is refused."""
    sets = {"pairs": SetConfig(shards=[], batch=8, example=PAIRS)}
    with pytest.raises(ConfigError, match="vision"):
        Towers(msgspec.structs.replace(CONFIG, vision=settings, sets=sets), TOKENS)


def test_a_batch_is_whole() -> None:
    """In pieces of a batch pairs would have fewer negatives; of no sets there would be none."""
    pieces = {"pairs": SetConfig(shards=[], batch=8, micro_batch=4)}
    for sets, message in ((pieces, "sets.pairs.micro_batch"), ({}, "no sets")):
        with pytest.raises(ConfigError, match=message):
            Towers(msgspec.structs.replace(CONFIG, sets=sets), TOKENS)
