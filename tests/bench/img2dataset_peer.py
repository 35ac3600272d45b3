"""img2dataset as a peer: an environment of its own, and a command line."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSION = "1.47.0"
_ENVIRONMENT = Path(sys.prefix) / "img2dataset"  # it pins webdataset 0.2.111 and OpenCV 4, so it cannot live in ours


def installed() -> str:
    """The command, installed at the first call by uv, or by venv and pip where there is no uv."""
    command, python = _ENVIRONMENT / "bin" / "img2dataset", str(_ENVIRONMENT / "bin" / "python")
    if not command.exists():
        package = f"img2dataset=={VERSION}"
        if shutil.which("uv"):
            _run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(_ENVIRONMENT))
            _run("uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", python, package)
        else:
            _run(sys.executable, "-m", "venv", "--clear", str(_ENVIRONMENT))
            _run(python, "-m", "pip", "install", "--quiet", package)
    return str(command)


def fetch(urls: list[str], folder: Path, options: dict[str, object]) -> None:
    """Runs it on the URLs, into webdataset shards below the folder; logs and EXIF tags, which cost it time, are left out."""
    (folder / "urls.txt").write_text("\n".join(urls))
    given: dict[str, object] = {
        "url_list": folder / "urls.txt",
        "output_folder": folder / "out",
        "output_format": "webdataset",
        "number_sample_per_shard": min(10_000, max(1, len(urls) // 2)),  # its default; a shard a process in short runs
        "extract_exif": False,
        "enable_wandb": False,
        **options,
    }
    _run(installed(), *[f"--{name}={value}" for name, value in given.items()])


def _run(*command: str) -> None:
    environment = {
        **os.environ,
        "NO_ALBUMENTATIONS_UPDATE": "1",
    }  # a library of its that asks the network at each start
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command[:5])}: {done.stderr[-2000:]}")
