"""Inputs: what there is to read, and what it is.

In: the arguments of a command. Out: one `Input` for each WARC, WACZ or Parquet file, and one for each batch of HTML files, sorted by name; the order of
arguments does not matter, and no name says where on a machine or store a file is. What a file is, its first bytes decide; of remote files whose name
says it, only the size and the etag are asked for.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import msgspec

from pipeline.read.arguments import Located, locate
from pipeline.read.files import blamed, filesystem, has_ranges, is_local, opened
from pipeline.read.kinds import InputKind, kind_by_name, kind_of
from pipeline.retry import passing
from schemas.errors import InputError

FILES_PER_BATCH = 500  # ours: HTML files in one input, about as many pages as a slice of a WARC has
_REMOTE_THREADS = 16
_MARKS = (
    "ETag",
    "etag",
    "md5Hash",
    "crc32c",
    "Content-MD5",
    "Digest",
    "LastModified",
    "Last-Modified",
    "mtime",
    "updated",
)

Digests: TypeAlias = MutableMapping[tuple[str, int, int], str]
KindOf: TypeAlias = Callable[[Located, bool], InputKind]  # of a file that has ranges or not


class HtmlFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a batch: its name below the input root, and where it is."""

    name: str
    url: str


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing to read: its name below the input root, where it is, what it is.

    `identity` says which content it is: sha256, or what a store or server tells (etag, date). `size` is in bytes, 0 where a server does not tell.
    `ranges`: any part of it can be asked for. `files` are the files of kind html; `url` is then that of the first.
    """

    name: str
    url: str
    kind: InputKind
    size: int
    identity: str
    ranges: bool = True
    files: list[HtmlFile] = []


def _crawl_kind(file: Located, ranges: bool) -> InputKind:
    """What the bytes say; of remote files whose name says it, that."""
    promised = None if is_local(file.url) else kind_by_name(file.url)
    return promised or kind_of(file, ranges=ranges)


def find_inputs(
    arguments: Sequence[str], *, root: str = "", digests: Digests | None = None, kind: KindOf = _crawl_kind
) -> list[Input]:
    """The inputs that `arguments` stand for, sorted by name.

    `root` is where the relative entries of lists are; `kind` says what a file is. `digests` holds sha256 by (path, size, mtime in ns); what is there is not computed again, what is
    computed is put there.

    Raises:
        InputError: an argument leads to nothing that can be read; a file that was named is empty, or no WARC, WACZ, HTML or Parquet.
        SurroundingsError: a disk, store or server refuses.
    """
    located = locate(arguments, root=root)
    names = _unique_names(located)
    known = {} if digests is None else digests
    with ThreadPoolExecutor(_REMOTE_THREADS) as pool:
        remote = {
            file.url: pool.submit(_remote, file, names[file.url], kind) for file in located if not is_local(file.url)
        }
        inputs = [
            remote[file.url].result() if file.url in remote else _local(file, names[file.url], known, kind)
            for file in located
        ]
    found = [input for input in inputs if input is not None]
    if not found:
        raise InputError(f"{', '.join(arguments)}: nothing but empty files")
    whole = [input for input in found if input.kind != "html"]
    pages = sorted((input for input in found if input.kind == "html"), key=lambda input: input.name)
    return sorted([*whole, *_batches(pages)], key=lambda input: input.name)


def _unique_names(located: Iterable[Located]) -> dict[str, str]:
    """A name for each URL; equal ones get parent folders in front until they differ."""
    files = {file.url: file for file in located}
    while clashes := [name for name, count in Counter(file.name for file in files.values()).items() if count > 1]:
        for url, file in files.items():
            if file.name in clashes:
                files[url] = msgspec.structs.replace(file, depth=file.depth + 1)
    return {url: file.name.lstrip("/") for url, file in files.items()}


def _local(file: Located, name: str, digests: Digests, kind: KindOf) -> Input | None:
    """None for an empty file that was not named itself."""
    fs, path = filesystem(file.url)
    with blamed(file.url):
        info = fs.info(path)
    size = info["size"]
    if size == 0:
        _refuse_empty(file)
        return None
    key = (path, size, int(info["mtime"] * 1e9))
    if key not in digests:
        digests[key] = _sha256(file.url, ranges=True)
    return Input(name=name, url=path, kind=kind(file, True), size=size, identity=digests[key])


def _remote(file: Located, name: str, kind: KindOf) -> Input | None:
    fs, path = filesystem(file.url)
    with blamed(file.url):
        info = passing(lambda: fs.info(path))
        ranges = has_ranges(file.url)
    size = info.get("size") or info.get("Size") or 0
    if size == 0 and ranges:
        _refuse_empty(file)
        return None
    mark = next((f"{key}:{info[key]}" for key in _MARKS if info.get(key)), "")
    if not mark:
        mark = _sha256(file.url, ranges=ranges)
    identity = f"{mark},{size}"
    return Input(name=name, url=file.url, kind=kind(file, ranges), size=size, identity=identity, ranges=ranges)


def _sha256(url: str, *, ranges: bool) -> str:
    digest = hashlib.sha256()
    with opened(url, ranges=ranges) as handle:
        while data := handle.file.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def _refuse_empty(file: Located) -> None:
    if file.named:
        raise InputError(f"{file.url}: the file is empty")


def _batches(pages: list[Input]) -> Iterable[Input]:
    """HTML files by the `FILES_PER_BATCH`, each batch named by its first file."""
    for at in range(0, len(pages), FILES_PER_BATCH):
        batch = pages[at : at + FILES_PER_BATCH]
        identities = "\n".join(f"{page.name}\t{page.identity}" for page in batch)
        yield Input(
            name=batch[0].name,
            url=batch[0].url,
            kind="html",
            size=sum(page.size for page in batch),
            identity=hashlib.sha256(identities.encode()).hexdigest(),
            ranges=all(page.ranges for page in batch),
            files=[HtmlFile(name=page.name, url=page.url) for page in batch],
        )
