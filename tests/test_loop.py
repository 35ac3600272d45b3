"""Loss, weight decay, schedule, and the loop: a falling loss, a step that is not finite."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.streams import PAIRS, SIDE, pair, write
from tests.tiny_models import flamingo, tokenizer
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import tokens_of
from trainer.data.window import IGNORED
from trainer.loop import train
from trainer.loss import learnt_tokens, set_loss, summed_nll
from trainer.model.flamingo import Flamingo
from trainer.optim import OptimConfig, groups, optimizer, rate
from trainer.step import NotFinite


def test_the_sum_over_an_examples_tokens() -> None:
    """Each token is predicted from the one before it; what is ignored adds nothing, and an example of nothing else is 0, not NaN."""
    logits = torch.randn(2, 4, 5, dtype=torch.float64)
    labels = torch.tensor([[3, 1, IGNORED, 2], [4, IGNORED, IGNORED, IGNORED]])
    expected = -(logits[0, 0].log_softmax(0)[1] + logits[0, 2].log_softmax(0)[2])

    torch.testing.assert_close(summed_nll(logits, labels), torch.stack([expected, expected * 0]))
    assert 2 == learnt_tokens(labels)


@pytest.mark.parametrize("mean", ["example", "token"])
def test_parts_of_ranks_add_up(mean: str) -> None:
    """The losses of two ranks with unequal numbers of tokens add up to the loss of the whole batch."""
    logits, labels = torch.randn(4, 6, 5), torch.randint(5, (4, 6))
    labels[1:, 2:] = IGNORED
    tokens = learnt_tokens(labels)
    nll = summed_nll(logits, labels)
    whole = set_loss(nll, 4, tokens, mean)  # type: ignore[arg-type]
    parts: list[Tensor] = [set_loss(half, 4, tokens, mean) for half in nll.split(2)]  # type: ignore[arg-type]

    torch.testing.assert_close(whole, parts[0] + parts[1])
    nothing = torch.full((2, 6), IGNORED)
    assert 0 == set_loss(summed_nll(logits[:2], nothing), 2, learnt_tokens(nothing), mean)  # type: ignore[arg-type]


def test_what_decays() -> None:
    """Matrices of the gated layers, and nothing else: no gate, no norm, no row of <EOC>, nothing of the resampler."""
    model = flamingo(every=2)
    decayed, others = groups(model.named_parameters(), OptimConfig())
    names = {id(one): name for name, one in model.named_parameters()}

    assert {"query", "key_value", "out", "1", "3"} == {names[id(one)].split(".")[-2] for one in decayed["params"]}
    assert (0.1, 0.0) == (decayed["weight_decay"], others["weight_decay"])
    trained = [one for one in model.parameters() if one.requires_grad]
    assert len(trained) == len(decayed["params"]) + len(others["params"])
    assert {"alpha_xattn", "alpha_dense", "rows_in", "rows_out"} <= {
        names[id(one)].split(".")[-1] for one in others["params"]
    }


def test_the_schedule_counts_updates() -> None:
    """Up in a line, then level, or down a cosine or a line to 0; no update has rate 0."""
    level = OptimConfig(lr=1.0, warmup=4)
    assert [0.2, 0.4, 0.6, 0.8, 1.0, 1.0] == pytest.approx([rate(update, 100, level) for update in range(6)])
    down = OptimConfig(lr=1.0, warmup=0, schedule="cosine")
    assert [1.0, 0.5, 0.0] == pytest.approx([rate(update, 10, down) for update in (0, 5, 10)])
    line = OptimConfig(lr=1.0, warmup=0, schedule="linear")
    assert [1.0, 0.75, 0.5, 0.0] == pytest.approx([rate(update, 4, line) for update in (0, 1, 2, 4)])


def scaled(pixels: Tensor) -> Tensor:
    """Bytes to -1..1."""
    return pixels.float() / 127.5 - 1


def small_run(folder: Path) -> tuple[Flamingo, Stream, dict[str, SetConfig]]:
    """A tiny model over sixteen pairs."""
    write(folder, "0", [pair(number) for number in range(16)])
    model = flamingo(vocabulary=300)
    sets = {"pairs": SetConfig(shards=[str(folder)], batch=8, example=PAIRS)}
    return model, Stream(sets, tokens_of(tokenizer(), model.eoc), SIDE), sets


def test_a_loss_that_is_not_finite_stops_before_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step raises, names its samples, and leaves the weights as they were."""
    model, stream, sets = small_run(tmp_path)
    before = [one.clone() for one in model.parameters()]
    monkeypatch.setattr(
        "trainer.loop.nll_of",
        lambda model, batch, *_: model.resampler.latents.sum() * math.nan * torch.ones(len(batch.keys)),
    )
    with pytest.raises(NotFinite, match=r"samples pairs epoch 0 file://.*/0.tar 0000"):
        next(train(model, optimizer(model, OptimConfig()), stream, sets, OptimConfig(), 5, scaled))

    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_loss_falls(tmp_path: Path) -> None:
    """Forty updates on sixteen pairs learn something of their words though the language model is random; the gates open; frozen weights stay."""
    model, stream, sets = small_run(tmp_path)
    frozen = [one.clone() for one in model.language.parameters() if not one.requires_grad]
    config = OptimConfig(lr=1e-2, warmup=4)
    steps = list(train(model, optimizer(model, config), stream, sets, config, 40, scaled))

    assert list(range(40)) == [step.number for step in steps]
    assert steps[-1].losses["pairs"] < 0.95 * steps[0].losses["pairs"]
    assert all(layer.gated.alpha_xattn != 0 for layer in model.layers if layer.gated is not None)
    still = [one for one in model.language.parameters() if not one.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(frozen, still, strict=True))
