"""Frozen models by name, folder or GGUF file, and what belongs to them: tokenizer, mean and deviation of pixels."""

from pathlib import Path
from typing import Any

import msgspec
import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from schemas.errors import ConfigError, SurroundingsError
from trainer.compute import ComputeConfig, prepare
from trainer.data.tokens import Tokens, tokens_of
from trainer.initial import initialise
from trainer.model.config import ModelConfig
from trainer.model.flamingo import Flamingo
from trainer.ranks import Ranks
from trainer.spread_load import WeightFiles, read_around_layers, read_layers, without_weights


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


def load_model(
    config: ModelConfig,
    seed: int = 0,
    normalise: Normalisation | None = None,
    compute: ComputeConfig = ComputeConfig(),
    ranks: Ranks = Ranks(),
) -> Loaded:
    """The frozen models that a configuration names, with new trained parts between them, set up to compute on the rank's device.

    A language model that is a table begins with random weights. Without `normalise` the vision model says what its pixels are. A language model that is
    sharded is at no time whole on any rank.

    Raises:
        ConfigError: a name is missing, or names a model of another kind, or a table stands where weights are needed.
        SurroundingsError: it is no folder here, and the hub does not have it.
    """
    if isinstance(config.vision, dict):
        raise ConfigError("model.vision is a table, which has no weights (it serves --dry-run); name a model")
    if isinstance(config.language, dict) and not (config.train_language and config.tokenizer):
        raise ConfigError(
            "model.language is a table, which has no weights: name a model; or, to train it from nothing, set model.train_language and model.tokenizer"
        )
    torch.manual_seed(seed)
    if compute.shard and ranks.ranks > 1 and isinstance(config.language, str):
        model, vision = _load_shares(config, compute, ranks)
    else:
        vision, language = load_frozen(config)
        model = Flamingo(vision, language, config)
        prepare(model, compute, ranks)
    initialise(model, seed)
    tokenizer = load_tokenizer("model.tokenizer", config.tokenizer or str(config.language))
    normalise = normalise or normalisation(vision, config.vision)
    return Loaded(model=model, tokens=tokens_of(tokenizer, model.eoc), normalise=normalise)


def load_tokenizer(key: str, name: str) -> PreTrainedTokenizerFast:
    """The tokenizer that the value of a configuration's key names.

    Raises:
        as `load_model`.
    """
    tokenizer: PreTrainedTokenizerFast = _from_pretrained(AutoTokenizer, key, name)
    return tokenizer


def load_frozen(config: ModelConfig) -> tuple[PreTrainedModel, PreTrainedModel]:
    """Vision and language model, as they come.

    Raises:
        as `load_model`.
    """
    vision = _model(AutoModel, "model.vision", config.vision)
    language = _model(AutoModelForCausalLM, "model.language", config.language)
    return vision, language


def _load_shares(config: ModelConfig, compute: ComputeConfig, ranks: Ranks) -> tuple[Flamingo, PreTrainedModel]:
    """The model, whose new parts have no values yet, and its vision model."""
    with ranks.together():  # what is new begins by weights of all ranks, for which none is to wait in vain
        files = WeightFiles("model.language", str(config.language))
        vision = _model(AutoModel, "model.vision", config.vision)
        with without_weights():
            language = AutoModelForCausalLM.from_config(shapes_of("model.language", config.language))
        read_around_layers(language, files)
        with without_weights():
            model = Flamingo(vision, language, config)
        prepare(model, compute, ranks)
        read_layers(model, files)
    return model, vision


def outline(config: ModelConfig) -> Flamingo:
    """The model on the meta device: shapes alone, of which a table is enough, and of a name its `config.json`.

    Raises:
        as `load_model`.
    """
    with torch.device("meta"):
        vision = _shaped(AutoModel, "model.vision", config.vision)
        language = _shaped(AutoModelForCausalLM, "model.language", config.language)
        return Flamingo(vision, language, config)


def normalisation(vision: PreTrainedModel, name: str) -> Normalisation:
    """That of a model's image processor; models of timm say it in their own configuration."""
    stated = getattr(vision.config, "pretrained_cfg", None)
    if stated is None:
        pixels = _from_pretrained(AutoImageProcessor, "model.vision", name, backend="pil")
        stated = {"mean": pixels.image_mean, "std": pixels.image_std}
    return Normalisation(mean=tuple(stated["mean"]), std=tuple(stated["std"]))


def _model(kind: Any, key: str, source: str | dict[str, Any]) -> Any:
    if isinstance(source, dict):
        return _shaped(kind, key, source)
    return _from_pretrained(kind, key, source)


def _shaped(kind: Any, key: str, source: str | dict[str, Any]) -> Any:
    """A model of a configuration's shapes, with random weights."""
    shapes = shapes_of(key, source)
    try:
        return kind.from_config(shapes)
    except (
        ValueError,
        ImportError,
    ) as error:  # numbers that do not fit together; a package that this kind of model wants
        raise ConfigError(f"{key}: {str(error).strip().splitlines()[0]}") from error


def shapes_of(key: str, source: str | dict[str, Any]) -> Any:
    """The configuration in transformers of a model that the value of a configuration's key names, or that is a table.

    Raises:
        as `load_model`.
    """
    if isinstance(source, str):
        return _from_pretrained(AutoConfig, key, source)
    try:
        return AutoConfig.for_model(**source)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise ConfigError(f"{key}: {str(error).strip().splitlines()[-1].strip()}") from error


def _from_pretrained(kind: Any, key: str, name: str, **options: Any) -> Any:
    if not name:
        raise ConfigError(f"{key} is not set; give a folder, or a name of the Hugging Face hub")
    if name.endswith(".gguf"):
        path, options = Path(name), {**options, "gguf_file": Path(name).name}
        name = str(path.parent)
    try:
        return kind.from_pretrained(name, **options)
    except OSError as error:
        if name.startswith(("/", ".", "~")) and not Path(name).exists():
            raise ConfigError(f"{key} = {name}: there is no such folder") from error
        said = str(error).splitlines()[0]
        if Path(name).exists():
            raise ConfigError(f"{key} = {name}: {said}") from error
        raise SurroundingsError(f"{key} = {name} is no folder, seen from here, and the hub: {said}") from error
    except (ValueError, ImportError) as error:  # a package that this kind of model wants
        raise ConfigError(f"{key} = {name}: {str(error).strip().splitlines()[0]}") from error
