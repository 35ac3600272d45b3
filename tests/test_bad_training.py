"""What people and disks get wrong, from the command line of m3w train: one line that says what it is, and the last good checkpoint as it was."""

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from jobs.cli import main
from schemas.shard import Sample
from tests.processes import exit_codes
from tests.streams import pair, write
from tests.test_train import configuration, log, small_models


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and its shard, and a run of two updates."""
    folder = tmp_path_factory.mktemp("ground")
    configuration(small_models(folder / "models"), folder)
    assert 0 == main(["train", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--set", "updates=2"])
    return folder


@pytest.fixture
def folder(ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same for one test, which may break all but the models."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("shards", "out"):
        shutil.copytree(ground / name, tmp_path / name)
    shards = tmp_path / "shards"
    toml = (ground / "tiny.toml").read_text().replace(str(ground / "shards"), str(shards))
    (tmp_path / "tiny.toml").write_text(toml)
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], folder: Path, code: int, *arguments: str) -> str:
    """The one line with which a command ends."""
    capsys.readouterr()
    assert code == main(["train", str(folder / "tiny.toml"), *arguments])
    said = [one for one in capsys.readouterr().err.splitlines() if one.startswith("m3w: ")]
    assert 1 == len(said)
    return said[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("updats=3", "unknown key updats in --set; did you mean updates?"),
        ("updates=x", 'updates = "x": Expected `int`'),
        ("updates=0", "updates = 0: Expected `int` >= 1"),
        ("sets.pairs.batch=0", "sets.pairs.batch = 0: Expected `int` >= 1"),
        ("sets.pairs.shards=x", 'sets.pairs.shards = "x": Expected `array`'),
        ("sets.pages.weight=1", "sets.pages: Object missing required field `shards`"),
        ("sets.pairs=3", "sets.pairs in --set is a section, not a value"),
        ("model.resampler.heads=3", "width = 16 does not divide among heads = 3"),
        ("model.xattn.kind=what", 'model.xattn.kind = "what": Invalid enum value'),
        ("model.vision=/nowhere", "model.vision = /nowhere: there is no such folder"),
        ("optim.betas=[2, 3]", "optim.betas = [2,3]: Expected `float` < 1.0"),
        ("seed=-1", "seed = -1: Expected `int` >= 0"),
        ("media.mean=[9, 9, 9]", "media.mean = [9,9,9]: Expected `float` <= 1.0"),
        ("updates", "--set takes key=value, got 'updates'"),
        ("held_out.pairs={shards = [], batch = 2}", "held_out.pairs.shards is not set"),
    ],
)
def test_settings(folder: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str) -> None:
    """The key as it is written, its value, and what it may be; no folder is made."""
    assert message in fails(capsys, folder, 2, "--out", str(folder / "new"), "--set", setting)
    assert not (folder / "new").exists()


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        (b"a = = 3", "tiny.toml: Invalid value (at line 1"),
        (b"\xff\xfe\x00", "tiny.toml: 'utf-8' codec can't decode"),
        (b"", "missing required field `sets`"),
        (b"sets = [1]", "sets = [1]: Expected `object`, got `array`"),
        (b"[sets]", "there are no sets; name one"),
    ],
)
def test_files(folder: Path, capsys: pytest.CaptureFixture[str], toml: bytes, message: str) -> None:
    """No TOML, no text, no sets."""
    (folder / "tiny.toml").write_bytes(toml)
    assert message in fails(capsys, folder, 2, "--out", str(folder / "new"))
    (folder / "tiny.toml").unlink()
    assert "No such file or directory; presets are tiny" in fails(capsys, folder, 2, "--out", str(folder / "new"))


def test_where_nothing_can_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the folder's place, or above it; a store."""
    file = folder / "tiny.toml"
    for out in (file, file / "out"):
        assert f"{out} cannot be: {file} is no folder" in fails(capsys, folder, 2, "--out", str(out))
    assert "--out s3://x/y is no folder on disk" in fails(capsys, folder, 2, "--out", "s3://x/y")


