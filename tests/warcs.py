"""WARC files that tests make record by record, in every packing, and damage."""

import gzip
import io

import zstandard
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.read.members import Packing, packing_of
from pipeline.read.source import Source
from pipeline.read.warc import Gap, warc_records
from pipeline.read.warc_record import WarcRecord

DATE = "2026-01-02T03:04:05Z"
PACKINGS = ("gzip", "zstd", "plain")
HTML = b"<!doctype html><html><body><p>Some text.</p></body></html>"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def warc(kind: str, url: str, block: bytes, **fields: str) -> bytes:
    """One record, not packed; `refers_to_date="..."` is the field WARC-Refers-To-Date."""
    named = "".join(
        f"WARC-{name.replace('_', '-').title()}: {value}\r\n"
        for name, value in fields.items()
        if name != "content_type"
    )
    content_type = fields.get(
        "content_type", "application/http; msgtype=response" if kind in ("response", "revisit") else ""
    )
    stated = f"Content-Type: {content_type}\r\n" if content_type else ""
    date = "" if "date" in fields else f"WARC-Date: {DATE}\r\n"
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\n{date}{named}{stated}Content-Length: {len(block)}\r\n\r\n"
    return head.encode() + block + b"\r\n\r\n"


def http(body: bytes, mime: str = "text/html", *, status: int = 200, headers: str = "") -> bytes:
    """The block of a response."""
    stated = f"Content-Type: {mime}\r\n" if mime else ""
    return f"HTTP/1.1 {status} Some\r\n{stated}{headers}\r\n".encode() + body


def response(
    url: str, body: bytes, mime: str = "text/html", *, status: int = 200, headers: str = "", **fields: str
) -> bytes:
    """A response record."""
    return warc("response", url, http(body, mime, status=status, headers=headers), **fields)


def members(records: list[bytes], packing: str) -> list[bytes]:
    """The records as they stand in a file of the packing, each by itself."""
    if packing == "gzip":
        return [gzip.compress(record, mtime=0) for record in records]
    if packing == "zstd":
        compressor = zstandard.ZstdCompressor(write_checksum=True)
        return [compressor.compress(record) for record in records]
    return records


def with_dictionary(records: list[bytes]) -> bytes:
    """A Zstandard WARC whose frames need the dictionary at its start."""
    dictionary = zstandard.ZstdCompressionDict(b"".join(records)[:4096], dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    compressor = zstandard.ZstdCompressor(dict_data=dictionary)
    data = zstandard.ZstdCompressor().compress(dictionary.as_bytes())
    frame = b"\x5d\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data
    return frame + b"".join(compressor.compress(record) for record in records)


def found(data: bytes, start: int = 0, end: int | None = None, *, trust: bool = True) -> list[WarcRecord | Gap]:
    """The records and gaps of a range."""
    packing = packing_in(data)
    return list(warc_records(lambda at: io.BytesIO(data[at:]), packing, start, end, keep_bytes=1 << 20, trust=trust))


def packing_in(data: bytes) -> Packing:
    """The packing of a file's bytes."""
    packing = packing_of(Source(io.BytesIO(data)))
    assert packing is not None
    return packing


def put(name: str, data: bytes) -> str:
    """The URL of a file in memory."""
    MemoryFileSystem().pipe_file(f"/read/{name}", data)
    return f"memory://read/{name}"
