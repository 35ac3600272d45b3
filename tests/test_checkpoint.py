"""Checkpoints: a resumed run is the undisturbed one; what is not whole, or of another model, is refused."""

from pathlib import Path

import pytest
import torch

from schemas.errors import ConfigError, SchemaError, SurroundingsError
from tests.test_loop import scaled, small_run
from tests.tiny_models import flamingo
from trainer.checkpoint import checkpoints, fingerprint, load, save
from trainer.data.stream import State
from trainer.loop import train
from trainer.model.flamingo import Flamingo
from trainer.optim import OptimConfig, optimizer

CONFIG = OptimConfig(lr=1e-2, warmup=2)
STATE = State(step=3, seed=0, sets={})


def saved(folder: Path, step: int = 3) -> tuple[Flamingo, Path]:
    """A model that has made no step, saved."""
    model = flamingo()
    return model, save(folder, step, model, optimizer(model, CONFIG), STATE)


def test_a_resumed_run_is_the_undisturbed_one(tmp_path: Path) -> None:
    """Six steps at once, and three, a checkpoint, a new model and three more: the same losses and the same weights, bit for bit."""
    model, stream, sets = small_run(tmp_path)
    whole = list(train(model, optimizer(model, CONFIG), stream, sets, CONFIG, 6, scaled))

    first, stream, sets = small_run(tmp_path)
    optim = optimizer(first, CONFIG)
    losses = [step.losses for step in train(first, optim, stream, sets, CONFIG, 3, scaled)]
    checkpoint = save(tmp_path / "run", 3, first, optim, stream.state)

    second, stream, sets = small_run(tmp_path)
    optim = optimizer(second, CONFIG)
    stream.state = load(checkpoint, second, optim).stream
    losses += [step.losses for step in train(second, optim, stream, sets, CONFIG, 6, scaled)]

    assert [step.losses for step in whole] == losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), second.parameters(), strict=True))


def test_old_ones_go_when_new_ones_are_whole(tmp_path: Path) -> None:
    """The latest three stay."""
    for step in (1, 2, 10, 11):
        saved(tmp_path, step)

    assert [2, 10, 11] == [int(path.name.removeprefix("step-")) for path in checkpoints(tmp_path)]


def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that cannot be written is an error; nothing of it is left, and the one before it loads."""
    model, good = saved(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainer.checkpoint._sync", full)
    with pytest.raises(SurroundingsError, match="No space left"):
        save(tmp_path, 4, model, optimizer(model, CONFIG), STATE)

    assert [good] == checkpoints(tmp_path)
    assert [good] == list(tmp_path.iterdir())
    assert 3 == load(good, model).step


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """One byte of the weights, or no state."""
    model, checkpoint = saved(tmp_path)
    file = checkpoint / "trained.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(SchemaError, match="not what was written"):
        load(checkpoint, model)
    (checkpoint / "state.json").unlink()
    with pytest.raises(SchemaError, match="no checkpoint"):
        load(checkpoint, model)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    """Other frozen weights, also when the shapes fit; other trained weights."""
    model, checkpoint = saved(tmp_path)
    with pytest.raises(ConfigError, match="other trained weights"):
        load(checkpoint, flamingo(every=1))
    before = fingerprint(model)
    with torch.no_grad():
        model.vision.tower.get_parameter("post_layernorm.weight")[0] += 1
    assert before != fingerprint(model)
    with pytest.raises(ConfigError, match="other frozen weights"):
        load(checkpoint, model)
