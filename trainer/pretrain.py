"""A small language model and its tokenizer, made of a run's own text, so that a demo downloads nothing.

    shards ──▶ texts ──▶ byte-level BPE ──▶ rows of ids ──▶ a Llama of a few layers, as `save_pretrained` leaves it

It stands in for a model that has read the web: its text is what the run has, all in memory. Text of the samples that are held out stays out of it.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from schemas.document import Document
from schemas.errors import DataError, InputError
from schemas.markup import IMAGE
from trainer.data.shards import Shards
from trainer.data.tokens import Tokens, tokens_of
from trainer.data.window import IGNORED
from trainer.loss import learnt_tokens, set_loss, summed_nll
from trainer.optim import OptimConfig, rate
from trainer.step import Step, memory_gb

_BOS, _EOS = "<s>", "</s>"
_DOCUMENT = msgspec.json.Decoder(Document)

Count = Annotated[int, msgspec.Meta(ge=1)]


class LanguageConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The language model and its pretraining, all ours.

    `shards` are tars, globs or folders of the text; `tokens` is the longest row, `vocabulary` the most that the tokenizer learns, 256 bytes among them.
    `tensorboard` and `wandb` are as in `TrainConfig`.
    """

    shards: list[str]
    vocabulary: Annotated[int, msgspec.Meta(ge=258)] = 2048
    width: Count = 128
    layers: Count = 4
    heads: Count = 4
    tokens: Annotated[int, msgspec.Meta(ge=8)] = 256
    batch: Count = 32
    updates: Count = 1000
    optim: OptimConfig = OptimConfig(lr=3e-3, warmup=20, schedule="cosine")
    seed: int = 0
    tensorboard: bool = False
    wandb: str = ""


def texts_of(shards: Shards) -> Iterator[str]:
    """The text of each sample, tags in it as where it is trained on later: a document's, a pair's caption behind one. Broken samples are passed over."""
    for shard, count in enumerate(shards.counts):
        for number in range(count):
            members = shards.read(shard, number).members
            try:
                if "txt" in members:
                    yield IMAGE + members["txt"].decode().strip()
                else:
                    yield _DOCUMENT.decode(members["json"]).text
            except (KeyError, UnicodeDecodeError, msgspec.MsgspecError):
                continue


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE with at most so many tokens, `<s>` and `</s>` first."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_BOS, _EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=_BOS, eos_token=_EOS)


def pretrain(texts: Sequence[str], folder: Path, config: LanguageConfig, device: str = "cpu") -> Iterator[Step]:
    """Yields what each update was, its loss in nats a token; after the last, the model and its tokenizer are in `folder`.

    Raises:
        InputError: there is no text.
        DataError: the loss is no number.
    """
    if not any(texts):
        raise InputError("the shards hold no text to train a language model on")
    tokenizer = train_tokenizer(texts, config.vocabulary)
    rows = list(_rows(texts, tokens_of(tokenizer, len(tokenizer)), config.tokens))
    torch.manual_seed(config.seed)
    model = _language(tokenizer, config)
    nn.Module.to(model, device)  # transformers types its own wrongly
    rng = np.random.default_rng(config.seed)
    optim = torch.optim.AdamW(model.parameters(), betas=config.optim.betas, weight_decay=config.optim.decay)
    for number in range(config.updates):
        began = time.monotonic()
        lr = optim.param_groups[0]["lr"] = rate(number, config.updates, config.optim)
        drawn = [rows[row] for row in rng.integers(len(rows), size=config.batch)]
        loss = _loss(model, drawn, device)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip)
        if not torch.isfinite(norm):
            raise DataError(f"update {number + 1:,}: the loss is not finite; try a lower optim.lr")
        optim.step()
        optim.zero_grad(set_to_none=True)
        yield Step(
            number=number,
            losses={"text": float(loss.detach())},
            norm=float(norm),
            lr=lr,
            examples=config.batch,
            images=0,
            tokens=sum(map(len, drawn)),
            seconds=time.monotonic() - began,
            waited=0.0,
            memory_gb=memory_gb(device),
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _language(tokenizer: PreTrainedTokenizerFast, config: LanguageConfig) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.width,
            intermediate_size=4 * config.width,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=max(2048, config.tokens),
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def _rows(texts: Sequence[str], tokens: Tokens, length: int) -> Iterator[NDArray[np.int64]]:
    """Each text between the beginning and the end of text, cut to runs of at most `length`."""
    for text in texts:
        ids = np.array([*tokens.bos, *tokens.encode(text), tokens.eos])
        yield from np.split(ids, range(length, len(ids), length))


def _loss(model: LlamaForCausalLM, rows: Sequence[NDArray[np.int64]], device: str) -> Tensor:
    """The mean over the tokens of rows, padded on the right."""
    labels_BL = torch.full((len(rows), max(len(row) for row in rows)), IGNORED)
    for number, row in enumerate(rows):
        labels_BL[number, : len(row)] = torch.from_numpy(row)
    labels_BL = labels_BL.to(device)
    mask_BL = labels_BL != IGNORED
    out = model(input_ids=labels_BL.clamp(min=0), attention_mask=mask_BL.long(), use_cache=False)
    return set_loss(summed_nll(out.logits, labels_BL), len(rows), learnt_tokens(labels_BL), "token")
