"""Tiny models of transformers with random weights, made on the spot."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from trainer.model.config import ModelConfig, ResamplerConfig, XattnConfig
from trainer.model.flamingo import Flamingo

torch.set_num_threads(1)  # the workers of a test run share the cores

VOCABULARY = 97
IDS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
FAMILIES = ["llama", "mistral", "qwen2", "qwen3", "gpt2", "opt", "neox"]


def language(family: str = "llama", layers: int = 4, vocabulary: int = VOCABULARY) -> PreTrainedModel:
    """A language model of 32 channels in evaluation mode."""
    torch.manual_seed(1)
    new: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "vocab_size": vocabulary,
        **IDS,
    }
    grouped: dict[str, Any] = {**new, "intermediate_size": 64, "num_key_value_heads": 2}
    match family:
        case "llama":
            model: PreTrainedModel = LlamaForCausalLM(LlamaConfig(**grouped))
        case "mistral":
            model = MistralForCausalLM(MistralConfig(**grouped))
        case "qwen2":
            model = Qwen2ForCausalLM(Qwen2Config(**grouped))
        case "qwen3":
            model = Qwen3ForCausalLM(Qwen3Config(**grouped, head_dim=8))
        case "gpt2":
            model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=layers, n_head=4, vocab_size=vocabulary, **IDS))
        case "opt":
            model = OPTForCausalLM(OPTConfig(**new, ffn_dim=64, word_embed_proj_dim=32))
        case _:
            model = GPTNeoXForCausalLM(GPTNeoXConfig(**new, intermediate_size=64))
    return model.eval()


def vision() -> PreTrainedModel:
    """A vision transformer of 24 channels for pictures of 16 px in patches of 8."""
    torch.manual_seed(2)
    config = CLIPVisionConfig(
        hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8
    )
    return CLIPVisionModel(config).eval()


def flamingo(
    family: str = "llama", alpha: float = 0.0, every: int = 2, vocabulary: int = VOCABULARY, **xattn: object
) -> Flamingo:
    """Both, with gates open by `alpha`."""
    base, eyes = language(family, vocabulary=vocabulary), vision()
    torch.manual_seed(3)
    config = ModelConfig(
        resampler=ResamplerConfig(width=16, layers=2, heads=2, latents=4, frames=4),
        xattn=XattnConfig(every=every, head_dim=8, **xattn),  # type: ignore[arg-type]
    )
    model = Flamingo(eyes, base, config)
    for layer in model.layers:
        if layer.gated is not None and layer.gated.alpha_xattn is not None:
            torch.nn.init.constant_(layer.gated.alpha_xattn, alpha)
            torch.nn.init.constant_(layer.gated.alpha_dense, alpha)
    return model


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE whose vocabulary is the bytes, its merges those of a few words, with <s> and </s>."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["the image of a heron by the river"], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")
