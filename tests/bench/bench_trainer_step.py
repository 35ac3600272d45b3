"""Training steps of a tiny model beside open-flamingo's modules and transformers' Idefics, in one run, at equal shapes.

A step is loss, gradient, clip by norm and AdamW of `BATCH` pages of `LENGTH` tokens, of which each shows one or two pictures, or five; the language model and the
encoder are frozen, and the same ones (see `trainer_peers`). One thread, float32.

Run: python -m tests.bench.bench_trainer_step [--rounds N] [--threads N]
"""

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from tests.bench.contest import Rates, Stopwatch, Turn, contest
from tests.bench.trainer_peers import MEDIA, SIDE, TAG, VOCABULARY, Loss, by_idefics, by_open_flamingo, ours
from trainer.data.batch import Batch, collate
from trainer.data.example import Example
from trainer.data.window import IGNORED, Window

BATCH, LENGTH = 8, 256  # tokens as in Flamingo v1 3.2.1
STEPS = 2  # of a turn
SEED = 0


def page(number: int, pictures: int, rng: np.random.Generator) -> Example:
    """A page of random tokens and pictures, a tag for each at even distances from the first token on."""
    ids = rng.integers(TAG + 1, VOCABULARY, LENGTH).astype(np.int32)
    tags = np.arange(pictures) * (LENGTH // pictures)
    ids[tags] = TAG
    labels = np.where(ids == TAG, IGNORED, ids).astype(np.int32)
    phi = np.cumsum(ids == TAG).astype(np.int32)
    pixels = [rng.integers(0, 256, (1, 3, SIDE, SIDE)).astype(np.uint8) for _ in range(pictures)]
    return Example(
        key=str(number),
        window=Window(ids=ids, phi=phi, labels=labels, media=list(range(pictures))),
        media=[*pixels],
        names=[""] * pictures,
    )


def batch(pictures: Sequence[int]) -> Batch:
    """Pages that show so many pictures each."""
    rng = np.random.default_rng(SEED)
    return collate("pages", [page(number, count, rng) for number, count in enumerate(pictures)], SIDE)


def turn(model: nn.Module, loss: Loss, data: Batch) -> Turn:
    """Steps of a model on one batch, again and again."""
    trained = [one for one in model.parameters() if one.requires_grad]
    optim = torch.optim.AdamW(trained, lr=1e-4)

    def run() -> Rates:
        watch = Stopwatch()
        for _ in range(STEPS):
            loss(data).backward()
            nn.utils.clip_grad_norm_(trained, 1.0)
            optim.step()
            optim.zero_grad(set_to_none=True)
        return watch.rates(STEPS * len(data.keys))

    return run


def main() -> None:
    """Prints a table for few pictures and one for as many as a page may have."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = {"m3w": ours(), "open-flamingo": by_open_flamingo(), "Idefics": by_idefics()}
    for name, (model, _) in models.items():
        print(
            f"{name}: {sum(one.numel() for one in model.parameters() if one.requires_grad):,} trained of {sum(one.numel() for one in model.parameters()):,}"
        )
    for title, pictures in {"1 or 2 pictures of 5": [1, 2], "5 pictures": [MEDIA, MEDIA]}.items():
        data = batch(pictures * (BATCH // 2))
        contest(title, {name: turn(model, loss, data) for name, (model, loss) in models.items()}, options.rounds)


if __name__ == "__main__":
    main()
