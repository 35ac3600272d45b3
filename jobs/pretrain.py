"""m3w pretrain: what a training run keeps frozen, made from nothing: a language model with its tokenizer, and then a vision encoder."""

from contextlib import ExitStack
from pathlib import Path

from jobs.stopping import give_up, latest, ranks_of, told_to_stop
from jobs.train_log import noted, train_log
from schemas.errors import OutputError, SurroundingsError, UsageError
from trainer.checkpoint import Checkpoints, load
from trainer.contrastive import ContrastiveConfig, Towers, adam, contrast, save_vision
from trainer.data.shards import Shards, find_shards
from trainer.data.stream import Stream
from trainer.data.tokens import Tokens, tokens_of
from trainer.load import load_tokenizer
from trainer.pretrain import LanguageConfig, pretrain, texts_of
from trainer.ranks import Ranks, joined
from trainer.watchdog import watched


def language(config: LanguageConfig, out: Path) -> None:
    """A byte-level BPE tokenizer and a small language model of the text of shards, in `out` as `model.language` takes them.

    Raises:
        OutputError: there is a model already.
        UsageError: more than one process was started for it.
    """
    _is_new(out)
    texts = list(texts_of(Shards(find_shards(config.shards))))
    with joined() as ranks:
        if ranks.ranks > 1:
            raise UsageError("a language model is pretrained by one process; leave torchrun away")
        with train_log(config, out) as log:
            for step in pretrain(texts, out, config, ranks.device):
                log.take(step)


def vision(config: ContrastiveConfig, out: Path, resume: bool) -> None:
    """A vision encoder by contrast with the texts of pairs, in `out` as `model.vision` takes it; all ranks train, the first of them writes.

    After SIGTERM or Ctrl-C, to whichever rank, all end the update that they are at, with a checkpoint.

    Raises:
        OutputError: there is a model already, or there are checkpoints, and nobody said to go on from them.
        SurroundingsError: told to stop; or a disk, a store, a device or another rank failed.
    """
    before = latest(out, resume)
    _is_new(out)
    tokenizer = load_tokenizer("tokenizer", config.tokenizer)
    tokens = tokens_of(tokenizer, len(tokenizer))
    with ranks_of(out, config.hang_s) as ranks:
        towers = _contrasted(config, tokens, out, before, ranks)
        if ranks.rank == 0:
            save_vision(towers, config.media.side, config.normalise, out)
        ranks.wait()


def _contrasted(config: ContrastiveConfig, tokens: Tokens, out: Path, before: str | None, ranks: Ranks) -> Towers:
    """The towers after all updates."""
    with ExitStack() as stack:
        with ranks.together():
            towers = Towers(config, tokens).to(ranks.device)
            optim = adam(towers, config.optim)
            state = load(before, towers, optim, ranks).stream if before else None
            stream = Stream(
                config.sets,
                tokens,
                config.media,
                config.seed,
                state,
                ranks.rank,
                ranks.ranks,
                workers=config.workers,
                total=ranks.counts,
            )
            log = stack.enter_context(train_log(config, out, stream.state.step)) if ranks.rank == 0 else None
        told = stack.enter_context(told_to_stop())
        stack.enter_context(watched(ranks, config.hang_s, give_up))
        saved = stack.enter_context(Checkpoints(out, ranks, keep=1))
        for step in contrast(towers, optim, stream, tokens, config, ranks):
            done = step.number + 1
            stops = noted(step, log, told, ranks) and done < config.updates
            if stops or done % config.save_every == 0:
                ranks.at(f"saves the checkpoint after {done:,} updates")
                saved.save(done, towers, optim, stream.state)
            if stops:
                saved.wait()
                raise SurroundingsError(f"told to stop after {done:,} updates; {out} goes on from them with --resume")
    return towers


def _is_new(out: Path) -> None:
    if (out / "config.json").exists():
        raise OutputError(f"{out} holds a model already; give another folder")
