"""m3w train: shards to a trained model, checkpoint by checkpoint, on one device or many."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

import msgspec

from jobs.held_out import table, write
from jobs.train_log import train_log
from schemas.errors import ConfigError, OutputError, SurroundingsError
from schemas.settings import write_settings
from trainer.checkpoint import checkpoints, fingerprint, load, save
from trainer.compute import prepare
from trainer.config import TrainConfig
from trainer.data.features import FeatureCache
from trainer.data.stream import Stream
from trainer.heldout import held_out
from trainer.load import load_model
from trainer.loop import train
from trainer.optim import optimizer
from trainer.ranks import Ranks, joined
from trainer.watchdog import watched


def run(config: TrainConfig, out: Path, resume: bool) -> None:
    """Trains into `out`: config.toml, log.jsonl, checkpoints; all ranks train, the first of them writes.

    After SIGTERM, to whichever rank, all end the update that they are at, with a checkpoint.

    Raises:
        ConfigError: a set without shards.
        OutputError: there are checkpoints already, and nobody said to go on from them.
    """
    for name, one in config.sets.items():
        if not one.shards:
            raise ConfigError(f"sets.{name}.shards is not set; give tars, a glob or a folder of tars")
    before = checkpoints(out)
    if before and not resume:
        raise OutputError(
            f"{out} holds {len(before)} checkpoints; go on from them with --resume, or give another folder"
        )
    with joined(2 * config.hang_s) as ranks:
        _run(config, out, before[-1] if before else None, ranks)


def _run(config: TrainConfig, out: Path, before: Path | None, ranks: Ranks) -> None:
    loaded = load_model(config.model, config.seed)
    model = loaded.model
    prepare(model, config.compute, ranks)
    optim = optimizer(model, config.optim)
    media = msgspec.structs.replace(config.media, mean=loaded.normalise.mean)
    state = load(before, model, optim).stream if before else None
    encoder = f"{fingerprint(model.vision)} transformers {version('transformers')} {loaded.normalise}"
    stream = Stream(
        config.sets,
        loaded.tokens,
        media,
        config.seed,
        state,
        ranks.rank,
        ranks.ranks,
        workers=config.workers,
        mode=config.mode,
        cache_bytes=config.cache_bytes,
        features=FeatureCache(encoder, media, config.feature_bytes) if config.feature_bytes else None,
        total=ranks.counts,
    )
    writes = ranks.rank == 0
    if writes:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.toml").write_text(write_settings(config))
    steps = train(model, optim, stream, config.sets, config.optim, config.updates, loaded.normalise, config.mean, ranks)
    logs = train_log(config, out, stream.state.step) if writes else nullcontext()
    with logs as log, told_to_stop() as told, watched(ranks, config.hang_s, _give_up):
        for step in steps:
            spikes = log.spikes(step) if log is not None else {}
            stops, *spiked = ranks.counts([told(), *(name in spikes for name in config.sets)])
            samples = {
                name: ranks.all(step.origins[name]) for name, one in zip(config.sets, spiked, strict=True) if one
            }
            if log is not None:
                log.take(step, spikes, samples)
            done = step.number + 1
            if stops or done % config.save_every == 0 or done == config.updates:
                ranks.at(f"saves the checkpoint after {done:,} updates")
                if writes:
                    save(out, done, model, optim, stream.state, config.keep)
                ranks.wait()
                if config.held_out and not stops:
                    found = held_out(model, config.held_out, loaded.tokens, media, loaded.normalise)
                    if log is not None:
                        write(out, done, found)
                        log.say(table(found))
            if stops:
                raise SurroundingsError(f"told to stop after {done:,} updates; {out} goes on from them with --resume")


def _give_up(line: str) -> None:
    """Ends the process from a thread beside the one that hangs."""
    print(f"m3w: {line}", file=sys.stderr, flush=True)
    os._exit(SurroundingsError.exit_code)


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM has come since."""
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)
