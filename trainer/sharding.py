"""The language model and its gated layers spread over ranks: each holds a share of every layer, and the whole of one while it computes (FSDP2).

    group            holds                             type
    decoder layer    the language model's own          frozen: that of `model.dtype`
    gated layer      its matrices and norms            float32, gathered so, that it computes what it does unsharded
    the rest         tables of words, the last norm    frozen
    every rank       vision, resampler, gates, <EOC>   whole; their gradients are added by `Ranks.add_gradients`

Vision and resampler stay whole: they are small at each of the paper's sizes (435 M and 194 M), and a rank calls them as often as its batch has groups of media,
while what is sharded has to be called equally often by all. The language model is: once a piece of a batch, with media or without.
"""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from trainer.model.decoder import ConditionedLayer
from trainer.model.flamingo import Flamingo
from trainer.ranks import Ranks


def shard(model: Flamingo, ranks: Ranks) -> None:
    """Leaves each rank its share of the language model, on its device; a rank by itself keeps all of it.

    Weights have to be the same on all ranks before.
    """
    if ranks.ranks == 1:
        return
    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.ranks,))
    share = partial(fully_shard, mesh=mesh, ignored_params=whole(model))
    for layer in model.layers:
        if not isinstance(layer.layer, ConditionedLayer):
            share(layer.layer)
        if layer.gated is not None:
            share(layer)
    share(model.language)
    for part in model.language.modules():
        if isinstance(part, FSDPModule):
            # Losses of ranks are parts of one sum.
            part.set_gradient_divide_factor(1.0)
            part.set_force_sum_reduction_for_comms(True)


def whole(model: Flamingo) -> set[nn.Parameter]:
    """What of the language model every rank holds: gates, which are numbers, and rows of added tokens."""
    return {one for name, one in model.language.named_parameters() if not one.ndim or ".rows_" in name}


def clip(parameters: Iterable[nn.Parameter], limit: float, ranks: Ranks) -> Tensor:
    """The norm of all gradients together, those of all ranks' shares; they are scaled down to `limit` where it is larger.

    Gradients of what every rank holds have been added up before, and count once.
    """
    grads = [one.grad for one in parameters if one.grad is not None]
    shares = [grad.to_local() for grad in grads if isinstance(grad, DTensor)]
    wholes = [grad for grad in grads if not isinstance(grad, DTensor)]
    squared = nn.utils.get_total_norm(wholes).square()
    if shares:
        squared = squared + ranks.add(nn.utils.get_total_norm(shares).square())
    norm = squared.sqrt()
    torch._foreach_mul_(shares + wholes, torch.clamp(limit / (norm + 1e-6), max=1.0))  # as torch's own does
    return norm


def full(one: Tensor) -> Tensor:
    """The whole of a tensor, of which ranks may have shares; all of them ask for it."""
    found: Tensor = one.full_tensor() if isinstance(one, DTensor) else one
    return found


def share_of(one: Tensor) -> Tensor:
    """What this rank has of a tensor: some of its rows, or all of it."""
    found: Tensor = one.to_local() if isinstance(one, DTensor) else one
    return found


def rows_of(one: Tensor) -> slice:
    """Which rows of a tensor that is."""
    if not isinstance(one, DTensor):
        return slice(None)
    most = -(-len(one) // one.device_mesh.size())
    begin = min(one.device_mesh.get_local_rank() * most, len(one))
    return slice(begin, begin + len(one.to_local()))
