"""fetch: the bytes of media URLs, taken from the crawl itself.

    wanted_keys     a media-urls part   ->  (bucket, keys that are wanted)
    index_keys      a media-index part  ->  (bucket, where which record lies, where which redirect leads)
    look_up         a bucket            ->  references found, redirects to be followed in the next round
    fetch_chunk     references into one stretch of one file -> a tar in img2dataset's layout and its media table

Of several records of one URL the latest is taken. Each picture is checked, measured, hashed and resized once (`pipeline.images`), each video cut into clips
(`pipeline.video`); what fails is a row of the media table with its reason, like what succeeds, so that a filter's threshold can change without
another fetch.
"""

import shutil
import tempfile
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from pipeline.images import ImageConfig
from pipeline.isolate import Note
from pipeline.read.reference import copy_reference, read_reference
from pipeline.read.source import Window
from pipeline.runfolder import PartWriter, RunFolder, digest
from pipeline.stages.media_part import NOT_TAKEN, Stored, clips_of, media_members, media_of, media_row, sample_name
from pipeline.stages.packed import KEY, Records, find_keys, first_of_runs, join, key_bytes, key_numbers, split
from pipeline.stages.selection import hash_number
from pipeline.store import Store
from pipeline.video.config import VideoConfig
from schemas.drops import Drop, DropReason
from schemas.shard import Sample, write_shard
from schemas.tables import MEDIA, MEDIA_INDEX, MEDIA_URLS, TableWriter, read_table

STAGE = "fetch"
RULES_VERSION = 8
MAX_REDIRECTS = 5  # ours: browsers follow 20, crawls of real sites hold chains of up to 3
CHUNK_BYTES = 64 << 20  # ours: a stretch of a crawl file that one worker takes, some 1,000 pictures

KINDS = ("image", "video", "redirect", "track")
# A URL that is wanted, and under which URL it is looked for in this round.
WANTED = np.dtype([*KEY, ("for_hi", "<u8"), ("for_lo", "<u8")])
# A record of the media index; `file` is a place in the sorted list of files that references name.
INDEXED = np.dtype(
    [
        *KEY,
        ("to_hi", "<u8"),
        ("to_lo", "<u8"),
        ("date", "<u8"),
        ("kind", "<u1"),
        ("file", "<u4"),
        ("offset", "<u8"),
        ("length", "<u8"),
        ("tie", "<u8"),
    ]
)
FOUND = np.dtype(
    [("for_hi", "<u8"), ("for_lo", "<u8"), ("kind", "<u1"), ("file", "<u4"), ("offset", "<u8"), ("length", "<u8")]
)

Bucketed = list[tuple[int, bytes]]


class LookupTask(msgspec.Struct, frozen=True, kw_only=True):
    """A part of media-urls or of the media index, and the files that references can name (name -> its place)."""

    run_url: str
    part: str
    buckets: int
    files: dict[str, int] = {}


