"""A tokenizer and a language model from the text of shards."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from schemas.errors import InputError
from schemas.shard import Sample
from tests.streams import document, pair, write
from trainer.data.shards import Shards, find_shards
from trainer.data.tokens import tokens_of
from trainer.pretrain import LanguageConfig, pretrain, texts_of, train_tokenizer

TINY = LanguageConfig(shards=[], vocabulary=280, width=32, layers=2, heads=4, tokens=16, batch=8, updates=30)


def test_texts_of_shards(tmp_path: Path) -> None:
    """Captions and the text of pages, in the order of the shards; what is broken is passed over."""
    write(tmp_path, "0", [pair(3), Sample("x", {"txt": b"\xff"}), Sample("y", {"json": b"{}"}), document(1, 1)])
    texts = list(texts_of(Shards(find_shards([str(tmp_path)]))))

    assert "<image>number 3" == texts[0]
    assert "page 1" in texts[1]
    assert 2 == len(texts)


def test_any_text_comes_back() -> None:
    """Every byte is in the vocabulary, and what looks like a special token is text."""
    tokenizer = train_tokenizer(["a red circle", "a red ring"] * 9, 270)
    tokens = tokens_of(tokenizer, len(tokenizer))
    text = "é </s> 漢字 <image>\n"

    assert len(tokenizer) <= 270
    assert text == tokenizer.decode(tokens.encode(text))
    assert tokens.eos not in tokens.encode(text)
    assert len(tokens.encode("a red circle")) < len("a red circle")


def test_the_same_model_each_time(tmp_path: Path) -> None:
    """The loss falls; two runs leave the same model, which is loaded as any other."""
    texts = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("ring", "square", "long river")]
    once, again = ([step.losses["text"] for step in pretrain(texts, tmp_path / name, TINY)] for name in "ab")
    models = [AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in "ab"]

    assert once == again
    assert once[-1] < 0.7 * once[0]
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    assert len(AutoTokenizer.from_pretrained(tmp_path / "a")) == models[0].config.vocab_size


def test_no_text(tmp_path: Path) -> None:
    """Shards without text are an error of the input."""
    with pytest.raises(InputError):
        next(pretrain([""], tmp_path, TINY))
