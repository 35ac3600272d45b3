"""Contrastive pretraining: a vision encoder made from nothing, beside a text tower that is thrown away after. Flamingo B.1.3.

    pixels ──▶ encoder ──▶ mean over patches ──▶ map ──▶ unit vectors ─┐
                                                                         ├──▶ two-term loss with a learnt temperature
    ids ────▶ BERT ─────▶ mean over tokens ───▶ map ──▶ unit vectors ─┘

Batches are those of `Stream` over sets of pairs; each set is a loss by itself, weighted, and their gradients are added up, so that no set is told apart
by its source. With many processes the negatives are those of all of them. Two pairs with one caption, or with one picture, are no negatives of each other.

Shapes: B pairs of this process, N pairs of all, L tokens, E channels of the joint space.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, CLIPImageProcessorPil, PreTrainedModel

from schemas.errors import ConfigError
from trainer.data.batch import Batch
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import Tokens
from trainer.data.window import IGNORED
from trainer.load import Normalisation
from trainer.model.vision import VisionEncoder
from trainer.optim import OptimConfig, rate

Count = Annotated[int, msgspec.Meta(ge=1)]


class TextTowerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A BERT of this size; `tokens` is the longest sequence."""

    width: Count = 768  # BERT base, as `layers` and `heads`
    layers: Count = 12
    heads: Count = 12
    tokens: Count = 64


class ContrastiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`vision` is any vision model of transformers by its configuration: `model_type`, and the fields of that type.

    `smoothing` is the share of a label that goes to all that it is told apart from.
    """

    vision: dict[str, Any]
    text: TextTowerConfig = TextTowerConfig()
    joint: Count = 1376  # Flamingo B.1.3
    smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1  # Flamingo B.1.3
    updates: Count = 10_000  # ours
    optim: OptimConfig = OptimConfig(
        lr=1e-3, warmup=0, schedule="linear", decay=0.0
    )  # Flamingo B.1.3; the clip is ours


class Towers(nn.Module):
    """Both towers, their maps to the joint space, and the temperature.

    Raises:
        ConfigError: `vision` is no configuration of a vision model.
    """

    def __init__(self, config: ContrastiveConfig, tokens: Tokens) -> None:
        super().__init__()
        try:
            self.vision: PreTrainedModel = AutoModel.from_config(AutoConfig.for_model(**config.vision))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"vision: {str(error).splitlines()[0]}") from error
        self.encoder = VisionEncoder(self.vision)
        self.text = BertModel(_bert(config.text, tokens), add_pooling_layer=False)
        self.map_picture = nn.Linear(self.encoder.width, config.joint, bias=False)
        self.map_text = nn.Linear(config.text.width, config.joint, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())  # CLIP 2.5

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by: the inverse of the temperature, at most 100 (CLIP 2.5)."""
        return self.log_scale.exp().clamp(max=100)

    def pictures(self, pixels_MT3HW: Tensor) -> Tensor:
        """[M, E] of normalised pixels."""
        features_MTSC = self.encoder(pixels_MT3HW)
        return F.normalize(self.map_picture(features_MTSC.mean(dim=(1, 2))), dim=-1)

    def texts(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, E]."""
        hidden_BLD = self.text(input_ids=ids_BL, attention_mask=mask_BL.long()).last_hidden_state
        mean_BD = (hidden_BLD * mask_BL[:, :, None]).sum(1) / mask_BL.sum(1, keepdim=True)
        return F.normalize(self.map_text(mean_BD), dim=-1)


def contrast(
    towers: Towers,
    stream: Stream,
    sets: Mapping[str, SetConfig],
    tokens: Tokens,
    config: ContrastiveConfig,
    normalise: Normalisation,
) -> Iterator[dict[str, float]]:
    """Trains from where the stream is until `config.updates`; yields each update's loss by set, this process's part of it.

    A set's loss is the mean over its pairs and both terms, in nats.
    """
    optim = torch.optim.Adam(towers.parameters(), betas=config.optim.betas, weight_decay=config.optim.decay)
    batches = iter(stream)
    for update in range(stream.state.step, config.updates):
        losses = {}
        for batch in next(batches):
            loss = _batch_loss(towers, batch, tokens, config.smoothing, normalise)
            (sets[batch.set].weight * loss).backward()
            losses[batch.set] = float(loss.detach())
        _add_up(towers)
        nn.utils.clip_grad_norm_(towers.parameters(), config.optim.clip)
        optim.param_groups[0]["lr"] = rate(update, config.updates, config.optim)
        optim.step()
        optim.zero_grad(set_to_none=True)
        yield losses


def save_vision(towers: Towers, side: int, normalise: Normalisation, folder: Path) -> None:
    """Leaves the vision encoder as `model.vision` takes it: weights, configuration, and the mean and deviation of its pixels."""
    towers.vision.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": side}, image_mean=list(normalise.mean), image_std=list(normalise.std)
    ).save_pretrained(folder)


def two_terms(
    pictures_BE: Tensor, texts_BE: Tensor, marks_B2: Tensor, real_B: Tensor, scale: Tensor, smoothing: float = 0.0
) -> Tensor:
    """A process's part of the loss, picture to text and text to picture: parts of all processes add up to the mean over all pairs.

    Pairs whose picture or text have the same mark, an int64 of each, are no negatives of each other; those that are not `real` count for nothing.
    """
    pictures_NE, texts_NE, marks_N2, real_N = map(_gathered, (pictures_BE, texts_BE, marks_B2, real_B))
    rank = distributed.get_rank() if distributed.is_initialized() else 0
    own_B = torch.arange(len(real_B), device=real_B.device) + rank * len(real_B)
    same_BN = (marks_B2[:, None] == marks_N2[None]).any(-1)
    told_apart_BN = (~same_BN & real_N).scatter(1, own_B[:, None], True)
    sums = [
        (_nll(scale * one_BE @ other_NE.T, own_B, told_apart_BN, smoothing) * real_B).sum()
        for one_BE, other_NE in ((pictures_BE, texts_NE), (texts_BE, pictures_NE))
    ]
    return torch.stack(sums).sum() / (2 * real_N.sum().clamp(min=1))


def _nll(logits_BN: Tensor, own_B: Tensor, told_apart_BN: Tensor, smoothing: float) -> Tensor:
    """[B]: of each row's own column among those that it is told apart from, and itself."""
    log_p_BN = logits_BN.masked_fill(~told_apart_BN, -torch.inf).log_softmax(-1)
    own_nll_B = -log_p_BN.gather(1, own_B[:, None])[:, 0]
    others_B = -torch.where(told_apart_BN, log_p_BN, 0).sum(1) / told_apart_BN.sum(1)
    return (1 - smoothing) * own_nll_B + smoothing * others_B


