"""Checkpoints: a resumed run is the undisturbed one, in any number of ranks; what is not whole, or of another model, is refused."""

import hashlib
import json
import pickle
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.torch import load_file

from schemas.errors import ConfigError, SchemaError, SurroundingsError
from tests.test_loop import scaled, small_run
from tests.tiny_models import flamingo
from trainer.checkpoint import Checkpoints, checkpoints, fingerprint, load, trained_weights
from trainer.data.stream import State
from trainer.loop import train
from trainer.model.flamingo import Flamingo
from trainer.optim import OptimConfig, optimizer
from trainer.tensor_files import Files, Writer

CONFIG = OptimConfig(lr=1e-2, warmup=2)
STATE = State(step=3, seed=0, sets={})


def saved(folder: Path | str, *steps: int) -> tuple[Flamingo, str]:
    """A model that has made no step, saved once or more."""
    model = flamingo()
    with Checkpoints(folder) as kept:
        for step in steps or (3,):
            kept.save(step, model, optimizer(model, CONFIG), STATE)
    return model, checkpoints(folder)[-1]


@pytest.mark.parametrize("folder", ["disk", "memory://resumed"])
def test_a_resumed_run_is_the_undisturbed_one(tmp_path: Path, folder: str) -> None:
    """Six steps at once, and three, a checkpoint on a disk or in a store, a new model and three more: the same losses and weights, bit for bit."""
    kept = folder if "://" in folder else tmp_path / folder
    model, stream, sets = small_run(tmp_path)
    whole = list(train(model, optimizer(model, CONFIG), stream, sets, CONFIG, 6, scaled))

    first, stream, sets = small_run(tmp_path)
    optim = optimizer(first, CONFIG)
    losses = [step.losses for step in train(first, optim, stream, sets, CONFIG, 3, scaled)]
    with Checkpoints(kept) as run:
        run.save(3, first, optim, stream.state)

    second, stream, sets = small_run(tmp_path)
    optim = optimizer(second, CONFIG)
    stream.state = load(checkpoints(kept)[-1], second, optim).stream
    losses += [step.losses for step in train(second, optim, stream, sets, CONFIG, 6, scaled)]

    assert [step.losses for step in whole] == losses
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), second.parameters(), strict=True))


def test_training_goes_on_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`save` returns before anything is on the disk, and what changes in the model after it is not saved."""
    model = flamingo()
    write = Writer.write_data
    at_once: list[bool] = []

    def late(self: Writer, *planned: Any) -> Any:
        while not at_once:
            pass
        return write(self, *planned)

    monkeypatch.setattr(Writer, "write_data", late)
    before = {name: one.detach().clone() for name, one in model.named_parameters() if one.requires_grad}
    with Checkpoints(tmp_path) as kept:
        kept.save(3, model, optimizer(model, CONFIG), STATE)
        with torch.no_grad():
            for one in model.parameters():
                one.add_(1)
        assert [] == checkpoints(tmp_path)
        at_once.append(True)
    found = trained_weights(checkpoints(tmp_path)[-1])
    assert before.keys() == found.keys()
    assert all(torch.equal(one, found[name]) for name, one in before.items())


def test_what_is_in_a_checkpoint(tmp_path: Path) -> None:
    """Files that safetensors reads, and a record of JSON: nothing that is unpickled."""
    model, checkpoint = saved(tmp_path)
    files = sorted(path.name for path in Path(checkpoint).iterdir())
    assert ["rank-00000.safetensors", "state.json"] == files
    tensors = load_file(Path(checkpoint) / files[0])
    assert torch.equal(tensors["trained.resampler.latents"], model.resampler.latents)
    assert {"step", "stream", "frozen", "files", "tensors"} == json.loads(
        (Path(checkpoint) / "state.json").read_text()
    ).keys()


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    """One in the place of the record, or of the tensors with its own digest in the record, is refused and not run."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    model, checkpoint = saved(tmp_path)
    record, tensors = Path(checkpoint) / "state.json", Path(checkpoint) / "rank-00000.safetensors"
    state = msgspec.json.decode(record.read_bytes())
    tensors.write_bytes(pickle.dumps(Bomb()))
    state["files"][tensors.name] = hashlib.sha256(tensors.read_bytes()).hexdigest()
    record.write_bytes(msgspec.json.encode(state))
    with pytest.raises(SchemaError, match="safetensors"):
        load(checkpoint, model)
    record.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(SchemaError, match="no checkpoint"):
        load(checkpoint, model)
    assert not (tmp_path / "ran").exists()


def test_old_ones_go_when_new_ones_are_whole(tmp_path: Path) -> None:
    """The latest three stay; what a killed run has left without a record is none of them."""
    (tmp_path / "step-00000009").mkdir()
    (tmp_path / "step-00000009" / "rank-00000.safetensors").write_bytes(b"half")
    saved(tmp_path, 1, 2, 10, 11)

    assert [2, 10, 11] == [int(path[-8:]) for path in checkpoints(tmp_path)]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Files of this process cannot grow past so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 20_000])
def test_a_full_disk_leaves_the_last_good_one(tmp_path: Path, size: int) -> None:
    """A checkpoint that cannot be written is an error; nothing of it is left, and the one before it loads."""
    model, good = saved(tmp_path)
    with pytest.raises(SurroundingsError, match="File too large"), full_disk(size), Checkpoints(tmp_path) as kept:
        kept.save(4, model, optimizer(model, CONFIG), STATE)

    assert [good] == checkpoints(tmp_path)
    assert [Path(good)] == list(tmp_path.iterdir())
    assert 3 == load(good, model).step


def test_a_record_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors alone are no checkpoint, and go."""
    model, good = saved(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Files, "write_whole", full)
    with pytest.raises(SurroundingsError, match="No space left"), Checkpoints(tmp_path) as kept:
        kept.save(4, model, optimizer(model, CONFIG), STATE)
    assert [Path(good)] == list(tmp_path.iterdir())


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """One byte of the weights, or no record."""
    model, checkpoint = saved(tmp_path)
    file = Path(checkpoint) / "rank-00000.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(SchemaError, match="not what was written"):
        load(checkpoint, model)
    (Path(checkpoint) / "state.json").unlink()
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


def test_a_store_has_nothing_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record is the last thing that is written."""
    MemoryFileSystem.store.clear()
    written: list[str] = []
    commit = MemoryFileSystem.pipe_file

    def seen(self: MemoryFileSystem, path: str, *data: Any, **options: Any) -> None:
        written.extend(name for name in self.store if name not in written)
        commit(self, path, *data, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", seen)
    saved("memory://run")
    assert ["/run/step-00000003/rank-00000.safetensors"] == written
    assert ["memory://run/step-00000003"] == checkpoints("memory://run")
