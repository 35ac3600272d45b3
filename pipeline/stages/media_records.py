"""Media as shard knows them: each row of the media tables, judged, as a record that goes to the documents that want it.

    picture_keys     a media part      ->  its pictures, by what `repeats` asks for
    media_records    a media part      ->  (bucket, what is known of each medium)

Whether a medium may be used is said here: by the lists of pictures and tombstones, by the image filters, by scores, by how many documents it stands in. Who gets it is
`picks`' to say.
"""

from typing import Any

import msgspec
import numpy as np

from pipeline.images import ImageFilterConfig, judge, judge_scores
from pipeline.isolate import Note
from pipeline.lists.lists import PictureLists, picture_lists
from pipeline.runfolder import RunFolder
from pipeline.stages import repeats
from pipeline.stages.packed import KEY, Records, find_keys, join, key_numbers, split
from pipeline.stages.scored import SCORE_FIELDS, picture_scores
from pipeline.takedown.taken import taken_from
from schemas.drops import DropReason
from schemas.errors import ConfigError
from schemas.tables import MEDIA, read_table

REASONS = tuple(DropReason)
EXTENSIONS = ("jpg", "png", "webp", "mp4", "webm", "vtt")
MEASURES = [
    ("ok", "?"),
    ("reason", "<u2"),
    ("value", "<f8"),
    ("threshold", "<f8"),
    ("generation", "<u2"),
    ("round", "<i2"),  # -1 for the crawl
    ("clip", "<u2"),
    ("media_part", "<u4"),
    ("offset", "<u8"),
    ("bytes", "<u8"),
    ("width", "<u4"),
    ("height", "<u4"),
    ("source_width", "<u4"),
    ("source_height", "<u4"),
    ("start_s", "<f8"),
    ("duration_s", "<f8"),
    ("fps", "<f8"),
    ("extension", "<u1"),
    ("colour", "<u4"),
    ("phash", "V8"),
    ("dhash", "V8"),
    ("sha256", "V32"),
    ("source_sha256", "V32"),
    *SCORE_FIELDS,
]
MEDIUM = np.dtype([*KEY, *MEASURES])
FOUND = np.dtype([*KEY, ("part", "<u4"), *MEASURES])  # a medium that a documents part names
MATCH = np.dtype([*KEY, ("part", "<u4"), ("row", "<u4"), ("medium", "<u2"), ("rank", "<u2"), *MEASURES])
_NUMBERS = ("offset", "bytes", "width", "height", "source_width", "source_height", "start_s", "duration_s", "fps")
_HASHES = ("phash", "dhash", "sha256", "source_sha256")

Bucketed = list[tuple[int, bytes]]


class MediaTask(msgspec.Struct, frozen=True, kw_only=True):
    """A media part; `number` is its place in the sorted list of media parts, `frequent` (packed) its pictures that stand in too many documents."""

    run_url: str
    part: str
    number: int
    buckets: int
    filters: ImageFilterConfig
    lists: str = ""  # the name of the lists of pictures in the run's folder; "" for none
    tombstones: tuple[str, ...] = ()  # the tables of what was taken down
    frequent: bytes = b""
    scores: str = ""  # the part with the scores of this one; "" for none
    scorers: list[str] = []  # the names of the scores, sorted


def picture_keys(task: MediaTask, note: Note, skip: frozenset[int]) -> list[tuple[str, int, bytes]]:
    """The pictures of a part that pass the image filters, under all keys that find repeated ones (see `repeats.picture_keys`)."""
    rows = [row for row in _media(task).to_pylist() if row["status"] == "ok" and row["kind"] == "image"]
    rows = [row for row in rows if _verdict(row, task) is None]
    keys = np.zeros(len(rows), dtype=KEY)
    keys["hi"], keys["lo"] = key_numbers(row["media_key"] for row in rows).T
    pictures = repeats.picture_records(rows, task.number)
    return repeats.picture_keys(pictures, keys, task.filters.max_phash_distance, task.buckets)


