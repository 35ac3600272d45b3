"""Contrastive pretraining: a vision encoder made from nothing, beside a text tower that is thrown away after. Flamingo B.1.3.

    pixels ──▶ encoder ──▶ mean over patches ──▶ map ──▶ unit vectors ─┐
                                                                         ├──▶ two-term loss with a learnt temperature
    ids ────▶ BERT ─────▶ mean over tokens ───▶ map ──▶ unit vectors ─┘

Batches are those of `Stream` over sets of pairs; each set is a loss by itself, weighted, and their gradients are added up, so that no set is told apart
by its source (`trainer.two_terms`).

Shapes: B pairs of this rank, L tokens, E channels of the joint space.
"""

import hashlib
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, BertConfig, BertModel, CLIPImageProcessorPil, PreTrainedModel

from schemas.errors import ConfigError
from trainer.data.batch import Batch
from trainer.data.media import MediaConfig
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import Tokens
from trainer.data.window import IGNORED
from trainer.load import Normalisation
from trainer.model.vision import VisionEncoder
from trainer.optim import OptimConfig, rate
from trainer.ranks import Ranks
from trainer.step import Step, not_finite, step_of
from trainer.two_terms import two_terms
from trainer.unit_clip import clip_units

_MAX_LOG_SCALE = math.log(100)  # CLIP 2.5

Count = Annotated[int, msgspec.Meta(ge=1)]


class TextTowerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A BERT of this size, for texts as long as the sets have them."""

    width: Count = 768  # BERT base, as `layers` and `heads`
    layers: Count = 12
    heads: Count = 12


class ContrastiveConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an encoder is made of, and on what.

    `sets` are pairs; `tokenizer`, a folder or a name of the hub, is for their texts; `vision` is any vision model of transformers by its configuration:
    `model_type`, and the fields of that type. `smoothing` is the share of a label that goes to all that it is told apart from; `workers` are processes that
    read and decode beside each rank; every `save_every` updates there is a checkpoint. `dtype` is that of activations; weights are float32. The negatives of a
    pair are a whole batch, so sets have no `micro_batch`. With `unit_clip` the encoder's gradient is clipped by units (`trainer.unit_clip`), and `optim.clip` is
    for that of all else. `hang_s`, `tensorboard` and `wandb` are as in `TrainConfig`.
    """

    sets: dict[str, SetConfig]
    tokenizer: str
    vision: dict[str, Any]
    text: TextTowerConfig = TextTowerConfig()
    dtype: Literal["float32", "bfloat16"] = "float32"  # ours: what a CPU is fast with
    joint: Count = 1376  # Flamingo B.1.3
    smoothing: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.1  # Flamingo B.1.3
    media: MediaConfig = MediaConfig(side=288)  # Flamingo B.1.3
    updates: Count = 10_000  # ours
    save_every: Count = 1000
    optim: OptimConfig = OptimConfig(
        lr=1e-3, warmup=0, schedule="linear", decay=0.0
    )  # Flamingo B.1.3; the clip is ours
    unit_clip: Annotated[float, msgspec.Meta(gt=0)] | None = None  # Flamingo B.1.3 has 0.01 on its NFNet
    workers: Annotated[int, msgspec.Meta(ge=0)] = 2
    hang_s: Annotated[float, msgspec.Meta(gt=0)] = 600  # ours
    seed: int = 0
    tensorboard: bool = False
    wandb: str = ""

    @property
    def normalise(self) -> Normalisation:
        """The padding's colour becomes 0, so a new encoder never sees it; of bytes spread evenly most are within 1."""
        return Normalisation(mean=self.media.mean, std=(0.5, 0.5, 0.5))


