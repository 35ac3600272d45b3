"""Features of the frozen encoder, kept on this disk: what was seen once is neither decoded nor encoded again, in later epochs and later runs.

    ~/.cache/m3w/features/ENCODER/bytes              how many bytes of files are there
                                  ab/ab12....safetensors   the features of one picture, [1, S, C]; named by its bytes and by what was made of them

ENCODER is made of the encoder's weights (their type, too), of its code's version and of how pixels are normalised; a file's name of the medium's bytes, the side, the
padding and the coin by which it was mirrored. So what is read is what would be computed, to the rounding of an encoder that sees other pictures beside it. Pictures
whose colours are changed by chance, and clips, whose windows are drawn, hardly come a second time: they are not kept.

Epochs go round, so nothing makes room for another picture of the same encoder: the first that come stay. Other encoders' features make room, those used longest ago first.
All processes of a machine share the folder; a file is renamed to its place when it is whole.
"""

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from trainer.data.cache import cache_folder, locked
from trainer.data.media import MediaConfig, is_mirrored


class FeatureCache:
    """The features of one encoder (whatever names it) for pictures as `media` makes them, within `limit` bytes with those of all others."""

    def __init__(self, encoder: str, media: MediaConfig, limit: int) -> None:
        self._media, self._limit = media, limit
        self._made = f"{media.side} {media.mean} Pillow {PIL.__version__} torch {torch.__version__}"
        self._folder = cache_folder("features") / hashlib.sha256(encoder.encode()).hexdigest()[:32]
        self._is_full = False
        with suppress(FileNotFoundError):
            os.utime(self._folder / "bytes")

    def name(self, data: bytes, chance: NDArray[np.float64]) -> str:
        """The name of a picture's features, given the numbers that `augmented` gets; empty where they are not to be kept."""
        if self._media.colour:
            return ""
        made = f"{self._made} {is_mirrored(self._media, chance)} "
        return hashlib.sha256(made.encode() + data).hexdigest()[:40]

    def read(self, name: str) -> Tensor | None:
        """[T, S, C], if they are there and whole."""
        try:
            return load_file(self._path(name))["features"]
        except (OSError, SafetensorError, KeyError):
            return None

    def keep(self, names: Sequence[str], groups: Sequence[Tensor]) -> None:
        """Keeps the features of media, in groups [m, T, S, C] that follow one another, under their names; those without a name are not kept."""
        new = [bool(name) and not self._path(name).exists() for name in names]
        if not any(new) or self._is_full:
            return
        rows = (row for group in groups for row in group.cpu())
        try:
            for name, is_new, row in zip(names, new, rows, strict=True):
                if is_new and not self._is_full:
                    data = save({"features": row.contiguous()})
                    self._is_full = not self._has_room(len(data))
                    if not self._is_full:
                        _put(self._path(name), data)
        except OSError as error:
            self._is_full = True
            warnings.warn(f"no more features are kept, the run goes on: {error}", stacklevel=2)

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / f"{name}.safetensors"

    def _has_room(self, size: int) -> bool:
        """Whether so many bytes more may be written, which are counted as there from now on."""
        parent = self._folder.parent
        with locked(parent / "room.lock"):
            own = self._folder / "bytes"
            own.parent.mkdir(exist_ok=True)
            others = sorted(set(parent.glob("*/bytes")) - {own}, key=lambda one: one.stat().st_mtime_ns)
            before, taken = _number(own), {one: _number(one) for one in others}
            for one in others:
                if before + sum(taken.values()) + size <= self._limit:
                    break
                shutil.rmtree(one.parent, ignore_errors=True)  # its run may be writing
                del taken[one]
            if before + sum(taken.values()) + size > self._limit:
                return False
            _put(own, str(before + size).encode())
            return True


def _number(file: Path) -> int:
    return int(file.read_text() or 0) if file.exists() else 0


def _put(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise
