"""Inputs: what the arguments of a command stand for.

In: paths, globs, URLs, lists of them. Out: one `Input` for each thing to read, sorted by name, so that the order of arguments does not matter.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from schemas.errors import InputError

InputKind: TypeAlias = Literal["warc", "wacz", "html", "parquet"]


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing to read: its name below the input root, where it is, what it is.

    `identity` says which content it is: sha256, or what a store or server tells (etag, date). `size` is in bytes.
    """

    name: str
    url: str
    kind: InputKind
    size: int
    identity: str


def find_inputs(arguments: Sequence[str], *, root: str = "") -> list[Input]:
    """The inputs that `arguments` stand for, sorted by name.

    Raises:
        InputError: an argument is, or leads to, nothing that can be read.
    """
    found = []
    for argument in arguments:
        path = Path(root, argument)
        if not path.is_file():
            raise InputError(f"{argument}: no such file")
        size = os.path.getsize(path)
        if not size:
            raise InputError(f"{argument}: the file is empty")
        with path.open("rb") as file:
            identity = hashlib.file_digest(file, "sha256").hexdigest()
        found.append(Input(name=path.name, url=str(path), kind="warc", size=size, identity=identity))
    return sorted(found, key=lambda input: input.name)
