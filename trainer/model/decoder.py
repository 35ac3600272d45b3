"""Decoder layers of any language model in transformers, each behind the gated layer that belongs before it.

transformers keeps the layers in one `ModuleList` and calls them in order; each is replaced there by a `ConditionedLayer`, which answers to
whatever is read from the one inside it. What the gated layers look at is an argument of a call, which `looking_at` carries past signatures that know nothing of
it: in a variable of the call's own context, not in the model. So an error in the middle, a second thread, or a layer that is recomputed finds nothing stale.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from schemas.errors import ConfigError
from trainer.model.xattn import GatedCrossAttention, KeysValues


class Looking(NamedTuple):
    """What the tokens of one call look at.

    `seen_BLK` are the media of their row (`seen_media`), which are there as latents at `slots_BK`, or as keys and values by layer. The call is of
    tokens from number `begin` on.
    """

    seen_BLK: Tensor
    slots_BK: Tensor
    latents_MRC: Tensor | None = None
    keys_values: Mapping[int, KeysValues] | None = None
    begin: int = 0

    def seen(self, tokens: int) -> Tensor:
        """[B, tokens, K]; tokens after the prompt see what its last one does, whatever they say."""
        prompt = self.seen_BLK.shape[1]
        if (self.begin, tokens) == (0, prompt):
            return self.seen_BLK
        numbers_L = torch.arange(self.begin, self.begin + tokens, device=self.seen_BLK.device)
        return self.seen_BLK[:, numbers_L.clamp(max=prompt - 1)]


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
        return self.layer(self.look(hidden_states, looking), *args, **kwargs)

    def look(self, hidden_BLD: Tensor, looking: Looking | None) -> Tensor:
        """[B, L, D] with what was seen. Beams of a row follow one another, and look as one longer row."""
        if self.gated is None or looking is None:
            return hidden_BLD
        rows, tokens = len(looking.slots_BK), hidden_BLD.shape[1]
        beams = len(hidden_BLD) // rows
        seen_BLK = looking.seen(tokens).repeat(1, beams, 1)
        looked: Tensor = self.gated(hidden_BLD.reshape(rows, beams * tokens, -1), self._media(looking), seen_BLK)
        return looked.view_as(hidden_BLD)

    def _media(self, looking: Looking) -> KeysValues:
        if looking.keys_values is not None:
            return looking.keys_values[self.number]
        assert self.gated is not None
        assert looking.latents_MRC is not None
        return self.gated.keys_values(looking.latents_MRC, looking.slots_BK)


class GraftedLayer(ConditionedLayer):
    """The last decoder layer, or another grafted one, and a new layer that looks after it: nothing of the language model below sees a medium."""

    def _run(self, hidden_states: Tensor, looking: Looking | None, *args: Any, **kwargs: Any) -> Any:
        with looking_at(looking):  # the one inside asks for it, also when this is computed anew, long after the call
            hidden_states = self.layer(hidden_states, *args, **kwargs)
        return self.look(hidden_states, looking)


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
    language: PreTrainedModel, first: int, every: int, make_gated: Callable[[], GatedCrossAttention | None]
) -> list[ConditionedLayer]:
    """Puts a gated layer before layer `first` (Flamingo B.1.1: 0) and every `every`-th after it; returns all layers in order.

    Raises:
        ConfigError: there is no layer `first`.
    """
    layers = decoder_layers(language)
    if first >= len(layers):
        raise ConfigError(f"model.xattn.first = {first}: the language model has {len(layers)} layers")
    gated = range(first, len(layers), every)
    conditioned = [
        ConditionedLayer(layer, number, make_gated() if number in gated else None)
        for number, layer in enumerate(layers)
    ]
    for number, layer in enumerate(conditioned):
        layers[number] = layer
    language.register_forward_pre_hook(_count_tokens, with_kwargs=True)
    return conditioned


def graft(
    language: PreTrainedModel, first: int, every: int, make_gated: Callable[[], GatedCrossAttention]
) -> list[ConditionedLayer]:
    """Puts as many layers as `condition` would on top of the last one instead, one after another; returns them all, behind those that they stand on."""
    layers = decoder_layers(language)
    bare = condition(language, first, every, lambda: None)
    grafted: list[ConditionedLayer] = [bare[-1]]
    for number in range(first, len(layers), every):
        grafted.append(GraftedLayer(grafted[-1], len(layers) + number, make_gated()))
    layers[-1] = grafted[-1]
    return bare + grafted[1:]


def _count_tokens(language: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Before each call of a language model: how many tokens went through already, those in its cache, decides which ones these are."""
    looking, cache = _looking.get(), kwargs.get("past_key_values")
    if looking is not None and cache is not None:
        _looking.set(looking._replace(begin=int(cache.get_seq_length())))
