"""Shard form: webdataset tars of samples, and the byte index beside each.

A sample is a run of tar members that share a key, the part of their names before the first dot:

    3f2a....json   3f2a....000.jpg   3f2a....001.png        a document (`schemas.document`)
    3f2a....jpg    3f2a....txt       3f2a....json           a pair (`schemas.pair`)

The writer and the reader of the form stand in this file, so that they cannot drift. What is written depends on the samples alone: ustar
headers with owner, mode and time pinned. What is read is any tar that groups so (GNU, PAX; img2dataset's, video2dataset's, webdataset's).
`NAME.tar` has its index in `NAME.index.jsonl`: a head line, then one line a sample.
"""

import hashlib
import mmap
import tarfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final, Literal

import msgspec

from schemas.errors import ShardError

INDEX_VERSION: Final = 1
INDEX_SUFFIX = ".index.jsonl"
BLOCK = 512
_NAME: Final = 100  # bytes of a header in which its name stands
_EXTENDED: Final = b"LKxg"  # type flags of headers that hold the name, or part of it, of the next


# A reader makes five of these a sample; none is ever part of a cycle, so the garbage collector need not look at them.
class Sample(msgspec.Struct, frozen=True, gc=False):
    """A key and the bytes of its members, by the part of their names after the key's dot, in the tar's order."""

    key: str
    members: dict[str, bytes]


