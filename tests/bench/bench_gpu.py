"""Training steps at the shapes of a preset on one GPU, with random weights: tokens a second, MFU, memory; and whether the stream can feed them.

A step is what `m3w train` does between two batches: loss, gradient, clip by norm, AdamW, in bfloat16 with float32 weights for what is trained. Pages have 256
tokens and five pictures of 320 px, pairs 32 tokens and one. The stream reads pairs of 30 KB from this disk, as `bench_trainer_stream` makes them. Without a
GPU whose peak is known nothing is measured, and it says so.

Run: python -m tests.bench.bench_gpu [--preset flamingo-3b] [--pages 16] [--pairs 128] [--steps 20] [--compile] [--recompute] [--workers 8]
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM

from jobs.presets import TRAINING, toml_of
from schemas.settings import read_settings
from tests.bench.trainer_shards import pairs, write_tars
from tests.tiny_models import tokenizer
from trainer.compute import ComputeConfig, prepare
from trainer.config import TrainConfig
from trainer.data.batch import Batch, collate
from trainer.data.example import Example, ExampleConfig
from trainer.data.media import MediaConfig
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import tokens_of
from trainer.data.window import IGNORED, Window
from trainer.flops import Utilisation, costs_of, peak_flops
from trainer.load import Normalisation, shapes_of
from trainer.loop import backward
from trainer.model.config import ModelConfig
from trainer.model.flamingo import Flamingo
from trainer.optim import OptimConfig, optimizer
from trainer.ranks import Ranks
from trainer.sharding import clip

WARM_UP = 3  # steps before the clock runs, more where layers are compiled
SAMPLES, SHARDS = 2048, 8
BYTES_TO_FLOAT = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def model_of(config: ModelConfig, device: str) -> Flamingo:
    """The shapes of a configuration with random weights, made on the device."""
    torch.manual_seed(0)
    with torch.device(device):
        vision = AutoModel.from_config(shapes_of("model.vision", config.vision))
        language = AutoModelForCausalLM.from_config(shapes_of("model.language", config.language))
        return Flamingo(vision, language, config)


def examples(rows: int, tokens: int, media: int, side: int, vocabulary: int) -> Batch:
    """Rows of random tokens, of which each `tokens / media`-th is the tag of a random picture."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(rows):
        ids = rng.integers(vocabulary, size=tokens).astype(np.int32)
        tags = np.zeros(tokens, bool)
        tags[np.arange(media) * (tokens // media)] = True
        window = Window(
            ids=ids,
            phi=np.cumsum(tags).astype(np.int32),
            labels=np.where(tags, IGNORED, ids).astype(np.int32),
            media=list(range(media)),
        )
        pixels = [rng.integers(0, 256, (1, 3, side, side), np.uint8) for _ in range(media)]
        made.append(Example(key=str(number), window=window, media=[*pixels], names=[""] * media))
    return collate("random", made, side)


def step_seconds(model: Flamingo, batch: Batch, steps: int, device: str) -> list[float]:
    """How long each of so many updates on one batch took."""
    optim = optimizer(model, OptimConfig())
    trained = [one for one in model.parameters() if one.requires_grad]
    config = SetConfig(shards=[], batch=len(batch.keys))
    tokens = torch.tensor(1, device=device)
    seconds = []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        backward(model, batch, config, tokens, BYTES_TO_FLOAT, "example", device)
        clip(trained, 1.0, Ranks())
        optim.step()
        optim.zero_grad(set_to_none=True)
        if device != "cpu":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - began)
    return seconds[WARM_UP:]


def report(name: str, batch: Batch, seconds: Iterable[float], used: Utilisation | None) -> float:
    """Prints a line, and returns the examples a second."""
    took = median(seconds)
    rows, images = len(batch.keys), sum(len(group) * group.shape[1] for group in batch.pixels)
    tokens = int(batch.mask_BL.sum())
    share = f"MFU {used.mfu(rows, images, tokens, images, took):.1%}" if used is not None else "MFU unknown, no peak is"
    print(
        f"{name:8} {rows:4} rows  {took * 1000:8.1f} ms  {rows / took:8.1f} examples/s  {images / took:8.1f} images/s  {tokens / took:10.0f} tokens/s  {share}"
    )
    return rows / took


def stream_rate(workers: int, batch: int, side: int) -> float:
    """Pairs a second that the stream gives, decoded and packed."""
    with tempfile.TemporaryDirectory() as folder:
        write_tars(pairs(SAMPLES), Path(folder) / "tars", SHARDS)
        sets = {"pairs": SetConfig(shards=[f"{folder}/tars"], batch=batch, example=ExampleConfig(tokens=32))}
        words = tokenizer()
        steps = iter(Stream(sets, tokens_of(words, len(words)), MediaConfig(side=side), workers=workers))
        next(steps)  # starts the workers
        count = SAMPLES // batch
        began = time.perf_counter()
        for _ in islice(steps, count):
            pass
        return count * batch / (time.perf_counter() - began)


def main() -> None:
    """Prints a line for pages, one for pairs, and one for the stream."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="flamingo-3b")
    parser.add_argument("--pages", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--recompute", action="store_true", help="activation checkpointing")
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("no GPU is present: torch sees no CUDA device, and nothing was measured")
    device = "cuda:0"
    config = read_settings(TrainConfig, toml_of(options.preset, TRAINING), options.preset)
    model = model_of(config.model, device)
    prepare(model, ComputeConfig(compile=options.compile, checkpointing=options.recompute), Ranks(device=device))
    side = config.media.side
    peak = peak_flops(device, config.model.dtype)
    used = Utilisation(costs=costs_of(model, side, device), peak=peak, ranks=1) if peak is not None else None
    vocabulary = model.eoc
    print(f"{options.preset} on {torch.cuda.get_device_name(device)}, {config.model.dtype}, torch {torch.__version__}")
    shapes = {"pages": (options.pages, 256, 5), "pairs": (options.pairs, 32, 1)}
    rates = {}
    for name, (rows, tokens, media) in shapes.items():
        batch = examples(rows, tokens, media, side, vocabulary)
        rates[name] = report(name, batch, step_seconds(model, batch, options.steps, device), used)
    print(f"most memory held: {torch.cuda.max_memory_allocated(device) / 1e9:.1f} GB")
    fed = stream_rate(options.workers, 128, side)
    print(
        f"stream, {options.workers} workers: {fed:.0f} pairs/s, {fed / rates['pairs']:.1f} times what the steps on pairs take"
    )


if __name__ == "__main__":
    main()
