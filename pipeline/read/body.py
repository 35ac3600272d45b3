"""Bodies: a HTTP body as the server meant it, out of what came over the wire.

In: the bytes of a body and the values of its transfer-encoding and content-encoding. Out: `Body`: the bytes, undone as far as they could be, never more
than a budget. Labels lie: a body that is not packed as its label says is taken as it is; one that ends too early gives what there was, marked.
"""

import re
import zlib
from collections.abc import Callable
from typing import Protocol

import brotli
import msgspec
import zstandard

from pipeline.read.source import Source, Write

_CHUNK_HEAD = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]{0,4096})?\r?\n")
_CHUNK_HEAD_BYTES = 4 << 10
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ZSTD_STEP_BYTES = 1 << 10  # no more than 32 MB can come out of it
_MAX_WINDOW_BYTES = 128 << 20  # what the zstd tool takes without being asked


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """`data` is at most the budget; `truncated`: it ended too early; `too_large`: it went on behind the budget."""

    data: bytes
    truncated: bool = False
    too_large: bool = False


def decode_body(data: bytes, transfer_encoding: str, content_encoding: str, max_bytes: int) -> Body:
    """The body of a response, with its encodings undone, last applied first."""
    truncated = False
    if "chunked" in transfer_encoding.lower():
        data, truncated = dechunk(data)
    codings = [*content_encoding.lower().split(","), *transfer_encoding.lower().split(",")]
    for coding in reversed([name.strip() for name in codings]):
        if coding in _DECODERS:
            body = _DECODERS[coding](data, max_bytes)
            if body.too_large:
                return body
            data, truncated = body.data, truncated or body.truncated
    return Body(data=data[:max_bytes], truncated=truncated, too_large=len(data) > max_bytes)


def is_packed(content_encoding: str, transfer_encoding: str) -> bool:
    """Whether a body has an encoding that `decode_body` undoes, other than chunking."""
    return any(coding.strip() in _DECODERS for coding in f"{content_encoding},{transfer_encoding}".lower().split(","))


def dechunked(source: Source, into: Write) -> None:
    """Undoes chunking as `dechunk` does, for a body of any size."""
    while head := _CHUNK_HEAD.match(source.peek(_CHUNK_HEAD_BYTES)):
        source.skip(head.end())
        size = int(head[1], 16)
        if size == 0 or source.skip(size, into) < size:
            return
        source.skip(2 if source.peek(2) == b"\r\n" else int(source.peek(1) == b"\n"))
    while piece := source.chunk():
        into(piece)


def dechunk(data: bytes) -> tuple[bytes, bool]:
    """Undoes chunking; returns the bytes, and whether the last chunk is missing.

    What does not begin with a chunk was not chunked (or undone by the crawler) and stays; what is broken later on stays from there as it is.
    """
    parts: list[bytes] = []
    at = 0
    while head := _CHUNK_HEAD.match(data, at):
        size = int(head[1], 16)
        if size == 0:
            return b"".join(parts), False
        body = data[head.end() : head.end() + size]
        parts.append(body)
        if len(body) < size:
            return (b"".join(parts), True) if len(parts) > 1 or len(body) else (data, False)
        at = head.end() + size
        at += 2 if data[at : at + 2] == b"\r\n" else data[at : at + 1] == b"\n"
    if not parts:
        return data, False
    return b"".join(parts) + data[at:], True


class _Inflater(Protocol):
    """zlib's decompression object, as far as it is used."""

    eof: bool
    unconsumed_tail: bytes
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _inflate(data: bytes, max_bytes: int, wbits: int) -> Body | None:
    """Inflates one or more members; None where not a single byte came out."""
    parts: list[bytes] = []
    room = max_bytes + 1
    while data and room > 0:
        inflater = zlib.decompressobj(wbits=wbits)
        try:
            part = inflater.decompress(data, room)
        except zlib.error:
            part = _inflate_prefix(data, room, wbits)
            parts.append(part)
            return Body(data=b"".join(parts)[:max_bytes], truncated=True) if parts and any(parts) else None
        parts.append(part)
        room -= len(part)
        if not inflater.eof:
            break
        data = inflater.unused_data
        if not data.startswith(b"\x1f\x8b"):
            break
    whole = b"".join(parts)
    return Body(data=whole[:max_bytes], truncated=not inflater.eof, too_large=len(whole) > max_bytes)


def _inflate_prefix(data: bytes, room: int, wbits: int) -> bytes:
    """What comes out before the damage."""
    inflater = zlib.decompressobj(wbits=wbits)
    parts: list[bytes] = []
    try:
        for at in range(0, len(data), 256):
            part = inflater.decompress(data[at : at + 256], room)
            parts.append(part)
            room -= len(part)
            if room <= 0:
                break
    except zlib.error:
        pass
    return b"".join(parts)


def _gzip(data: bytes, max_bytes: int) -> Body:
    if not data.startswith(b"\x1f\x8b"):
        return _as_is(data, max_bytes)
    return _inflate(data, max_bytes, 31) or _as_is(data, max_bytes)


def _deflate(data: bytes, max_bytes: int) -> Body:
    """zlib's form as by the standard, or the raw one that some servers send."""
    return _inflate(data, max_bytes, 15) or _inflate(data, max_bytes, -15) or _as_is(data, max_bytes)


def _brotli(data: bytes, max_bytes: int) -> Body:
    decoder = brotli.Decompressor()
    parts: list[bytes] = []
    room = max_bytes + 1
    try:
        part = decoder.process(data, output_buffer_limit=room)
        while part or not decoder.can_accept_more_data():
            parts.append(part)
            room -= len(part)
            if room <= 0 or decoder.is_finished():
                break
            part = decoder.process(b"", output_buffer_limit=room)
    except brotli.error:
        if not any(parts):
            return _as_is(data, max_bytes)
    whole = b"".join(parts)
    return Body(data=whole[:max_bytes], truncated=not decoder.is_finished(), too_large=len(whole) > max_bytes)


def _zstd(data: bytes, max_bytes: int) -> Body:
    if not data.startswith(_ZSTD_MAGIC):
        return _as_is(data, max_bytes)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    parts: list[bytes] = []
    room, at, frame = max_bytes + 1, 0, decompressor.decompressobj()
    try:
        while at < len(data) and room > 0:
            parts.append(frame.decompress(data[at : at + _ZSTD_STEP_BYTES]))
            room -= len(parts[-1])
            at += _ZSTD_STEP_BYTES
            if frame.eof:
                at = min(at, len(data)) - len(frame.unused_data)
                if not data.startswith(_ZSTD_MAGIC, at):
                    break
                frame = decompressor.decompressobj()
    except zstandard.ZstdError:
        if not any(parts):
            return _as_is(data, max_bytes)
    whole = b"".join(parts)
    return Body(data=whole[:max_bytes], truncated=not frame.eof, too_large=len(whole) > max_bytes)


def _as_is(data: bytes, max_bytes: int) -> Body:
    return Body(data=data[:max_bytes], too_large=len(data) > max_bytes)


_DECODERS: dict[str, Callable[[bytes, int], Body]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "brotli": _brotli,
    "zstd": _zstd,
}
