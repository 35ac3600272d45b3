"""WACZ: a zip file with WARCs in its `archive/` folder.

In: the outer file. Out: its WARC entries, and each one's bytes from an offset on. Entries are stored as a rule, so that they are byte ranges of the
outer file, and records can be read from it by offset; a deflated entry can only be read through.
"""

import re
import zipfile
import zlib
from collections.abc import Callable

import msgspec

from pipeline.read.files import Opened
from pipeline.read.source import Damage, Readable, Window
from schemas.drops import DropReason

WARC_ENTRY = re.compile(r"(?:^|/)archive/[^/]+\.warc(?:\.gz|\.zst)?$", re.IGNORECASE)

_LOCAL_HEAD_BYTES = 30  # APPNOTE.TXT 4.3.7: then the name and an extra field, whose lengths stand at 26 and 28


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A WARC in the zip: `size` bytes, from `origin` in the outer file on where it is stored; `origin` is None where it is deflated."""

    name: str
    size: int
    origin: int | None


def entries(outer: Opened) -> list[Entry]:
    """The WARCs of a WACZ, by name.

    Raises:
        Damage: not a zip file, or one that needs what is not known here.
    """
    try:
        with zipfile.ZipFile(outer.at(0)) as archive:
            found = sorted(
                (info for info in archive.infolist() if WARC_ENTRY.search(info.filename)),
                key=lambda info: info.filename,
            )
        return [Entry(name=info.filename, size=info.file_size, origin=_origin(outer, info)) for info in found]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise Damage(DropReason.BAD_RECORD, f"a broken zip file: {error}") from None


def _origin(outer: Opened, info: zipfile.ZipInfo) -> int | None:
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        return None
    head = outer.at(info.header_offset).read(_LOCAL_HEAD_BYTES)
    if head[:4] != b"PK\x03\x04" or len(head) < _LOCAL_HEAD_BYTES:
        raise Damage(DropReason.BAD_RECORD, f"a broken zip file: no entry at {info.header_offset}")
    name_bytes, extra_bytes = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
    return info.header_offset + _LOCAL_HEAD_BYTES + name_bytes + extra_bytes


def entry_at(outer: Opened, entry: Entry) -> Callable[[int], Readable]:
    """Opens an entry at an offset in it.

    Raises:
        Damage: a deflated entry that is encrypted or packed in an unknown way.
    """
    if (origin := entry.origin) is not None:
        return lambda offset: Window(outer.at(origin + offset), max(0, entry.size - offset))
    try:
        file = zipfile.ZipFile(outer.at(0)).open(entry.name)  # noqa: SIM115 (it lives as long as the outer file)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, KeyError) as error:
        raise Damage(DropReason.BAD_RECORD, f"{entry.name}: {error}") from None

    def open_at(offset: int) -> Readable:
        file.seek(offset)
        return _Deflated(file)

    return open_at


class _Deflated:
    """A deflated entry, whose damage is `Damage` as everywhere."""

    def __init__(self, file: Readable) -> None:
        self._file = file

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._file.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise Damage(DropReason.BAD_RECORD, f"a broken zip file: {error}") from None
