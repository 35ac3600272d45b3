"""Ranks: two processes that train together come to what one does by itself; pieces of a batch come to the batch."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from jobs.cli import main
from tests.processes import exit_codes, free_port
from tests.streams import PAIRS, SIDE, TOKENS, document, pair, write
from tests.test_loop import scaled
from tests.test_train import configuration, small_models
from tests.tiny_models import flamingo, tokenizer
from trainer.checkpoint import trained_weights
from trainer.compute import ComputeConfig, prepare
from trainer.data.batch import Batch
from trainer.data.example import ExampleConfig
from trainer.data.pieces import pieces
from trainer.data.stream import SetConfig, Stream
from trainer.data.tokens import tokens_of
from trainer.loop import train
from trainer.loss import Mean, summed_nll
from trainer.optim import OptimConfig, optimizer
from trainer.ranks import Ranks, joined
from trainer.sharding import full

CONFIG = OptimConfig(lr=1e-2, warmup=2)
MEANS: tuple[Mean, ...] = ("example", "token")
UPDATES = 4


def sets_of(folder: Path, micro_batch: int = 0, batch: int = 0) -> dict[str, SetConfig]:
    """Pairs with a broken one among them, and pages of which every other has no picture."""
    for name in ("pairs", "pages"):
        (folder / name).mkdir(exist_ok=True)
    pairs = [pair(number) for number in range(16)]
    pairs[3].members["png"] = b"no picture"
    write(folder / "pairs", "0", pairs)
    write(folder / "pages", "0", [document(number, 3 * (number % 2)) for number in range(8)])
    kept = {"micro_batch": micro_batch}
    return {
        "pairs": SetConfig(shards=[str(folder / "pairs")], batch=batch or 4, weight=0.2, example=PAIRS, **kept),
        "pages": SetConfig(shards=[str(folder / "pages")], batch=batch or 2, example=ExampleConfig(tokens=64), **kept),
    }


def trained_by(
    ranks: Ranks, sets: dict[str, SetConfig], mean: Mean = "example", compute: ComputeConfig = ComputeConfig()
) -> dict[str, Tensor]:
    """The trained weights after some updates in float64, and their losses and norms."""
    model = flamingo(alpha=0.1, vocabulary=300).double()
    prepare(model, compute, ranks)
    shared = {"rank": ranks.rank, "ranks": ranks.ranks, "total": ranks.counts}
    stream = Stream(sets, tokens_of(tokenizer(), model.eoc), SIDE, **shared)
    steps = list(train(model, optimizer(model, CONFIG), stream, sets, CONFIG, UPDATES, scaled, mean, ranks))
    weights = {name: full(one.detach()).clone() for name, one in model.named_parameters() if one.requires_grad}
    losses = [loss for step in steps for loss in step.losses.values()]
    counts = [[step.examples, step.images, step.tokens, len(step.faults)] for step in steps]
    norms = torch.tensor([step.norm for step in steps], dtype=torch.float64)
    return weights | {
        "losses": torch.tensor(losses, dtype=torch.float64),
        "norms": norms,
        "counts": torch.tensor(counts),
    }


def one_of_two(rank: int, folder: Path, sets: dict[str, SetConfig]) -> None:
    """What each of two processes does."""
    with joined() as ranks:
        for mean in MEANS:
            save_file(trained_by(ranks, sets, mean), folder / f"{mean}-{rank}.safetensors")
        sharded = ComputeConfig(shard=True, checkpointing=True)
        save_file(trained_by(ranks, sets, compute=sharded), folder / f"sharded-{rank}.safetensors")


def test_two_ranks_are_one(tmp_path: Path) -> None:
    """The same losses, norms, counts and weights to rounding, with no picture on one rank and a broken sample on one; whatever mean the loss is, and sharded."""
    sets = sets_of(tmp_path)
    shown = [
        [bool(pages.phi_BL.any()) for _, pages in islice(Stream(sets, TOKENS, SIDE, rank=rank, ranks=2), UPDATES)]
        for rank in (0, 1)
    ]
    assert any(first != second for first, second in zip(*shown, strict=True))

    assert [0, 0] == exit_codes(2, one_of_two, tmp_path, sets)
    alone = {mean: trained_by(Ranks(), sets, mean) for mean in MEANS}
    assert alone["example"]["counts"][:, 3].any()
    assert (alone["example"]["norms"] > CONFIG.clip).any()
    for run, expected in [*alone.items(), ("sharded", alone["example"])]:
        for rank in (0, 1):
            for name, one in load_file(tmp_path / f"{run}-{rank}.safetensors").items():
                torch.testing.assert_close(one, expected[name], rtol=1e-9, atol=1e-11)


def test_pieces_of_a_batch(tmp_path: Path) -> None:
    """A batch in pieces of one, two or three rows comes to the same weights as all at once."""
    for mean in MEANS:
        whole = trained_by(Ranks(), sets_of(tmp_path), mean)
        for rows in (1, 3):
            for name, one in trained_by(Ranks(), sets_of(tmp_path, rows), mean).items():
                torch.testing.assert_close(one, whole[name], rtol=1e-9, atol=1e-11)


def test_a_piece_holds_its_own_media(tmp_path: Path) -> None:
    """Each row's losses are those that it has in the whole batch, and no picture is there that nobody looks at."""
    sets = sets_of(tmp_path)
    pages = msgspec.structs.replace(sets["pages"], batch=8)
    (batch,) = next(iter(Stream({"pages": pages}, TOKENS, SIDE)))
    whole = nll(batch)
    parts = list(pieces(batch, 3))

    assert [3, 3, 2] == [len(part.ids_BL) for part in parts]
    torch.testing.assert_close(torch.cat([nll(part) for part in parts]), whole, rtol=1e-9, atol=1e-9)
    assert batch.origins() == [origin for part in parts for origin in part.origins()]
    for part in pieces(batch, 1):
        assert len(part.pixels[0]) == 1  # a page's pictures are all of one colour
        assert (~part.mask_BL).sum() < 8


