"""What goes wrong on one rank ends all: two processes that train together, one of which is told to stop, gets a loss that is no number, or fails."""

import contextlib
import io
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from jobs import training
from jobs.cli import main
from jobs.train_log import noted
from schemas.errors import ConfigError
from tests.processes import exit_codes, free_port
from tests.test_train import configuration, small_models
from trainer import loop
from trainer.data.stream import _Steps
from trainer.spread_load import WeightFiles
from trainer.step import Step
from trainer.tensor_files import Writer

RANKS = (0, 1)


class Said(msgspec.Struct, frozen=True):
    """How a command ended, and what it said."""

    code: int
    error: str


def told(rank: int) -> Any:
    """SIGTERM comes to rank 1 in its third update."""

    def noted_and_told(step: Step, log: Any, stop: Any, ranks: Any) -> bool:
        if (rank, step.number) == (1, 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return noted(step, log, stop, ranks)

    return patch.object(training, "noted", noted_and_told)


def not_finite(rank: int) -> Any:
    """The loss of rank 1 is no number in its second update."""
    return at_second(rank, loop, "nll_of", lambda nll: nll * float("nan"))


def changed(rank: int) -> Any:
    """The shard of rank 1 is not what it was when its second batch is read."""

    def spoil(_: Any) -> Any:
        from schemas.errors import ShardError

        return ShardError("0.tar changed under the run")

    return at_second(rank, _Steps, "__getitem__", spoil)


def full(rank: int) -> Any:
    """The disk of rank 0 is full when the second checkpoint is written."""

    def raised(_: Any) -> Any:
        raise OSError(28, "No space left on device")

    return at_second(1 - rank, Writer, "write_data", raised)


def at_second(rank: int, owner: Any, name: str, change: Callable[[Any], Any]) -> Any:
    """What a function of rank 1 returns becomes another thing at its second call."""
    function, calls = getattr(owner, name), []

    def changed_later(*given: Any) -> Any:
        calls.append(1)
        result = function(*given)
        return change(result) if rank == 1 and len(calls) == 2 else result

    return patch.object(owner, name, changed_later)


CASES = {"told": told, "not_finite": not_finite, "changed": changed, "full": full}


def one_of_two(rank: int, ports: dict[str, int], folder: Path, config: str) -> None:
    """What each of two processes does, once for each case."""
    for name, case in CASES.items():
        os.environ["MASTER_PORT"] = str(ports[name])
        error = io.StringIO()
        with contextlib.redirect_stderr(error), case(rank):
            code = main(["train", config, "--out", str(folder / name), "--set", "save_every=1"])
        last = error.getvalue().splitlines()[-1]
        (folder / f"{name}-{rank}.json").write_bytes(msgspec.json.encode(Said(code, last)))


def one_of_two_that_load(rank: int, folder: Path, config: str) -> None:
    """What each of two processes does, where rank 1 cannot read its share of the language model."""

    def read(*_: object) -> Any:
        raise ConfigError("the file has no such rows")

    more = ["compute.shard=true", "feature_bytes=1000", "hang_s=5"]  # the encoder is fingerprinted by both together
    settings = [part for one in more for part in ("--set", one)]
    error = io.StringIO()
    with contextlib.redirect_stderr(error), patch.object(WeightFiles, "read", read) if rank else nullcontext():
        main(["train", config, "--out", str(folder / "out"), *settings])
    (folder / f"{rank}.txt").write_text(error.getvalue())


def test_a_share_that_cannot_be_read(tmp_path: Path) -> None:
    """Neither waits for the other: both say what rank 1 has met."""
    config = str(configuration(small_models(tmp_path / "models"), tmp_path))
    assert [0, 0] == exit_codes(2, one_of_two_that_load, tmp_path, config)
    said = [(tmp_path / f"{rank}.txt").read_text().splitlines()[-1] for rank in RANKS]
    assert ["m3w: rank 1: the file has no such rows", "m3w: the file has no such rows"] == said


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Said]]:
    """Of each case how the two ranks ended, and the checkpoints that are left."""
    folder = tmp_path_factory.mktemp("agreed")
    config = str(configuration(small_models(folder / "models"), folder))
    assert [0, 0] == exit_codes(2, one_of_two, {name: free_port() for name in CASES}, folder, config)
    return {
        name: [msgspec.json.decode((folder / f"{name}-{rank}.json").read_bytes(), type=Said) for rank in RANKS]
        + [Said(len(list((folder / name).glob("step-*"))), "")]
        for name in CASES
    }


def test_told_to_stop(said: dict[str, list[Said]]) -> None:
    """SIGTERM to one rank ends both after the same update, with its checkpoint."""
    first, second, checkpoints = said["told"]
    assert (3, 3) == (first.code, second.code)
    assert first.error == second.error
    assert "told to stop after" in first.error
    assert checkpoints.code == int(first.error.split("after ")[1].split()[0])


def test_a_loss_that_is_no_number(said: dict[str, list[Said]]) -> None:
    """Both name the samples of both, and the checkpoint of the update before is left."""
    first, second, checkpoints = said["not_finite"]
    assert (1, 1, 1) == (first.code, second.code, checkpoints.code)
    assert first.error == second.error
    assert "update 2: the loss of pairs is not finite; samples pairs epoch 0 file://" in first.error
    assert 4 == first.error.count("0.tar 0000")


def test_data_that_is_wrong_for_one(said: dict[str, list[Said]]) -> None:
    """Who finds it says what it is; the other does not wait."""
    first, second, checkpoints = said["changed"]
    assert (3, 1, 1) == (first.code, second.code, checkpoints.code)
    assert "another rank cannot read" in first.error
    assert "0.tar changed under the run" in second.error


def test_a_full_disk(said: dict[str, list[Said]]) -> None:
    """Both say it, and the checkpoint before is left."""
    first, second, checkpoints = said["full"]
    assert (3, 3) == (first.code, second.code)
    assert "a checkpoint could not be written: " in first.error
    assert "No space left on device" in first.error
    assert "No space left on device" in second.error
    assert 1 == checkpoints.code
