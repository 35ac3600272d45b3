"""m3w generate: what a trained model says after prompts of texts, pictures and clips; m3w export: the model as a folder of its own."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from schemas.errors import InputError, UsageError
from schemas.settings import read_settings
from trainer.checkpoint import checkpoints, load
from trainer.config import TrainConfig
from trainer.data.example import CLIPS, PICTURES
from trainer.load import load_model
from trainer.model_folder import from_pretrained, save_pretrained
from trainer.prompt import Part, Pretrained
from trainer.ranks import joined


def trained(folder: Path, device: str = "cpu") -> Pretrained:
    """The model of an exported folder, or of the latest checkpoint of a training run, on a device.

    Raises:
        UsageError: the folder holds neither.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of reading files
    if (folder / "config.json").exists():
        return from_pretrained(folder, device=device)
    toml = folder / "config.toml"
    if toml.exists():
        config = read_settings(TrainConfig, toml.read_text(encoding="utf-8"), str(toml))
        found = checkpoints(config.checkpoints or folder)
    if not toml.exists() or not found:
        raise UsageError(f"{folder} holds no checkpoint and no exported model; m3w train and m3w export write them")
    loaded = load_model(config.model, config.seed)
    load(found[-1], loaded.model)
    loaded.model.to(device)
    media = msgspec.structs.replace(config.media, mean=loaded.normalise.mean, flip=0.0, colour=0.0)
    return Pretrained(loaded=loaded, media=media)


def run(folder: Path, asked: Sequence[Sequence[str]], size: int, seed: int | None, **options: Any) -> Iterator[str]:
    """The model's words after each prompt, `size` at a time; a part of a prompt that names a file is a picture or clip, all else is text.

    With a `seed` the options that sample draw for each prompt by the seed and what it says, so that neither `size` nor order change an answer.

    Raises:
        UsageError: the folder holds no model, or a prompt is empty.
        InputError: a medium cannot be decoded, or what is named as one is not there.
    """
    with joined() as ranks:
        model = trained(folder, ranks.device)
    for begin in range(0, len(asked), size):
        batch = asked[begin : begin + size]
        seeds = None if seed is None else [_seed(seed, parts) for parts in batch]
        yield from model.answers([[_part(one) for one in parts] for parts in batch], seeds, **options)


def read_prompts(path: Path) -> list[list[str]]:
    """The prompts of a file: a JSON array of texts and paths a line.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        return msgspec.json.Decoder(list[str]).decode_lines(path.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(f'{path} is no file of prompts, such as ["heron.jpg", "A heron"] a line: {error}') from error


def export(folder: Path, out: Path, whole: bool) -> None:
    """Writes the model of a training run to a folder that needs nothing of it; `whole` puts its frozen parts into it too.

    Raises:
        UsageError: there is no model, or `out` is there already.
    """
    save_pretrained(out, trained(folder), whole)


def _part(given: str) -> Part:
    path = Path(given)
    if not path.is_file() and path.suffix[1:].lower() in PICTURES + CLIPS and len(given.split()) == 1:
        raise InputError(f"{given}: there is no such file")
    return path if path.is_file() else given


def _seed(seed: int, parts: Sequence[str]) -> int:
    return int.from_bytes(hashlib.sha256(msgspec.json.encode([seed, *parts])).digest()[:8], "big")
