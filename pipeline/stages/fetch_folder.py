"""fetch, from a folder that img2dataset (or another run) has filled: media URLs -> tars in img2dataset's layout and their media tables.

    wanted_kinds   a media-urls part     ->  (bucket, keys that are wanted, and as what)
    taken_keys     a media part          ->  (bucket, keys that need nothing more)
    folder_keys    a shard of the folder ->  (bucket, which of its rows has which key)
    match          a bucket              ->  by shard: the rows to take
    take_shard     a shard's rows        ->  a media part

The folder is believed in nothing that can be checked: its pictures go the way of all others, from the bytes on, and a picture that is not what its row
says is a row with a reason. What img2dataset could not get is a row with the reason that fits.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from pipeline.images import ImageConfig, Picture
from pipeline.isolate import Note
from pipeline.read.download_status import failure
from pipeline.read.media_folder import FolderRow, MediaShard, read_media, read_offers, read_rows
from pipeline.runfolder import RunFolder, digest
from pipeline.stages.fetch import KINDS, STAGE, LookupTask
from pipeline.stages.fetch_web import encode_detail
from pipeline.stages.media_part import MediaSpool, Stored, media_members, media_of, media_row, sample_name
from pipeline.stages.packed import KEY, Records, by_part, find_keys, first_of_runs, join, key_bytes, key_numbers, split
from pipeline.video.config import VideoConfig
from schemas.drops import Drop, DropKind, DropReason
from schemas.tables import MEDIA, MEDIA_URLS, read_table

RULES_VERSION = 1

WANTED = np.dtype([*KEY, ("kind", "<u1")])
TAKEN = np.dtype(KEY)
# A row of the folder; `file` is a shard's place in their sorted list.
OFFERED = np.dtype([*KEY, ("file", "<u4"), ("row", "<u4"), ("failed", "?")])
CHOSEN = np.dtype([*KEY, ("kind", "<u1"), ("file", "<u4"), ("row", "<u4")])

Bucketed = list[tuple[int, bytes]]


def wanted_kinds(task: LookupTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The keys of a part's media URLs, with their kinds."""
    name = f"media-urls/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        table = read_table(file, MEDIA_URLS, name, ["media_key", "kind"])
    records = np.zeros(table.num_rows, dtype=WANTED)
    records["hi"], records["lo"] = key_numbers(table["media_key"].to_pylist()).T
    records["kind"] = [KINDS.index(kind) for kind in table["kind"].to_pylist()]
    return list(split(records, task.buckets))


class TakenTask(msgspec.Struct, frozen=True, kw_only=True):
    """A media part. `whole`: its failures need nothing more, either."""

    run_url: str
    part: str
    buckets: int
    whole: bool


