"""A tar without what is taken down.

    gone_in_tar   a tar  ->  the pages and media in it that are meant, by what its JSON members say
    rewrite       a tar  ->  the same tar without them, its index, its drops, its counts

A page goes with its whole sample; a medium goes alone, and the members behind it move up. Counts of the tar's commit record are differences (kept things below
zero, drops above), so that the sums of the run stay exact. The tar itself is published last and a note of the record to come before it: whenever
the process is killed, another run of the same command ends in the same state.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO, TypeAlias

import msgspec

from pipeline.isolate import Note
from pipeline.runfolder import Commit, FileRecord, RunFolder
from pipeline.stages.extract import drop_row
from pipeline.stages.media_index import key16
from pipeline.store import Store
from pipeline.takedown.entries import Entries
from pipeline.urls import media_key, page_key
from schemas.document import Document, Image, Text, Video
from schemas.drops import Drop, DropReason
from schemas.markup import render
from schemas.pair import ImageTextPair, VideoTextPair
from schemas.shard import (
    INDEX_SUFFIX,
    IndexEntry,
    Sample,
    decode_index,
    encode_index,
    index_tar,
    read_sample,
    write_shard,
)
from schemas.tables import DROPS, TableWriter, read_table

STAGE = "shard"
_PENDING = "tombstones/pending/"
READ_AHEAD = 256  # ours: samples whose JSON members are asked for together, some 2 MB
Content: TypeAlias = Document | ImageTextPair | VideoTextPair
_PAIR = msgspec.json.Decoder(ImageTextPair | VideoTextPair)
_DOCUMENT = msgspec.json.Decoder(Document)


class _Form(msgspec.Struct):
    """Pairs name their kind, documents have none."""

    kind: str = ""


_FORM = msgspec.json.Decoder(_Form)


class Gone(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """A page or a medium that is meant: its URL, if it is known, and its key; of a medium its digests and its perceptual hash. All in hex."""

    kind: str
    url: str
    key: str
    sha256: str = ""
    source_sha256: str = ""
    phash: str = ""


class PartTask(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a finished stage, and what goes."""

    run_url: str
    stage: str
    part: str
    entries: Entries


def gone_in_tar(store: Store, commit: Commit, entries: Entries) -> Iterator[Gone]:
    """What is meant among the pages and media of a finished tar."""
    for content in _contents(store, _tar_of(commit)):
        page_url = content.url if isinstance(content, Document) else content.page_url
        if page_url and entries.means_page(page_url):
            yield Gone(kind="page", url=page_url, key=key16(page_key(page_url)).hex())
        for medium in _media(content):
            if _means(entries, medium):
                yield _gone_medium(medium)


def rewrite(task: PartTask, note: Note, skip: frozenset[int]) -> dict[str, int]:
    """Writes a tar in which something is meant anew; returns the counts by which the run changes."""
    folder = RunFolder(task.run_url)
    before = _settled(folder, task.part)
    tar = _tar_of(before)
    taken = _Taken(task.entries)
    if not any(taken.changes(content) for content in _contents(folder.store, tar)):
        return {}  # a killed run had it done
    drops_path = f"drops/{STAGE}-{task.part}.parquet"
    with ExitStack() as stack:
        spools = [
            stack.enter_context(folder.store.spool(path)) for path in (tar, _index_of(tar), drops_path)
        ]  # published backwards
        entries = write_shard(_kept(folder.store, tar, taken), spools[0])
        spools[1].write(encode_index(entries, spools[0].tell()))
        _write_drops(folder.store, drops_path, spools[2], taken, before)
        after = _record(before, dict(zip((tar, _index_of(tar), drops_path), spools, strict=True)), taken, len(entries))
        folder.store.write(_pending(task.part), msgspec.json.encode(after))
    _settle(folder, after)
    return dict(taken.counts)


class _Taken:
    """What goes from the samples that are shown to it, counted."""

    def __init__(self, entries: Entries) -> None:
        self._entries = entries
        self.counts: Counter[str] = Counter()
        self.drops: list[tuple[Drop, Content]] = []

    def changes(self, content: Content) -> bool:
        """Whether anything of a sample is meant."""
        page_url = content.url if isinstance(content, Document) else content.page_url
        return bool(page_url and self._entries.means_page(page_url)) or any(
            _means(self._entries, medium) for medium in _media(content)
        )

    def cut(self, sample: Sample) -> Sample | None:
        """What is left of a sample."""
        content = _decode(sample.members["json"])
        if not self.changes(content):
            return sample
        if not isinstance(content, Document):
            self.counts["pairs"] -= 1
            self._drop(Drop(kind="pair", reason=DropReason.TAKEN_DOWN, medium_url=content.url), content)
            return None
        whole = self._entries.means_page(content.url)
        gone = [medium for medium in content.media if whole or _means(self._entries, medium)]
        if whole or len(gone) == len(content.media):
            self._fall(content, DropReason.TAKEN_DOWN if whole else DropReason.NO_IMAGE)
            return None
        for medium in gone:
            self._uncount(medium)
            self._drop(Drop(kind=_kind(medium), reason=DropReason.TAKEN_DOWN, medium_url=medium.url), content)
        return self._without(sample, content, {medium.member for medium in gone})

    def _fall(self, document: Document, reason: DropReason) -> None:
        self.counts["documents"] -= 1
        self.counts[f"languages.{document.language or 'none'}"] -= 1
        self._drop(Drop(kind="page", reason=reason, url=document.url), document)
        for node in document.nodes:
            self._uncount(node)
            if isinstance(node, Text):
                self._drop(Drop(kind="paragraph", reason=DropReason.WITH_PAGE, detail=f"page: {reason}"), document)
            elif _means(self._entries, node):
                self._drop(Drop(kind=_kind(node), reason=DropReason.TAKEN_DOWN, medium_url=node.url), document)
            else:
                detail = f"page: {reason}"
                self._drop(
                    Drop(kind=_kind(node), reason=DropReason.WITH_PAGE, medium_url=node.url, detail=detail), document
                )

    def _without(self, sample: Sample, document: Document, gone: set[str]) -> Sample:
        nodes: list[Text | Image | Video] = []
        members: dict[str, bytes] = {"json": b""}
        for node in document.nodes:
            if isinstance(node, Text):
                nodes.append(node)
            elif node.member not in gone:
                member = f"{len(members) - 1:03d}.{node.member.rpartition('.')[2]}"
                members[member] = sample.members[node.member]
                self.counts[f"fields.{node.member}"] -= 1
                self.counts[f"fields.{member}"] += 1
                nodes.append(msgspec.structs.replace(node, member=member))
        left = msgspec.structs.replace(document, nodes=nodes, text=render(nodes))
        members["json"] = msgspec.json.encode(left)
        return Sample(sample.key, members)

    def _uncount(self, node: Text | Image | Video) -> None:
        if isinstance(node, Text):
            self.counts["paragraphs"] -= 1
            self.counts["words"] -= len(node.text.split())
        else:
            self.counts[f"{_kind(node)}s"] -= 1
            self.counts[f"fields.{node.member}"] -= 1

    def _drop(self, drop: Drop, content: Content) -> None:
        self.counts[f"{drop.kind}s.dropped.{drop.reason}"] += 1
        self.drops.append((drop, content))


