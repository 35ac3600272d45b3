"""How many parameters a model has, part by part, trained and frozen."""

from collections.abc import Iterable

import msgspec
from torch import nn

PARTS = ("vision", "language", "resampler", "gated layers", "added rows")


class Size(msgspec.Struct, kw_only=True):
    """Numbers of parameters."""

    trained: int = 0
    frozen: int = 0

    @property
    def all(self) -> int:
        """Both."""
        return self.trained + self.frozen


def sizes(named: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Size]:
    """The size of each part of a `Flamingo` from its named parameters; tied ones count once."""
    found = {part: Size() for part in PARTS}
    for name, one in named:
        size = found[part_of(name)]
        if one.requires_grad:
            size.trained += one.numel()
        else:
            size.frozen += one.numel()
    return found


def part_of(name: str) -> str:
    """The part that a parameter belongs to."""
    if ".gated." in name:
        return "gated layers"
    if ".rows_" in name:
        return "added rows"
    return name.split(".")[0]