class Member(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One member of a sample: name after the key's dot, offset of its bytes in the tar, their number."""

    name: str
    offset: int
    size: int


class IndexEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Where one sample lies: its first header's offset in the tar, the bytes to its end (headers and padding counted), its members."""

    key: str
    offset: int
    length: int
    members: list[Member]


class IndexHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line of an index: its version, the tar's size in bytes and the number of its samples."""

    tar_bytes: int
    samples: int
    version: Literal[1] = INDEX_VERSION


def write_shard(samples: Iterable[Sample], file: BinaryIO) -> list[IndexEntry]:
    """Writes samples as a tar, in the order given, and returns its index.

    Raises:
        ShardError: a key or member name that webdataset would split elsewhere, a key twice, or a name past ustar's 100 bytes.
    """
    entries: list[IndexEntry] = []
    seen: set[str] = set()
    position = 0
    for sample in samples:
        if not sample.key or "." in sample.key or "/" in sample.key or sample.key in seen:
            raise ShardError(f"not a sample key, or a second time: {sample.key!r}")
        seen.add(sample.key)
        start, members = position, []
        for name, data in sample.members.items():
            header = ustar_header(f"{sample.key}.{name}", len(data))
            file.write(header)
            file.write(data)
            file.write(bytes(-len(data) % BLOCK))
            members.append(Member(name, position + BLOCK, len(data)))
            position += BLOCK + len(data) + -len(data) % BLOCK
        entries.append(IndexEntry(sample.key, start, position - start, members))
    file.write(bytes(2 * BLOCK))
    return entries


def ustar_header(name: str, size: int) -> bytes:
    """One pinned 512-byte ustar header: mode 0644, owner 0, time 0. `size` is in bytes, below 8 GiB."""
    encoded = name.encode()
    if len(encoded) > 100 or size >= 8**11:
        raise ShardError(
            f"a tar member of {size} bytes named {name!r} is past ustar's limits (100 bytes of name, 8 GiB)"
        )
    head = encoded.ljust(100, b"\0") + b"0000644\x000000000\x000000000\0" + b"%011o\x0000000000000\0" % size
    tail = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x000000000\0" + bytes(167)
    checksum = sum(head) + 8 * 32 + sum(tail)
    return head + b"%06o\0 " % checksum + tail


def index_tar(file: BinaryIO) -> list[IndexEntry]:
    """The index of any tar of samples, by one scan over its headers; other members than files are passed over.

    Raises:
        ShardError: the file is no tar, is cut, or holds a sample twice or a member name twice in a sample.
    """
    entries: list[IndexEntry] = []
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:", errors="backslashreplace") as tar:
            for info in tar:
                if info.isfile():
                    _append(entries, info)
                tar.members = []  # type: ignore[attr-defined]  # a million members must not stay in memory
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ShardError(f"not a whole tar: {error}") from error
    if len({entry.key for entry in entries}) != len(entries):
        raise ShardError("a sample key stands twice, its members apart from each other")
    return entries


def _append(entries: list[IndexEntry], info: tarfile.TarInfo) -> None:
    folder, _, base = info.name.rpartition("/")
    stem, dot, name = base.partition(".")
    key = f"{folder}/{stem}" if folder else stem
    if not dot or not stem:
        return
    end = info.offset_data + info.size + -info.size % BLOCK
    member = Member(name, info.offset_data, info.size)
    if entries and entries[-1].key == key:
        last = entries.pop()
        if any(name == other.name for other in last.members):
            raise ValueError(f"member {info.name!r} stands twice")
        entries.append(IndexEntry(key, last.offset, end - last.offset, [*last.members, member]))
    else:
        entries.append(IndexEntry(key, info.offset, end - info.offset, [member]))


def read_sample(file: BinaryIO, entry: IndexEntry) -> Sample:
    """One sample by its index entry, with one read.

    Raises:
        ShardError: the file ends before the sample does.
    """
    file.seek(entry.offset)
    block = file.read(entry.length)
    if len(block) != entry.length:
        raise ShardError(
            f"sample {entry.key} needs {entry.length} bytes at {entry.offset}, the tar has {len(block)}: it was cut or changed"
        )
    return cut_block(block, entry)


def cut_block(block: bytes, entry: IndexEntry) -> Sample:
    """A sample out of its own bytes, headers and all. Raises as `cut_sample`."""
    members = [Member(one.name, one.offset - entry.offset, one.size) for one in entry.members]
    return cut_sample(block, IndexEntry(entry.key, 0, entry.length, members))


def cut_sample(tar: bytes | mmap.mmap, entry: IndexEntry) -> Sample:
    """A sample out of the bytes of its tar.

    Raises:
        ShardError: these end before the sample does, or the header there is of another.
    """
    begin = entry.offset
    is_there = tar.find(entry.key.encode(), begin, begin + _NAME) >= 0 or _may_begin(tar, begin, entry.key)
    if not is_there or begin + entry.length > len(tar):
        raise ShardError(f"sample {entry.key} is not where it was; the shard changed since its index was made")
    members: dict[str, bytes] = {}
    for member in entry.members:  # the innermost loop of training's stream: a comprehension would be one more call
        at = member.offset
        members[member.name] = tar[at : at + member.size]
    return Sample(entry.key, members)


def _may_begin(tar: bytes | mmap.mmap, at: int, key: str) -> bool:
    """Whether the header there names a sample, as far as one header can tell where it does not hold the whole key."""
    name = key.rpartition("/")[2].partition("\\")[0].encode()  # from a backslash on stands what is no UTF-8
    return tar.find(name, at, at + _NAME) >= 0 or tar[at + 156 : at + 157] in _EXTENDED


def read_shard(file: BinaryIO) -> Iterator[Sample]:
    """All samples of a tar in its order.

    Raises:
        ShardError: as `index_tar`.
    """
    for entry in index_tar(file):
        yield read_sample(file, entry)


def encode_index(entries: list[IndexEntry], tar_bytes: int) -> bytes:
    """The bytes of an index file: its head, then a line a sample."""
    return msgspec.json.Encoder().encode_lines([IndexHead(tar_bytes=tar_bytes, samples=len(entries)), *entries])


def decode_index(data: bytes) -> tuple[IndexHead, list[IndexEntry]]:
    """The head and the entries of an index file.

    Raises:
        ShardError: not an index of this version, or not as many lines as its head says.
    """
    head_line, _, lines = data.partition(b"\n")
    try:
        head = msgspec.json.decode(head_line, type=IndexHead)
        entries = msgspec.json.Decoder(IndexEntry).decode_lines(lines)
    except msgspec.MsgspecError as error:
        raise ShardError(f"not an index of version {INDEX_VERSION}: {error}") from error
    if len(entries) != head.samples:
        raise ShardError(f"the index has {len(entries)} samples, its head says {head.samples}")
    return head, entries


def sample_key(identity: str) -> str:
    """The 32 hex digits that name a sample: the first half of the SHA-256 of what identifies it (a page: its normalised URL)."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:32]
