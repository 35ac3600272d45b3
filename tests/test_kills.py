"""SIGKILL at chosen moments of shard and of pairs, and the same command again: the bytes of an undisturbed run, and nothing half-written on the way."""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from jobs.cli import main
from pipeline.report import read_manifest
from pipeline.runfolder import RunFolder
from schemas.shard import INDEX_SUFFIX, decode_index, index_tar
from tests import crawls
from tests.videos import video

pytestmark = pytest.mark.slow
SIZED = ["--set", "shard.target_bytes=65536", "--workers", "2"]
KINDS = ("interleaved", "image_text", "video_text")


def figure(name: str, caption: str) -> str:
    shown = f'<img src="{name}">' if name.endswith(".png") else f'<video src="{name}"></video>'
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"


def page(host: str, number: int) -> list[bytes]:
    """A page with two pictures and a video, which the crawl holds."""
    names = [f"/{number}-a.png", f"/{number}-b.png", f"/{number}.mp4"]
    shown = "".join(
        f"<p>{crawls.prose(number * 10 + n)}</p>{figure(name, crawls.prose(number * 10 + n + 5, 1))}"
        for n, name in enumerate(names)
    )
    html = f"<html><body><article><h1>Page {number}</h1>{shown}<p>{crawls.prose(number * 10 + 9)}</p></article></body></html>"
    bodies = [crawls.picture(number * 2, 320, 240), crawls.picture(number * 2 + 1, 320, 240), video(2, seed=number)]
    kinds = ["image/png", "image/png", "video/mp4"]
    media = [crawls.record(f"http://{host}{name}", *what) for name, *what in zip(names, bodies, kinds, strict=True)]
    return [crawls.record(f"http://{host}/{number}.html", html.encode(), "text/html"), *media]


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has everything but its shards, over two WARCs."""
    folder = tmp_path_factory.mktemp("kills")
    for n, host in enumerate(("a.example", "b.example")):
        crawls.write_warc(folder / f"{host}.warc.gz", [one for p in range(4) for one in page(host, 10 * n + p)])
    out = folder / "run"
    assert main(["extract", *map(str, folder.glob("*.warc.gz")), "--out", str(out), *SIZED]) == 0
    assert main(["select", "--out", str(out), *SIZED]) == 0
    assert main(["fetch", "--out", str(out), *SIZED]) == 0
    return out


@pytest.fixture(scope="module")
def sharded(fetched: Path) -> Path:
    """The same with shards of all three kinds, undisturbed."""
    out = Path(shutil.copytree(fetched, fetched.with_name("sharded")))
    assert main(["shard", "--out", str(out), *SIZED]) == 0
    assert {shard.kind for shard in read_manifest(RunFolder(str(out))).shards} == set(KINDS)
    return out


def tree(out: Path) -> dict[str, bytes]:
    """All files of a run's folder but the lock."""
    files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if name != ".lock"}


def killed(out: Path, command: list[str], pattern: str) -> None:
    """Runs a command until a file of a pattern is there that was not before, and kills it with its children."""
    before = set(out.glob(pattern))
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", *command], process_group=0, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while before.issuperset(out.glob(pattern)) and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before the moment came"


def all_whole(out: Path) -> bool:
    """Whether every tar and index that a reader can see is whole."""
    for path in (out / "shards").glob("*/*.tar"):
        with path.open("rb") as file, tarfile.open(fileobj=file) as tar:
            assert tar.getnames()
            file.seek(0)
            assert len(index_tar(file)) > 0
    return all(decode_index(path.read_bytes()) for path in (out / "shards").glob(f"*/*{INDEX_SUFFIX}"))


@pytest.mark.parametrize("pattern", ["shards/interleaved/*.tar", "shards/video_text/*.tar"])
def test_shard_killed_and_run_again(fetched: Path, sharded: Path, tmp_path: Path, pattern: str) -> None:
    """In the middle there is no manifest and no half-written shard; in the end every file of the folder is that of an undisturbed run."""
    out = Path(shutil.copytree(fetched, tmp_path / "run"))
    command = ["shard", "--out", str(out), *SIZED]
    killed(out, command, pattern)

    assert not (out / "shards/manifest.json").exists()
    assert all_whole(out)
    assert main(["stats", str(out)]) == 1
    assert main(command) == 0
    assert tree(out) == tree(sharded)


def test_shards_made_anew_killed_and_run_again(sharded: Path, tmp_path: Path) -> None:
    """Another seed over finished shards: old and new ones never stand side by side under one manifest."""
    out, other = (Path(shutil.copytree(sharded, tmp_path / name)) for name in ("run", "other"))
    command = ["shard", *SIZED, "--set", "shard.seed=7", "--out"]
    killed(out, [*command, str(out)], "commits/shard/interleaved*")

    assert not (out / "shards/manifest.json").exists()
    assert all_whole(out)
    assert main([*command, str(out)]) == main([*command, str(other)]) == 0
    assert tree(out) == tree(other) != tree(sharded)


def test_pairs_killed_and_run_again(tmp_path: Path) -> None:
    """A captions table with pictures beside it, killed where the shards begin."""
    for number in range(6):
        (tmp_path / f"{number}.png").write_bytes(crawls.picture(number * 9, 240, 220))
    rows = [f"{n % 6}.png,{crawls.prose(n, 1)}\n" for n in range(12)]
    for name, some in (("a.csv", rows[:7]), ("b.csv", rows[7:])):
        (tmp_path / name).write_text("file,caption\n" + "".join(some))
    command = ["pairs", str(tmp_path / "*.csv"), *SIZED, "--out"]
    assert main([*command, str(tmp_path / "whole")]) == 0
    out = tmp_path / "run"
    out.mkdir()
    killed(out, [*command, str(out)], "commits/shard/*")

    assert not (out / "shards/manifest.json").exists()
    assert main([*command, str(out)]) == 0
    assert tree(out) == tree(tmp_path / "whole")
