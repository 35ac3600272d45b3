"""Which software turns pages into bytes, so that a worker with other software than the submitter's is found before it works.

The same bytes come from the same m3w with the same libraries. What an engine carries to its workers is a pickled call, not the code, so each side says what it has.
"""

import functools
import hashlib
import importlib.metadata
import platform
import re
from pathlib import Path

from schemas.errors import SurroundingsError

_PACKAGES = ("schemas", "pipeline")  # what a worker runs
_SUFFIXES = (".py", ".json", ".toml", ".txt", ".words")


@functools.cache
def software() -> dict[str, str]:
    """Versions by name: of m3w (with a digest of its code, since a checkout changes without a new version), Python, and what m3w needs."""
    names = sorted({re.split(r"[^A-Za-z0-9._-]", one)[0] for one in _requirements()})
    versions = {name: _version(name) for name in names}
    python = ".".join(platform.python_version_tuple()[:2])  # pickled functions hold its bytecode
    return {"m3w": f"{_version('m3w')}-{_code_digest()}", "Python": python, **versions}


def check_software(submitters: dict[str, str]) -> None:
    """Compares with what the submitter has.

    Raises:
        SurroundingsError: something differs.
    """
    ours = software()
    if differing := [name for name in sorted(ours | submitters) if ours.get(name) != submitters.get(name)]:
        name = "m3w" if "m3w" in differing else differing[0]
        raise SurroundingsError(
            f"a worker on {platform.node()} has {name} {ours.get(name, 'not at all')}, and who submits has {submitters.get(name, 'none')}; "
            "install the same m3w with the same libraries on both"
        )


def _requirements() -> list[str]:
    try:
        required = importlib.metadata.requires("m3w") or []
    except importlib.metadata.PackageNotFoundError:  # on the path, but not installed
        return []
    return [one for one in required if "extra ==" not in one]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _code_digest() -> str:
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in _SUFFIXES:
                data = path.read_bytes()
                digest.update(f"{path.relative_to(root).as_posix()} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:8]