def _batch_loss(towers: Towers, batch: Batch, tokens: Tokens, smoothing: float, normalise: Normalisation) -> Tensor:
    """The loss of a batch of pairs; each picture is encoded once."""
    device = towers.log_scale.device
    slots_B, real_B = batch.slots_BK[:, 0], batch.phi_BL.amax(dim=1) > 0
    picture_marks = torch.tensor([_mark(one.numpy().tobytes()) for group in batch.pixels for one in group])
    text_marks = torch.tensor([_mark(text.encode()) for text in _captions(batch, tokens)])
    marks_B2 = torch.stack([picture_marks[slots_B], text_marks], dim=1).to(device)
    pictures_ME = torch.cat([towers.pictures(normalise(group.to(device))) for group in batch.pixels])
    texts_BE = towers.texts(batch.ids_BL.to(device), batch.mask_BL.to(device))
    return two_terms(pictures_ME[slots_B], texts_BE, marks_B2, real_B.to(device), towers.scale, smoothing)


def _captions(batch: Batch, tokens: Tokens) -> list[str]:
    """The texts that are learnt, whether or not a space was put in front of them."""
    rows = [labels_L[labels_L != IGNORED].tolist() for labels_L in batch.labels_BL]
    ends = (tokens.eoc, tokens.eos)
    decoded = tokens.tokenizer.batch_decode([[one for one in row if one not in ends] for row in rows])
    return [text.strip() for text in decoded]


def _mark(data: bytes) -> int:
    """64 bits that two different pictures or texts share by chance alone."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


class _Gather(torch.autograd.Function):
    """The rows of all processes in the order of ranks; each gets back the gradients that all have for its rows."""

    @staticmethod
    def forward(ctx: Any, one: Tensor) -> Tensor:
        rows = [torch.empty_like(one) for _ in range(distributed.get_world_size())]
        distributed.all_gather(rows, one.contiguous())
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        summed = grads[0].clone()
        distributed.all_reduce(summed)
        return summed.chunk(distributed.get_world_size())[distributed.get_rank()]


def _gathered(one: Tensor) -> Tensor:
    """The rows of all processes, or this one's where it is alone."""
    gathered: Tensor = _Gather.apply(one) if distributed.is_initialized() else one
    return gathered


def _add_up(towers: Towers) -> None:
    """The gradients of all processes' parts of the loss, summed."""
    if distributed.is_initialized():
        for one in towers.parameters():
            if one.grad is not None:
                distributed.all_reduce(one.grad)


def _bert(config: TextTowerConfig, tokens: Tokens) -> BertConfig:
    """Without dropout: a run is repeatable whatever drew random numbers before."""
    return BertConfig(
        vocab_size=tokens.eoc + 1,
        hidden_size=config.width,
        intermediate_size=4 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=config.tokens,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
