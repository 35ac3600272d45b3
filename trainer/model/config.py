"""What a Flamingo is made of; the paper's numbers are the defaults (Flamingo Tables 4 and 5)."""

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]


class ResamplerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Perceiver Resampler. `frames` is how many time embeddings are learnt."""

    width: Count = 1536
    layers: Count = 6
    heads: Count = 16
    latents: Count = 64
    frames: Count = 8


class XattnConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gated layers: one before every `every`-th layer, from the first on.

    `sees` is the medium of a token alone, or all media up to it (63.5 against 70.7, Flamingo Table 10). `dense_on_text` lets the dense half work
    on tokens without a medium, as in the paper.
    """

    every: Count = 1
    head_dim: Count = 128
    sees: Literal["own", "all_previous"] = "own"
    dense_on_text: bool = True


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole model. `vision` and `language` name frozen models: a folder, or a name of the Hugging Face hub."""

    vision: str = ""
    language: str = ""
    resampler: ResamplerConfig = ResamplerConfig()
    xattn: XattnConfig = XattnConfig()
