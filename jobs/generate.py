"""m3w generate: what a trained model says after a prompt of texts and pictures."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from schemas.errors import InputError, UsageError
from schemas.settings import read_settings
from trainer.checkpoint import checkpoints, load
from trainer.config import TrainConfig
from trainer.data.media import MediumError, Pixels, picture
from trainer.load import load_model
from trainer.prompt import prompts


def run(folder: Path, parts: list[str], **options: Any) -> str:
    """The model's words after a prompt; a part of the prompt that names a file is a picture, all else is text.

    Raises:
        UsageError: the folder holds no checkpoint.
        InputError: a picture cannot be decoded.
    """
    found = checkpoints(folder)
    if not found:
        raise UsageError(f"{folder} holds no checkpoint; m3w train writes them")
    toml = folder / "config.toml"
    config = read_settings(TrainConfig, toml.read_text(encoding="utf-8"), str(toml))
    loaded = load_model(config.model, config.seed)
    load(found[-1], loaded.model)
    media = msgspec.structs.replace(config.media, mean=loaded.normalise.mean, flip=0.0, colour=0.0)

    def part(given: str) -> str | Pixels:
        if not Path(given).is_file():
            return given
        try:
            return picture(Path(given).read_bytes(), media, np.random.default_rng(0))
        except MediumError as error:
            raise InputError(f"{given}: no picture that can be decoded: {error}") from error

    asked = prompts([[part(one) for one in parts]], loaded.tokens, media.side)
    model = loaded.model.eval()
    latents = model.latents([loaded.normalise(group) for group in asked.pixels])
    said = model.generate(asked.ids_BL, asked.phi_BL, asked.slots_BK, latents, asked.mask_BL, **options)
    new = [one for one in said[0, asked.ids_BL.shape[1] :].tolist() if one < loaded.tokens.eoc]
    return str(loaded.tokens.tokenizer.decode(new, skip_special_tokens=True)).strip()