def wanted_keys(task: LookupTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The keys of a part's media URLs, each looked for under itself."""
    keys = key_numbers(_table(task, "media-urls", MEDIA_URLS, ["media_key"])["media_key"].to_pylist())
    records = np.zeros(len(keys), dtype=WANTED)
    records["hi"], records["lo"] = records["for_hi"], records["for_lo"] = keys.T
    return list(split(records, task.buckets))


def index_keys(task: LookupTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """What the crawl holds under which key, by bucket."""
    table = _table(task, "media-index", MEDIA_INDEX, None)
    records = np.zeros(table.num_rows, dtype=INDEXED)
    records["hi"], records["lo"] = key_numbers(table["media_key"].to_pylist()).T
    records["to_hi"], records["to_lo"] = key_numbers(key or bytes(16) for key in table["target_key"].to_pylist()).T
    records["date"] = [
        int("".join(filter(str.isdigit, date or ""))[:14].ljust(14, "0")) for date in table["date"].to_pylist()
    ]
    records["kind"] = [KINDS.index(kind) for kind in table["kind"].to_pylist()]
    names = table["ref_name"].to_pylist()
    records["file"] = [task.files.get(name or "", 0) for name in names]
    for field in ("offset", "length"):
        records[field] = table[f"ref_{field}"].fill_null(0).to_numpy()
    # Where the record lies decides between two of one second: by name, not by place in a list, so that other inputs change nothing.
    records["tie"] = [hash_number(f"{name}\0{offset}") for name, offset in zip(names, records["offset"], strict=True)]
    return list(split(records, task.buckets))


def look_up(wanted_blobs: Iterable[bytes], index_blobs: Iterable[bytes]) -> tuple[Records, Records]:
    """(references found, redirects as wanted records for the next round) of one bucket.

    A record with bytes goes before a redirect, a later one before an earlier one.
    """
    wanted, index = join(wanted_blobs, WANTED), join(index_blobs, INDEXED)
    newest_first = np.uint64(10**15) - index["date"]
    index = index[
        np.lexsort((index["tie"], newest_first, index["kind"] == KINDS.index("redirect"), index["lo"], index["hi"]))
    ]
    index = index[first_of_runs(index, ("hi", "lo")) == np.arange(len(index))]
    at = find_keys(wanted, index)
    wanted, hits = wanted[at >= 0], index[at[at >= 0]]
    leads_on = hits["kind"] == KINDS.index("redirect")
    found = np.zeros(int((~leads_on).sum()), dtype=FOUND)
    for field in ("for_hi", "for_lo"):
        found[field] = wanted[field][~leads_on]
    for field in ("kind", "file", "offset", "length"):
        found[field] = hits[field][~leads_on]
    again = wanted[leads_on].copy()
    again["hi"], again["lo"] = hits["to_hi"][leads_on], hits["to_lo"][leads_on]
    return found, again


def chunks(found: Records) -> list[tuple[tuple[int, int], bytes]]:
    """((file, stretch of the file), packed references)."""
    stretch = found["offset"] // np.uint64(CHUNK_BYTES)
    order = np.lexsort((stretch, found["file"]))
    found, stretch = found[order], stretch[order]
    borders = (
        np.flatnonzero((np.diff(stretch.astype(np.int64)) != 0) | (np.diff(found["file"].astype(np.int64)) != 0)) + 1
    )
    runs = np.split(np.arange(len(found)), borders)
    return [((int(found["file"][run[0]]), int(stretch[run[0]])), found[run].tobytes()) for run in runs if len(run)]


class CrawlFile(msgspec.Struct, frozen=True, order=True):
    """A file that references name: its name, where it is, which content it has, whether it holds bare bytes (copies) or records."""

    name: str
    url: str
    identity: str
    copied: bool


class ChunkTask(msgspec.Struct, frozen=True, kw_only=True):
    """References (packed FOUND records) into one stretch of one file."""

    run_url: str
    file: CrawlFile
    references: bytes
    config: ImageConfig
    video: VideoConfig = VideoConfig()

    @property
    def output(self) -> str:
        """The part's name: what it depends on is the file, the references and the configuration."""
        found = join([self.references], FOUND)
        order = np.lexsort((found["for_lo"], found["for_hi"], found["offset"]))
        where = found[["for_hi", "for_lo", "kind", "offset", "length"]][order]
        content = (self.file.name, self.file.identity)
        return digest(STAGE, RULES_VERSION, content, self.config, self.video, np.ascontiguousarray(where).tolist())


def fetch_chunk(task: ChunkTask, note: Note, skip: frozenset[int]) -> str:
    """Writes the part of one stretch of a file, unless it is there already; returns its name."""
    folder, name = RunFolder(task.run_url), task.output
    if folder.store.exists(f"commits/{STAGE}/{name}.json"):
        return name
    found = join([task.references], FOUND)
    found = found[np.lexsort((found["for_lo"], found["for_hi"], found["offset"]))]
    with folder.part(STAGE, name) as part:
        rows = _write_media(task, part, name, found, note, skip)
        table = TableWriter(part.file(f"media/{name}.parquet"), MEDIA)
        for row in rows:
            part.counts[f"media.{row['status']}"] += 1
            table.add(row)
        table.close()
    return name


def _write_media(
    task: ChunkTask, part: PartWriter, name: str, found: Records, note: Note, skip: frozenset[int]
) -> list[dict[str, Any]]:
    """Writes the tar of a part; returns a row for each wanted key, in the order of the file's offsets."""
    rows: list[dict[str, Any]] = []
    stored: list[slice] = []  # the rows of each sample

    def samples() -> Iterable[Sample]:
        folder, _, name = task.file.url.rpartition("/")
        with Store(folder or ".").open(name) as file:
            starts = np.flatnonzero(np.diff(found["offset"], prepend=found["offset"][:1] + 1))
            for ordinal, run in enumerate(np.split(found, starts[1:])):
                keys = [key_bytes(one["for_hi"], one["for_lo"]) for one in run]
                kind = KINDS[run[0]["kind"]]
                if ordinal in skip:
                    media: list[Stored] | Drop = Drop(kind="image", reason=DropReason.WORKER_KILLED)
                else:
                    note(ordinal)
                    media = _media(task, file, run[0])
                if isinstance(media, Drop):
                    # Records of one gzip member that opted out share an offset, and need not be of one kind.
                    kinds = (KINDS[one["kind"]] for one in run)
                    rows.extend(media_row(key, of, media) for key, of in zip(keys, kinds, strict=True))
                    continue
                for clip, medium in enumerate(media):
                    stored.append(slice(len(rows), len(rows) + len(keys)))
                    rows.extend(media_row(key, kind, medium, clip) for key in keys)
                    sample = sample_name(keys[0], clip)
                    yield Sample(sample, media_members(sample, medium))

    entries = write_shard(samples(), part.file(f"media/{name}.tar"))
    for entry, of in zip(entries, stored, strict=True):
        for row in rows[of]:
            row["offset"] = entry.members[0].offset
    return rows


def _media(task: ChunkTask, file: Any, reference: Records) -> list[Stored] | Drop:
    """What one reference gives: a picture, the clips of a video, the text of a track."""
    kind = KINDS[reference["kind"]]
    if reference["length"] == 0 and not task.file.copied:
        return Drop(kind="image", reason=DropReason.OPTED_OUT, detail="by the header of its answer")
    if kind == "video":
        return _clips(task, file, reference) if task.video.take else NOT_TAKEN
    offset, length = int(reference["offset"]), int(reference["length"])
    if task.file.copied:
        file.seek(offset)
        data: bytes | Drop = file.read(length)
    else:
        data = read_reference(file, offset, length)
    return data if isinstance(data, Drop) else media_of(data, kind, task.config, task.video)


def _clips(task: ChunkTask, file: Any, reference: Records) -> list[Stored] | Drop:
    """The clips of a video, whose bytes go by way of a file: they may be more than a worker should hold."""
    offset, length = int(reference["offset"]), int(reference["length"])
    with tempfile.TemporaryFile() as body:
        drop = None
        if task.file.copied:
            file.seek(offset)
            shutil.copyfileobj(Window(file, length), body)
        else:
            drop = copy_reference(file, offset, length, body, max_bytes=task.video.max_bytes)
        return drop or clips_of(body, task.video)


def _table(task: LookupTask, folder: str, schema: Any, columns: list[str] | None) -> Any:
    name = f"{folder}/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        return read_table(file, schema, name, columns)
