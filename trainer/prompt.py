"""Interleaved prompts: texts and media in any order to what the model is asked with.

    "Two cats.", picture, "Output: a dog", picture, "Output:"   ->   BOS Two cats. EOC <image> Output: a dog EOC <image> Output:

As in training, `<EOC>` stands before a medium, but not at the beginning, so that a prompt of one picture is a pair whose text is to come. Nothing is put between a text
and its neighbours: a prompt says what it says. Prompts of one batch are padded on the left.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import torch
from torch import Tensor

from schemas.errors import InputError, UsageError
from trainer.data.batch import packed_media
from trainer.data.clips import clip
from trainer.data.media import MediaConfig, MediumError, Pixels, picture
from trainer.data.tokens import Tokens
from trainer.load import Loaded
from trainer.model.sampling import drawn_by_row

Part: TypeAlias = str | bytes | Path | Pixels


class Pretrained(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model with what it is asked through: its tokenizer, and what it sees of media, of which the parts that are chance are off."""

    loaded: Loaded
    media: MediaConfig

    def answers(self, batch: Sequence[Sequence[Part]], seeds: Sequence[int] | None = None, **options: Any) -> list[str]:
        """What the model says after each prompt, by greedy search, or as the options of transformers' `generate` say.

        A part of a prompt is a text, or a picture or clip: its path, its bytes, or its pixels. With `seeds`, one a prompt, the options that sample draw for each prompt
        by itself: it is answered the same in any company.

        Raises:
            UsageError: a prompt is empty; seeds are not as many as prompts, or come with beams, or with options that no draw can follow.
            InputError: a medium cannot be read or decoded.
        """
        if seeds is not None:
            options = _drawn(seeds, len(batch), options)
        model, tokens = self.loaded.model.eval(), self.loaded.tokens
        device = model.resampler.latents.device
        read = [[part if isinstance(part, str) else self.pixels(part) for part in parts] for parts in batch]
        asked = prompts(read, tokens, self.media.side)
        ids_BL, phi_BL, slots_BK, mask_BL = (
            one.to(device) for one in (asked.ids_BL, asked.phi_BL, asked.slots_BK, asked.mask_BL)
        )
        with torch.no_grad():
            latents_MRC = model.latents([self.loaded.normalise(group.to(device)) for group in asked.pixels])
        options = {"do_sample": False, **options}
        said = model.generate(ids_BL, phi_BL, slots_BK, latents_MRC, mask_BL, **options)
        new = [[one for one in row if one < tokens.eoc] for row in said[:, ids_BL.shape[1] :].tolist()]
        return [str(tokens.tokenizer.decode(row, skip_special_tokens=True)).strip() for row in new]

    def pixels(self, medium: bytes | Path | Pixels) -> Pixels:
        """[T, 3, side, side] of a picture or clip.

        Raises:
            InputError: it cannot be read or decoded.
        """
        if isinstance(medium, np.ndarray):
            return medium
        name = str(medium) if isinstance(medium, Path) else "a medium of the prompt"
        rng = np.random.default_rng(0)
        try:
            data = medium.read_bytes() if isinstance(medium, Path) else medium
            try:
                return picture(data, self.media, rng)
            except MediumError:
                return clip(data, self.media, rng)
        except (OSError, MediumError) as error:
            raise InputError(f"{name}: no picture and no clip that can be decoded: {error}") from error


def _drawn(seeds: Sequence[int], prompts: int, options: dict[str, Any]) -> dict[str, Any]:
    if len(seeds) != prompts:
        raise UsageError(f"{len(seeds)} seeds for {prompts} prompts; give one to each")
    if options.get("num_beams", 1) > 1:
        raise UsageError("a draw by seeds and a search by beams at once; choose one")
    try:
        return drawn_by_row(seeds, options)
    except ValueError as error:
        raise UsageError(str(error)) from error


class Prompts(msgspec.Struct, frozen=True, kw_only=True):
    """What `Flamingo.generate` takes: ids, mask and phi [B, L], slots [B, K], pixels by number of frames."""

    ids_BL: Tensor
    mask_BL: Tensor
    phi_BL: Tensor
    slots_BK: Tensor
    pixels: list[Tensor]


def prompts(batch: Sequence[Sequence[str | Pixels]], tokens: Tokens, side: int) -> Prompts:
    """The prompts of a batch, each a run of texts and media ([T, 3, side, side] bytes).

    Raises:
        UsageError: a prompt is empty.
    """
    rows = [_row(parts, tokens) for parts in batch]
    if not rows or not all(ids for ids, _ in rows):
        raise UsageError("an empty prompt: give a text or a medium")
    length = max(len(ids) for ids, _ in rows)
    ids, phi = (np.full((len(rows), length), fill, np.int64) for fill in (tokens.eos, 0))
    mask = np.zeros((len(rows), length), np.int64)
    for number, (row, looks) in enumerate(rows):
        ids[number, length - len(row) :], phi[number, length - len(row) :] = row, looks
        mask[number, length - len(row) :] = 1
    media = [[part for part in parts if not isinstance(part, str)] for parts in batch]
    pixels, slots = packed_media(media, side)
    return Prompts(
        ids_BL=torch.from_numpy(ids),
        mask_BL=torch.from_numpy(mask),
        phi_BL=torch.from_numpy(phi),
        slots_BK=slots,
        pixels=pixels,
    )


def _row(parts: Sequence[str | Pixels], tokens: Tokens) -> tuple[list[int], list[int]]:
    """Ids and phi of one prompt."""
    ids, medium = list(tokens.bos), 0
    phi = [0] * len(ids)
    for place, part in enumerate(parts):
        if isinstance(part, str):
            said = tokens.encode(part)
        else:
            ends = [tokens.eoc] if place else []
            ids += ends
            phi += [medium] * len(ends)
            medium += 1
            said = tokens.tag
        ids += said
        phi += [medium] * len(said)
    return ids, phi
