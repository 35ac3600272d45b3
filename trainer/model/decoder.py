"""Decoder layers of any language model in transformers, each behind the gated layer that belongs before it.

transformers keeps the layers in one `ModuleList` and calls them in order; each is replaced there by a `ConditionedLayer`, which answers to
whatever is read from the one inside it. What the gated layers look at comes by `looking_at`, for the time of one call: nothing of a batch
stays in the model, so an error in the middle, a second thread or a recomputed layer finds nothing stale.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from schemas.errors import ConfigError
from trainer.model.xattn import GatedCrossAttention, KeysValues, Sight


class Looking(msgspec.Struct, frozen=True, kw_only=True):
    """What the gated layers of one call see: the sight of its tokens, with latents [M, R, C], or with keys and values by layer."""

    sight: Sight
    latents_MRC: Tensor | None = None
    keys_values: dict[int, KeysValues] | None = None

    def sight_of(self, rows: int, tokens: int) -> Sight:
        """The sight of a layer's rows and tokens.

        In generation there may be more rows than the prompt has, each of its rows repeated for beams, and other tokens: all so far, or with a cache the newest
        alone. Tokens after the prompt see what its last one does.
        """
        slots_BK, seen_BLK = self.sight.slots_BK, self.sight.seen_BLK
        if tokens != seen_BLK.shape[1]:
            new = tokens - seen_BLK.shape[1] if tokens > seen_BLK.shape[1] else tokens
            last_BLK = seen_BLK[:, -1:].expand(-1, new, -1)
            seen_BLK = last_BLK if new == tokens else torch.cat([seen_BLK, last_BLK], dim=1)
        if rows != len(slots_BK):
            slots_BK, seen_BLK = (one.repeat_interleave(rows // len(one), dim=0) for one in (slots_BK, seen_BLK))
        return Sight(slots_BK=slots_BK, seen_BLK=seen_BLK)


_looking: ContextVar[Looking | None] = ContextVar("looking", default=None)


@contextmanager
def looking_at(looking: Looking | None) -> Iterator[None]:
    """Within it the decoder layers see this; with None they are the bare model's."""
    token = _looking.set(looking)
    try:
        yield
    finally:
        _looking.reset(token)


class ConditionedLayer(nn.Module):
    """A decoder layer, and the gated layer before it where there is one. `checkpointing` recomputes both in the backward pass."""

    def __init__(self, layer: nn.Module, number: int, gated: GatedCrossAttention | None) -> None:
        super().__init__()
        self.layer = layer
        self.gated = gated
        self.number = number
        self.checkpointing = False

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the layer inside returns for hidden states that have seen."""
        looking = _looking.get()
        if self.checkpointing and self.training and hidden_states.requires_grad:
            return checkpoint(self._run, hidden_states, looking, *args, use_reentrant=False, **kwargs)
        return self._run(hidden_states, looking, *args, **kwargs)

    def _run(self, hidden_states: Tensor, looking: Looking | None, *args: Any, **kwargs: Any) -> Any:
        if self.gated is not None and looking is not None:
            sight = looking.sight_of(*hidden_states.shape[:2])
            hidden_states = self.gated(hidden_states, self.media(looking, sight), sight)
        return self.layer(hidden_states, *args, **kwargs)

    def media(self, looking: Looking, sight: Sight) -> KeysValues:
        """The keys and values that the gated layer attends to."""
        if looking.keys_values is not None:
            made = looking.keys_values[self.number]
            beams = len(sight.slots_BK) // len(made.keys)
            if beams == 1:
                return made
            keys, values = (one.repeat_interleave(beams, dim=0) for one in (made.keys, made.values))
            return KeysValues(keys=keys, values=values)
        assert self.gated is not None
        assert looking.latents_MRC is not None
        return self.gated.keys_values(looking.latents_MRC, sight.slots_BK)


class GraftedLayer(ConditionedLayer):
    """The last decoder layer, or another grafted one, and a new layer that looks after it: nothing of the language model below sees a medium."""

    def _run(self, hidden_states: Tensor, looking: Looking | None, *args: Any, **kwargs: Any) -> Any:
        hidden_states = self.layer(hidden_states, *args, **kwargs)
        if self.gated is None or looking is None:
            return hidden_states
        sight = looking.sight_of(*hidden_states.shape[:2])
        return self.gated(hidden_states, self.media(looking, sight), sight)


def decoder_layers(language: PreTrainedModel) -> nn.ModuleList:
    """The list in which a language model keeps its decoder layers.

    Raises:
        ConfigError: there is no single list of `num_hidden_layers` modules: not a decoder of the kind that this is made for.
    """
    wanted = language.config.get_text_config().num_hidden_layers
    found = [part for part in language.modules() if isinstance(part, nn.ModuleList) and len(part) == wanted]
    outer = [one for one in found if not any(one is not other and one in set(other.modules()) for other in found)]
    if len(outer) != 1:
        raise ConfigError(
            f"{type(language).__name__}: found {len(outer)} lists of {wanted} layers, expected one; name a decoder-only language model of transformers"
        )
    return outer[0]


def condition(
    language: PreTrainedModel, every: int, make_gated: Callable[[], GatedCrossAttention | None]
) -> list[ConditionedLayer]:
    """Puts a gated layer before layer 0 and every `every`-th after it (Flamingo B.1.1); returns all layers in order."""
    layers = decoder_layers(language)
    conditioned = [
        ConditionedLayer(layer, number, make_gated() if number % every == 0 else None)
        for number, layer in enumerate(layers)
    ]
    for number, layer in enumerate(conditioned):
        layers[number] = layer
    return conditioned


def graft(
    language: PreTrainedModel, every: int, make_gated: Callable[[], GatedCrossAttention]
) -> list[ConditionedLayer]:
    """Puts as many layers as `condition` would on top of the last one instead, one after another; returns them all, behind those that they stand on."""
    layers = decoder_layers(language)
    bare = condition(language, every, lambda: None)
    grafted: list[ConditionedLayer] = [bare[-1]]
    for number in range(0, len(layers), every):
        grafted.append(GraftedLayer(grafted[-1], len(layers) + number, make_gated()))
    layers[-1] = grafted[-1]
    return bare + grafted[1:]
