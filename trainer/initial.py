"""How new weights begin: each is a function of the run's seed and its name, so that ranks that hold shares of it, and one that holds all, begin alike.

| weights                                    | at the start                                    |
|--------------------------------------------|-------------------------------------------------|
| matrices                                   | uniform within 1 / sqrt(inputs), torch's default |
| time embeddings, latents                   | normal, of deviation 1 / sqrt(width)            |
| rows of added tokens                       | normal, of the deviation of the frozen table    |
| scales and shifts of norms                 | 1 and 0                                         |
| gates                                      | 0 (Flamingo 3.1.2)                              |
"""

import hashlib

import torch
from torch import Tensor

from trainer.model.embedding import AddedEmbedding, AddedHead
from trainer.model.flamingo import Flamingo
from trainer.sharding import full, rows_of, share_of


@torch.no_grad()
def initialise(model: Flamingo, seed: int) -> None:
    """Gives everything new in a model its first value; what comes with the frozen models stays as it is."""
    for name, one in model.named_parameters():
        if name.startswith("resampler.") or ".gated." in name or ".rows_" in name:
            digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
            random = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
            first = _first(name, one.shape, random) * (_spread(model, name) if ".rows_" in name else 1)
            share_of(one).copy_(first[rows_of(one)] if first.ndim else first)


def _first(name: str, shape: torch.Size, random: torch.Generator) -> Tensor:
    leaf = name.rpartition(".")[2]
    if leaf.startswith("rows_"):
        return torch.randn(shape, generator=random)
    if leaf in ("time", "latents"):
        return torch.randn(shape, generator=random).mul(shape[-1] ** -0.5)
    if len(shape) == 2:
        return torch.rand(shape, generator=random).mul(2).sub(1).mul(shape[1] ** -0.5)
    return torch.ones(shape) if leaf == "weight" else torch.zeros(shape)


def _spread(model: Flamingo, name: str) -> float:
    """The deviation of the table beside added rows."""
    added = model.get_submodule(name.rpartition(".")[0])
    assert isinstance(added, AddedEmbedding | AddedHead)
    return float(full(added.weight.detach()).float().std())
