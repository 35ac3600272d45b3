"""Where the numbers of a run are drawn, if asked: TensorBoard's events in the run's folder, Weights & Biases."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec

from schemas.errors import SurroundingsError
from trainer.config import TrainConfig
from trainer.contrastive import ContrastiveConfig
from trainer.pretrain import LanguageConfig

Config: TypeAlias = TrainConfig | ContrastiveConfig | LanguageConfig  # of whatever is trained
Draw: TypeAlias = Callable[[Mapping[str, float], int], None]  # named numbers of an update, its number


@contextmanager
def boards(config: Config, out: Path, start: int) -> Iterator[Draw]:
    """What draws on all boards that are asked for, from the update `start` on; a run that goes on is drawn on where it was.

    Raises:
        SurroundingsError: a board is asked for and not installed, or does not take the run.
    """
    with ExitStack() as stack:
        drawing: list[Draw] = []
        if config.tensorboard:
            drawing.append(stack.enter_context(_tensorboard(out, start)))
        if config.wandb:
            drawing.append(stack.enter_context(_wandb(config, out)))

        def draw(numbers: Mapping[str, float], update: int) -> None:
            for one in drawing:
                one(numbers, update)

        yield draw


@contextmanager
def _tensorboard(out: Path, start: int) -> Iterator[Draw]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SurroundingsError("tensorboard = true needs TensorBoard: pip install tensorboard") from error
    with SummaryWriter(str(out), purge_step=start) as writer:

        def draw(numbers: Mapping[str, float], update: int) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, update)

        yield draw


@contextmanager
def _wandb(config: Config, out: Path) -> Iterator[Draw]:
    """Updates that are done again after a kill are the same as before, and Weights & Biases keeps the first ones."""
    try:
        import wandb
    except ImportError as error:
        raise SurroundingsError(f"wandb = {config.wandb} needs Weights & Biases: pip install wandb") from error
    known = out / "wandb.id"
    if not known.exists():
        known.write_text(secrets.token_hex(4))
    settings = msgspec.to_builtins(config)
    try:
        run = wandb.init(
            project=config.wandb, name=out.name, id=known.read_text(), resume="allow", dir=str(out), config=settings
        )
    except wandb.Error as error:
        raise SurroundingsError(f"wandb = {config.wandb}: {error}") from error
    with run:
        yield lambda numbers, update: run.log(dict(numbers), step=update)
