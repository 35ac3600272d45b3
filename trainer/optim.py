"""AdamW and its schedule. Flamingo B.1.2.

| what                                            | weight decay |
|-------------------------------------------------|--------------|
| matrices of the gated layers                    | `decay`      |
| gates, norms, biases, rows of added tokens      | 0            |
| the resampler, all of it                        | 0            |
| matrices of a language model that is not frozen | `decay`      |
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
import torch
from torch import nn
from torch.distributed.tensor import DTensor

Beta = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class OptimConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Learning rate: from 0 to `lr` over `warmup` updates, then constant, or down a cosine or a line to 0 at the last update."""

    lr: Annotated[float, msgspec.Meta(gt=0)] = 1e-4  # Flamingo B.1.2
    warmup: Annotated[int, msgspec.Meta(ge=0)] = 5000  # Flamingo B.1.2
    schedule: Literal["constant", "cosine", "linear"] = "constant"  # Flamingo B.1.2
    decay: Annotated[float, msgspec.Meta(ge=0)] = 0.1  # Flamingo B.1.2
    betas: tuple[Beta, Beta] = (0.9, 0.999)  # torch's; the paper names none
    clip: Annotated[float, msgspec.Meta(gt=0)] = 1.0  # Flamingo B.1.2
    language_lr: Annotated[float, msgspec.Meta(gt=0)] = (
        1e-5  # ours: a language model that is not frozen, on the same schedule
    )


def groups(named: Iterable[tuple[str, nn.Parameter]], config: OptimConfig) -> list[dict[str, Any]]:
    """The trained parameters by weight decay, as in the table above, and by `share`, the part of the rate that is theirs; those of which ranks have shares apart."""
    made: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
    for name, one in named:
        if one.requires_grad:
            new = name.startswith("resampler.") or ".gated." in name or ".rows_" in name
            decays = one.ndim == 2 and (not new or ".gated." in name)
            made.setdefault((not new, not decays, isinstance(one, DTensor)), []).append(one)
    return [
        {
            "params": params,
            "weight_decay": 0.0 if is_kept else config.decay,
            "share": config.language_lr / config.lr if is_language else 1.0,
        }
        for (is_language, is_kept, _), params in sorted(made.items(), key=lambda group: group[0])
    ]


def optimizer(model: nn.Module, config: OptimConfig) -> torch.optim.AdamW:
    """AdamW over what is trained; the rate is set before each update."""
    return torch.optim.AdamW(groups(model.named_parameters(), config), lr=config.lr, betas=config.betas)


def set_rate(optim: torch.optim.Optimizer, lr: float) -> None:
    """Gives each group its share of a learning rate."""
    for group in optim.param_groups:
        group["lr"] = lr * group["share"]


def rate(update: int, updates: int, config: OptimConfig) -> float:
    """The learning rate of an update, 0 for the first: it rises by its (update + 1)-th part, so that none is lost at rate 0."""
    if update < config.warmup:
        return config.lr * (update + 1) / (config.warmup + 1)
    if config.schedule == "constant":
        return config.lr
    done = min((update - config.warmup) / max(1, updates - config.warmup), 1.0)
    if config.schedule == "linear":
        return config.lr * (1 - done)
    cosine = torch.cos(torch.tensor(done, dtype=torch.float64) * torch.pi)
    return config.lr * 0.5 * (1 + float(cosine))
