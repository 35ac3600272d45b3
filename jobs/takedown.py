"""m3w takedown: pages and media out of a finished run, and never in again."""

import os
from collections.abc import Callable
from typing import Any

import msgspec

from jobs.engine import Engine
from jobs.job import Job
from jobs.progress import Terminal
from pipeline.card import data_set_card
from pipeline.config import load_config
from pipeline.report import CARD, MANIFEST, make_manifest
from pipeline.runfolder import RunFolder
from pipeline.stages.media_index import key16
from pipeline.store import Lock, Store
from pipeline.takedown.entries import Entries, read_entries
from pipeline.takedown.shards import Gone, TarTask, find, found, rewrite
from pipeline.takedown.tables import PartTask, purge
from pipeline.takedown.tombstones import write_tombstones
from pipeline.transforms.spread import Spread
from pipeline.urls import media_key
from schemas.errors import InputError, OutputError, UsageError
from schemas.manifest import encode_manifest


def command(url: str, list_url: str, max_distance: int, workers: int, beam_options: list[str]) -> None:
    """`m3w takedown DIR --urls FILE`: checks both before anything is touched, takes the folder, and runs.

    Raises:
        OutputError: DIR holds no run.
        InputError: the list cannot be read, or says nothing.
    """
    if not -1 <= max_distance <= 64:
        raise UsageError(f"--similar is a number of bits from 0 to 64, not {max_distance}")
    folder = RunFolder(url if "://" in url else os.path.abspath(url))
    if not folder.is_run() or folder.stage("shard") is None:
        raise OutputError(f"{url} holds no finished run of m3w")
    entries = read_entries(_read(list_url), list_url, max_distance)
    config = load_config(folder.store.read("config.toml").decode(), f"{url}/config.toml")
    with Lock(folder.store):
        folder.claim()
        run(Job(folder, config, Engine(workers, beam_options, [url]), Terminal()), entries)


def _read(url: str) -> bytes:
    head, _, name = url.rpartition("/")
    store = Store(head or ("/" if url.startswith("/") else "."))
    if not store.exists(name):
        raise InputError(f"{url}: no such file")
    return store.read(name)


def run(job: Job, entries: Entries) -> None:
    """Finds what is meant, writes tombstones, then rewrites the tars and tables concerned. Killed, the same command goes on.

    Raises:
        OutputError: the run is not finished.
    """
    job.needs("shard", "takedown")
    tars = [
        commit for commit in job.folder.commits("shard") if any(file.path.endswith(".tar") for file in commit.files)
    ]
    tasks = [TarTask(run_url=job.url, part=commit.part, entries=entries) for commit in tars]
    gone = _find(job, tasks)
    wider = _with_copies(entries, gone)
    if wider.sha256s != entries.sha256s or wider.phashes:  # what was found by its URL is looked for by its bytes, too
        gone = _find(job, [msgspec.structs.replace(task, entries=wider) for task in tasks])
    write_tombstones(job.folder, entries, gone)
    job.folder.store.remove([MANIFEST, CARD])
    _spread(job, rewrite, [msgspec.structs.replace(task, entries=wider) for task in tasks])
    parts = [(stage, commit.part) for stage in ("extract", "fetch", "shard") for commit in job.folder.commits(stage)]
    tar_parts = {commit.part for commit in tars}
    _spread(
        job,
        purge,
        [
            PartTask(run_url=job.url, stage=stage, part=part, entries=wider)
            for stage, part in parts
            if part not in tar_parts
        ],
    )
    manifest = make_manifest(job.folder, job.inputs(), job.config)
    job.folder.store.write(CARD, data_set_card(manifest).encode())
    job.folder.store.write(MANIFEST, encode_manifest(manifest))
    _tell(job, entries, gone)


def _find(job: Job, tasks: list[TarTask]) -> list[Gone]:
    """What is meant in any tar."""
    _spread(job, find, tasks)
    return found(job.folder.store, [task.part for task in tasks])


def _with_copies(entries: Entries, gone: list[Gone]) -> Entries:
    """The entries, and the digests of the media that they mean, so that copies under other URLs go as well."""
    media = [one for one in gone if one.kind == "medium"]
    sha256s = {bytes.fromhex(text) for one in media for text in (one.sha256, one.source_sha256) if text}
    phashes = {bytes.fromhex(one.phash) for one in media if one.phash} if entries.max_distance >= 0 else set()
    return msgspec.structs.replace(
        entries,
        sha256s=entries.sha256s | sha256s,
        phashes=frozenset(phashes),
        media_keys=entries.media_keys | {key16(media_key(one.url)) for one in media},
    )


def _spread(job: Job, work: Callable[..., Any], tasks: list[TarTask] | list[PartTask]) -> None:
    if tasks:
        job.engine.run(lambda pipeline: pipeline | Spread(list(tasks), work, job.engine.processes))


def _tell(job: Job, entries: Entries, gone: list[Gone]) -> None:
    pages, media = (sum(one.kind == kind for one in gone) for kind in ("page", "medium"))
    listed = len(entries.urls) + len(entries.domains) + len(entries.sha256s)
    job.progress.say(
        f"takedown: {listed:,} entries; {pages:,} pages and {media:,} media were in the shards and are gone"
    )
