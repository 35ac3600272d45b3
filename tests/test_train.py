"""m3w train, from its command line: shards and a configuration to checkpoints; killed and resumed it ends the same."""

import math
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import CLIPImageProcessorPil

from jobs.cli import main
from jobs.stopping import told_to_stop
from jobs.train_log import TrainLog
from tests.streams import document, pair, write
from tests.tiny_models import language, tokenizer, vision
from trainer.checkpoint import trained_weights
from trainer.step import Step


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny models as `save_pretrained` leaves them."""
    return small_models(tmp_path_factory.mktemp("models"))


def small_models(folder: Path) -> Path:
    """The same in a folder."""
    language(vocabulary=300).save_pretrained(folder / "language")
    tokenizer().save_pretrained(folder / "language")
    vision().save_pretrained(folder / "vision")
    CLIPImageProcessorPil(size={"shortest_edge": 16}).save_pretrained(folder / "vision")
    return folder


@pytest.fixture
def config(models: Path, tmp_path: Path) -> Path:
    """A configuration for six updates."""
    return configuration(models, tmp_path)


def configuration(models: Path, tmp_path: Path) -> Path:
    """The same in a folder."""
    shards = tmp_path / "shards"
    shards.mkdir()
    write(shards, "0", [pair(number) for number in range(16)])
    toml = tmp_path / "tiny.toml"
    toml.write_text(f"""
