"""A trained model as a folder that can be given away: no run, no shards and no optimizer, and nothing pickled.

    config.json            what the model is made of, what it sees of media, fingerprints of its frozen parts
    trained.safetensors    what was trained, by name
    tokenizer/             the language model's
    vision/, language/     the frozen parts themselves where the folder is whole; else config.json names them

Frozen parts are most of a model, and public ones are had by name; a whole folder needs nothing but itself.
"""

import shutil
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from schemas.errors import ConfigError, OutputError, SchemaError, SurroundingsError
from trainer.checkpoint import fingerprint
from trainer.data.media import MediaConfig
from trainer.load import Normalisation, load_frozen, load_model
from trainer.model.config import ModelConfig
from trainer.model.flamingo import Flamingo
from trainer.prompt import Pretrained

_CARD, _TRAINED, _TOKENIZER = "config.json", "trained.safetensors", "tokenizer"
_FROZEN = ("vision", "language")


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What config.json says; `frozen` are the fingerprints of the parts that are not in trained.safetensors, `whole` whether they lie beside it."""

    model: ModelConfig
    media: MediaConfig
    normalise: Normalisation
    frozen: dict[str, str]
    whole: bool


def save_pretrained(folder: Path | str, pretrained: Pretrained, whole: bool = False) -> None:
    """Writes a model to a new folder, which is there when all of it is.

    Raises:
        OutputError: the folder is there already.
        SurroundingsError: it cannot be written.
    """
    folder, model = Path(folder), pretrained.loaded.model
    if folder.exists():
        raise OutputError(f"{folder} is there already; give another folder")
    card = Card(
        model=msgspec.structs.replace(model.config, **_absolute(model.config)),
        media=pretrained.media,
        normalise=pretrained.loaded.normalise,
        frozen=_fingerprints(model),
        whole=whole,
    )
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file({name: one.detach().contiguous() for name, one in _trained(model).items()}, part / _TRAINED)
        pretrained.loaded.tokens.tokenizer.save_pretrained(part / _TOKENIZER)
        if whole:
            _copy_frozen(model.config, part)
        (part / _CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
        for file in part.rglob("*.safetensors"):  # which are written for their owner alone
            file.chmod((part / _CARD).stat().st_mode)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise SurroundingsError(f"{folder}: the model could not be written: {error}") from error


def from_pretrained(folder: Path | str, vision: str = "", language: str = "", device: str = "cpu") -> Pretrained:
    """The model that `save_pretrained` wrote, on a device; `vision` and `language` name its frozen parts where they are not where they were.

    Raises:
        SchemaError: the folder is not what was written.
        ConfigError: a frozen part is another than the model was trained with.
        SurroundingsError: a frozen part is not to be had.
    """
    folder = Path(folder)
    try:
        card = msgspec.json.decode((folder / _CARD).read_bytes(), type=Card)
        weights = load_file(folder / _TRAINED)
    except (OSError, msgspec.MsgspecError, SafetensorError) as error:
        raise SchemaError(f"{folder} is no model that m3w saved: {error}") from error
    places = {part: _place(folder / part) for part in _FROZEN if card.whole and (folder / part).exists()}
    places |= {part: name for part, name in (("vision", vision), ("language", language)) if name}
    config = msgspec.structs.replace(card.model, tokenizer=str(folder / _TOKENIZER), **places)
    loaded = load_model(config, normalise=card.normalise)
    for part, seen in _fingerprints(loaded.model).items():
        if seen != card.frozen[part]:
            raise ConfigError(f"{folder}: {getattr(config, part)} is not the {part} model that it was trained with")
    own = _trained(loaded.model)
    if {name: one.shape for name, one in weights.items()} != {name: one.shape for name, one in own.items()}:
        raise SchemaError(f"{folder / _TRAINED} has other weights than {_CARD} says")
    with torch.no_grad():
        for name, one in own.items():
            one.copy_(weights[name])
    loaded.model.to(device)
    return Pretrained(loaded=loaded, media=card.media)


def _absolute(config: ModelConfig) -> dict[str, str]:
    """Where the frozen parts are that were named by a folder, for whom the way there is another."""
    names = {part: getattr(config, part) for part in _FROZEN}
    return {
        part: str(Path(name).absolute())
        for part, name in names.items()
        if isinstance(name, str) and Path(name).exists()
    }


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


def _fingerprints(model: Flamingo) -> dict[str, str]:
    return {"vision": fingerprint(model.vision), "language": fingerprint(model.language)}


def _copy_frozen(config: ModelConfig, folder: Path) -> None:
    """Vision and language model as their names give them; a language model that was made from a table is among what was trained."""
    for part, frozen in zip(_FROZEN, load_frozen(config), strict=True):
        name = getattr(config, part)
        if isinstance(name, str) and name.endswith(".gguf"):  # which transformers reads and does not write
            (folder / part).mkdir()
            shutil.copy(name, folder / part)
        elif isinstance(name, str):
            frozen.save_pretrained(folder / part)


def _place(folder: Path) -> str:
    """Of a frozen part: its folder, or the one file in it that is all of it."""
    return str(next(folder.glob("*.gguf"), folder))
