"""A run's folder: parts with commit records, stages with theirs.

    commits/<stage>/<part>.json   which files the part is made of, with digests, and its counts; written after them
    stages/<stage>.json           which parts the stage is made of and what it depended on; written after all of them

What has no record does not exist for any reader. A part's name comes from what it depends on, so to resume is to ask which records exist. A
stage deletes what it has left in its own folders and no current record names, after its own record is written.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any, BinaryIO, Final, Literal, cast

import msgspec

from pipeline.claim import check
from pipeline.lock import LOCK
from pipeline.store import Store
from schemas.errors import OutputError, SchemaError

RUN_VERSION: Final = 1
MARKER = "m3w.json"

# What a stage may delete: names below these folders (or with these prefixes) that no current record of it names.
FOLDERS = {
    "extract": ("documents/", "media-index/", "media-copies/", "policies/", "drops/extract-"),
    "select": ("selected/", "media-urls/", "drops/select-"),
    "fetch": ("media/",),
    "score": ("scores/",),
    "shard": (
        "assembled/",
        "fingerprints/",
        "drops/shard-",
        "shards/interleaved/",
        "shards/image_text/",
        "shards/video_text/",
    ),
}


class FileRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of a part: its path in the run's folder, size in bytes, SHA-256."""

    path: str
    bytes: int
    sha256: str


class Commit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part that is whole. `counts` are exact; `detail` is what the stage needs to know of the part later."""

    stage: str
    part: str
    files: list[FileRecord]
    counts: dict[str, int]
    detail: str = ""
    version: Literal[1] = RUN_VERSION


class StageRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage that is whole: what it depended on (one digest) and its parts, sorted."""

    stage: str
    identity: str
    parts: list[str]
    version: Literal[1] = RUN_VERSION


def digest(*parts: Any) -> str:
    """32 hex digits of anything that msgspec encodes; the same values give the same digest everywhere."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()[:32]


class RunFolder:
    """The folder of one run, on disk or in a store."""

    def __init__(self, url: str) -> None:
        self.store = Store(url)

    def claim(self) -> None:
        """Makes the folder a run's folder. Call it with the lock held.

        Raises:
            OutputError: it holds files, but is no run's folder.
        """
        if self.store.exists(MARKER):
            _decode(self.store.read(MARKER), dict[str, int], MARKER)
            self.store.clear_spool()
            return
        others = [name for name in self.store.files() if name != LOCK]
        if others:
            raise OutputError(
                f"{self.store.url} holds other files ({others[0]}{', ...' if len(others) > 1 else ''}) and is no output folder of m3w; "
                "give --out a new or empty folder"
            )
        self.store.write(MARKER, msgspec.json.encode({"version": RUN_VERSION}))

    def is_run(self) -> bool:
        """Whether this is a run's folder."""
        return self.store.exists(MARKER)

    @contextmanager
    def part(self, stage: str, part: str) -> Iterator["PartWriter"]:
        """A part to be written; when the block ends its files go to their places, then its record."""
        with ExitStack() as stack:
            writer = PartWriter(self.store, stack)
            yield writer
            check(self.store)
        files = [self._file_record(writer, path) for path in sorted(writer.digests)]
        commit = Commit(stage=stage, part=part, files=files, counts=dict(writer.counts), detail=writer.detail)
        self.record(commit)

    def record(self, commit: Commit) -> None:
        """Writes a part's record, after its files."""
        name = f"commits/{commit.stage}/{commit.part}.json"
        self.store.write(name, msgspec.json.encode(commit, order="deterministic"))

    def _file_record(self, writer: "PartWriter", path: str) -> FileRecord:
        size, sha256 = writer.digests[path]
        return FileRecord(path=path, bytes=size, sha256=sha256)

    def committed(self, stage: str) -> set[str]:
        """The names of all parts of a stage that have a record, current or not."""
        folder = f"commits/{stage}"
        return {name[len(folder) + 1 : -len(".json")] for name in self.store.files(folder)}

    def commit(self, stage: str, part: str) -> Commit:
        """A part's record."""
        return self.commits_of(stage, [part])[0]

    def commits_of(self, stage: str, parts: list[str]) -> list[Commit]:
        """The records of these parts."""
        names = [f"commits/{stage}/{part}.json" for part in parts]
        return [_decode(data, Commit, name) for name, data in zip(names, self.store.read_all(names), strict=True)]

    def stage(self, stage: str) -> StageRecord | None:
        """A stage's record, or None while it is unfinished."""
        name = f"stages/{stage}.json"
        return _decode(self.store.read(name), StageRecord, name) if self.store.exists(name) else None

    def commits(self, stage: str) -> list[Commit]:
        """The records of a finished stage's parts, by name; of an unfinished stage none."""
        record = self.stage(stage)
        return self.commits_of(stage, record.parts) if record else []

    def finish(self, stage: str, identity: str, parts: Iterable[str]) -> None:
        """Writes a stage's record, then deletes what the stage has left that is not of these parts."""
        names = sorted(parts)
        record = StageRecord(stage=stage, identity=identity, parts=names)
        self.store.write(f"stages/{stage}.json", msgspec.json.encode(record))
        self.prune(stage, names)

    def reopen(self, stage: str) -> None:
        """Takes a stage's record away before something of it is replaced in place."""
        self.store.remove([f"stages/{stage}.json"])

    def prune(self, stage: str, parts: list[str]) -> None:
        """Deletes the stage's files and records that are not of these parts."""
        kept = {file.path for commit in self.commits_of(stage, parts) for file in commit.files}
        found = [
            name
            for prefix in FOLDERS[stage]
            for name in self.store.files(prefix.rpartition("/")[0])
            if name.startswith(prefix)
        ]
        self.forget(stage, set(parts))
        self.store.remove([name for name in found if name not in kept])

    def forget(self, stage: str, parts: set[str]) -> None:
        """Deletes the records of all other parts, before files that they name are replaced or deleted."""
        stale = self.committed(stage) - parts
        self.store.remove([f"commits/{stage}/{part}.json" for part in sorted(stale)])


class PartWriter:
    """The files and counts of a part in the making."""

    def __init__(self, store: Store, stack: ExitStack) -> None:
        self.counts: Counter[str] = Counter()
        self.detail = ""
        self.digests: dict[str, tuple[int, str]] = {}
        self._store = store
        self._stack = stack

    def file(self, path: str) -> BinaryIO:
        """A spooled file that goes to `path` when the part ends."""
        self._stack.enter_context(self._digested(path))
        return self._spooled

    @contextmanager
    def _digested(self, path: str) -> Iterator[None]:
        with self._store.spool(path) as file:
            self._spooled = file
            yield
            file.flush()
            file.seek(0)
            sha256 = hashlib.file_digest(cast(BytesIO, file), "sha256").hexdigest()
            self.digests[path] = (file.tell(), sha256)


def _decode(data: bytes, kind: type[Any], name: str) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise SchemaError(
            f"{name} is not a record of version {RUN_VERSION} ({error}); give --out a new folder"
        ) from error
