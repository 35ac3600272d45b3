"""The rows of the paper's ablation: other resamplers, layers without gates, a language model that is trained; and what `--dry-run` counts."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from jobs.cli import main
from jobs.dry_run import PAPER, count
from jobs.presets import TRAINING, toml_of
from schemas.errors import ConfigError
from schemas.settings import read_settings
from tests.test_flamingo import PHI, SLOTS, some_ids, some_pixels
from tests.tiny_models import VOCABULARY, flamingo, language, vision
from trainer.config import TrainConfig
from trainer.load import load_model, outline
from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model.flamingo import Flamingo
from trainer.model.resampler_kinds import resampler_of
from trainer.optim import OptimConfig, optimizer, set_rate
from trainer.sizes import sizes

TABLE = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 97}


@pytest.mark.parametrize("kind", ["perceiver", "mlp", "transformer"])
def test_resamplers(kind: str) -> None:
    """Whatever the number of frames and patches, as many latents; each medium's are its own, and each weight is learnt."""
    torch.manual_seed(0)
    config = ResamplerConfig(kind=kind, width=16, layers=2, heads=2, latents=5, frames=4)  # type: ignore[arg-type]
    resampler = resampler_of(12, config).double()
    for frames, patches in ((1, 3), (4, 9), (6, 2)):
        features = torch.randn(3, frames, patches, 12, dtype=torch.float64)
        latents = resampler(features)
        assert (3, 5, 16) == latents.shape
        torch.testing.assert_close(latents[1:2], resampler(features[1:2]))
    still = torch.ones(1, 4, 3, 12, dtype=torch.float64)
    assert not torch.equal(resampler(still), resampler(still[:, :1]))  # frames are told apart
    resampler(features).square().sum().backward()
    assert all(one.grad is not None and one.grad.any() for one in resampler.parameters())


@pytest.mark.parametrize("kind", ["ungated", "vanilla"])
def test_layers_without_gates(kind: str) -> None:
    """What they add is added whole, to the tokens of a medium alone where there is no dense half; they have no gates, and generation agrees."""
    with torch.no_grad():
        bare = language()(some_ids()).logits
    torch.manual_seed(3)
    shape = ResamplerConfig(width=16, layers=1, heads=2, latents=4)
    model = Flamingo(
        vision(),
        language(),
        ModelConfig(resampler=shape, xattn=XattnConfig(every=2, head_dim=8, kind=kind)),  # type: ignore[arg-type]
    ).eval()
    latents = model.latents([some_pixels()])
    logits = model(some_ids(), PHI, SLOTS, latents)
    same = (bare == logits[..., :VOCABULARY]).all(-1)

    assert [] == model.gates()
    assert [kind == "vanilla", False] == same[0, :2].tolist()
    said = model.generate(some_ids(), PHI, SLOTS, latents, max_new_tokens=1, do_sample=False)
    assert logits[:, -1].argmax(-1).tolist() == said[:, -1].tolist()


def test_grafted_layers() -> None:
    """All stand on top: a medium changes the tokens that are mapped to it and no other, what is below is the bare model's, and a cache changes nothing."""
    torch.manual_seed(3)
    shape = ResamplerConfig(width=16, layers=1, heads=2, latents=4)
    config = ModelConfig(resampler=shape, xattn=XattnConfig(every=2, head_dim=8, kind="graft"))
    model = Flamingo(vision(), language(), config).double().eval()
    pixels = some_pixels().double()
    hidden = [
        one.language(some_ids(), output_hidden_states=True).hidden_states[3] for one in (model, flamingo().double())
    ]
    before = model(some_ids(), PHI, SLOTS, model.latents([pixels]))
    pixels[1] += 1
    latents = model.latents([pixels])
    changed = (before != model(some_ids(), PHI, SLOTS, latents)).any(-1)

    assert 2 == sum(layer.gated is not None for layer in model.layers)
    assert torch.equal(*hidden)
    assert (PHI == 2).tolist() == changed.tolist()
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": -1}
    said = [model.generate(some_ids(), PHI, SLOTS, latents, use_cache=cache, **options) for cache in (True, False)]
    assert said[0].tolist() == said[1].tolist()
    model(some_ids(), PHI, SLOTS, latents).logsumexp(-1).sum().backward()
    assert all(layer.gated.query.weight.grad.any() for layer in model.layers if layer.gated is not None)


def test_an_unfrozen_language_model() -> None:
    """It has gradients and a rate of its own, on the same schedule; frozen, it has neither."""
    torch.manual_seed(3)
    model = Flamingo(vision(), language(), ModelConfig(train_language=True))
    config = OptimConfig(lr=1e-3, language_lr=1e-5)
    optim = optimizer(model, config)
    set_rate(optim, 5e-4)
    lr = {id(one): group["lr"] for group in optim.param_groups for one in group["params"]}
    rates = {name: lr[id(one)] for name, one in model.named_parameters() if one.requires_grad}

    assert {5e-6} == {round(rate, 12) for name, rate in rates.items() if ".layer." in name}
    assert {5e-4} == {
        rate for name, rate in rates.items() if ".gated." in name or ".rows_" in name or "resampler" in name
    }
    assert model.language.training
    assert not any(one.requires_grad for one in model.vision.parameters())
    assert not any(".layer." in name for name, one in flamingo().named_parameters() if one.requires_grad)


