"""Bodies: the bytes of a response, taken in with a look at what comes.

In: a response whose head was read. Out: the bytes, or a file of them for a video, or the reason why the rest was not waited for: more bytes
than the limit (stated, received or unpacked), another kind of file by its first bytes, a picture whose header promises too many pixels. What
is taken in counts against a budget from before it comes until the reader has taken it.
"""

import os
import tempfile
from collections.abc import Callable
from typing import get_args

import aiohttp
import msgspec

from pipeline.images.formats import PictureFormat, VideoFormat, sniff
from pipeline.images.header import read_header
from pipeline.read.body import decode_body
from pipeline.web.answer import MediumKind
from pipeline.web.budget import Hold
from schemas.drops import Drop, DropReason

_UNKNOWN_LENGTH_BYTES = (
    1 << 20
)  # ours: held at first of a body that does not state its length, and with each further step
_SNIFFED_BYTES = 512  # ours: more than any format's first marks
_HEADER_BYTES = 1 << 16  # ours: sizes stand in the first kilobytes, behind a colour profile or thumbnail
_WRONG_FOR: dict[MediumKind, frozenset[str]] = {
    "image": frozenset({"html", *get_args(VideoFormat)}),
    "video": frozenset({"html", "svg", *get_args(PictureFormat)}),
    "track": frozenset(),  # whether it is WebVTT, its parser says
}
_NOT_THAT: dict[MediumKind, DropReason] = {"image": DropReason.NOT_AN_IMAGE, "video": DropReason.NOT_A_VIDEO}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a body may have; pixels of pictures."""

    max_bytes: int
    max_pixels: int


async def read_body(response: aiohttp.ClientResponse, kind: MediumKind, limits: Limits, hold: Hold) -> bytes | Drop:
    """The body of a picture or track, unpacked. `hold` ends up holding as many bytes as are returned.

    Raises:
        aiohttp.ClientError, OSError: the connection ends too early.
    """
    parts: list[bytes] = []
    drop = await _stream(response, kind, limits, hold, parts.append)
    if drop is not None:
        return drop
    data = parts[0] if len(parts) == 1 else b"".join(parts)
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        await hold.grow_to(len(data) + limits.max_bytes)
        body = decode_body(data, "", encoding, limits.max_bytes)
        if body.too_large or body.truncated:
            return _too_many(kind, None, limits) if body.too_large else _drop(kind, DropReason.TRUNCATED, encoding)
        data = body.data
        drop = _sniffed(data, kind, limits)
        if drop is not None:
            return drop
    hold.settle(len(data))
    return data


async def spool_body(response: aiohttp.ClientResponse, kind: MediumKind, limits: Limits, hold: Hold) -> str | Drop:
    """The path of a temporary file with the body of a video; there is no file if it raises or drops.

    Raises:
        aiohttp.ClientError, OSError: the connection ends too early, or the disk is full.
    """
    descriptor, path = tempfile.mkstemp(prefix="m3w-video-")
    kept = False
    try:
        with os.fdopen(descriptor, "wb") as file:
            drop = await _stream(response, kind, limits, hold, file.write)
            size = file.tell()
        kept = drop is None
    finally:
        if not kept:
            os.unlink(path)
    if drop is not None:
        return drop
    hold.settle(size)
    return path


async def _stream(
    response: aiohttp.ClientResponse, kind: MediumKind, limits: Limits, hold: Hold, write: Callable[[bytes], object]
) -> Drop | None:
    """Hands the chunks on as they come, and judges the first of them."""
    length = response.content_length
    if length is not None and length > limits.max_bytes:
        return _too_many(kind, length, limits)
    await hold.grow_to(length if length is not None else min(_UNKNOWN_LENGTH_BYTES, limits.max_bytes))
    head = b""
    size = 0
    looks = list(_LOOKS[kind])
    while chunk := await response.content.readany():
        size += len(chunk)
        if size > limits.max_bytes:
            return _too_many(kind, size, limits)
        if size > hold.count:
            await hold.grow_to(size + _UNKNOWN_LENGTH_BYTES)
        if looks:
            head += chunk
        while looks and size >= looks[0][0]:
            drop = looks.pop(0)[1](head, kind, limits)
            if drop is not None:
                return drop
        write(chunk)
    return _sniffed(head, kind, limits) if size < _SNIFFED_BYTES else None


def _sniffed(head: bytes, kind: MediumKind, limits: Limits) -> Drop | None:
    """What the first bytes rule out. What they leave open is for the picture's or the video's own judge."""
    format = sniff(head)
    return _drop(kind, _NOT_THAT[kind], str(format)) if format in _WRONG_FOR[kind] else None


def _measured(head: bytes, kind: MediumKind, limits: Limits) -> Drop | None:
    """A picture that promises too many pixels."""
    header = read_header(head)
    pixels = header.width * header.height if header is not None else 0
    if pixels <= limits.max_pixels:
        return None
    return Drop(kind="image", reason=DropReason.TOO_MANY_PIXELS, value=pixels, threshold=limits.max_pixels)


# Sizes at which the head is looked at. The pixels of what is smaller, the picture's judge counts: there is no rest that could be left.
_LOOKS: dict[MediumKind, list[tuple[int, Callable[[bytes, MediumKind, Limits], Drop | None]]]] = {
    "image": [(_SNIFFED_BYTES, _sniffed), (_HEADER_BYTES, _measured)],
    "video": [(_SNIFFED_BYTES, _sniffed)],
    "track": [],
}


def _too_many(kind: MediumKind, size: int | None, limits: Limits) -> Drop:
    return Drop(
        kind="image" if kind == "image" else "video",
        reason=DropReason.TOO_MANY_BYTES,
        value=size,
        threshold=limits.max_bytes,
        detail="" if size is not None else "unpacked",
    )


def _drop(kind: MediumKind, reason: DropReason, detail: str) -> Drop:
    return Drop(kind="image" if kind == "image" else "video", reason=reason, detail=detail)