class Towers(nn.Module):
    """Both towers, their maps to the joint space, and the temperature; new weights by `config.seed`.

    Raises:
        ConfigError: `vision` is no configuration of a vision model; there are no sets; a set has a `micro_batch`.
    """

    def __init__(self, config: ContrastiveConfig, tokens: Tokens) -> None:
        super().__init__()
        if not config.sets:
            raise ConfigError("there are no sets; name one, such as [sets.pairs]")
        for name, one in config.sets.items():
            if one.micro_batch:
                raise ConfigError(f"sets.{name}.micro_batch: the negatives of a pair are a whole batch; leave it out")
        self._in_bfloat16 = config.dtype == "bfloat16"
        torch.manual_seed(config.seed)
        try:
            self.vision: PreTrainedModel = AutoModel.from_config(AutoConfig.for_model(**config.vision))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"vision: {str(error).splitlines()[0]}") from error
        self.encoder = VisionEncoder(self.vision)
        self.text = BertModel(_bert(config, tokens), add_pooling_layer=False)
        self.map_picture = nn.Linear(self.encoder.width, config.joint, bias=False)
        self.map_text = nn.Linear(config.text.width, config.joint, bias=False)
        self.log_scale = nn.Parameter(torch.tensor(1 / 0.07).log())  # CLIP 2.5

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by: the inverse of the temperature."""
        return self.log_scale.exp()

    def computing(self) -> torch.autocast:
        """Within it both compute in the type that is asked for."""
        return torch.autocast(self.log_scale.device.type, torch.bfloat16, enabled=self._in_bfloat16)

    def pictures(self, pixels_MT3HW: Tensor) -> Tensor:
        """[M, E] of normalised pixels."""
        features_MTSC = self.encoder(pixels_MT3HW)
        return _unit(self.map_picture(features_MTSC.mean(dim=(1, 2))))

    def texts(self, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """[B, E]."""
        hidden_BLD = self.text(input_ids=ids_BL, attention_mask=mask_BL.long()).last_hidden_state
        mean_BD = (hidden_BLD * mask_BL[:, :, None]).sum(1) / mask_BL.sum(1, keepdim=True)
        return _unit(self.map_text(mean_BD))


def adam(towers: Towers, config: OptimConfig) -> torch.optim.Adam:
    """The paper's optimizer; the rate is set before each update."""
    return torch.optim.Adam(towers.parameters(), betas=config.betas, weight_decay=config.decay)


def contrast(
    towers: Towers,
    optim: torch.optim.Optimizer,
    stream: Stream,
    tokens: Tokens,
    config: ContrastiveConfig,
    ranks: Ranks = Ranks(),
) -> Iterator[Step]:
    """Trains from where the stream is until `config.updates`, and yields what each update was; between two the towers may be saved.

    A set's loss is the mean over its pairs and both terms, in nats.

    Raises:
        NotFinite: before the weights are touched; on all ranks, since the gradient is the sum of theirs.
    """
    trained = list(towers.parameters())
    ranks.same(trained)
    batches = iter(stream)
    for number in range(stream.state.step, config.updates):
        began = time.monotonic()
        ranks.at(f"reads the batch of update {number + 1:,}")
        step = next(batches)
        waited = time.monotonic() - began
        counts = ranks.add(torch.stack([_real(batch).sum() for batch in step]).to(ranks.device)).clamp(min=1)
        ranks.seed(config.seed, number)
        ranks.at(f"computes update {number + 1:,}")
        nlls = [
            _backward(towers, batch, tokens, config, count, ranks) for batch, count in zip(step, counts, strict=True)
        ]
        parts = torch.stack([nll_B.sum() / count for nll_B, count in zip(nlls, counts, strict=True)])
        for one in trained:
            if one.grad is None:  # of a pooling head, through which nothing goes: so it has its place in checkpoints
                one.grad = torch.zeros_like(one)
        ranks.add_gradients(trained)
        losses = dict(zip((batch.set for batch in step), ranks.add(parts).tolist(), strict=True))
        ranks.at(f"makes update {number + 1:,}")
        norm = _clip(towers, config)
        if not torch.isfinite(norm):
            raise not_finite(number, losses, step, ranks)
        scale, lr = float(towers.scale.detach()), rate(number, config.updates, config.optim)
        optim.param_groups[0]["lr"] = lr
        optim.step()
        with torch.no_grad():  # a bound on `scale` would leave it without gradient for good
            towers.log_scale.clamp_(max=_MAX_LOG_SCALE)
        optim.zero_grad(set_to_none=True)
        yield step_of(number, step, nlls, losses, norm, lr, began, waited, ranks, scale=scale)


