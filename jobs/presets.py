"""Configuration files: presets that come with m3w, or the user's own."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pipeline.config import Config, load_config
from schemas.errors import ConfigError

PRESETS = ("m3w", "obelics")


def read_config(name: str, settings: Sequence[str] = ()) -> Config:
    """The configuration of a preset or a TOML file, with `a.b=c` settings laid over it.

    Raises:
        ConfigError: no such file or preset, or as `load_config`.
    """
    if name in PRESETS:
        return load_config((files("jobs") / "configs" / f"{name}.toml").read_text(), name, settings)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--config {name}: {getattr(error, 'strerror', None) or error}; presets are {', '.join(PRESETS)}"
        ) from error
    return load_config(text, name, settings)
