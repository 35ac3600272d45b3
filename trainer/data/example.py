"""A sample of a shard to an example: its window and the media in it.

All chance of an example is a function of (seed, epoch, sample key), and of the medium's number: who reads it, and when, changes nothing.
"""

from typing import Annotated, Final

import msgspec
import numpy as np
from torch import Tensor

from schemas.document import Document, Text
from schemas.errors import SchemaError
from schemas.shard import Sample
from trainer.data.clips import clip
from trainer.data.features import FeatureCache
from trainer.data.media import MediaConfig, MediumError, Pixels, picture_by
from trainer.data.tokens import Tokens
from trainer.data.window import IGNORED, Window, document_window, pair_window

PICTURES: Final = ("jpg", "jpeg", "png", "webp", "gif", "avif", "bmp")
CLIPS: Final = ("mp4", "webm")
_DOCUMENT = msgspec.json.Decoder(Document)


class ExampleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a set's samples become sequences; `tokens` and `media` are the most of one. `space` is the chance of a space before a pair's text."""

    tokens: Annotated[int, msgspec.Meta(ge=8)] = 256  # Flamingo v1 3.2.1; pairs: 32 or 64
    media: Annotated[int, msgspec.Meta(ge=1)] = 5  # Flamingo v1 3.2.1
    p_next: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5  # Flamingo A.3.2
    space: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5  # Flamingo B.1.2


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A window with its media: pixels [T, 3, side, side], or the encoder's features of them, [T, S, C], where those are kept.

    `names` are those under which they are, or may be, kept; `fault` says why an example is empty, `epoch` and `shard` (its URL) where it was read.
    """

    key: str
    window: Window
    media: list[Pixels | Tensor]
    names: list[str]
    fault: str = ""
    epoch: int = 0
    shard: str = ""


def example_of(
    sample: Sample,
    tokens: Tokens,
    config: ExampleConfig,
    media: MediaConfig,
    chance: tuple[int, int],
    features: FeatureCache | None = None,
) -> Example:
    """The example of a document or a pair; `chance` is (seed, epoch). A broken sample is an empty example, from which nothing is learnt."""
    seeds = [*chance, int.from_bytes(sample.key.encode(), "big")]
    try:
        window, members = _window(sample, tokens, config, np.random.default_rng(seeds))
        seen = [
            _medium(sample.members[member], member, media, np.random.default_rng([*seeds, 1 + number]), features)
            for number, member in zip(window.media, members, strict=True)
        ]
    except (MediumError, SchemaError, msgspec.MsgspecError, KeyError, UnicodeDecodeError) as error:
        return empty(sample.key, f"{type(error).__name__}: {error}")
    return Example(key=sample.key, window=window, media=[one for one, _ in seen], names=[name for _, name in seen])


def _medium(
    data: bytes, member: str, config: MediaConfig, rng: np.random.Generator, features: FeatureCache | None
) -> tuple[Pixels | Tensor, str]:
    """A member's pixels, or its features where they are kept, and the name that they have there."""
    if member.lower().endswith(CLIPS):
        return clip(data, config, rng), ""
    chance = rng.random(4)
    name = features.name(data, chance) if features else ""
    kept = features.read(name) if features and name else None
    return (picture_by(data, config, chance) if kept is None else kept), name


def empty(key: str, fault: str) -> Example:
    """The slot of a sample that is not there: one token, nothing learnt."""
    none = np.zeros(1, dtype=np.int32)
    window = Window(ids=none, phi=none, labels=none + IGNORED, media=[])
    return Example(key=key, window=window, media=[], names=[], fault=fault)


def _window(
    sample: Sample, tokens: Tokens, config: ExampleConfig, rng: np.random.Generator
) -> tuple[Window, list[str]]:
    """The window and the members of its media."""
    if "txt" in sample.members:
        member = next((name for name in sample.members if name.lower() in PICTURES + CLIPS), None)
        text = sample.members["txt"].decode().strip()
        if member is None or not text:
            raise SchemaError("a pair without a medium" if text else "a pair without a text")
        space = " " if rng.random() < config.space else ""
        return pair_window(space + text, tokens, config.tokens), [member]
    document = _DOCUMENT.decode(sample.members["json"])
    window = document_window(document.nodes, tokens, rng, config.tokens, config.media, config.p_next)
    members = [node.member for node in document.nodes if not isinstance(node, Text)]
    return window, [members[number] for number in window.media]
