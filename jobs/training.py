"""m3w train: shards to a trained model, checkpoint by checkpoint, on one device or many."""

from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from jobs.held_out import write
from jobs.stopping import give_up, latest, ranks_of, told_to_stop
from jobs.train_log import noted, train_log
from schemas.errors import ConfigError, OutputError, SurroundingsError
from trainer.checkpoint import Checkpoints, fingerprint, load
from trainer.config import TrainConfig
from trainer.data.features import FeatureCache
from trainer.data.media import MediaConfig
from trainer.data.shards import find_shards
from trainer.data.stream import Stream
from trainer.flops import utilisation_of
from trainer.heldout import held_out
from trainer.load import Loaded, load_model
from trainer.loop import train
from trainer.optim import optimizer
from trainer.ranks import Ranks
from trainer.watchdog import watched

if TYPE_CHECKING:
    from torch.optim import Optimizer


def run(config: TrainConfig, out: Path, resume: bool) -> None:
    """Trains into `out`: config.toml, log.jsonl, checkpoints; all ranks train, the first of them writes.

    After SIGTERM or Ctrl-C, to whichever rank, all end the update that they are at, with a checkpoint.

    Raises:
        ConfigError: no sets, or one without shards.
        OutputError: `out` is a file; or there are checkpoints already, and nobody said to go on from them.
        SurroundingsError: told to stop; or a disk, a store, a device or another rank failed.
    """
    before = _checked(config, out, resume)
    with ranks_of(out, config.hang_s) as ranks:
        _run(config, out, before, ranks)


def _checked(config: TrainConfig, out: Path, resume: bool) -> str | None:
    """The checkpoint to go on from, once nothing is wrong that can be told before a model is loaded."""
    if not config.sets:
        raise ConfigError("there are no sets; name one, such as [sets.pages]")
    for section, sets in (("sets", config.sets), ("held_out", config.held_out)):
        for name, one in sets.items():
            if not one.shards:
                raise ConfigError(f"{section}.{name}.shards is not set; give tars, a glob or a folder of tars")
    for one in config.held_out.values():
        find_shards(one.shards)  # they are read at the first checkpoint, which is late to hear that there are none
    if not (near := next(path for path in (out, *out.parents) if path.exists())).is_dir():
        raise OutputError(f"{out} cannot be: {near} is no folder")
    return latest(config.checkpoints or out, resume)


def _run(config: TrainConfig, out: Path, before: str | None, ranks: Ranks) -> None:
    with ExitStack() as stack:
        with ranks.together():  # before a checkpoint is read together
            loaded = load_model(config.model, config.seed, compute=config.compute, ranks=ranks)
        with ranks.together():
            optim, stream = _prepared(config, loaded, before, ranks)
            log = stack.enter_context(train_log(config, out, stream.state.step)) if ranks.rank == 0 else None
        told = stack.enter_context(told_to_stop())
        stack.enter_context(watched(ranks, config.hang_s, give_up))
        saved = stack.enter_context(Checkpoints(config.checkpoints or out, ranks, config.keep))
        model, normalise = loaded.model, loaded.normalise
        used = utilisation_of(model, config.media.side, ranks)
        for step in train(
            model, optim, stream, config.sets, config.optim, config.updates, normalise, config.mean, ranks, used
        ):
            stops = noted(step, log, told, ranks)
            done = step.number + 1
            if stops or done % config.save_every == 0 or done == config.updates:
                ranks.at(f"saves the checkpoint after {done:,} updates")
                saved.save(done, model, optim, stream.state)
                if config.held_out and not stops:
                    media = _media(config, loaded)
                    found = held_out(model, config.held_out, loaded.tokens, media, normalise, ranks=ranks)
                    if log is not None:
                        write(out, done, found)
                        log.held_out(step.number, found)
            if stops and done < config.updates:
                saved.wait()
                raise SurroundingsError(f"told to stop after {done:,} updates; {out} goes on from them with --resume")


def _prepared(config: TrainConfig, loaded: Loaded, before: str | None, ranks: Ranks) -> tuple["Optimizer", Stream]:
    """The optimizer and the stream, as they are at the start, or as a checkpoint has them and the model."""
    model = loaded.model
    optim = optimizer(model, config.optim)
    state = load(before, model, optim, ranks).stream if before else None
    media = _media(config, loaded)
    stream = Stream(
        config.sets,
        loaded.tokens,
        media,
        config.seed,
        state,
        ranks.rank,
        ranks.ranks,
        workers=config.workers,
        prefetch=config.prefetch,
        mode=config.mode,
        cache_bytes=config.cache_bytes,
        features=_features(config, loaded, media) if config.feature_bytes else None,
        total=ranks.counts,
    )
    return optim, stream


def _features(config: TrainConfig, loaded: Loaded, media: MediaConfig) -> FeatureCache:
    """The features of this run's encoder that are kept."""
    encoder = f"{fingerprint(loaded.model.vision)} transformers {version('transformers')} {loaded.normalise}"
    return FeatureCache(encoder, media, config.feature_bytes)


def _media(config: TrainConfig, loaded: Loaded) -> MediaConfig:
    """What the model sees of media, padded with its encoder's mean."""
    return msgspec.structs.replace(config.media, mean=loaded.normalise.mean)
