"""m3w train: shards to a trained model, checkpoint by checkpoint."""

import time
from pathlib import Path

import msgspec

from schemas.errors import OutputError
from schemas.settings import write_settings
from trainer.checkpoint import checkpoints, load, save
from trainer.config import TrainConfig
from trainer.data.stream import Stream
from trainer.load import load_model
from trainer.loop import Step, train
from trainer.optim import optimizer

_SHOW_EVERY_S = 1.0


def run(config: TrainConfig, out: Path, resume: bool) -> None:
    """Trains into `out`: config.toml, log.jsonl, checkpoints.

    Raises:
        OutputError: there are checkpoints already, and nobody said to go on from them.
    """
    before = checkpoints(out)
    if before and not resume:
        raise OutputError(
            f"{out} holds {len(before)} checkpoints; go on from them with --resume, or give another folder"
        )
    loaded = load_model(config.model, config.seed)
    model, optim = loaded.model, optimizer(loaded.model, config.optim)
    media = msgspec.structs.replace(config.media, mean=loaded.normalise.mean)
    state = load(before[-1], model, optim).stream if before else None
    stream = Stream(
        config.sets,
        loaded.tokens,
        media,
        config.seed,
        state,
        workers=config.workers,
        mode=config.mode,
        cache_bytes=config.cache_bytes,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(write_settings(config))
    shown, began = 0.0, time.monotonic()
    with (out / "log.jsonl").open("ab") as log:
        for step in train(model, optim, stream, config.sets, config.optim, config.updates, loaded.normalise):
            log.write(msgspec.json.encode(step) + b"\n")
            done = step.number + 1
            if done % config.save_every == 0 or done == config.updates:
                save(out, done, model, optim, stream.state, config.keep)
            if time.monotonic() - shown > _SHOW_EVERY_S or done == config.updates:
                shown = time.monotonic()
                _show(step, config.updates, shown - began)


def _show(step: Step, updates: int, seconds: float) -> None:
    losses = "  ".join(f"{name} {loss:.3f}" for name, loss in step.losses.items())
    faults = f"  {len(step.faults)} broken samples" if step.faults else ""
    print(f"{step.number + 1:,} of {updates:,}  {losses}  |g| {step.norm:.2f}  {seconds:.0f} s{faults}", flush=True)
