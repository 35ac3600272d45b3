"""Renditions: one picture under many URLs, told by the name of its file."""

import re
from functools import lru_cache
from urllib.parse import unquote

_SIZE = re.compile(r"-?\d{2,4}x\d{2,4}")
_NOT_NAME = re.compile(r"[^a-z0-9]")


@lru_cache(maxsize=4096)
def picture_name(url: str) -> str:
    """What two renditions of one picture have in common: the name of the file without size, extension and directory."""
    name = unquote(url.partition("?")[0].partition("#")[0].rpartition("/")[2]).lower()
    stem = name.rpartition(".")[0] or name
    return _NOT_NAME.sub("", _SIZE.sub("", stem))


def file_stem(url: str) -> str:
    """The longest part of a file's name, as it is written in the URL, that its renditions share."""
    name = url.partition("?")[0].partition("#")[0].rpartition("/")[2].rpartition(".")[0]
    return max(_SIZE.split(name), key=len)
