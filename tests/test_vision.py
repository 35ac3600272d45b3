"""Vision encoders of any family: features of each frame at any size, positions interpolated; their weights come by name."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    PreTrainedModel,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from schemas.errors import ConfigError
from tests.test_train import small_models
from trainer.load import load_model
from trainer.model.config import ModelConfig, ResamplerConfig
from trainer.model.vision import VisionEncoder

SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
DENSE: dict[str, Any] = {**SIZES, "intermediate_size": 48}


def encoder(family: str) -> PreTrainedModel:
    """A small one with random weights, for pictures of 32 px."""
    torch.manual_seed(0)
    match family:
        case "clip":
            text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
            ids = {"vocab_size": 9, "bos_token_id": 1, "eos_token_id": 2}
            model: PreTrainedModel = CLIPModel(CLIPConfig(vision_config=DENSE, text_config={**text, **ids}))
        case "clip_vision":
            model = CLIPVisionModel(CLIPVisionConfig(**DENSE))
        case "siglip":
            model = SiglipVisionModel(SiglipVisionConfig(**DENSE))
        case "dinov2":
            model = Dinov2Model(Dinov2Config(**SIZES))
        case "dinov2_registers":
            model = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SIZES))
        case "vit":
            model = ViTModel(ViTConfig(**DENSE))
        case _:
            model = ConvNextModel(ConvNextConfig(hidden_sizes=[8, 8, 16, 24], depths=[1, 1, 1, 1], patch_size=1))
    return model.eval()


# Tokens of a frame beside its patches.
EXTRA = {"clip": 1, "clip_vision": 1, "siglip": 0, "dinov2": 1, "dinov2_registers": 5, "vit": 1, "convnext": 0}


@pytest.mark.parametrize("family", EXTRA)
def test_any_family_at_any_size(family: str) -> None:
    """A frame of 320 px gives its 40 x 40 patches, though the encoder was made for 32 px; one of 32 px is the model's own features; frames are apart."""
    model = encoder(family)
    eyes = VisionEncoder(model)
    pixels = torch.randn(2, 1, 3, 320, 320)
    with torch.no_grad():
        features = eyes(pixels)
        alone = eyes(pixels[1:])
        own = getattr(model, "vision_model", model)(pixel_values=pixels[:, 0, :, :32, :32]).last_hidden_state
        small = eyes(pixels[:, :, :, :32, :32])

    assert 24 == eyes.width
    assert (2, 1, 1600 + EXTRA[family], 24) == features.shape
    torch.testing.assert_close(features[1:], alone)
    assert torch.equal(small[:, 0], own if own.ndim == 3 else own.flatten(2).transpose(1, 2))


def test_what_wants_its_pixels_cut_up() -> None:
    """SigLIP 2's flexible models take patches and their places: refused, by name."""
    small: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    with pytest.raises(ConfigError, match="Siglip2VisionModel does not take pixel_values alone"):
        VisionEncoder(Siglip2VisionModel(Siglip2VisionConfig(**small)))


def test_nfnet_of_timm(tmp_path: Path) -> None:
    """An NFNet comes from its folder with its weights, its mean and deviation, and gives its last grid, as wide as its last convolution."""
    pytest.importorskip("timm")
    stated = {"mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}
    model = AutoModel.from_config(
        AutoConfig.for_model("timm_wrapper", architecture="test_nfnet", pretrained_cfg=stated)
    )
    small_models(tmp_path)
    model.save_pretrained(tmp_path / "nfnet")
    config = ModelConfig(
        vision=str(tmp_path / "nfnet"),
        language=str(tmp_path / "language"),
        resampler=ResamplerConfig(width=16, layers=1, heads=2, latents=4),
    )
    loaded = load_model(config)

    assert all(map(torch.equal, model.state_dict().values(), loaded.model.vision.tower.state_dict().values()))
    assert ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3)) == (loaded.normalise.mean, loaded.normalise.std)
    assert (1, 2, 100, loaded.model.vision.width) == loaded.model.vision(torch.randn(1, 2, 3, 320, 320)).shape
