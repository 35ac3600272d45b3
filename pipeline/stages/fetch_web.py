"""fetch, from the web: the URLs of one bucket of hosts -> tars in img2dataset's layout and their media tables.

A bucket is asked by one worker, in chunks. A chunk is committed when each of its URLs has an answer, so that after a kill no more than one chunk is
asked again; which URLs it holds, and its name, follow from the bucket's URLs alone, and its rows and samples are sorted by key. So on a web that
answers the same, the bytes are the same. Every URL that was asked is a row, whatever came of it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

import msgspec

from pipeline.images import ImageConfig
from pipeline.isolate import Note
from pipeline.runfolder import RunFolder, digest
from pipeline.stages.fetch import STAGE
from pipeline.stages.media_index import key16
from pipeline.stages.media_part import MediaSpool, Stored, clips_of, media_members, media_of, media_row, sample_name
from pipeline.stages.wanted import Wanted, unpack_wanted
from pipeline.urls import media_key
from pipeline.video.config import VideoConfig
from pipeline.web.answer import Answer, Request
from pipeline.web.config import FetchConfig
from pipeline.web.download import Line
from pipeline.web.host import registered_domain
from schemas.drops import Drop, DropReason

RULES_VERSION = 5


class WebPart(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the stage needs to know of a part later (its commit's detail): what its media depend on, the generation that asked, the folder asked if it was one."""

    depends_on: str
    generation: int
    folder: str = ""


def depends_on(images: ImageConfig, video: VideoConfig) -> str:
    """A digest of what decides how answers become media; parts with another one are of no use."""
    return digest("web", RULES_VERSION, images, video)


def encode_detail(images: ImageConfig, video: VideoConfig, generation: int, folder: str = "") -> str:
    """A web part's detail."""
    part = WebPart(depends_on=depends_on(images, video), generation=generation, folder=folder)
    return msgspec.json.encode(part).decode()


class AskTask(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket of hosts with its URLs (packed `Wanted`). `until`: the epoch second after which nothing more is asked."""

    run_url: str
    bucket: int
    round: int
    generation: int
    fetch: FetchConfig
    images: ImageConfig
    video: VideoConfig
    until: float | None = None
    wanted: list[bytes] = []


def ask_bucket(task: AskTask, note: Note, skip: frozenset[int]) -> list[str]:
    """Asks a bucket's URLs, chunk by chunk; chunks that are committed are not asked again. Returns the names of all."""
    store = RunFolder(task.run_url).store
    names: list[str] = []
    todo: list[_Chunk] = []
    for first, wanted in chunks(unpack_wanted(task.wanted), task.fetch.chunk_urls):
        content = digest(depends_on(task.images, task.video), wanted)
        names.append(f"web-{task.generation:03d}-{task.round:02d}-{task.bucket:04d}-{content[:16]}")
        if not store.exists(f"commits/{STAGE}/{names[-1]}.json"):
            todo.append(_Chunk(names[-1], first, wanted))
    with Line(task.fetch, task.until, task.images) as line:
        for chunk, later in zip_longest(todo, todo[1:]):
            _ask_chunk(task, chunk, later.requests(skip) if later else [], line, note, skip)
    return names


class _Chunk(NamedTuple):
    """What is committed together: its part's name, the number of its first URL, its URLs."""

    name: str
    first: int
    wanted: list[Wanted]

    def requests(self, skip: frozenset[int]) -> list[Request]:
        """All but those that killed a worker."""
        return [
            Request(number=number, url=one.url, kind=one.kind, hops=one.hops)
            for number, one in enumerate(self.wanted, self.first)
            if number not in skip
        ]


def chunks(wanted: Iterable[Wanted], size: int) -> Iterator[tuple[int, list[Wanted]]]:
    """(number of its first URL, a chunk's URLs): the hosts of a bucket take turns, so that no chunk waits for one host more than another does."""
    turns: Counter[str] = Counter()
    order: list[tuple[int, str, Wanted]] = []
    for one in sorted(wanted):
        host = registered_domain(one.url)
        order.append((turns[host], host, one))
        turns[host] += 1
    order.sort()
    for first in range(0, len(order), size):
        yield first, [one for _, _, one in order[first : first + size]]


def _ask_chunk(
    task: AskTask, chunk: _Chunk, later: list[Request], line: Line, note: Note, skip: frozenset[int]
) -> None:
    name, first, wanted = chunk
    with RunFolder(task.run_url).part(STAGE, name) as part, MediaSpool() as media:
        part.detail = encode_detail(task.images, task.video, task.generation)
        for number, one in enumerate(wanted, first):
            if number in skip:
                media.add(_row(one, Drop(kind="image", reason=DropReason.WORKER_KILLED), task), {})
        for answer in line.ask(chunk.requests(skip), later):
            note(answer.number)
            _add(media, wanted[answer.number - first], answer, task)
        for row in media.write(part.file(f"media/{name}.tar"), part.file(f"media/{name}.parquet")):
            part.counts[f"media.{row['status']}"] += 1


def _add(media: MediaSpool, one: Wanted, answer: Answer, task: AskTask) -> None:
    """What came of one URL: a row for a picture, a track or a failure, a row for each clip of a video."""
    found = _media(answer, one.kind, task)
    if answer.path is not None:
        os.unlink(answer.path)
    asked: dict[str, Any] = {"http_status": answer.http_status}
    if answer.status == DropReason.REDIRECTED:
        target = key16(media_key(answer.target))
        asked |= {"target_url": answer.target, "target_key": target, "value": answer.hops}
    if isinstance(found, Drop):
        media.add(_row(one, found, task) | asked, {})
        return
    for clip, medium in enumerate(found):
        media.add(_row(one, medium, task, clip) | asked, media_members(sample_name(one.key, clip), medium, one.url))


def _media(answer: Answer, kind: str, task: AskTask) -> list[Stored] | Drop:
    """A picture, the clips of a video, the text of a track, or why there is none of them."""
    about: Literal["image", "video"] = "image" if kind == "image" else "video"
    if answer.status != "ok":
        reason = DropReason(answer.status)
        return Drop(kind=about, reason=reason, value=answer.value, threshold=answer.threshold, detail=answer.detail)
    if answer.path is not None:
        return clips_of(answer.path, task.video)
    return media_of(answer.body or b"", kind, task.images, task.video)


def _row(one: Wanted, medium: Stored | Drop, task: AskTask, clip: int = 0) -> dict[str, Any]:
    asked = {"url": one.url, "generation": task.generation, "rank": task.round}
    return media_row(one.key, one.kind, medium, clip) | asked