def media_records(task: MediaTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """What is known of each medium of a part, judged by the image filters, by bucket."""
    table = _media(task)
    records = np.zeros(table.num_rows, dtype=MEDIUM)
    records["hi"], records["lo"] = key_numbers(table["media_key"].to_pylist()).T
    records["media_part"] = task.number
    scored = picture_scores(RunFolder(task.run_url).store, task.scores) if task.scores else {}
    for record, row in zip(records, table.to_pylist(), strict=True):
        _fill(record, row, task)
        if row["kind"] == "image" and row["status"] == "ok":
            _fill_scores(record, *scored.get(row["media_key"], (0, {})), task)
    _mark_frequent(records, join([task.frequent], repeats.FREQUENT), task.filters.max_documents)
    return list(split(records, task.buckets))


def _media(task: MediaTask) -> Any:
    name = f"media/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        return read_table(file, MEDIA, name)


def _fill(record: Any, row: dict[str, Any], task: MediaTask) -> None:
    record["generation"], record["clip"] = row["generation"] or 0, row["clip"] or 0
    record["round"] = -1 if row["rank"] is None else row["rank"]
    if row["status"] != "ok":
        record["reason"] = REASONS.index(DropReason(row["status"]))
        record["value"], record["threshold"] = _number(row["value"]), _number(row["threshold"])
        return
    for field in _NUMBERS:
        record[field] = row[field] or 0
    for field in _HASHES:
        record[field] = np.void(row[field] or bytes(MEDIUM[field].itemsize))
    record["colour"] = repeats.colour_number(row["colour"])
    record["extension"] = EXTENSIONS.index(row["extension"] or "vtt")
    verdict = _verdict(row, task)
    record["ok"] = verdict is None
    if verdict is not None:
        record["reason"], record["value"], record["threshold"] = REASONS.index(verdict[0]), verdict[1], verdict[2]


def _verdict(row: dict[str, Any], task: MediaTask) -> tuple[DropReason, float, float] | None:
    if taken_from(task.run_url, task.tombstones).medium(row):
        return DropReason.TAKEN_DOWN, np.nan, np.nan
    verdict = _listed(row, picture_lists(task.run_url, task.lists)) if task.lists else None
    if verdict is None and row["kind"] == "image":
        verdict = judge(
            row["source_width"],
            row["source_height"],
            row["spread"],
            task.filters,
            sharpness=row["sharpness"],
            text_share=row["text_share"],
        )
    return verdict


def _mark_frequent(records: Records, frequent: Records, limit: int) -> None:
    """Pictures that stand in too many documents fail like what a filter judges."""
    pictures = np.zeros(len(records), dtype=KEY)
    pictures["hi"], pictures["lo"] = key_numbers(sha256.tobytes()[:16] for sha256 in records["sha256"]).T
    at = find_keys(pictures, frequent)
    gone = (at >= 0) & records["ok"]
    records["ok"][gone] = False
    records["reason"][gone] = REASONS.index(DropReason.FREQUENT_IMAGE)
    records["value"][gone], records["threshold"][gone] = frequent["documents"][at[gone]], limit


def _fill_scores(record: Any, scored: int, scores: dict[str, float | None], task: MediaTask) -> None:
    """Scores judge what the filters have left; `scored` is the picture's row in the part with the scores, 0 for none."""
    record["scored"] = scored
    for place, name in enumerate(task.scorers):
        record["scores"][place] = _number(scores.get(name))
    verdict = judge_scores(scores, task.filters) if record["ok"] else None
    if verdict is not None:
        name, score, bound = verdict
        record["ok"], record["reason"] = False, REASONS.index(DropReason.SCORE)
        record["value"], record["threshold"] = _number(score), bound
        record["scorer"] = task.scorers.index(name)


def _listed(row: dict[str, Any], lists: PictureLists) -> tuple[DropReason, float, float] | None:
    """The reason of a picture that is on a list, with its distance in bits.

    Raises:
        ConfigError: a list holds hashes that this picture was fetched without: nothing would be found.
    """
    hashes = {"md5": row["source_md5"], "phash": row["phash"], "pdq": row["pdq"]}
    if row["kind"] == "image" and (lacking := sorted(kind for kind in lists.measured if hashes[kind] is None)):
        raise ConfigError(
            f"the lists of pictures hold hashes ({', '.join(lacking)}) that pictures of this run were fetched without: "
            f"run m3w fetch with images.{'pdq' if 'pdq' in lacking else 'measure'} = true first"
        )
    drop = lists.refused(row["source_sha256"], *hashes.values())
    drop = drop or lists.refused(row["sha256"], None, None, None)  # that of the member, which shards show
    return (drop.reason, _number(drop.value), np.nan) if drop else None


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def phash_of(match: Records) -> str:
    """The pHash of a match in hex, empty where it was not measured."""
    number: bytes = match["phash"].tobytes()
    return number.hex() if any(number) else ""


def is_video(match: Records) -> bool:
    """Whether a match holds a clip."""
    return EXTENSIONS[match["extension"]] in ("mp4", "webm")