def test_held_out_shards_that_are_not_there(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are missed before the training and not at its first checkpoint."""
    setting = 'held_out.pairs={shards = ["/nowhere"], batch = 2}'
    assert "/nowhere: no shards here" in fails(capsys, folder, 1, "--out", str(folder / "new"), "--set", setting)
    assert not (folder / "new").exists()


def cut_in_a_line(tar: Path, index: Path) -> None:
    index.write_bytes(index.read_bytes()[:-40])


def cut_at_a_line(tar: Path, index: Path) -> None:
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[:-3]))


def no_index(tar: Path, index: Path) -> None:
    index.write_bytes(b"\0\xff")


def of_another_version(tar: Path, index: Path) -> None:
    index.write_bytes(index.read_bytes().replace(b'"version":1', b'"version":9'))


def of_another_tar(tar: Path, index: Path) -> None:
    """One of the same size."""
    folder = tar.parent.parent / "other"
    folder.mkdir()
    write(folder, "0", [pair(number + 100) for number in range(16)])
    assert tar.stat().st_size == (folder / "0.tar").stat().st_size
    index.write_bytes((folder / "0.index.jsonl").read_bytes())


def older_than_the_tar(tar: Path, index: Path) -> None:
    with tar.open("ab") as file:
        file.write(bytes(512))


def of_a_tar_that_was_cut(tar: Path, index: Path) -> None:
    tar.write_bytes(tar.read_bytes()[:5000])


def missing_beside_a_tar_that_was_cut(tar: Path, index: Path) -> None:
    tar.write_bytes(tar.read_bytes()[:5001])
    index.unlink()


def missing_beside_no_tar(tar: Path, index: Path) -> None:
    tar.write_bytes(b"x" * 3000)
    index.unlink()


def missing_with_its_tar(tar: Path, index: Path) -> None:
    tar.unlink()
    index.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut_in_a_line, "0.tar: the index has 15 samples, its head says 16"),
        (cut_at_a_line, "0.tar: the index has 13 samples, its head says 16"),
        (no_index, "0.tar: its index is none"),
        (of_another_version, "0.tar: its index is none: Invalid enum value 9"),
        (of_another_tar, "0.tar: sample 000100 is not where it was"),
        (older_than_the_tar, "its index was made for one of"),
        (of_a_tar_that_was_cut, "0.tar has 5000 bytes, its index was made for one of"),
        (missing_beside_a_tar_that_was_cut, "0.tar: not a whole tar: unexpected end of data"),
        (missing_beside_no_tar, "0.tar: not a whole tar: invalid header"),
        (missing_with_its_tar, "shards: no shards here"),
    ],
)
def test_an_index(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path, Path], None], message: str
) -> None:
    """Whatever is wrong with it, or with its tar, is said of the tar by name, and nothing is trained on it."""
    spoil(folder / "shards" / "0.tar", folder / "shards" / "0.index.jsonl")
    assert message in fails(capsys, folder, 1, "--out", str(folder / "new"))
    assert not list(folder.glob("new/step-*"))


def test_more_broken_samples_than_allowed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run goes on without them, and stops where they are too many."""
    broken = [Sample(f"{number:06d}", {"png": b"none", "txt": b"text", "json": b"{}"}) for number in range(4)]
    write(folder / "shards", "1", broken)
    arguments = ["train", str(folder / "tiny.toml"), "--out"]
    assert 0 == main([*arguments, str(folder / "new"), "--set", "updates=5"])
    assert 4 == sum(len(step["faults"]) for step in log(folder / "new"))
    setting = "sets.pairs.max_broken=0.0002"
    said = fails(capsys, folder, 1, "--out", str(folder / "newer"), "--set", setting)
    assert "samples of sets.pairs broke within 10,000 in a row, more than max_broken = 0.0002 allows" in said


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.xattn.every=1", "is of another model: other trained weights"),
        ("model.resampler.width=32", "is of another model: other trained weights"),
        ("seed=3", "the checkpoint was made with other shards"),
        ("sets.pairs.streams=3", "the checkpoint was made with other shards, streams or blocks"),
    ],
)
def test_a_checkpoint_of_something_else(
    folder: Path, capsys: pytest.CaptureFixture[str], setting: str, message: str
) -> None:
    """Another model, another order: refused, and left as it is."""
    before = contents(folder / "out")
    assert message in fails(capsys, folder, 2, "--out", str(folder / "out"), "--resume", "--set", setting)
    assert before == contents(folder / "out")


def test_a_disk_that_is_full(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that cannot be written ends the run; the one before is as it was, and the run goes on from it."""
    before = contents(folder / "out" / "step-00000002")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        assert "No space left on device" in fails(capsys, folder, 3, "--out", str(folder / "out"), "--resume")
    assert before == contents(folder / "out" / "step-00000002")
    assert ["step-00000002"] == [path.name for path in folder.glob("out/*step-*")]
    assert 0 == main(["train", str(folder / "tiny.toml"), "--out", str(folder / "out"), "--resume"])
    assert list(range(6)) == [step["number"] for step in log(folder / "out")]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of the checkpoints in a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".jsonl"}


def with_a_worker_that_is_killed(_: int, folder: Path) -> None:
    """A process whose only worker is ended as the system ends what takes too much memory."""

    def kill() -> None:
        while not (log_file := folder / "new" / "log.jsonl").exists() or not log_file.stat().st_size:
            time.sleep(0.05)
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    error = io.StringIO()
    settings = ["workers=1", "updates=1000000", "save_every=1000000"]
    arguments = ["train", str(folder / "tiny.toml"), "--out", str(folder / "new")]
    with contextlib.redirect_stderr(error):
        code = main([*arguments, *(part for setting in settings for part in ("--set", setting))])
    (folder / "said.json").write_bytes(msgspec.json.encode((code, error.getvalue().splitlines()[-1])))


def test_a_worker_that_is_killed(folder: Path) -> None:
    """The run ends with what has happened, and with what to do about it."""
    assert [0] == exit_codes(1, with_a_worker_that_is_killed, folder)
    code, said = msgspec.json.decode((folder / "said.json").read_bytes())

    assert 3 == code
    assert "m3w: DataLoader worker (pid" in said
    assert "Was it killed for memory? Take fewer workers" in said
    assert "signal: Killed." in said or "ended with -9." in said
