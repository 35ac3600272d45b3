"""Configuration files: presets that come with m3w, or the user's own. Who only trains needs neither the pipeline nor its libraries for it."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.config import Config

PRESETS = ("m3w", "obelics")
TRAINING = ("tiny", "smol", "flamingo-3b", "flamingo-9b", "flamingo-80b", "demo")
PRETRAINING = ("demo-language", "demo-vision", "flamingo-vision")


def read_config(name: str, settings: Sequence[str] = ()) -> "Config":
    """The configuration of a preset or a TOML file, with `a.b=c` settings laid over it.

    Raises:
        ConfigError: no such file or preset, or as `load_config`.
    """
    from pipeline.config import load_config

    return load_config(toml_of(name, PRESETS), name, settings)


def toml_of(name: str, presets: Sequence[str]) -> str:
    """The text of one of the presets, or of a TOML file.

    Raises:
        ConfigError: no such file or preset.
    """
    if name in presets:
        return (files("jobs") / "configs" / f"{name}.toml").read_text()
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{name}: {getattr(error, 'strerror', None) or error}; presets are {', '.join(presets)}"
        ) from error