def taken_keys(task: TakenTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The keys of a part that are not taken from the folder: those that have bytes; all, if it comes from this same folder."""
    name = f"media/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        table = read_table(file, MEDIA, name, ["media_key", "status"])
    rows = zip(table["media_key"].to_pylist(), table["status"].to_pylist(), strict=True)
    keys = key_numbers(key for key, status in rows if task.whole or status == "ok")
    records = np.zeros(len(keys), dtype=TAKEN)
    records["hi"], records["lo"] = keys.T
    return list(split(records, task.buckets))


class OfferTask(msgspec.Struct, frozen=True, kw_only=True):
    """A shard of the folder, and its place in their list."""

    shard: MediaShard
    number: int
    buckets: int


def folder_keys(task: OfferTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The keys of a shard's URLs."""
    rows = read_offers(task.shard)
    records = np.zeros(len(rows), dtype=OFFERED)
    records["hi"], records["lo"] = key_numbers(key for _, key, _ in rows).T
    records["file"] = task.number
    records["row"] = [row for row, _, _ in rows]
    records["failed"] = [failed for _, _, failed in rows]
    return list(split(records, task.buckets))


def match(
    wanted_blobs: Iterable[bytes], taken_blobs: Iterable[bytes], offered_blobs: Iterable[bytes]
) -> list[tuple[int, bytes]]:
    """(shard, packed CHOSEN) of one bucket: of a URL's rows one that succeeded, then the first."""
    wanted, taken, offered = join(wanted_blobs, WANTED), join(taken_blobs, TAKEN), join(offered_blobs, OFFERED)
    wanted = wanted[find_keys(wanted, taken) < 0]
    order = (offered["row"], offered["file"], offered["failed"], offered["lo"], offered["hi"])
    offered = offered[np.lexsort(order)]
    offered = offered[first_of_runs(offered, ("hi", "lo")) == np.arange(len(offered))]
    at = find_keys(wanted, offered)
    chosen = np.zeros(int((at >= 0).sum()), dtype=CHOSEN)
    for field in ("hi", "lo", "kind"):
        chosen[field] = wanted[field][at >= 0]
    for field in ("file", "row"):
        chosen[field] = offered[field][at[at >= 0]]
    return list(by_part(chosen, "file"))


class TakeTask(msgspec.Struct, frozen=True, kw_only=True):
    """Rows (packed CHOSEN) of one shard. `folder` is the whole folder's identity; `rank` the round that img2dataset was run for, None if it was not us."""

    run_url: str
    shard: MediaShard
    chosen: bytes
    folder: str
    generation: int
    rank: int | None
    images: ImageConfig
    video: VideoConfig

    @property
    def output(self) -> str:
        """The part's name: what it depends on is the shard's content, the rows and the configuration."""
        chosen = join([self.chosen], CHOSEN)
        rows = chosen[["hi", "lo", "kind", "row"]][np.argsort(chosen["row"])]
        asked = (self.generation, self.rank, self.images, self.video)
        shard = (self.shard.name, self.shard.identity)
        return digest(STAGE, "folder", RULES_VERSION, shard, asked, np.ascontiguousarray(rows).tolist())


def take_shard(task: TakeTask, note: Note, skip: frozenset[int]) -> str:
    """Writes the part of one shard, unless it is there already; returns its name."""
    folder, name = RunFolder(task.run_url), task.output
    if folder.store.exists(f"commits/{STAGE}/{name}.json"):
        return name
    with folder.part(STAGE, name) as part, MediaSpool() as media:
        part.detail = encode_detail(task.images, task.video, task.generation, task.folder)
        _take(task, media, note, skip)
        for row in media.write(part.file(f"media/{name}.tar"), part.file(f"media/{name}.parquet")):
            part.counts[f"media.{row['status']}"] += 1
    return name


def _take(task: TakeTask, media: MediaSpool, note: Note, skip: frozenset[int]) -> None:
    """Adds what came of each row: failures first, then the media in the tar's order, then those that are not in the tar."""
    chosen = join([task.chosen], CHOSEN)
    rows = read_rows(task.shard, chosen["row"].tolist())
    left: dict[str, tuple[Records, FolderRow]] = {}
    for one, row in zip(chosen, rows, strict=True):
        if (drop := _failed(task.shard, one, row, int(one["row"]) in skip)) is not None:
            _add(task, media, one, row, drop)
        else:
            left[row.key] = one, row
    limits = {
        key: task.video.max_bytes if KINDS[one["kind"]] == "video" else task.images.max_bytes
        for key, (one, _) in left.items()
    }
    for key, data in read_media(task.shard, limits):
        one, row = left.pop(key)
        note(int(one["row"]))
        if isinstance(data, int):
            _add(task, media, one, row, _drop(one, DropReason.TOO_MANY_BYTES, value=data, threshold=limits[key]))
        else:
            _add(task, media, one, row, _media(task, one, row, data))
    for one, row in left.values():
        detail = f"{row.key} is not whole in {task.shard.name}{'.tar' if task.shard.is_tar else ''}"
        _add(task, media, one, row, _drop(one, DropReason.TRUNCATED, detail))


def _failed(shard: MediaShard, one: Records, row: FolderRow, killed: bool) -> Drop | None:
    """Why a row has no medium that could be looked for."""
    if killed:
        return _drop(one, DropReason.WORKER_KILLED)
    if row.status != "success":
        return _drop(one, failure(row.status, row.message)[0], row.message[:_MAX_DETAIL_CHARS])
    if row.repeated or not row.key:
        return _drop(one, DropReason.DIGEST_MISMATCH, f"key {row.key!r} stands twice in {shard.name}.parquet")
    return None


_MAX_DETAIL_CHARS = 200  # ours: an error's message can quote what the server sent


def _add(task: TakeTask, media: MediaSpool, one: Records, row: FolderRow, found: list[Stored] | Drop) -> None:
    """A row for a picture, a track or a failure, a row for each clip of a video."""
    key, kind, url = key_bytes(one["hi"], one["lo"]), KINDS[one["kind"]], row.url
    asked = {"url": url, "generation": task.generation, "rank": task.rank}
    if row.status != "success":
        asked["http_status"] = failure(row.status, row.message)[1]
    if isinstance(found, Drop):
        media.add(media_row(key, kind, found) | asked, {})
        return
    for clip, medium in enumerate(found):
        members = media_members(sample_name(key, clip), medium, url)
        media.add(media_row(key, kind, medium, clip) | asked, members)


def _media(task: TakeTask, one: Records, row: FolderRow, data: bytes) -> list[Stored] | Drop:
    """A picture, the clips of a video, the text of a track, or why there is none of them."""
    # Where img2dataset was told to encode nothing anew, it looked at no size, and its hash is that of the very bytes.
    if row.size is None and row.hash_name and hashlib.new(row.hash_name, data).hexdigest() != row.hash:
        return _drop(one, DropReason.DIGEST_MISMATCH, row.hash_name)
    found = media_of(data, KINDS[one["kind"]], task.images, task.video)
    if isinstance(found, list) and isinstance(picture := found[0], Picture) and row.size is not None:
        return _encoded_anew(one, row, row.size, picture)
    return found


def _encoded_anew(one: Records, row: FolderRow, stated: tuple[int, int], picture: Picture) -> list[Stored] | Drop:
    """A picture that img2dataset may have resized: its size is as stated, and its source are the bytes and the size that came over the web."""
    size = picture.source_width, picture.source_height
    turned = size != stated  # it looks at sizes before EXIF orientation
    if sorted(size) != sorted(stated):
        return _drop(one, DropReason.DIGEST_MISMATCH, f"{size[0]}x{size[1]} px, stated {stated[0]}x{stated[1]}")
    source: dict[str, Any] = {}
    if row.hash_name == "sha256" and _is_sha256(row.hash):
        source["source_sha256"] = row.hash
    if row.source_size is not None:
        source["source_width"], source["source_height"] = row.source_size[::-1] if turned else row.source_size
    return [msgspec.structs.replace(picture, **source)]


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text)


def _drop(
    one: Records, reason: DropReason, detail: str = "", *, value: float | None = None, threshold: float | None = None
) -> Drop:
    kind: DropKind = "image" if KINDS[one["kind"]] == "image" else "video"
    return Drop(kind=kind, reason=reason, detail=detail, value=value, threshold=threshold)
