"""How the work of an update is done: what is computed twice to save memory, what is compiled, what is spread over ranks. A run comes to the same, to rounding."""

from collections.abc import Iterator
from typing import Any

import msgspec
from torch import nn

from trainer.model.decoder import ConditionedLayer
from trainer.model.flamingo import Flamingo
from trainer.ranks import Ranks
from trainer.sharding import shard
from trainer.spread_load import allocate


class ComputeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an update is computed.

    `checkpointing` keeps one activation a decoder layer and computes the others anew in the backward pass, a third more work; `compile` compiles each layer;
    `shard` spreads the language model over the ranks.
    """

    checkpointing: bool = False
    compile: bool = False
    shard: bool = False


def prepare(model: Flamingo, config: ComputeConfig, ranks: Ranks = Ranks()) -> None:
    """Sets a model up to compute so, on the rank's device."""
    for layer in model.layers:
        layer.checkpointing = config.checkpointing
    if config.compile:
        compile_layers(model)
    if config.shard:
        shard(model, ranks)
    if any(one.is_meta for one in model.parameters()):
        allocate(model, ranks.device)
    model.to(ranks.device)


def compile_layers(model: Flamingo, **options: Any) -> None:
    """Compiles the layers of all parts, each by itself, with the options of `torch.compile`.

    Layers of one kind share what is compiled for the first of them. The first shapes are compiled as they are, the next ones for any size: so the number of
    compilations grows neither with layers nor with sizes of batches.
    """
    for block in blocks(model):
        block.compile(**options)


def blocks(model: Flamingo) -> Iterator[nn.Module]:
    """The layers of vision, resampler and language model, and the gated layers."""
    for part in (model.vision, model.resampler):
        yield from _listed(part)
    for layer in model.layers:
        if not isinstance(layer.layer, ConditionedLayer):
            yield layer.layer
        if layer.gated is not None:
            yield layer.gated


def _listed(part: nn.Module) -> Iterator[nn.Module]:
    """What stands in the outermost lists of a network."""
    for child in part.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _listed(child)