def _clip(towers: Towers, config: ContrastiveConfig) -> Tensor:
    """The norm of the whole gradient before it is clipped."""
    norm = nn.utils.get_total_norm(one.grad for one in towers.parameters() if one.grad is not None)
    by_units = set(towers.vision.parameters()) if config.unit_clip is not None else set()
    if config.unit_clip is not None:
        clip_units(by_units, config.unit_clip)
    nn.utils.clip_grad_norm_([one for one in towers.parameters() if one not in by_units], config.optim.clip)
    return norm


def save_vision(towers: Towers, side: int, normalise: Normalisation, folder: Path) -> None:
    """Leaves the vision encoder as `model.vision` takes it: weights, configuration, and the mean and deviation of its pixels."""
    towers.vision.save_pretrained(folder)
    CLIPImageProcessorPil(
        size={"shortest_edge": side}, image_mean=list(normalise.mean), image_std=list(normalise.std)
    ).save_pretrained(folder)


def _backward(
    towers: Towers, batch: Batch, tokens: Tokens, config: ContrastiveConfig, count: Tensor, ranks: Ranks
) -> Tensor:
    """Adds the weighted gradient of a rank's pairs, of which all ranks have `count`; returns [B], the loss of each pair. Each picture is encoded once."""
    slots_B = batch.slots_BK[:, 0]
    picture_marks = torch.tensor([_mark(one.numpy().tobytes()) for group in batch.pixels for one in group])
    text_marks = torch.tensor([_mark(text.encode()) for text in _captions(batch, tokens)])
    marks_B2 = torch.stack([picture_marks[slots_B], text_marks], dim=1)
    with towers.computing():
        pictures_ME = torch.cat([towers.pictures(config.normalise(group.to(ranks.device))) for group in batch.pixels])
        texts_BE = towers.texts(batch.ids_BL.to(ranks.device), batch.mask_BL.to(ranks.device))
    nll_B = two_terms(
        pictures_ME[slots_B.to(ranks.device)],
        texts_BE,
        marks_B2.to(ranks.device),
        _real(batch).to(ranks.device),
        towers.scale,
        config.smoothing,
        ranks,
    )
    (config.sets[batch.set].weight * nll_B.sum() / count).backward()
    return nll_B.detach().double()


def _real(batch: Batch) -> Tensor:
    """[B]: which rows are pairs, and not the empty places of broken ones."""
    return batch.phi_BL.amax(dim=1) > 0


def _unit(rows: Tensor) -> Tensor:
    """Unit vectors of the rows, in float32 or better."""
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=-1)


def _captions(batch: Batch, tokens: Tokens) -> list[str]:
    """The texts that are learnt, whether or not a space was put in front of them."""
    rows = [labels_L[labels_L != IGNORED].tolist() for labels_L in batch.labels_BL]
    ends = (tokens.eoc, tokens.eos)
    decoded = tokens.tokenizer.batch_decode([[one for one in row if one not in ends] for row in rows])
    return [text.strip() for text in decoded]


def _mark(data: bytes) -> int:
    """64 bits that two different pictures or texts share by chance alone."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def _bert(config: ContrastiveConfig, tokens: Tokens) -> BertConfig:
    """Without dropout: a run is repeatable whatever drew random numbers before."""
    return BertConfig(
        vocab_size=tokens.eoc + 1,
        hidden_size=config.text.width,
        intermediate_size=4 * config.text.width,
        num_hidden_layers=config.text.layers,
        num_attention_heads=config.text.heads,
        max_position_embeddings=max(one.example.tokens for one in config.sets.values()),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
