"""Arguments: which files the words of a command line stand for.

In: paths, folders, globs, fsspec URLs and lists (`@paths.txt`). Out: `Located` files, each with its URL and the name that it would have by itself: the
base name of a file, the path below the prefix of a folder or glob, the entry of a list. Whether a file can be read is not asked here.
"""

import gzip
import re
from collections.abc import Sequence
from functools import partial
from pathlib import PurePosixPath
from typing import cast

import fsspec
import msgspec
from fsspec.core import split_protocol

from pipeline.read.files import blamed, filesystem, is_local, path_type
from pipeline.retry import passing
from schemas.errors import InputError

COMMON_CRAWL = "https://data.commoncrawl.org/"
MAX_LIST_BYTES = 256 << 20  # ours: Common Crawl's longest list is 15 MB

_MAGIC = re.compile(r"[*?\[]")
_READABLE = re.compile(r"\.(?:warc(?:\.gz|\.zst)?|wacz|parquet|x?html?)$", re.IGNORECASE)


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """A file: where it is, how many of the last parts of its path are its name, and whether it was named itself, not found in a folder."""

    url: str
    depth: int = 1
    named: bool = True

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the URL, from the scheme (none on disk) to the base name."""
        protocol, path = split_protocol(self.url)
        whole = path.split("?")[0] if protocol in ("http", "https") else path
        return (protocol or "", *[part for part in whole.split("/") if part])

    @property
    def name(self) -> str:
        """The last `depth` parts."""
        return "/".join(self.parts[-self.depth :])


def locate(arguments: Sequence[str], *, root: str = "") -> list[Located]:
    """The files that `arguments` stand for, each once, in the order of their URLs.

    Raises:
        InputError: an argument leads to no file, or a folder holds none that can be read.
        SurroundingsError: a disk, store or server refuses.
    """
    found: dict[str, Located] = {}
    for argument in arguments:
        with blamed(argument):
            files = _locate_list(argument[1:], root) if argument.startswith("@") else _locate(argument)
        for file in files:
            known = found.get(file.url, file)
            found[file.url] = Located(url=file.url, depth=min(known.depth, file.depth), named=known.named or file.named)
    return [found[url] for url in sorted(found)]


def _locate(argument: str) -> list[Located]:
    fs, path = filesystem(argument)
    is_web = split_protocol(argument)[0] in ("http", "https")
    kind = "file" if is_web else path_type(fs, path)
    if kind == "file":
        return [Located(url=_url(argument, fs.unstrip_protocol(path)))]
    if kind == "directory":
        prefix, paths = path, passing(lambda: fs.find(path))
        wanted = [each for each in paths if _READABLE.search(each)]
        if not wanted:
            raise InputError(f"{argument}: {_nothing(paths)}")
    elif _MAGIC.search(argument):
        prefix = _MAGIC.split(path)[0].rpartition("/")[0]
        found: dict[str, dict[str, str]] = passing(lambda: fs.glob(path, detail=True))
        wanted = [each for each, info in found.items() if info["type"] == "file"]
        if not wanted:
            raise InputError(f"{argument}: no file matches")
    else:
        raise InputError(f"{argument}: no such file or folder")
    above = len(PurePosixPath(prefix).parts)
    return [
        Located(
            url=_url(argument, fs.unstrip_protocol(each)), depth=len(PurePosixPath(each).parts) - above, named=False
        )
        for each in wanted
    ]


def _url(argument: str, url: str) -> str:
    """A plain path for what is on disk, else the URL."""
    return url.removeprefix("file://") if is_local(argument) else url


def _nothing(paths: list[str]) -> str:
    if any(re.search(r"\.arc(?:\.gz)?$", path) for path in paths):
        return "the folder holds ARC files only, which are not WARCs; convert them first (warcio recompress OLD NEW.warc.gz)"
    return "the folder holds no .warc, .warc.gz, .warc.zst, .wacz, .parquet or .html file"


def _locate_list(url: str, root: str) -> list[Located]:
    """The files of a list, one a line; blank lines and lines that begin with # are left out.

    A relative entry is below `root` if there is one; else below the list's own folder, or, where it begins with `crawl-data/`, Common Crawl's.
    """
    folder = url.rpartition("/")[0]
    located = []
    for number, line in enumerate(_read_list(url).splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if split_protocol(entry)[0] or entry.startswith("/"):
            located.append(Located(url=entry))
            continue
        base = root or (COMMON_CRAWL if entry.startswith("crawl-data/") else folder)
        whole = f"{base.rstrip('/')}/{entry}" if base else entry
        if not split_protocol(whole)[0] or is_local(whole):
            fs, path = filesystem(whole)
            if path_type(fs, path) != "file":
                raise InputError(f"{whole}: no such file (line {number} of {url}; --root says where the entries are)")
            whole = path
        located.append(Located(url=whole, depth=len(PurePosixPath(entry).parts)))
    if not located:
        raise InputError(f"{url}: the list is empty")
    return located


def _head(fs: fsspec.AbstractFileSystem, path: str) -> bytes:
    with fs.open(path, "rb") as file:
        return cast(bytes, file.read(MAX_LIST_BYTES))


def _read_list(url: str) -> str:
    fs, path = filesystem(url)
    try:
        data = passing(partial(_head, fs, path))
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        return str(data, "utf-8")
    except FileNotFoundError:
        raise InputError(f"{url}: no such file") from None
    except (gzip.BadGzipFile, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"{url}: not a list of paths: {error}") from None
