"""Tiny models that tests make: random weights, the files that `transformers` saves and loads, nothing from a network."""

import json
from pathlib import Path
from typing import Any

SIDE = 16  # px
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,-'"


def save_classifier(folder: Path, labels: list[str]) -> str:
    """A ViT of one layer with these labels, and how its pictures are prepared; returns its path."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        image_size=SIDE, patch_size=8, id2label=dict(enumerate(labels)), initializer_range=1.0, **_layers()
    )
    _save(ViTForImageClassification(config), folder, "ViTImageProcessor")
    return str(folder)


def save_clip(folder: Path) -> str:
    """A CLIP of one layer a tower, whose words are letters; returns its path."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    words = ["<|startoftext|>", "<|endoftext|>", *_LETTERS, *(f"{letter}</w>" for letter in _LETTERS)]
    ends = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    config = CLIPConfig(
        text_config={"vocab_size": len(words), "max_position_embeddings": 40, **ends, **_layers()},
        vision_config={"image_size": SIDE, "patch_size": 8, **_layers()},
        projection_dim=8,
        initializer_factor=20.0,
    )
    _save(CLIPModel(config), folder, "CLIPImageProcessor")
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    return str(folder)


def _layers() -> dict[str, Any]:
    return {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def _save(network: Any, folder: Path, preprocessing: str) -> None:
    folder.mkdir()
    network.save_pretrained(folder)
    sizes = {"size": {"height": SIDE, "width": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    settings = {"image_processor_type": preprocessing, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, **sizes}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
