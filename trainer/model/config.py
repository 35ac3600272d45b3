"""What a Flamingo is made of; the paper's numbers are the defaults (Flamingo Table 4)."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]

XattnKind: TypeAlias = Literal["gated", "ungated", "vanilla", "graft"]


class ResamplerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The Perceiver Resampler, or one that the paper compares it with. `frames` is how many time embeddings are learnt."""

    kind: Literal["perceiver", "mlp", "transformer"] = "perceiver"
    width: Count = 1536  # Flamingo Table 4, and the next two
    layers: Count = 6
    heads: Count = 16
    latents: Count = 64  # Flamingo Table 5
    frames: Count = 8  # Flamingo B.1.2

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width = {self.width} does not divide among heads = {self.heads}")


class XattnConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The gated layers: one before every `every`-th layer, from layer `first` on.

    `sees` is the medium of a token alone, or all media up to it (63.5 against 70.7, Flamingo Table 10). `dense_on_text` lets the dense half work
    on tokens without a medium, as in the paper. `kind` is for its ablations (Table 3): layers without their gates (66.5), or the cross-attention of the first
    Transformer's decoder, without gate and dense half (66.9), or as many without gates on top of a language model that stays as it is (63.1).
    """

    kind: XattnKind = "gated"
    first: Annotated[int, msgspec.Meta(ge=0)] = 0  # Flamingo B.1.1; Table 3 has one layer in the middle, too (59.8)
    every: Count = 1  # Flamingo B.1.1
    head_dim: Count = 128  # Flamingo Table 4
    sees: Literal["own", "all_previous"] = "own"
    dense_on_text: bool = True  # Flamingo Fig. 4


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole model. `vision` and `language` name frozen models: a folder, or a name of the Hugging Face hub.

    Either may be a table of a configuration in transformers instead (`model_type` and its numbers), which has shapes but no weights. With `train_language`
    the language model is trained, too (Flamingo Table 3): as it comes, or from nothing where it is a table, with the `tokenizer` named beside it.

    `dtype` is that of frozen weights and of activations; what is trained is float32 in any case (Flamingo B.1.2 has bfloat16, as its presets do).
    """

    vision: str | dict[str, Any] = ""
    language: str | dict[str, Any] = ""
    tokenizer: str = ""
    train_language: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"  # ours: what a CPU is fast with
    resampler: ResamplerConfig = ResamplerConfig()
    xattn: XattnConfig = XattnConfig()
