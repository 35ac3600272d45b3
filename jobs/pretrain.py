"""m3w pretrain: what a training run keeps frozen, made from nothing: a language model with its tokenizer, and then a vision encoder."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from jobs.stopping import told_to_stop
from schemas.errors import OutputError, SurroundingsError, UsageError
from schemas.settings import write_settings
from trainer.checkpoint import Checkpoints, checkpoints, load
from trainer.contrastive import ContrastiveConfig, Towers, adam, contrast, save_vision
from trainer.data.shards import Shards, find_shards
from trainer.data.stream import Stream
from trainer.data.tokens import tokens_of
from trainer.load import load_tokenizer
from trainer.pretrain import LanguageConfig, pretrain, texts_of
from trainer.ranks import joined

_LINE_S = 10.0


def language(config: LanguageConfig, out: Path) -> None:
    """A byte-level BPE tokenizer and a small language model of the text of shards, in `out` as `model.language` takes them.

    Raises:
        OutputError: there is a model already.
        UsageError: more than one process was started for it.
    """
    _new(out, config)
    texts = list(texts_of(Shards(find_shards(config.shards))))
    with joined() as ranks:
        if ranks.ranks > 1:
            raise UsageError("a language model is pretrained by one process; leave torchrun away")
        losses = pretrain(texts, out, config, ranks.device)
        for _ in _shown(({"text": loss} for loss in losses), 0, config.updates):
            pass


def vision(config: ContrastiveConfig, out: Path, resume: bool) -> None:
    """A vision encoder by contrast with the texts of pairs, in `out` as `model.vision` takes it; all ranks train, the first of them writes.

    Raises:
        OutputError: there is a model already, or there are checkpoints, and nobody said to go on from them.
        SurroundingsError: told to stop; or a disk failed.
    """
    before = checkpoints(out)
    if before and not resume:
        raise OutputError(f"{out} holds a checkpoint; go on from it with --resume, or give another folder")
    _new(out, config)
    tokenizer = load_tokenizer("tokenizer", config.tokenizer)
    tokens = tokens_of(tokenizer, len(tokenizer))
    with joined() as ranks:
        towers = Towers(config, tokens).to(ranks.device)
        optim = adam(towers, config.optim)
        stream = Stream(
            config.sets,
            tokens,
            config.media,
            config.seed,
            load(before[-1], towers, optim, ranks).stream if before else None,
            ranks.rank,
            ranks.ranks,
            workers=config.workers,
            total=ranks.counts,
        )
        updates = contrast(towers, optim, stream, tokens, config, ranks)
        with Checkpoints(out, ranks, keep=1) as saved, told_to_stop() as told:
            for done in _shown(updates, stream.state.step, config.updates, ranks.rank == 0):
                stops = ranks.counts([told()])[0] > 0 and done < config.updates
                if stops or done % config.save_every == 0:
                    saved.save(done, towers, optim, stream.state)
                if stops:
                    saved.wait()
                    raise SurroundingsError(f"told to stop after {done:,} updates; {out} goes on with --resume")
        if ranks.rank == 0:
            save_vision(towers, config.media.side, config.normalise, out)
        ranks.wait()


def _new(out: Path, config: msgspec.Struct) -> None:
    """The folder, with the effective configuration."""
    if (out / "config.json").exists():
        raise OutputError(f"{out} holds a model already; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(write_settings(config))


def _shown(updates: Iterator[dict[str, float]], start: int, total: int, shows: bool = True) -> Iterator[int]:
    """Goes through all updates after `start`, and gives the number done; with a line for people now and then."""
    began = shown = time.monotonic()
    for done, losses in enumerate(updates, start + 1):
        now = time.monotonic()
        if shows and (now - shown > _LINE_S or done == total):
            told = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            left = (total - done) * (now - began) / (done - start)
            print(f"{done:,} of {total:,}  {told}  {left:,.0f} s left", flush=True)
            shown = now
        yield done
