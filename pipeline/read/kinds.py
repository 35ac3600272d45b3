"""Kinds: what a file holds, by its first bytes, with its name as help.

In: a file. Out: `warc`, `wacz`, `html` or `parquet`, or an `InputError` in one line that says what it is instead, as far as that can be seen.
"""

import re
import zipfile
import zlib
from typing import Literal, TypeAlias

from pipeline.read.arguments import Located
from pipeline.read.files import Opened, opened
from pipeline.read.members import packing_of
from pipeline.read.sniff import sniff
from pipeline.read.source import Damage, Source
from pipeline.read.wacz import WARC_ENTRY
from schemas.errors import InputError

InputKind: TypeAlias = Literal[
    "warc", "wacz", "html", "parquet", "csv", "tsv", "jsonl"
]  # the last three: captions tables only

_NAMES: tuple[tuple[re.Pattern[str], InputKind], ...] = (
    (re.compile(r"\.warc(?:\.gz|\.zst)?$", re.IGNORECASE), "warc"),
    (re.compile(r"\.wacz$", re.IGNORECASE), "wacz"),
    (re.compile(r"\.parquet$", re.IGNORECASE), "parquet"),
    (re.compile(r"\.x?html?$", re.IGNORECASE), "html"),
)
_LIST = re.compile(r"\.(?:paths|txt)(?:\.gz)?$")


def kind_by_name(url: str) -> InputKind | None:
    """What the name promises; None where it promises nothing."""
    path = url.split("?")[0]
    return next((kind for pattern, kind in _NAMES if pattern.search(path)), None)


def kind_of(file: Located, *, ranges: bool = True) -> InputKind:
    """What the file holds; of a file that was not named itself, and holds nothing that is known, what its name promises.

    Raises:
        InputError: nothing that can be read.
    """
    promised = kind_by_name(file.url)
    with opened(file.url, ranges=ranges) as handle:
        kind = _by_content(handle, file.url, promised)
        if kind is not None:
            return kind
        if promised is not None and not file.named:
            return promised
        raise InputError(f"{file.url}: {_what_instead(handle, file.url)}")


def _by_content(handle: Opened, url: str, promised: InputKind | None) -> InputKind | None:
    first = Source(handle.at(0)).peek(2048)
    if first.startswith(b"PAR1"):
        return "parquet"
    if first.startswith(b"PK\x03\x04"):
        return _zip_kind(handle, url)
    if _holds_warc(handle):
        return "warc"
    if promised == "html" or sniff(first) == "text/html":
        return "html"
    return None


def _holds_warc(handle: Opened) -> bool:
    try:
        return packing_of(Source(handle.at(0))) is not None
    except Damage:
        return True


def _zip_kind(handle: Opened, url: str) -> InputKind:
    try:
        with zipfile.ZipFile(handle.file) as archive:
            if any(WARC_ENTRY.search(name) for name in archive.namelist()):
                return "wacz"
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{url}: a broken zip file: {error}") from None
    raise InputError(f"{url}: a zip file without archive/*.warc, so no WACZ")


def _what_instead(handle: Opened, url: str) -> str:
    first = Source(handle.at(0)).peek(4096)
    if first.startswith(b"\x1f\x8b"):
        try:
            first = zlib.decompressobj(wbits=31).decompress(first, 512)
        except zlib.error as error:
            return f"not a WARC: broken from its start on: {error}"
    if first.startswith(b"filedesc:"):
        return "an ARC file, not a WARC; convert it first (warcio recompress OLD NEW.warc.gz)"
    if _LIST.search(url):
        return f"not a WARC; give a list of paths as @{url}"
    return f"not a WARC, WACZ, HTML or Parquet file; it begins with {first[:32]!r}"
