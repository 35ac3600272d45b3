"""Runs that are interrupted: another number of ranks goes on with the same samples to the same weights; a killed one from its last whole checkpoint."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.processes import exit_codes
from tests.streams import SIDE
from tests.test_loop import scaled
from tests.test_ranks import CONFIG, sets_of
from tests.tiny_models import flamingo, tokenizer
from trainer.checkpoint import Checkpoints, checkpoints, load, trained_weights
from trainer.compute import ComputeConfig, prepare
from trainer.data.stream import Stream
from trainer.data.tokens import tokens_of
from trainer.loop import train
from trainer.optim import optimizer
from trainer.ranks import Ranks, joined
from trainer.step import Step
from trainer.tensor_files import Files


def trained(ranks: Ranks, folder: Path, updates: int, shard: bool = False, save_every: int = 100) -> list[Step]:
    """The updates that a run in float64 makes from its last checkpoint on; there is one after the last."""
    sets = sets_of(folder, batch=6)
    model = flamingo(alpha=0.1, vocabulary=300).double()
    prepare(model, ComputeConfig(shard=shard), ranks)
    optim = optimizer(model, CONFIG)
    before = checkpoints(folder / "run")
    state = load(before[-1], model, optim, ranks).stream if before else None
    stream = Stream(
        sets, tokens_of(tokenizer(), model.eoc), SIDE, 0, state, ranks.rank, ranks.ranks, total=ranks.counts
    )
    steps = []
    with Checkpoints(folder / "run", ranks) as kept:
        for step in train(model, optim, stream, sets, CONFIG, updates, scaled, "example", ranks):
            steps.append(step)
            if step.number + 1 == updates or (step.number + 1) % save_every == 0:
                kept.save(step.number + 1, model, optim, stream.state)
    return steps


def told(steps: list[Step]) -> list[dict[str, Any]]:
    """Losses and samples."""
    return [
        {
            "losses": step.losses,
            "origins": {name: [origin for _, origin in those] for name, those in step.samples.items()},
        }
        for step in steps
    ]


def one_of(rank: int, folder: Path, updates: int) -> None:
    """What each of some processes does."""
    with joined() as here:
        steps = trained(here, folder, updates, shard=True)
    (folder / f"{updates}-{rank}.json").write_text(json.dumps(told(steps)))


def killed(_: int, folder: Path, moment: str) -> None:
    """A run of six updates that is killed while its second checkpoint, that after four, is written: before its record is there, or after."""
    write = Files.write_whole

    def kill(self: Files, name: str, data: bytes) -> None:
        second = self.path.endswith("4")
        if second and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, name, data)
        if second:
            os.kill(os.getpid(), signal.SIGKILL)

    Files.write_whole = kill  # type: ignore[method-assign]
    trained(Ranks(), folder, 6, save_every=2)


@pytest.mark.slow
def test_from_two_ranks_to_one_and_to_three(tmp_path: Path) -> None:
    """Two updates each by two ranks, by one, and by three, sharded: the same samples in the same batches, losses and weights to rounding, as by one all along."""
    (tmp_path / "alone").mkdir()
    whole = told(trained(Ranks(), tmp_path / "alone", 6))
    found: list[dict[str, Any]] = []
    for ranks, updates in ((2, 2), (1, 4), (3, 6)):
        assert [0] * ranks == exit_codes(ranks, one_of, tmp_path, updates)
        of_ranks = [json.loads((tmp_path / f"{updates}-{rank}.json").read_text()) for rank in range(ranks)]
        for parts in zip(*of_ranks, strict=True):
            samples = {
                name: [origin.replace(f"{tmp_path}/", "") for part in parts for origin in part["origins"][name]]
                for name in parts[0]["origins"]
            }
            found.append({"losses": parts[0]["losses"], "origins": samples})

    assert 6 == len(found)
    for step, other in zip(whole, found, strict=True):
        own = {
            name: [one.replace(f"{tmp_path}/alone/", "") for one in origins]
            for name, origins in step["origins"].items()
        }
        assert own == other["origins"]
        assert step["losses"] == pytest.approx(other["losses"], rel=1e-9)
    weights = trained_weights(checkpoints(tmp_path / "run")[-1])
    for name, one in trained_weights(checkpoints(tmp_path / "alone" / "run")[-1]).items():
        torch.testing.assert_close(weights[name], one, rtol=1e-9, atol=1e-11)
    assert [2, 4, 6] == [int(path[-8:]) for path in checkpoints(tmp_path / "run")]


@pytest.mark.parametrize(("moment", "last"), [("before", 2), ("after", 4)])
def test_killed(tmp_path: Path, moment: str, last: int) -> None:
    """SIGKILL, and the run goes on from the last checkpoint that has its record: the same losses and weights as undisturbed, bit for bit."""
    (tmp_path / "whole").mkdir()
    whole = told(trained(Ranks(), tmp_path / "whole", 6))
    assert [-signal.SIGKILL] == exit_codes(1, killed, tmp_path, moment)
    assert last == int(checkpoints(tmp_path / "run")[-1][-8:])

    rest = told(trained(Ranks(), tmp_path, 6))
    assert [step["losses"] for step in whole[last:]] == [step["losses"] for step in rest]
    weights = trained_weights(checkpoints(tmp_path / "run")[-1])
    for name, one in trained_weights(checkpoints(tmp_path / "whole" / "run")[-1]).items():
        assert torch.equal(weights[name], one)
