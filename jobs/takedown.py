"""m3w takedown: pages and media out of a finished run, and never in again.

What goes is found first and written down as a plan, then it is carried out. Tables that are purged no longer say what stood in them, so after a kill the plan,
not another search, says what is left to do.
"""

import os
from collections.abc import Callable
from typing import Any

import msgspec

from jobs.engine import Engine
from jobs.job import Job
from jobs.progress import Terminal
from jobs.shard import write_manifest
from pipeline.config import load_config
from pipeline.lock import locked
from pipeline.report import CARD, MANIFEST
from pipeline.runfolder import RunFolder
from pipeline.takedown.entries import Entries, read_entries
from pipeline.takedown.shards import Gone, PartTask, rewrite
from pipeline.takedown.tables import find, found, purge
from pipeline.takedown.tombstones import write_tombstones
from pipeline.transforms.spread import Spread
from schemas.errors import OutputError, UsageError

Part = tuple[str, str]  # its stage, its name
_PLAN = "tombstones/plan.json"  # there from when all is found until all is done


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A takedown that has begun: what was asked for, that with the digests of what was found, the tars concerned, and what is told at the end."""

    asked: Entries
    wider: Entries
    tars: list[Part]
    pages: int
    media: int


def command(url: str, list_url: str, max_distance: int, engine: Engine) -> None:
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
    entries = read_entries(list_url, max_distance)
    config = load_config(folder.store.read("config.toml").decode(), f"{url}/config.toml")
    job = Job(folder, config, engine, Terminal())
    with locked(folder.store):
        folder.claim()
        job.join()
        run(job, entries)


def run(job: Job, entries: Entries) -> None:
    """Ends a takedown that was killed, if there is one, then does its own.

    Raises:
        OutputError: the run is not finished.
    """
    job.needs("shard", "takedown")
    store = job.folder.store
    left = msgspec.json.decode(store.read(_PLAN), type=Plan) if store.exists(_PLAN) else None
    if left is not None:
        _carry_out(job, left)
    if left is None or left.asked != entries:
        _carry_out(job, _planned(job, entries))


def _planned(job: Job, entries: Entries) -> Plan:
    """Finds what is meant, writes tombstones, and the plan last."""
    tars, others = _parts(job)
    looked_into = [*tars, *((stage, part) for stage, part in others if stage in ("select", "fetch"))]
    gone = _find(job, entries, looked_into)
    wider = _with_copies(entries, gone)
    if wider != entries:  # what was found by its URL is looked for by its bytes, too
        gone = _find(job, wider, looked_into)
    write_tombstones(job.folder, entries, {one for of_part in gone.values() for one in of_part})
    known = {(one.kind, one.key) for tar in tars for one in gone[tar]}  # a document and a pair tell of one medium
    pages, media = (sum(kind == of for of, _ in known) for kind in ("page", "medium"))
    concerned = [tar for tar in tars if gone[tar]]
    plan = Plan(asked=entries, wider=wider, tars=concerned, pages=pages, media=media)
    job.folder.store.write(_PLAN, msgspec.json.encode(plan))
    return plan


def _carry_out(job: Job, plan: Plan) -> None:
    """Rewrites the tars and tables concerned; what was done before a kill is left as it is."""
    job.folder.store.remove([MANIFEST, CARD])
    tars, others = _parts(job)
    _spread(job, rewrite, plan.wider, [tar for tar in plan.tars if tar in tars])  # m3w shard may have made others since
    _spread(job, purge, plan.wider, [(stage, part) for stage, part in others if stage != "select"])
    write_manifest(job)
    job.folder.store.remove([_PLAN])
    listed = len(plan.asked.urls) + len(plan.asked.domains) + len(plan.asked.sha256s)
    job.progress.say(
        f"takedown: {listed:,} entries; {plan.pages:,} pages and {plan.media:,} media were in the shards and are gone"
    )


def _parts(job: Job) -> tuple[list[Part], list[Part]]:
    """The run's tars, and all its other parts."""
    tars: list[Part] = []
    others: list[Part] = []
    for stage in ("extract", "select", "fetch", "score", "shard"):
        for commit in job.folder.commits(stage):
            is_tar = stage == "shard" and commit.detail != "assembled"
            (tars if is_tar else others).append((stage, commit.part))
    return tars, others


def _find(job: Job, entries: Entries, parts: list[Part]) -> dict[Part, list[Gone]]:
    """What is meant, by part."""
    return found(job.folder.store, _spread(job, find, entries, parts))


def _with_copies(entries: Entries, gone: dict[Part, list[Gone]]) -> Entries:
    """The entries, and the digests of the media that they mean, so that copies under other URLs go as well."""
    media = [one for of_part in gone.values() for one in of_part if one.kind == "medium"]
    sha256s = {bytes.fromhex(text) for one in media for text in (one.sha256, one.source_sha256) if text}
    phashes = {bytes.fromhex(one.phash) for one in media if one.phash} if entries.max_distance >= 0 else set()
    return msgspec.structs.replace(
        entries,
        sha256s=entries.sha256s | sha256s,
        phashes=frozenset(phashes),
        media_keys=entries.media_keys | {bytes.fromhex(one.key) for one in media},
    )


def _spread(job: Job, work: Callable[..., Any], entries: Entries, parts: list[Part]) -> list[PartTask]:
    """Runs `work` for each part; returns the tasks."""
    tasks = [PartTask(run_url=job.url, stage=stage, part=part, entries=entries) for stage, part in parts]
    if tasks:
        job.send(lambda pipeline: pipeline | Spread(list(tasks), work, job.engine.processes), "takedown")
    return tasks
