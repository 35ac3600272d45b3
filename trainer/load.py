"""Frozen models by name or path, and what belongs to them: tokenizer, mean and deviation of pixels."""

from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoModel, AutoModelForCausalLM, AutoTokenizer

from schemas.errors import ConfigError, SurroundingsError
from trainer.data.tokens import Tokens, tokens_of
from trainer.model.config import ModelConfig
from trainer.model.flamingo import Flamingo


class Normalisation(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes to what an encoder was trained on: `(x / 255 - mean) / std`, by channel."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 [..., 3, height, width] to float32."""
        mean, std = (torch.tensor(one, device=pixels.device)[:, None, None] for one in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A model with what its inputs are made by."""

    model: Flamingo
    tokens: Tokens
    normalise: Normalisation


def load_model(config: ModelConfig, seed: int = 0) -> Loaded:
    """The frozen models that a configuration names, with new trained parts between them.

    Raises:
        ConfigError: a name is missing, or names a model of another kind.
        SurroundingsError: it is no folder here, and the hub does not have it.
    """
    for key, name in (("model.vision", config.vision), ("model.language", config.language)):
        if not name:
            raise ConfigError(f"{key} is not set; give a folder, or a name of the Hugging Face hub")
    vision = _from_pretrained(AutoModel, "model.vision", config.vision)
    language = _from_pretrained(AutoModelForCausalLM, "model.language", config.language)
    tokenizer = _from_pretrained(AutoTokenizer, "model.language", config.language)
    pixels = _from_pretrained(AutoImageProcessor, "model.vision", config.vision, backend="pil")
    torch.manual_seed(seed)
    model = Flamingo(vision, language, config)
    normalise = Normalisation(mean=tuple(pixels.image_mean), std=tuple(pixels.image_std))
    return Loaded(model=model, tokens=tokens_of(tokenizer, model.eoc), normalise=normalise)


def _from_pretrained(kind: Any, key: str, name: str, **options: Any) -> Any:
    try:
        return kind.from_pretrained(name, **options)
    except OSError as error:
        at_fault = ConfigError if Path(name).exists() else SurroundingsError
        raise at_fault(f"{key} = {name}: {str(error).splitlines()[0]}") from error
    except ValueError as error:
        raise ConfigError(f"{key} = {name}: {str(error).splitlines()[0]}") from error
