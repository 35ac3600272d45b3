"""How an update is computed: in bfloat16, twice to save memory, compiled; it comes to the same, to rounding."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.test_loop import scaled, small_run
from tests.tiny_models import flamingo, language, vision
from trainer.compute import ComputeConfig, blocks, compile_layers, prepare
from trainer.loop import train
from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model.flamingo import Flamingo
from trainer.optim import OptimConfig, optimizer

SMALL = ModelConfig(resampler=ResamplerConfig(width=16, layers=1, heads=2, latents=4), xattn=XattnConfig(head_dim=8))


def inputs(rows: int, tokens: int, media: int) -> dict[str, Tensor]:
    """Rows of which the last shows nothing, and the others all media."""
    phi = (torch.arange(tokens) // 4).clamp(max=media).repeat(rows, 1)
    phi[-1] = 0
    ids = torch.arange(rows * tokens).reshape(rows, tokens) % 97
    return {"ids_BL": ids, "phi_BL": phi, "slots_BK": torch.arange(media).repeat(rows, 1)}


def pixels(media: int) -> Tensor:
    """Of 16 px, one frame each."""
    torch.manual_seed(media)
    return torch.randn(media, 1, 3, 16, 16)


def by_bfloat16(family: str, train_language: bool = False) -> tuple[Flamingo, Flamingo]:
    """A model that computes in float32, and the same in bfloat16."""
    made = []
    for dtype in ("float32", "bfloat16"):
        torch.manual_seed(0)
        config = ModelConfig(
            resampler=SMALL.resampler,
            xattn=SMALL.xattn,
            train_language=train_language,
            dtype=dtype,  # type: ignore[arg-type]
        )
        made.append(Flamingo(vision(), language(family), config))
        for layer in made[-1].layers:
            if layer.gated is not None and layer.gated.alpha_xattn is not None:
                torch.nn.init.constant_(layer.gated.alpha_xattn, 0.5)
    return made[0], made[1]


@pytest.mark.parametrize("family", ["llama", "neox", "opt"])
@pytest.mark.parametrize("train_language", [False, True])
def test_frozen_weights_and_activations_in_bfloat16(family: str, train_language: bool) -> None:
    """What is trained, and its gradient, is float32; what is frozen is bfloat16; logits are near those of float32."""
    exact, model = by_bfloat16(family, train_language)
    for one in model.parameters():
        assert one.dtype == (torch.float32 if one.requires_grad else torch.bfloat16)
    some = inputs(2, 12, 2)
    latents = model.latents([pixels(2)])
    logits = model(latents_MRC=latents, **some)
    expected = exact(latents_MRC=exact.latents([pixels(2)]), **some)
    torch.testing.assert_close(logits.float(), expected, rtol=0.05, atol=0.05)
    assert not torch.equal(logits.float(), expected)

    logits.float().logsumexp(-1).sum().backward()
    assert all(one.grad.dtype == torch.float32 for one in model.parameters() if one.grad is not None)
    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


def test_angles_of_positions_stay_exact() -> None:
    """Buffers are not made coarse with the weights."""
    _, model = by_bfloat16("llama")
    assert torch.float32 == model.language.get_buffer("model.rotary_emb.inv_freq").dtype


def test_a_closed_model_in_bfloat16_is_the_bare_one() -> None:
    """With gates at 0 logits are the bare language model's, bit for bit."""
    bare = language("llama").bfloat16()
    for name, one in language("llama").named_buffers():
        bare.get_submodule(name.rpartition(".")[0]).register_buffer(name.rpartition(".")[2], one, persistent=False)
    _, model = by_bfloat16("llama")
    for layer in model.layers:
        if layer.gated is not None and layer.gated.alpha_xattn is not None:
            torch.nn.init.zeros_(layer.gated.alpha_xattn)
    some = inputs(2, 12, 2)
    logits = model(latents_MRC=model.latents([pixels(2)]), **some)
    assert torch.equal(logits[..., :97], bare(input_ids=some["ids_BL"]).logits)


def test_trained_in_bfloat16(tmp_path: Path) -> None:
    """The loss falls as it does in float32, and generation takes the same types."""
    model, stream, sets = small_run(tmp_path)
    coarse = Flamingo(vision(), language(vocabulary=300), ModelConfig(**{**_fields(model), "dtype": "bfloat16"}))
    config = OptimConfig(lr=1e-2, warmup=4)
    losses = [
        step.losses["pairs"] for step in train(coarse, optimizer(coarse, config), stream, sets, config, 30, scaled)
    ]
    assert losses[-1] < 0.95 * losses[0]
    some = inputs(2, 12, 2)
    latents = coarse.latents([pixels(2)])
    assert (2, 15) == coarse.generate(latents_MRC=latents, max_new_tokens=3, eos_token_id=-1, **some).shape


def _fields(model: Flamingo) -> dict[str, Any]:
    return {name: getattr(model.config, name) for name in ("resampler", "xattn")}


def test_layers_are_computed_twice_when_asked(tmp_path: Path) -> None:
    """Two updates come to the same weights, bit for bit, and each decoder layer has run twice as often."""
    ends, runs = [], []
    for checkpointing in (False, True):
        model, stream, sets = small_run(tmp_path)
        prepare(model, ComputeConfig(checkpointing=checkpointing))
        ran: list[int] = []
        model.layers[1].layer.register_forward_pre_hook(lambda *_, ran=ran: ran.append(1))
        config = OptimConfig(lr=1e-2, warmup=0)
        list(train(model, optimizer(model, config), stream, sets, config, 2, scaled))
        ends.append(list(model.parameters()))
        runs.append(len(ran))

    assert [2, 4] == runs
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's compiler itself looks at it
def test_compilations_grow_neither_with_layers_nor_with_sizes() -> None:
    """Five graphs of each kind of layer at the most, the last of them soon; gradients are those of what is not compiled."""
    torch._dynamo.reset()  # of what other tests have compiled
    graphs: list[Any] = []

    def seen(graph: Any, _: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    plain, compiled = flamingo(alpha=0.5), flamingo(alpha=0.5)
    compile_layers(compiled, backend=seen)
    kinds = {type(block) for block in blocks(compiled)}
    assert 2 + 2 + 4 + 2 == len(list(blocks(compiled)))
    counts = []
    for rows, tokens, media in [(2, 12, 2), (2, 20, 3), (2, 9, 1), (3, 17, 2), (4, 32, 5), (5, 48, 4)]:
        for model in (plain, compiled):
            some = inputs(rows, tokens, media)
            model(latents_MRC=model.latents([pixels(media)]), **some).logsumexp(-1).sum().backward()
        counts.append(len(graphs))
    assert counts[0] < len(list(blocks(compiled)))
    assert counts[-1] <= 5 * len(kinds)  # past 8, torch would give up and compile no more
    assert counts[-2] == counts[-1]
    for one, other in zip(plain.parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about itself
def test_compiled_for_this_machine(tmp_path: Path) -> None:
    """By torch's own compiler, with layers computed twice: two updates come to the same weights, to rounding."""
    ends = []
    for compiled in (False, True):
        model, stream, sets = small_run(tmp_path)
        prepare(model, ComputeConfig(checkpointing=True, compile=compiled))
        config = OptimConfig(lr=1e-2, warmup=0)
        list(train(model, optimizer(model, config), stream, sets, config, 2, scaled))
        ends.append(list(model.parameters()))
    for one, other in zip(*ends, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
