"""m3w pretrain, from its command line: a language model and a vision encoder from nothing, which m3w train then takes, with a held-out loss at its end."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from jobs import pretrain as pretraining
from jobs.cli import main
from tests.streams import pair, write
from tests.tiny_models import tokenizer
from trainer.data.stream import Stream

LANGUAGE = """
shards = ["{}"]
vocabulary = 280
width = 16
layers = 1
heads = 2
updates = 3
"""
VISION = """
tokenizer = "{}"
vision = {{model_type = "clip_vision_model", hidden_size = 16, intermediate_size = 32, num_hidden_layers = 1, num_attention_heads = 2, image_size = 16, patch_size = 8}}
text = {{width = 16, layers = 1, heads = 2}}
media.side = 16
updates = 2
workers = 0
sets.pairs = {{shards = ["{}"], batch = 8, example.tokens = 32}}
"""
TRAIN = """
updates = 2
workers = 0
media.side = 16
model = {{vision = "{}", language = "{}", resampler = {{width = 16, layers = 1, heads = 2, latents = 4}}, xattn = {{head_dim = 8}}}}
sets.pairs = {{shards = ["{}"], batch = 8, example.tokens = 32}}
held_out.others = {{shards = ["{}"], batch = 4, example.tokens = 32}}
"""


def logged(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(text) for text in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Pairs in two shards."""
    folder = tmp_path / "shards"
    folder.mkdir()
    write(folder, "0", [pair(16 * number) for number in range(16)])
    write(folder, "1", [pair(number) for number in range(8)])
    return folder


def test_from_shards_to_a_held_out_loss(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command leaves what the next one names; the last one says what is known of pairs that none of them saw, and run again finds nothing to do. A folder that holds a model is not written to."""
    language, vision, model = (tmp_path / name for name in ("language", "vision", "model"))
    (tmp_path / "language.toml").write_text(LANGUAGE.format(shards / "0.tar"))
    (tmp_path / "vision.toml").write_text(VISION.format(language, shards / "0.tar"))
    (tmp_path / "train.toml").write_text(TRAIN.format(vision, language, shards / "0.tar", shards / "1.tar"))
    pretrain = ["pretrain", "language", str(tmp_path / "language.toml"), "--out", str(language)]
    assert 0 == main(pretrain)
    assert 2 == main(pretrain)
    assert "holds a model already" in capsys.readouterr().err
    assert 0 == main(["pretrain", "vision", str(tmp_path / "vision.toml"), "--out", str(vision)])
    shown = capsys.readouterr().out
    assert "2 of 2  0 s left  pairs " in shown
    assert "examples/s" in shown
    assert [0, 1] == [one["number"] for one in logged(vision)]
    assert [0, 1, 2] == [one["number"] for one in logged(language)]
    assert "gates" not in shown
    assert "updates = 2" in (vision / "config.toml").read_text()
    assert 0 == main(["train", str(tmp_path / "train.toml"), "--out", str(model)])

    found = json.loads((model / "held_out.jsonl").read_text())
    assert (2, 8) == (found["step"], found["sets"]["others"]["examples"])
    *_, line = capsys.readouterr().out.splitlines()
    assert line.split()[:3] == ["others", "8", f"{found['sets']['others']['right']:.3f}"]
    assert 0 == main(["train", str(tmp_path / "train.toml"), "--out", str(model), "--resume"])
    assert 1 == len((model / "held_out.jsonl").read_text().splitlines())


def test_an_encoder_goes_on(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a checkpoint of a run that was killed comes what comes of an undisturbed one; not without being asked."""
    tokenizer().save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "vision.toml").write_text(VISION.format(tmp_path / "tokenizer", shards))
    more = ["--set", "updates=3", "--set", "save_every=2", "--out"]
    command = ["pretrain", "vision", str(tmp_path / "vision.toml"), *more]
    assert 0 == main([*command, str(tmp_path / "whole")])
    shutil.copytree(tmp_path / "whole" / "step-00000002", tmp_path / "killed" / "step-00000002")
    shutil.copy(tmp_path / "whole" / "log.jsonl", tmp_path / "killed")
    assert 2 == main([*command, str(tmp_path / "killed")])
    assert "--resume" in capsys.readouterr().err
    assert 0 == main([*command, str(tmp_path / "killed"), "--resume"])
    weights, losses = zip(
        *(
            ((out / "model.safetensors").read_bytes(), [one["losses"] for one in logged(out)])
            for out in (tmp_path / "whole", tmp_path / "killed")
        ),
        strict=True,
    )
    assert weights[0] == weights[1]
    assert losses[0] == losses[1]


def test_an_encoder_that_hangs(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watchdog says what it is at."""
    said: list[str] = []
    following = Stream._next

    def late(stream: Stream, steps: Any) -> Any:
        time.sleep(1)
        return following(stream, steps)

    monkeypatch.setattr(Stream, "_next", late)
    monkeypatch.setattr(pretraining, "give_up", said.append)
    tokenizer().save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "vision.toml").write_text(VISION.format(tmp_path / "tokenizer", shards))
    settings = ["--set", "hang_s=0.3", "--set", "updates=1"]
    assert 0 == main(["pretrain", "vision", str(tmp_path / "vision.toml"), *settings, "--out", str(tmp_path / "out")])
    assert ["no rank went on for 0.3 s (hang_s): rank 0 hangs, it reads the batch of update 1"] == said


@pytest.mark.parametrize(
    ("what", "setting", "code", "message"),
    [
        ("language", "shards=[]", 1, "no text"),
        ("language", "widht=3", 2, "did you mean width"),
        ("vision", "tokenizer=", 2, "tokenizer is not set"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, setting: str, code: int, message: str
) -> None:
    """One line."""
    preset = f"demo-{what}"
    assert code == main(["pretrain", what, preset, "--out", str(tmp_path / "out"), "--set", setting])
    assert message in capsys.readouterr().err
