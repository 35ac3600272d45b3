"""Where the time goes: a step of the tiny model by parts, forward and backward, and a sample of the stream by what is done to it.

Shapes are those of `bench_trainer_step` with one or two pictures a page, data those of `bench_trainer_stream`. CPU time of one thread, the best of some rounds, so
that a busy machine does not count. "Rest" of a step is what stands in no part: keys and values of media, masks, embeddings, the loss.

Run: python -m tests.bench.bench_trainer_profile
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.bench.bench_trainer_step import batch
from tests.bench.bench_trainer_stream import BATCH, EXAMPLE, MEDIA
from tests.bench.trainer_peers import ours
from tests.bench.trainer_shards import pairs, write_tars
from tests.tiny_models import tokenizer
from trainer.data.batch import collate
from trainer.data.example import example_of
from trainer.data.media import picture
from trainer.data.order import Order
from trainer.data.shards import Shards, find_shards
from trainer.data.tokens import tokens_of
from trainer.data.window import pair_window
from trainer.model.flamingo import Flamingo

ROUNDS = 9


class Clock:
    """CPU seconds by name, between marks that modules make when they begin and end."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._began: list[float] = []

    def watch(self, name: str, module: nn.Module) -> None:
        """Counts a module's forward pass, and its backward pass where it has one."""
        module.register_forward_pre_hook(self._begin)
        module.register_forward_hook(lambda *_: self._end(f"{name}, forward"))
        module.register_full_backward_pre_hook(self._begin)
        module.register_full_backward_hook(lambda *_: self._end(f"{name}, backward"))

    def until_end(self, name: str, module: nn.Module) -> None:
        """Counts a module's forward pass, and its backward pass until `end_of`: that of the first module has no end of its own."""
        module.register_forward_pre_hook(self._begin)
        module.register_forward_hook(lambda *_: self._end(f"{name}, forward"))
        module.register_full_backward_pre_hook(self._begin)

    def end_of(self, name: str) -> None:
        """The backward pass is over."""
        self._end(f"{name}, backward")

    def _begin(self, *_: Any) -> None:
        self._began.append(time.process_time())

    def _end(self, name: str) -> None:
        self.spent[name] += time.process_time() - self._began.pop()


def step_parts() -> dict[str, float]:
    """Milliseconds of each part of a step."""
    model, loss = ours()
    assert isinstance(model, Flamingo)
    clock = Clock()
    clock.watch("vision", model.vision)
    clock.until_end("resampler", model.resampler)
    for layer in model.layers:
        assert layer.gated is not None
        clock.watch("gated layers", layer.gated)
        clock.watch("language layers", layer.layer)
    clock.watch("head", model.language.get_output_embeddings())
    trained = [one for one in model.parameters() if one.requires_grad]
    optim = torch.optim.AdamW(trained, lr=1e-4)
    data = batch([1, 2] * 4)
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        clock.spent.clear()
        began = time.process_time()
        loss(data).backward()
        clock.end_of("resampler")
        passes = time.process_time() - began
        rest = passes - clock.spent.total()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optim.step()
        optim.zero_grad(set_to_none=True)
        update = time.process_time() - began - passes
        for name, spent in {**clock.spent, "rest of both": rest, "clip and AdamW": update}.items():
            best[name] = min(best.get(name, spent), spent)
    return {name: 1e3 * spent for name, spent in best.items()}


def sample_parts() -> dict[str, float]:
    """Microseconds of each thing that is done to a pair."""
    tokens = tokens_of(tokenizer(), eoc=300)
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        write_tars(pairs(8 * BATCH), Path(name) / "tars", 4)
        shards = Shards(find_shards([str(Path(name) / "tars")]))
        order = Order(shards.counts)
        firsts = range(0, order.total, BATCH)
        parts_of = [order.part(first, BATCH) for first in firsts]
        samples = [sample for places in parts_of for sample in shards.read_all(places)]
        examples = [example_of(one, tokens, EXAMPLE, MEDIA, (0, 0)) for one in samples]
        batches = [examples[first : first + BATCH] for first in range(0, len(examples), BATCH)]
        rng = np.random.default_rng(0)
        work: dict[str, tuple[Callable[[Any], object], Sequence[Any]]] = {
            "its place in the order": (lambda first: order.part(first, BATCH), firsts),
            "read from its shard": (lambda places: list(shards.read_all(places)), parts_of),
            "caption to ids and labels": (lambda one: pair_window(one.members["txt"].decode(), tokens, 32), samples),
            "JPEG to pixels": (lambda one: picture(one.members["jpg"], MEDIA, rng), samples),
            "the example as a whole": (lambda one: example_of(one, tokens, EXAMPLE, MEDIA, (0, 0)), samples),
            "its part of a batch": (lambda some: collate("pairs", some, MEDIA.side), batches),
        }
        parts = {name: 1e6 * _seconds(*one) / len(samples) for name, one in work.items()}
    whole = parts.pop("the example as a whole")
    return parts | {"rest of the example": whole - parts["caption to ids and labels"] - parts["JPEG to pixels"]}


def _seconds(work: Callable[[Any], object], items: Sequence[Any]) -> float:
    """CPU seconds for all items, the best of some rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for one in items:
            work(one)
        best = min(best, time.process_time() - began)
    return best


def main() -> None:
    """Prints both tables."""
    torch.set_num_threads(1)
    for title, parts, unit in (("a step", step_parts(), "ms"), ("a pair of the stream", sample_parts(), "us")):
        print(f"\n{title}")
        for name, spent in parts.items():
            print(f"{name:32}{spent:10.1f} {unit}{100 * spent / sum(parts.values()):8.0f} %")


if __name__ == "__main__":
    main()
