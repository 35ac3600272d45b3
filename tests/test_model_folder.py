"""A trained model as a folder: what comes back is what was written, whole or with its frozen parts by name; from the command line, too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from jobs.cli import main
from schemas.errors import ConfigError, InputError, OutputError, SchemaError, UsageError
from tests.streams import png
from tests.test_train import config, models, small_models
from tests.videos import video
from trainer.data.media import MediaConfig
from trainer.load import load_model
from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model_folder import from_pretrained, save_pretrained
from trainer.prompt import Pretrained

__all__ = ["config", "models"]  # fixtures
OPTIONS = {"max_new_tokens": 6, "eos_token_id": -1}


def pretrained(models: Path, **config: Any) -> Pretrained:
    """A model of tiny parts, whose gates are open."""
    loaded = load_model(
        ModelConfig(
            vision=str(models / "vision"),
            language=str(models / "language"),
            resampler=ResamplerConfig(width=16, layers=1, heads=2, latents=4),
            xattn=XattnConfig(every=2, head_dim=8),
            **config,
        )
    )
    for layer in loaded.model.layers:
        if layer.gated is not None:
            torch.nn.init.constant_(layer.gated.alpha_xattn, 1.5)
    return Pretrained(loaded=loaded, media=MediaConfig(side=16, mean=loaded.normalise.mean))


@pytest.mark.parametrize(("whole", "dtype"), [(False, "float32"), (True, "float32"), (True, "bfloat16")])
def test_what_is_written_comes_back(tmp_path: Path, whole: bool, dtype: str) -> None:
    """The same weights, tokenizer, pixels and words; a whole folder is enough when the models it was made of are gone."""
    own = small_models(tmp_path / "own")
    model = pretrained(own, dtype=dtype)
    save_pretrained(tmp_path / "out", model, whole)
    if whole:
        own.rename(tmp_path / "gone")
    back = from_pretrained(tmp_path / "out")

    weights = [dict(one.loaded.model.named_parameters()) for one in (model, back)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(one, weights[1][name]) for name, one in weights[0].items())
    prompt = ["two herons", png((200, 10, 10)), "by the"]
    assert model.answers([prompt], **OPTIONS) == back.answers([prompt], **OPTIONS)
    assert (model.media, model.loaded.normalise) == (back.media, back.loaded.normalise)
    files = {path.relative_to(tmp_path / "out").parts[0] for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"config.json", "trained.safetensors", "tokenizer", *(["vision", "language"] if whole else [])} == files
    assert not any(path.suffix in {".bin", ".pt", ".pkl"} for path in (tmp_path / "out").rglob("*"))


def test_a_language_model_from_nothing(models: Path, tmp_path: Path) -> None:
    """One that was trained from a table of its numbers is among what was trained; even whole, the folder holds it once."""
    table = {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 300}
    config = ModelConfig(
        vision=str(models / "vision"),
        language=table,
        tokenizer=str(models / "language"),
        train_language=True,
        resampler=ResamplerConfig(width=16, layers=1, heads=2, latents=4),
    )
    loaded = load_model(config, seed=4)
    save_pretrained(tmp_path / "out", Pretrained(loaded=loaded, media=MediaConfig(side=16)), whole=True)
    back = from_pretrained(tmp_path / "out").loaded

    own = dict(loaded.model.named_parameters())
    assert all(torch.equal(own[name], one) for name, one in back.model.named_parameters())
    assert not (tmp_path / "out" / "language").exists()


def test_other_frozen_parts(models: Path, tmp_path: Path) -> None:
    """Parts that have moved are named; others than it was trained with are refused."""
    own = small_models(tmp_path / "own")
    save_pretrained(tmp_path / "out", pretrained(own))
    own.rename(tmp_path / "moved")
    places = {part: str(tmp_path / "moved" / part) for part in ("vision", "language")}
    from_pretrained(tmp_path / "out", **places)
    file = tmp_path / "moved" / "language" / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "model.norm.weight": weights["model.norm.weight"] + 1}, file, {"format": "pt"})
    with pytest.raises(ConfigError, match="not the language model that it was trained with"):
        from_pretrained(tmp_path / "out", **places)


def test_folders_that_are_none(models: Path, tmp_path: Path) -> None:
    """One that is there is not written over; one that lacks a weight, or is nothing of the kind, is named."""
    model = pretrained(models)
    save_pretrained(tmp_path / "out", model)
    with pytest.raises(OutputError, match="there already"):
        save_pretrained(tmp_path / "out", model)
    weights = load_file(tmp_path / "out" / "trained.safetensors")
    save_file({name: one for name, one in weights.items() if "time" not in name}, tmp_path / "out/trained.safetensors")
    with pytest.raises(SchemaError, match="other weights"):
        from_pretrained(tmp_path / "out")
    with pytest.raises(SchemaError, match="no model that m3w saved"):
        from_pretrained(tmp_path)
    assert {"out"} == {path.name for path in tmp_path.iterdir()}


def test_parts_of_a_prompt(models: Path, tmp_path: Path) -> None:
    """A picture is the same by path, bytes and pixels; a clip has its frames; a file that is neither is named."""
    model = pretrained(models)
    heron, film, text = tmp_path / "heron.png", tmp_path / "film.mp4", tmp_path / "no.png"
    heron.write_bytes(png((200, 10, 10)))
    film.write_bytes(video(3))
    text.write_bytes(b"no picture")
    pixels = model.pixels(heron)
    assert (1, 3, 16, 16) == pixels.shape
    assert np.array_equal(pixels, model.pixels(heron.read_bytes()))
    assert model.pixels(film).shape[0] > 1
    assert 1 == len({*model.answers([[heron, "a"], [heron.read_bytes(), "a"], [pixels, "a"]], **OPTIONS)})
    with pytest.raises(InputError, match=r"no\.png: no picture and no clip"):
        model.answers([["a", text]])


def test_seeds(models: Path) -> None:
    """A row's sample is its seed's, alone, in another order and beside others; without an open mind all say the likeliest; seeds are one a prompt."""
    model = pretrained(models)
    batch: list[list[str | bytes]] = [["two"], ["a heron", png((9, 200, 9)), "by"], ["by the river"]]
    said = model.answers(batch, [5, 6, 7], temperature=1.5, top_k=200, **OPTIONS)

    assert said[::-1] == model.answers(batch[::-1], [7, 6, 5], temperature=1.5, top_k=200, **OPTIONS)
    assert said[1:2] == model.answers(batch[1:2], [6], temperature=1.5, top_k=200, **OPTIONS)
    assert said != model.answers(batch, [8, 9, 10], temperature=1.5, top_k=200, **OPTIONS)
    assert model.answers(batch, **OPTIONS) == model.answers(batch, [5, 6, 7], top_p=1e-6, **OPTIONS)
    with pytest.raises(UsageError, match="2 seeds for 3 prompts"):
        model.answers(batch, [5, 6])


def test_from_the_command_line(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run, and what is exported of it, answer alike; a file of prompts has an answer a line, whatever the batch, and the same for a seed."""
    run, out, heron = str(tmp_path / "run"), str(tmp_path / "out"), tmp_path / "heron.png"
    heron.write_bytes(png((200, 10, 10)))
    prompts = tmp_path / "prompts.jsonl"
    lines = [["a heron"], [str(heron)], [str(heron), "by the", str(heron), "river"]]
    prompts.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert 0 == main(["train", str(config), "--out", run, "--set", "updates=1"])
    assert 0 == main(["export", run, "--out", out, "--whole"])

    def said(*arguments: str) -> str:
        capsys.readouterr()
        assert 0 == main(["generate", *arguments, "--tokens", "4"])
        return capsys.readouterr().out

    assert said(run, str(heron), "number") == said(out, str(heron), "number")
    drawn = said(out, "--prompts", str(prompts), "--seed", "3", "--batch", "1")
    assert 3 == len([json.loads(line) for line in drawn.splitlines()])
    assert drawn == said(out, "--prompts", str(prompts), "--seed", "3")
    assert 1 == main(["generate", out, "hreon.png", "a"])
    assert "hreon.png: there is no such file" in capsys.readouterr().err
    for wrong in (["--top-p", "0.5"], ["--seed", "1", "--beams", "2"], ["--seed", "1", "--temperature", "-1"]):
        assert 2 == main(["generate", out, "a", *wrong])
    for wrong, code in (([run], 2), ([run, "--prompts", str(heron)], 1), ([str(tmp_path), "a"], 2)):
        assert code == main(["generate", *wrong])
    assert "holds no checkpoint and no exported model" in capsys.readouterr().err
