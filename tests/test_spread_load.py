"""A language model that is spread over ranks as it is loaded: the same weights as one that is loaded whole, and no rank has them all."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from schemas.errors import ConfigError
from tests.processes import exit_codes
from tests.test_compute import inputs, pixels
from tests.test_train import small_models
from tests.tiny_models import flamingo
from trainer import compute, spread_load
from trainer.compute import ComputeConfig
from trainer.initial import initialise
from trainer.load import Loaded, load_model
from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model.flamingo import Flamingo
from trainer.ranks import Ranks, joined
from trainer.sharding import full, share_of


def configuration(folder: Path) -> ModelConfig:
    """Small models, whose language model has its tables tied."""
    return ModelConfig(
        vision=str(folder / "vision"),
        language=str(folder / "language"),
        dtype="bfloat16",
        resampler=ResamplerConfig(width=16, layers=1, heads=2, latents=4),
        xattn=XattnConfig(every=2, head_dim=8),
    )


def loaded(folder: Path, ranks: Ranks = Ranks()) -> Loaded:
    """The same, sharded where there are ranks to share."""
    asked = ComputeConfig(shard=True, checkpointing=True, compile=ranks.ranks > 1)
    return load_model(configuration(folder), 5, compute=asked, ranks=ranks)


def made(model: Flamingo) -> dict[str, torch.Tensor]:
    """Logits of rows with pictures and one without, and the gradients of what is trained, by name."""
    with torch.no_grad():
        for layer in model.layers:
            if layer.gated is not None and layer.gated.alpha_xattn is not None:
                layer.gated.alpha_xattn.fill_(0.5)
    logits = model(latents_MRC=model.latents([pixels(2)]), **inputs(3, 12, 2))
    logits.float().logsumexp(-1).sum().backward()
    grads = {name: one.grad for name, one in model.named_parameters() if one.grad is not None}
    return {"logits": logits.detach(), **grads}


def of_shares(name: str) -> bool:
    """Whether the gradient is already the sum over both ranks, which see the same here; the others are added up by the loop."""
    return ".gated." in name and "alpha" not in name


def one_of_two(rank: int, folder: Path) -> None:
    """What each of two processes does, which tells its weights, and how many values of the layers it ever read or holds."""
    values: list[int] = []
    read = spread_load.WeightFiles.read

    def counted(self: spread_load.WeightFiles, name: str, rows: slice) -> torch.Tensor:
        found = read(self, name, rows)
        values.append(found.numel() if ".layers." in name else 0)
        return found

    spread_load.WeightFiles.read = counted  # type: ignore[method-assign]
    compute.compile_layers = partial(
        compute.compile_layers, backend="eager"
    )  # traced, but no time spent on machine code
    with joined() as ranks:
        model = loaded(folder, ranks).model
        held = sum(share_of(one).numel() for name, one in model.language.named_parameters() if ".layer." in name)
        state = {name: full(one.detach()).clone() for name, one in model.named_parameters()}
        state |= {name: one.contiguous() for name, one in model.named_buffers()}
        state |= {f"made.{name}": full(one).contiguous() for name, one in made(model).items()}
    save_file(state, folder / f"{rank}.safetensors")
    (folder / f"{rank}.json").write_text(json.dumps({"read": sum(values), "held": held}))


@pytest.mark.slow
def test_no_rank_has_it_all(tmp_path: Path) -> None:
    """Two ranks come to the weights and buffers that one has, bit for bit; each reads and holds half of the layers; compiled they compute what one does."""
    small_models(tmp_path)
    tied = LlamaConfig.from_pretrained(tmp_path / "language", tie_word_embeddings=True)
    LlamaForCausalLM(tied).save_pretrained(tmp_path / "language")
    assert [0, 0] == exit_codes(2, one_of_two, tmp_path)

    whole = loaded(tmp_path).model
    expected = dict(whole.named_parameters()) | dict(whole.named_buffers())
    computed = made(loaded(tmp_path).model)
    layers = sum(one.numel() for name, one in whole.language.named_parameters() if ".layer." in name)
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        for name, one in computed.items():
            theirs = found.pop(f"made.{name}") / (2 if of_shares(name) else 1)
            torch.testing.assert_close(
                theirs, one, rtol=0.1, atol=0.05 * float(one.abs().max()), msg=lambda said, name=name: f"{name}: {said}"
            )
        assert expected.keys() == found.keys()
        for name, one in expected.items():
            assert one.dtype == found[name].dtype, name
            assert torch.equal(one, found[name]), name
        counts = json.loads((tmp_path / f"{rank}.json").read_text())
        assert counts["held"] < 0.52 * layers
        assert counts["read"] < 0.52 * layers


def test_new_weights_begin_as_their_modules_would() -> None:
    """Of each kind the same spread, and another value for another seed or name."""
    model, made = flamingo(), flamingo()
    initialise(model, 1)
    trained = {name: one.detach() for name, one in model.named_parameters() if one.requires_grad}
    for name, one in trained.items():
        other = made.get_parameter(name).detach()
        if one.numel() > 100:
            assert not torch.equal(one, other), name
            assert float(one.std()) == pytest.approx(float(other.std()), rel=0.25), name
            assert float(one.abs().max()) == pytest.approx(float(other.abs().max()), rel=0.5), name
        elif one.ndim < 2:
            assert torch.equal(one, other), name
    first, second = (model.layers[number].gated.query.weight for number in (0, 2))  # type: ignore[union-attr]
    assert not torch.equal(first, second)


def test_files_of_another_form_are_named(tmp_path: Path) -> None:
    """A folder without safetensors; one whose names are others."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no \*.safetensors"):
        spread_load.WeightFiles("model.language", str(tmp_path / "empty"))
    small_models(tmp_path)
    weights = load_file(tmp_path / "language" / "model.safetensors")
    save_file({f"other.{name}": one for name, one in weights.items()}, tmp_path / "language" / "model.safetensors")
    with spread_load.without_weights():
        language = AutoModelForCausalLM.from_config(LlamaConfig.from_pretrained(tmp_path / "language"))
        with pytest.raises(ConfigError, match=r"has no model.embed_tokens.weight in its files"):
            spread_load.read_around_layers(
                language, spread_load.WeightFiles("model.language", str(tmp_path / "language"))
            )
