"""Checkpoints: what is trained, the optimizer's state, what of the stream was consumed. Nothing is pickled.

    step-00000100/trained.safetensors     trained weights by name
                  optimizer.safetensors   exp_avg.NAME, exp_avg_sq.NAME, step.NAME
                  state.json              step, stream, fingerprint of the frozen parts, digests of the two files; written last

A checkpoint is written beside its place and renamed, so what has its name is whole; a full disk or a kill leaves the last good one alone. Frozen weights
are not saved: their fingerprint is, and a checkpoint is refused by a model with other ones.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from schemas.errors import ConfigError, SchemaError, SurroundingsError
from trainer.data.stream import State

_NAME = re.compile(r"step-(\d{8,})")
_FILES = ("trained.safetensors", "optimizer.safetensors")
_SAMPLED = 1024  # ours: values of each frozen tensor that its fingerprint is made of, so that 70 GB take a second


class CheckpointState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The record of a checkpoint; `files` are SHA-256 digests by name."""

    step: int
    stream: State
    frozen: str
    files: dict[str, str]


def save(folder: Path, step: int, model: nn.Module, optim: torch.optim.Optimizer, stream: State, keep: int = 3) -> Path:
    """Writes the checkpoint of a step and deletes all but the `keep` latest.

    Raises:
        SurroundingsError: it cannot be written; earlier ones are as they were.
    """
    target = folder / f"step-{step:08d}"
    part = folder / f".{target.name}.{os.getpid()}"
    try:
        part.mkdir(parents=True, exist_ok=True)
        save_file(_trained(model), part / _FILES[0])
        save_file(_moments(model, optim), part / _FILES[1])
        files = {name: _digest(part / name) for name in _FILES}
        state = CheckpointState(step=step, stream=stream, frozen=fingerprint(model), files=files)
        (part / "state.json").write_bytes(msgspec.json.encode(state))
        _sync([*(part / name for name in (*_FILES, "state.json")), part])
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
        _sync([folder])
    except (OSError, SafetensorError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise SurroundingsError(f"{target}: the checkpoint could not be written: {error}") from error
    for old in checkpoints(folder)[:-keep]:
        shutil.rmtree(old)
    return target


def checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a folder, oldest first."""
    found = (path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and (path / "state.json").exists())
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load(checkpoint: Path, model: nn.Module, optim: torch.optim.Optimizer | None = None) -> CheckpointState:
    """Puts a checkpoint into a model, and into its optimizer.

    Raises:
        SchemaError: a file is not what was written.
        ConfigError: it is of another model: other frozen weights, other trained ones.
    """
    try:
        state = msgspec.json.decode((checkpoint / "state.json").read_bytes(), type=CheckpointState)
    except (OSError, msgspec.MsgspecError) as error:
        raise SchemaError(f"{checkpoint}: no checkpoint: {error}") from error
    for name, digest in state.files.items():
        if not (checkpoint / name).exists() or _digest(checkpoint / name) != digest:
            raise SchemaError(f"{checkpoint / name} is not what was written; take an earlier checkpoint")
    if state.frozen != fingerprint(model):
        raise ConfigError(f"{checkpoint} was trained with other frozen weights than this model has")
    weights = load_file(checkpoint / _FILES[0])
    own = dict(_named_trained(model))
    if {name: one.shape for name, one in weights.items()} != {name: one.shape for name, one in own.items()}:
        raise ConfigError(f"{checkpoint} is of another model: other trained weights, or other shapes")
    with torch.no_grad():
        for name, one in own.items():
            one.copy_(weights[name])
    if optim is not None:
        for key, value in load_file(checkpoint / _FILES[1]).items():
            kind, _, name = key.partition(".")
            optim.state[own[name]][kind] = value if kind == "step" else value.to(own[name].device)
    return state


def fingerprint(model: nn.Module) -> str:
    """32 hex digits that change when a frozen weight is another: names, shapes, types, and evenly spaced values of each."""
    hashed = hashlib.sha256()
    for name, one in model.named_parameters():
        if not one.requires_grad:
            values = one.detach().flatten()
            every = max(1, len(values) // _SAMPLED)
            hashed.update(f"{name} {tuple(one.shape)} {one.dtype}".encode())
            hashed.update(np.ascontiguousarray(values[::every].float().cpu().numpy()).tobytes())
    return hashed.hexdigest()[:32]


def _named_trained(model: nn.Module) -> Iterable[tuple[str, nn.Parameter]]:
    return ((name, one) for name, one in model.named_parameters() if one.requires_grad)


def _trained(model: nn.Module) -> dict[str, Tensor]:
    return {name: one.detach().contiguous() for name, one in _named_trained(model)}


def _moments(model: nn.Module, optim: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{kind}.{name}": value.detach().contiguous()
        for name, one in _named_trained(model)
        for kind, value in optim.state[one].items()
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(paths: Iterable[Path]) -> None:
    """Makes sure that files and folders are on the disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
