"""A language model that no rank has room for: built without weights, sharded, and then filled, each rank reading its own rows of the files.

    shapes ──▶ Flamingo on the meta device ──shard──▶ empty shares on each rank's device ──▶ rows from *.safetensors

Tables of words and the last norm are read whole at first; buffers, such as the angles of positions, are made as the model makes them.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from transformers import PreTrainedModel

from schemas.errors import ConfigError
from trainer.model.decoder import decoder_layers
from trainer.model.flamingo import Flamingo
from trainer.sharding import rows_of, share_of

_LAYER = re.compile(r"(\.\d+)(\.layer)+\.")  # what `ConditionedLayer` adds to a name


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules that are made within it have their parameters on the meta device, and their buffers where they belong."""

    def on_meta(_: nn.Module, name: str, one: nn.Parameter | None) -> nn.Parameter | None:
        del name
        return None if one is None or one.is_meta else nn.Parameter(one.to("meta"), one.requires_grad)

    hook = register_module_parameter_registration_hook(on_meta)  # type: ignore[arg-type]  # a parameter takes the other's place
    try:
        yield
    finally:
        hook.remove()


class WeightFiles:
    """The safetensors files of a model in a folder, or on the Hugging Face hub, whence they are fetched.

    Raises:
        ConfigError: there are none.
    """

    def __init__(self, key: str, name: str) -> None:
        folder = Path(name if Path(name).is_dir() else snapshot_download(name, allow_patterns=["*.safetensors*"]))
        self._source = f"{key} = {name}"
        self._files: dict[str, Any] = {}
        try:
            for path in sorted(folder.glob("*.safetensors")):
                file: Any = safe_open(path, framework="pt")
                self._files |= dict.fromkeys(file.keys(), file)
        except SafetensorError as error:
            raise ConfigError(f"{self._source}: {error}") from error
        if not self._files:
            raise ConfigError(f"{self._source} has no *.safetensors, of which ranks read their shares")

    def read(self, name: str, rows: slice) -> torch.Tensor:
        """Rows of a tensor."""
        if name not in self._files:
            raise ConfigError(
                f"{self._source} has no {name} in its files; load it with transformers once, and save it anew"
            )
        found: torch.Tensor = self._files[name].get_slice(name)[rows]
        return found


def read_around_layers(language: PreTrainedModel, files: WeightFiles) -> None:
    """Gives a model without weights those that stand in no decoder layer, tied as they are tied."""
    inside = {id(one) for one in decoder_layers(language).parameters()}
    for name, one in list(language.named_parameters()):
        if id(one) not in inside:
            parent, _, leaf = name.rpartition(".")
            read = nn.Parameter(files.read(name, slice(None)), one.requires_grad)
            setattr(language.get_submodule(parent), leaf, read)
    language.tie_weights()


def allocate(model: Flamingo, device: str) -> None:
    """Gives everything that has no memory yet some of it on a device, of shares as much as they are; what will stand in it is not there yet."""
    buffers = {name: one.clone() for name, one in model.named_buffers()}
    for layer in model.layers:
        layer.to_empty(device=device)
    for module in model.modules():
        for name, one in module.named_parameters(recurse=False):
            if one.is_meta:
                setattr(module, name, nn.Parameter(torch.empty_like(one, device=device), one.requires_grad))
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])


@torch.no_grad()
def read_layers(model: Flamingo, files: WeightFiles) -> None:
    """Fills each rank's shares of the decoder layers."""
    for name, one in model.language.named_parameters():
        if ".layer." in name and ".gated." not in name:
            share_of(one).copy_(files.read(_LAYER.sub(r"\1.", name), rows_of(one)))
