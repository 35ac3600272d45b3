"""The processes that train together: each reads its share of every batch, and their gradients are added up once an update.

`torchrun` starts them and says by its variables who is who; a process by itself is rank 0 of 1, and nothing here does anything.

Gradients are added by hand and not by DistributedDataParallel: the losses of ranks are parts of one sum (`trainer.loss`), which DDP would divide by the number
of ranks, and an update has several forward and backward passes, through more than one module, behind which the gradients are to be added once.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import msgspec
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from schemas.errors import M3wError, SurroundingsError

T = TypeVar("T")

_BUCKET = (
    1 << 24
)  # ours: values that are sent at once, 64 MiB in float32; a copy of all gradients would cost as much as they do


class Pulse(msgspec.Struct):
    """How many things a rank has begun, and the last of them: one value, because a watchdog's thread reads it."""

    begun: tuple[int, str] = (0, "starts")


class Ranks(msgspec.Struct, frozen=True, kw_only=True):
    """Which of how many, and where its tensors are; `pulse` is what it is at, for who watches."""

    rank: int = 0
    ranks: int = 1
    device: str = "cpu"
    pulse: Pulse = msgspec.field(default_factory=Pulse)

    def at(self, doing: str) -> None:
        """Something new is begun, in words that go on "rank 3 ...", such as "reads the batch of update 7"; all ranks begin the same in the same order."""
        self.pulse.begun = (self.pulse.begun[0] + 1, doing)

    def add(self, values: Tensor) -> Tensor:
        """The sum over ranks, in place."""
        if self.ranks > 1:
            self.at("adds up numbers of all ranks")
            dist.all_reduce(values)
        return values

    def counts(self, own: list[int]) -> list[int]:
        """Counts, added up over ranks."""
        return [int(one) for one in self.add(torch.tensor(own, device=self.device)).tolist()]

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Each gradient becomes the sum over ranks; one that a rank lacks is zero there. Those of which ranks have shares are sums already."""
        if self.ranks == 1:
            return
        for bucket in _buckets(one for one in parameters if not isinstance(one, DTensor)):
            grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in bucket]
            flat = self.add(torch.cat([grad.flatten() for grad in grads]))
            for one, part in zip(bucket, flat.split([one.numel() for one in bucket]), strict=True):
                one.grad = part.view_as(one).clone()

    def same(self, parameters: Iterable[nn.Parameter]) -> None:
        """Parameters become those of rank 0, but for those of which ranks have shares."""
        if self.ranks > 1:
            self.at("takes the weights of rank 0")
            for one in parameters:
                if not isinstance(one, DTensor):
                    dist.broadcast(one.detach(), 0)

    def all(self, own: Sequence[T]) -> list[T]:
        """What all ranks have, in order of ranks."""
        if self.ranks == 1:
            return list(own)
        gathered: list[list[T]] = [[] for _ in range(self.ranks)]
        self.at("takes the lines of all ranks")
        dist.all_gather_object(gathered, list(own))
        return [one for rank in gathered for one in rank]

    def seed(self, seed: int, update: int) -> None:
        """Dropout and the like of an update are a function of the run's seed, its number and the rank, so that there is no state of theirs to save."""
        torch.manual_seed(int(np.random.SeedSequence([seed, update, self.rank]).generate_state(1)[0]))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What one rank raises within it ends all, so that none waits for one that is gone; the others raise what it said.

        Raises:
            SurroundingsError: on another rank; an `M3wError` on this one is raised as it is.
        """
        error: M3wError | None = None
        try:
            yield
        except M3wError as caught:
            error = caught
        if self.counts([error is not None])[0]:
            said = self.all([] if error is None else [f"rank {self.rank}: {error}"])
            raise error or SurroundingsError(said[0])

    def wait(self) -> None:
        """Until all are here."""
        if self.ranks > 1:
            self.at("waits until all are here")
            dist.barrier()


@contextmanager
def joined(wait_s: float = 1800) -> Iterator[Ranks]:
    """This process among those that `torchrun` started: on its GPU by NCCL where there are any, else on the CPU by Gloo.

    One that waits `wait_s` seconds for another is ended by torch, with less to say than a watchdog has, which is to come first.

    Raises:
        SurroundingsError: another rank has gone, or this one's device has no memory left.
    """
    ranks, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = torch.cuda.is_available()
    device = f"cuda:{local}" if on_gpu else "cpu"
    if on_gpu:
        torch.cuda.set_device(local)
    try:
        if ranks > 1:
            dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(seconds=wait_s))
        yield Ranks(rank=dist.get_rank() if ranks > 1 else 0, ranks=ranks, device=device)
    except torch.OutOfMemoryError as error:
        raise SurroundingsError(f"{error}; a smaller micro_batch or compute.checkpointing takes less") from error
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        said = str(error).partition(". ")[0]
        raise SurroundingsError(f"another rank has gone, or cannot be reached; see what it says. {said}") from error
    finally:
        if ranks > 1:
            dist.destroy_process_group()


def _buckets(parameters: Iterable[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Parameters of one type, in order, of together about a bucket's size."""
    bucket: list[nn.Parameter] = []
    size = 0
    for one in parameters:
        if bucket and (size + one.numel() > _BUCKET or one.dtype != bucket[0].dtype):
            yield bucket
            bucket, size = [], 0
        bucket.append(one)
        size += one.numel()
    if bucket:
        yield bucket
