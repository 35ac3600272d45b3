"""The built wheel, in an empty environment: it holds every data file, answers at once, and runs the demo."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("schemas", "pipeline", "trainer", "jobs")
UV = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))

pytestmark = [pytest.mark.slow, pytest.mark.skipif(UV is None, reason="uv builds and installs the wheel")]


def run(command: Sequence[str | Path], folder: Path) -> str:
    """What a command prints when run in a folder, without this environment's packages in reach."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of what git tracks, so that nothing lying about gets into it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked(".", "--others"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run([str(UV), "build", "--wheel", "--out-dir", out, source], out)
    return next(out.glob("m3w-*.whl"))


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed `m3w`."""
    venv = tmp_path_factory.mktemp("venv")
    run([str(UV), "venv", "--clear", "--python", sys.executable, venv], venv)
    install: list[str | Path] = [
        str(UV),
        "pip",
        "install",
        "--python",
        venv / "bin/python",
        "--constraint",
        ROOT / "constraints.txt",
    ]
    run([*install, wheel], venv)
    return venv / "bin/m3w"


def tracked(*arguments: str) -> list[str]:
    """The files below the root that git knows, and with --others those it would add."""
    listed = run(["git", "ls-files", "--cached", "--exclude-standard", *arguments], ROOT).splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def test_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    """What stands in the packages' folders is in the wheel, data files too, and nothing else is."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert set(tracked("--others", *PACKAGES)) == packed


def test_help_answers_at_once(command: Path, tmp_path: Path) -> None:
    """`m3w --help` takes less than 0.3 s, the best of five."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        printed = run([command, "--help"], tmp_path)
        times.append(time.perf_counter() - start)

    assert "crawl" in printed
    assert min(times) < 0.3


def test_demo_runs_from_an_empty_folder(command: Path, tmp_path: Path) -> None:
    """`m3w demo` makes shards and shows documents, and a second time finds its work done."""
    printed = run([command, "demo"], tmp_path)

    assert list(tmp_path.rglob("shards/**/*.tar"))
    assert "<image>" in printed
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
    run([command, "demo"], tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tar")}
