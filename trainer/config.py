"""The configuration of a training run: one tree of small structs, each defined beside the code that reads it."""

from typing import Annotated

import msgspec

from trainer.compute import ComputeConfig
from trainer.data.media import MediaConfig
from trainer.data.stream import Mode, SetConfig
from trainer.loss import Mean
from trainer.model.config import ModelConfig
from trainer.optim import OptimConfig


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what a training run comes to.

    `updates` is how many there are in all; every `save_every` of them there is a checkpoint, of which the `keep` latest stay, in the run's folder or at `checkpoints`, a folder or the URL of one in a store. `workers` are processes that
    read and decode beside each rank, each `prefetch` updates ahead; 0 reads in the rank itself. `mode` says whether an update takes a batch of every set, or one of one set, in turns (62.9 against 70.7, Flamingo Table 3) or drawn by its share; shards
    of a store are kept on this disk within `cache_bytes`, 0 for none, and features of the frozen encoder within `feature_bytes`. `mean` is what a set's loss is: the mean over examples of what their tokens sum up to, or the
    mean over tokens, both over the global batch. A run in which a rank begins nothing new for `hang_s` seconds ends; checkpoints and compiling have to fit.
    The loss of sets that are `held_out` is measured at each checkpoint.
    `tensorboard` draws into the run's folder, `wandb` names a project of Weights & Biases to draw in.
    """

    sets: dict[str, SetConfig]
    held_out: dict[str, SetConfig] = {}
    mode: Mode = "every"  # Flamingo 2.4
    model: ModelConfig = ModelConfig()
    compute: ComputeConfig = ComputeConfig()
    media: MediaConfig = MediaConfig()
    optim: OptimConfig = OptimConfig()
    mean: Mean = "example"  # Flamingo 2.4
    updates: Annotated[int, msgspec.Meta(ge=1)] = 500_000  # Flamingo B.1.2
    save_every: Annotated[int, msgspec.Meta(ge=1)] = 1000
    keep: Annotated[int, msgspec.Meta(ge=1)] = 3
    checkpoints: str = ""
    workers: Annotated[int, msgspec.Meta(ge=0)] = 2
    prefetch: Annotated[int, msgspec.Meta(ge=1)] = 2
    cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    feature_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    hang_s: Annotated[float, msgspec.Meta(gt=0)] = 600  # ours: longer than the first update of a compiled model
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    tensorboard: bool = False
    wandb: str = ""