def test_a_table_has_shapes_and_no_weights() -> None:
    """It is outlined on no device and not trained frozen; what transformers does not know is named."""
    config = ModelConfig(vision={"model_type": "clip_vision_model"}, language=TABLE)
    outlined = outline(config)
    assert {"meta"} == {one.device.type for one in outlined.parameters()}
    with pytest.raises(ConfigError, match=r"model\.vision is a table"):
        load_model(config)
    with pytest.raises(ConfigError, match=r"model\.language is a table"):
        load_model(ModelConfig(vision="x", language=TABLE))
    with pytest.raises(ConfigError, match=r"model\.language"):
        outline(ModelConfig(vision=config.vision, language={"model_type": "lama"}))
    with pytest.raises(ConfigError, match=r"model\.language: .*number of attention heads"):
        outline(ModelConfig(vision=config.vision, language={**TABLE, "num_attention_heads": 7}))
    if find_spec("timm") is None:
        with pytest.raises(ConfigError, match=r"model\.vision: .*requires the timm library"):
            outline(ModelConfig(vision={"model_type": "timm_wrapper", "architecture": "nfnet_f6"}, language=TABLE))


def test_sizes_of_parts() -> None:
    """Parts add up to the model, and the trained ones are those that have gradients."""
    model = flamingo()
    found = sizes(model.named_parameters())

    assert sum(one.numel() for one in model.parameters()) == sum(size.all for size in found.values())
    assert {"resampler", "gated layers", "added rows"} == {part for part, size in found.items() if size.trained}
    assert 2 * 32 == found["added rows"].trained
    assert ["1.5 k", "12", "1.23 B"] == [count(number) for number in (1500, 12, 1.234e9)]


@pytest.mark.parametrize("preset", sorted(PAPER))
def test_the_papers_sizes(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Counted without weights, the parts are within a fifth of the paper's, but for the encoder, which is another."""
    assert 0 == main(["train", preset, "--dry-run"])
    shown = capsys.readouterr().out
    assert "align: 512 examples of 32 tokens a batch, lambda 0.2" in shown
    config = read_settings(TrainConfig, toml_of(preset, TRAINING), preset)
    found = sizes(outline(config.model).named_parameters())
    for part in ("language", "resampler", "gated layers"):
        assert PAPER[preset][part] == pytest.approx(found[part].all, rel=0.2), part
        assert count(found[part].all) in shown


SMALL = [
    "model.vision.hidden_size=64",
    "model.vision.intermediate_size=64",
    "model.vision.num_hidden_layers=1",
    "model.language.hidden_size=64",
    "model.language.intermediate_size=64",
    "model.language.vocab_size=100",
    "model.resampler.width=64",
    "model.resampler.layers=1",
]


def rows() -> dict[str, list[str]]:
    """Of each row of the paper's ablations that flamingo-3b.toml names, its settings."""
    lines = re.findall(r"^#   ([\w .,/-]+?) (\d\d\.\d) +(.+)$", toml_of("flamingo-3b", TRAINING), re.MULTILINE)
    return {f"{name} {score}": re.findall(r"[\w.]+=\S+", settings) for name, score, settings in lines}


def test_every_row_of_the_ablations() -> None:
    """All rows of the paper's are there; what a row sets is read, and changes what is trained."""
    whole = read_settings(TrainConfig, toml_of("flamingo-3b", TRAINING), "flamingo-3b")
    scores = "67.3 60.9 66.4 53.4 62.9 66.5 66.9 63.1 59.8 68.8 68.2 66.6 66.7 64.9 62.7 63.5 62.7 57.8"
    assert scores.split() == [row.split()[-1] for row in rows()]
    for row, settings in rows().items():
        changed = read_settings(TrainConfig, toml_of("flamingo-3b", TRAINING), row, settings)
        assert bool(settings) == (whole != changed), row


@pytest.mark.parametrize("row", [row for row, settings in rows().items() if "model." in "".join(settings)])
def test_a_row_makes_a_model(row: str) -> None:
    """With fewer channels, on no device: as many layers look as the row says."""
    settings = rows()[row]
    if "timm" in "".join(settings):
        pytest.importorskip("timm")
    small = [one for one in SMALL if "timm" not in "".join(settings) or "vision" not in one]
    config = read_settings(TrainConfig, toml_of("flamingo-3b", TRAINING), row, [*small, *settings])
    if not isinstance(config.model.vision, dict):
        pytest.skip("names a model of the hub")
    model = outline(config.model)
    looking = [layer.number for layer in model.layers if layer.gated is not None]
    expected = {"every 4th 68.8": 6, "every 2nd 68.2": 12, "one layer in the middle 59.8": 1}

    assert expected.get(row, 24) == len(looking)
    assert "middle" not in row or [12] == looking


def test_a_layer_that_is_not_there() -> None:
    """Layers that begin past the language model's last are named."""
    with pytest.raises(ConfigError, match=r"model.xattn.first = 4: the language model has 4 layers"):
        outline(ModelConfig(vision={"model_type": "clip_vision_model"}, language=TABLE, xattn=XattnConfig(first=4)))


@pytest.mark.parametrize("preset", [one for one in TRAINING if one != "demo"])  # which names what make demo-train makes
def test_presets_are_whole(preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is read; without shards it says which set lacks them."""
    read_settings(TrainConfig, toml_of(preset, TRAINING), preset)
    assert 2 == main(["train", preset, "--out", str(tmp_path / "out")])
    assert "shards is not set" in capsys.readouterr().err
