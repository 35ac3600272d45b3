"""m3w pretrain: what a training run keeps frozen, made from nothing: a language model with its tokenizer, and then a vision encoder."""

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from schemas.errors import OutputError, UsageError
from schemas.settings import write_settings
from trainer.contrastive import ContrastiveConfig, Towers, contrast, save_vision
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
        _show(({"text": loss} for loss in pretrain(texts, out, config, ranks.device)), config.updates)


def vision(config: ContrastiveConfig, out: Path) -> None:
    """A vision encoder by contrast with the texts of pairs, in `out` as `model.vision` takes it; all ranks train, the first of them writes.

    Raises:
        OutputError: there is a model already.
    """
    _new(out, config)
    tokenizer = load_tokenizer("tokenizer", config.tokenizer)
    tokens = tokens_of(tokenizer, len(tokenizer))
    with joined() as ranks:
        towers = Towers(config, tokens).to(ranks.device)
        stream = Stream(
            config.sets,
            tokens,
            config.media,
            config.seed,
            rank=ranks.rank,
            ranks=ranks.ranks,
            workers=config.workers,
            total=ranks.counts,
        )
        updates = contrast(towers, stream, tokens, config, ranks)
        if ranks.rank == 0:
            _show(updates, config.updates)
            save_vision(towers, config.media.side, config.normalise, out)
        else:
            for _ in updates:
                pass
        ranks.wait()


def _new(out: Path, config: msgspec.Struct) -> None:
    """The folder, with the effective configuration."""
    if (out / "config.json").exists():
        raise OutputError(f"{out} holds a model already; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.toml").write_text(write_settings(config))


def _show(updates: Iterator[dict[str, float]], total: int) -> None:
    """Goes through all updates, with a line for people every few seconds."""
    began = shown = time.monotonic()
    for done, losses in enumerate(updates, 1):
        now = time.monotonic()
        if now - shown > _LINE_S or done == total:
            told = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            left = (total - done) * (now - began) / done
            print(f"{done:,} of {total:,}  {told}  {left:,.0f} s left", flush=True)
            shown = now