def _contents(store: Store, tar: str) -> Iterator[Content]:
    """What the JSON member of each sample says."""
    members = [member for entry in _index(store, tar) for member in entry.members if member.name == "json"]
    for start in range(0, len(members), READ_AHEAD):
        ranges = [(tar, member.offset, member.size) for member in members[start : start + READ_AHEAD]]
        yield from map(_decode, store.read_ranges(ranges))


def _index(store: Store, tar: str) -> list[IndexEntry]:
    """The tar's index; where a killed run left one that is not the tar's, it is made of the tar."""
    head, entries = decode_index(store.read(_index_of(tar)))
    if head.tar_bytes == store.files(tar.rpartition("/")[0])[tar]:
        return entries
    with store.open(tar) as file:
        return index_tar(file)


def _kept(store: Store, tar: str, taken: _Taken) -> Iterator[Sample]:
    with store.open(tar) as file:
        for entry in _index(store, tar):
            left = taken.cut(read_sample(file, entry))
            if left is not None:
                yield left


def _write_drops(store: Store, path: str, file: BinaryIO, taken: _Taken, before: Commit) -> None:
    """The drops of this takedown behind those of the record before (a killed run may have left more than these)."""
    writer = TableWriter(file, DROPS)
    recorded = sum(number for name, number in before.counts.items() if ".dropped." in name)
    if store.exists(path):
        with store.open(path) as earlier:
            for row in read_table(earlier, DROPS, path).slice(0, recorded).to_pylist():
                writer.add(row)
    for drop, content in taken.drops:
        document = content if isinstance(content, Document) else None
        url = content.url if isinstance(content, Document) else content.page_url
        writer.add(drop_row(STAGE, drop, url, document.provenance if document else None))
    writer.close()


def _record(before: Commit, spools: dict[str, BinaryIO], taken: _Taken, samples: int) -> Commit:
    counts = Counter(before.counts)
    for name, number in taken.counts.items():
        counts[name] += number
    counts["samples"] = samples
    files = [_file_record(path, file) for path, file in sorted(spools.items())]
    return msgspec.structs.replace(before, files=files, counts=dict(counts))


def _file_record(path: str, file: Any) -> FileRecord:
    file.flush()
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(path=path, bytes=file.tell(), sha256=sha256)


def _settled(folder: RunFolder, part: str) -> Commit:
    """The part's record; if an earlier run was killed after it had published the new tar, that run is ended first."""
    if folder.store.exists(_pending(part)):
        after = msgspec.json.decode(folder.store.read(_pending(part)), type=Commit)
        with folder.store.open(_tar_of(after)) as tar:
            published = hashlib.file_digest(tar, "sha256").hexdigest()  # type: ignore[arg-type]
        if published == next(file.sha256 for file in after.files if file.path.endswith(".tar")):
            _settle(folder, after)
    return folder.commit(STAGE, part)


def _settle(folder: RunFolder, record: Commit) -> None:
    folder.record(record)
    folder.store.remove([_pending(record.part)])


def _pending(part: str) -> str:
    return f"{_PENDING}{part}.json"


def _decode(data: bytes) -> Content:
    return _PAIR.decode(data) if _FORM.decode(data).kind else _DOCUMENT.decode(data)


def _media(content: Content) -> list[Any]:
    return list(content.media) if isinstance(content, Document) else [content]


def _kind(medium: Image | Video) -> Any:
    return "video" if isinstance(medium, Video) else "image"


def _means(entries: Entries, medium: Any) -> bool:
    return entries.means_medium(medium.url, medium.sha256, medium.source_sha256, medium.phash)


def _gone_medium(medium: Any) -> Gone:
    return Gone(
        kind="medium",
        url=medium.url,
        key=key16(media_key(medium.url)).hex(),
        sha256=medium.sha256,
        source_sha256=medium.source_sha256,
        phash=medium.phash,
    )


def _tar_of(commit: Commit) -> str:
    return next(file.path for file in commit.files if file.path.endswith(".tar"))


def _index_of(tar: str) -> str:
    return f"{tar.removesuffix('.tar')}{INDEX_SUFFIX}"
