"""The parts of the media table: its rows, and the tar in img2dataset's layout beside them, whether their bytes come from the crawl or the web."""

import hashlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, TypeAlias

import msgspec

from pipeline.images import ImageConfig, Picture, media_columns, prepare
from pipeline.video import webvtt
from pipeline.video.columns import clip_columns
from pipeline.video.config import VideoConfig
from pipeline.video.cut import Clip, cut
from schemas.drops import Drop, DropReason
from schemas.shard import Sample, write_shard
from schemas.tables import MEDIA, TableWriter

Stored: TypeAlias = Picture | Clip | bytes  # a picture, a clip of a video, the text of a track
NOT_TAKEN = Drop(kind="video", reason=DropReason.VIDEO_NOT_TAKEN)


def media_of(data: bytes, kind: str, images: ImageConfig, video: VideoConfig) -> list[Stored] | Drop:
    """What the bytes behind a media URL give: a picture, the clips of a video, the text of a track."""
    if kind == "video":
        return clips_of(io.BytesIO(data), video)
    medium = webvtt.checked(data) if kind == "track" else prepare(data, images)
    return medium if isinstance(medium, Drop) else [medium]


def clips_of(file: BinaryIO | str, video: VideoConfig) -> list[Stored] | Drop:
    """The clips of a video, open or at a path."""
    if not video.take:
        return NOT_TAKEN
    clips = cut(file, video)
    return clips if isinstance(clips, Drop) else list(clips)


def media_row(key: bytes, kind: str, medium: Stored | Drop, clip: int = 0) -> dict[str, Any]:
    """The row of one media URL: what was measured on its medium, or why there is none. `offset` is known when the tar is written; `clip` is a clip's place in its video."""
    row = {"media_key": key, "kind": kind, "status": "ok"}
    match medium:
        case Drop():
            why = {"value": medium.value, "threshold": medium.threshold, "detail": medium.detail}
            return row | {"status": medium.reason.value, **why}
        case Picture():
            return row | media_columns(medium)
        case Clip():
            return row | {"clip": clip, **clip_columns(medium)}
        case bytes():
            return track_row(key, medium)


def track_row(key: bytes, text: bytes) -> dict[str, Any]:
    """The row of a video's text track."""
    sha256 = hashlib.sha256(text).digest()
    return {
        "media_key": key,
        "kind": "track",
        "status": "ok",
        "extension": "vtt",
        "sha256": sha256,
        "source_sha256": sha256,
        "bytes": len(text),
    }


def media_members(name: str, medium: Stored, url: str | None = None) -> dict[str, bytes]:
    """The members of a medium's sample, by extension; the first one is the medium."""
    if isinstance(medium, bytes):
        return {"vtt": medium}
    return {medium.extension: medium.data, "json": describe(name, medium, url)}


def describe(key: str, medium: Picture | Clip, url: str | None = None) -> bytes:
    """The JSON member, with img2dataset's names; `url` where it is known."""
    fields: dict[str, Any] = {
        "key": key,
        "status": "success",
        "width": medium.width,
        "height": medium.height,
        "original_width": medium.source_width,
        "original_height": medium.source_height,
        "sha256": medium.source_sha256,
    }
    return msgspec.json.encode(fields if url is None else {"url": url, **fields})


class MediaSpool(AbstractContextManager["MediaSpool"]):
    """Media in the order in which they come, to be written in the order of their keys; their bytes wait on disk."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the spool is
        self._rows: list[tuple[bytes, int, dict[str, Any], list[tuple[str, int, int]]]] = []

    def __exit__(self, *exception: object) -> None:
        """Closes the file, and so deletes it."""
        self._file.close()

    def add(self, row: dict[str, Any], members: dict[str, bytes]) -> None:
        """A row, and the members of its sample (none for a failure); the first one is the medium. A key (and clip) comes once."""
        places = []
        for name, data in members.items():
            places.append((name, self._file.tell(), len(data)))
            self._file.write(data)
        self._rows.append((row["media_key"], row.get("clip") or 0, row, places))

    def write(self, tar: BinaryIO, table: BinaryIO) -> list[dict[str, Any]]:
        """Writes tar and table; returns the rows, sorted by key."""
        self._rows.sort(key=lambda one: one[:2])
        stored = [row for _, _, row, places in self._rows if places]
        for entry, row in zip(write_shard(self._samples(), tar), stored, strict=True):
            row["offset"] = entry.members[0].offset
        writer = TableWriter(table, MEDIA)
        rows = [row for _, _, row, _ in self._rows]
        for row in rows:
            writer.add(row)
        writer.close()
        return rows

    def _samples(self) -> Iterator[Sample]:
        for key, clip, _, places in self._rows:
            if places:
                yield Sample(sample_name(key, clip), {name: self._read(at, size) for name, at, size in places})

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


def sample_name(key: bytes, clip: int = 0) -> str:
    """A medium's sample key: the clips of a video after the first have their number behind."""
    return f"{key.hex()}-{clip}" if clip else key.hex()