updates = 6
save_every = 2
workers = 0
sets.pairs = {{shards = ["{shards}"], batch = 4, example.tokens = 32}}
media.side = 16
optim = {{lr = 1e-2, warmup = 2}}
[model]
vision = "{models / "vision"}"
language = "{models / "language"}"
resampler = {{width = 16, layers = 1, heads = 2, latents = 4}}
xattn = {{every = 2, head_dim = 8}}
""")
    return toml


def log(out: Path) -> list[dict[str, Any]]:
    """What the updates said of themselves."""
    return msgspec.json.Decoder(dict[str, Any]).decode_lines((out / "log.jsonl").read_bytes())


def test_train_and_resume(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Six updates at once, and four with two more after, come to the same losses and weights; the effective configuration lies beside them."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert 0 == main(["train", str(config), "--out", str(whole)])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("6 of 6", "examples/s", "images/s", "tokens/s", "waits", "GB", "0 s left"))
    assert {"gates", "norm", "lr", "waited", "seconds", "memory_gb", "images"} <= set(log(whole)[0])
    assert 0 == main(["train", str(config), "--out", str(halves), "--set", "updates=4"])
    assert 0 == main(["train", str(config), "--out", str(halves), "--resume"])

    assert [(step["number"], step["losses"]) for step in log(whole)] == [
        (step["number"], step["losses"]) for step in log(halves)
    ]
    weights = [trained_weights(out / "step-00000006") for out in (whole, halves)]
    assert all((weights[0][name] == one).all() for name, one in weights[1].items())
    assert "tokens = 32" in (whole / "config.toml").read_text()


def test_sets_drawn_by_share(config: Path, tmp_path: Path) -> None:
    """With mode = weighted an update takes a batch of one set; two sets come about by their shares, the same ones after a resume."""
    shards = tmp_path / "pages"
    shards.mkdir()
    write(shards, "0", [document(number, number % 3) for number in range(12)])
    toml = tmp_path / "weighted.toml"
    pages = f'sets.pages = {{shards = ["{shards}"], batch = 3, share = 1}}'
    toml.write_text('mode = "weighted"\n' + pages + config.read_text().replace("batch = 4", "batch = 4, share = 2"))
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert 0 == main(["train", str(toml), "--out", str(whole), "--set", "updates=12"])
    assert 0 == main(["train", str(toml), "--out", str(halves), "--set", "updates=5"])
    assert 0 == main(["train", str(toml), "--out", str(halves), "--set", "updates=12", "--resume"])
    taken = [list(step["losses"]) for step in log(whole)]

    assert {("pairs",), ("pages",)} == set(map(tuple, taken))
    assert taken.count(["pairs"]) > taken.count(["pages"])
    assert [step["losses"] for step in log(whole)] == [step["losses"] for step in log(halves)]


def test_kept_features(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With feature_bytes a second run decodes no picture, and comes to the same losses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keeping = ["train", str(config), "--set", "feature_bytes=1_000_000", "--out"]
    assert 0 == main(["train", str(config), "--out", str(tmp_path / "without")])
    assert 0 == main([*keeping, str(tmp_path / "first")])
    monkeypatch.setattr("trainer.data.example.picture_by", lambda *_: pytest.fail("decoded"))
    assert 0 == main([*keeping, str(tmp_path / "second")])
    losses = [[step["losses"]["pairs"] for step in log(tmp_path / out)] for out in ("without", "first", "second")]

    for others in losses[1:]:
        assert others == pytest.approx(losses[0], rel=1e-5)
    assert {step["images"] for step in log(tmp_path / "without")} == {
        step["images"] for step in log(tmp_path / "second")
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_told_to_stop(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    """SIGTERM or Ctrl-C ends the run after the update that it is at, with a checkpoint; resumed it comes to what an undisturbed one does."""
    handlers = tuple(map(signal.getsignal, (signal.SIGTERM, signal.SIGINT)))
    arguments = ["train", str(config), "--set", "save_every=100", "--out"]
    assert 0 == main([*arguments, str(tmp_path / "whole")])
    spikes = TrainLog.spikes

    def spikes_and_stop(self: TrainLog, step: Step) -> Any:
        if step.number == 2:
            os.kill(os.getpid(), number)
        return spikes(self, step)

    with monkeypatch.context() as patched:
        patched.setattr(TrainLog, "spikes", spikes_and_stop)
        assert 3 == main([*arguments, str(tmp_path / "halves")])
    assert "told to stop after 3 updates" in capsys.readouterr().err
    assert handlers == tuple(map(signal.getsignal, (signal.SIGTERM, signal.SIGINT)))
    assert 0 == main([*arguments, str(tmp_path / "halves"), "--resume"])
    weights = [trained_weights(tmp_path / out / "step-00000006") for out in ("whole", "halves")]
    assert all((weights[0][name] == one).all() for name, one in weights[1].items())


def test_a_second_interrupt_is_one() -> None:
    """Who presses Ctrl-C twice does not want to wait."""
    with told_to_stop() as told:
        assert not told()
        os.kill(os.getpid(), signal.SIGINT)
        assert told()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_loss_that_is_no_number(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ends with one line that names the samples, and no checkpoint of it is there."""
    monkeypatch.setattr(
        "trainer.loop.nll_of",
        lambda model, batch, *_: model.resampler.latents.sum() * math.nan * torch.ones(len(batch.keys)),
    )
    assert 1 == main(["train", str(config), "--out", str(tmp_path / "out"), "--set", "save_every=1"])
    assert "update 1: the loss of pairs is not finite; samples pairs epoch 0 file://" in capsys.readouterr().err
    assert [] == list((tmp_path / "out").glob("step-*"))


def test_a_second_run_harms_nothing(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --resume a folder with checkpoints is refused."""
    arguments = ["train", str(config), "--out", str(tmp_path / "out"), "--set", "updates=1"]
    assert 0 == main(arguments)
    assert 2 == main(arguments)
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "code", "message"),
    [
        ("model.vison=x", 2, "did you mean model.vision"),
        ("sets.pairs.batc=3", 2, "did you mean sets.pairs.batch"),
        ("model.vision=", 2, "model.vision is not set"),
        ("sets.pairs.shards=['/nowhere']", 1, "no shards"),
        ("optim.lr=-1", 2, "lr"),
    ],
)
def test_what_is_wrong_is_named(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, code: int, message: str
) -> None:
    """One line, before any training."""
    assert code == main(["train", str(config), "--out", str(tmp_path / "out"), "--set", setting])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_models_of_another_kind_are_refused(
    config: Path, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A vision model in the language model's place; an empty folder."""
    empty = tmp_path / "empty"
    empty.mkdir()
    for name in (models / "vision", empty):
        assert 2 == main(["train", str(config), "--out", str(tmp_path / "out"), "--set", f"model.language={name}"])
        assert "model.language" in capsys.readouterr().err
