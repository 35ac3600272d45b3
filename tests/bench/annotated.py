"""The two annotated sets of pages: real pages with what must and must not be extracted, and Readability's test pages.

They lie beside the project, not in it (their pages belong to their publishers); without them there is nothing to measure or to train on.
"""

import importlib.util
import json
import os
import tarfile
from pathlib import Path
from types import ModuleType

import msgspec

DATA = Path(os.environ.get("M3W_ANNOTATED", Path(__file__).parents[3] / "shared" / "data"))


class Snippets(msgspec.Struct, frozen=True):
    """A page with snippets of its content and of its boilerplate."""

    name: str
    url: str
    html: bytes
    wanted: list[str]
    unwanted: list[str]


class Reviewed(msgspec.Struct, frozen=True):
    """A page with the text of the article that people reviewed."""

    name: str
    html: bytes
    text: str


def scorer(name: str) -> ModuleType:
    """The scorer that lies beside a set, as a module."""
    spec = importlib.util.spec_from_file_location(f"{name}_score", DATA / name / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def snippets() -> list[Snippets]:
    """The pages with snippets."""
    with tarfile.open(DATA / "pages" / "pages.tar.xz") as tar:
        read = {member.name: _read(tar, member) for member in tar}
    rows = map(json.loads, read["gold.jsonl"].splitlines())
    return [Snippets(row["file"], row["url"], read[row["file"]], row["with"], row["without"]) for row in rows]


def reviewed() -> list[Reviewed]:
    """The pages with reviewed articles."""
    with tarfile.open(DATA / "readability" / "pages.tar.xz") as tar:
        read = {member.name: _read(tar, member) for member in tar}
    expected = scorer("readability").Expected
    pages = []
    for name in sorted({name.partition("/")[0] for name in read}):
        parser = expected()
        parser.feed(read[f"{name}/expected.html"].decode("utf-8", "replace"))
        pages.append(Reviewed(name, read[f"{name}/source.html"], " ".join(parser.text)))
    return pages


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file is not None else b""