def nll(batch: Batch) -> Tensor:
    """Of each row, by a model with open gates."""
    model = flamingo(alpha=0.5, vocabulary=1000).double()
    with torch.no_grad():
        latents = model.latents([scaled(group) for group in batch.pixels])
        mask = batch.mask_BL.long()
        return summed_nll(model(batch.ids_BL, batch.phi_BL, batch.slots_BK, latents, mask), batch.labels_BL)


def test_what_a_rank_by_itself_does() -> None:
    """Nothing: no process group is there to ask."""
    weight = torch.nn.Parameter(torch.ones(2))
    with joined() as ranks:
        ranks.add_gradients([weight])
        ranks.wait()
        assert weight.grad is None
        assert ["a"] == ranks.all(["a"])
        assert [1, 2] == ranks.add(torch.tensor([1, 2])).tolist()


@pytest.mark.slow
def test_torchrun(tmp_path: Path) -> None:
    """Four updates by `torchrun -m jobs.train` on two processes, and two more by one alone, come to what six by one come to, to rounding."""
    config = str(configuration(small_models(tmp_path / "models"), tmp_path))
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port())]
    arguments = [config, "--out", str(tmp_path / "two"), "--set", "updates=4", "--set", "compute.shard=true"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run([*run, "-m", "jobs.train", *arguments], check=True, env=environment, timeout=300)
    assert 0 == main(["train", config, "--out", str(tmp_path / "two"), "--resume"])
    assert 0 == main(["train", config, "--out", str(tmp_path / "one")])
    two, one = (trained_weights(tmp_path / out / "step-00000006") for out in ("two", "one"))

    assert 6 == len((tmp_path / "two" / "log.jsonl").read_text().splitlines())
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-4)
