"""m3w select: which documents stay, and which media URLs they name."""

import os

import msgspec

from jobs.job import Job
from pipeline.config import SelectConfig
from pipeline.dedup.minhash import BANDS
from pipeline.runfolder import digest
from pipeline.stages.earlier import EarlierRun, EarlierTask, earlier_run, inherit
from pipeline.stages.near import BAND
from pipeline.stages.packed import bucket_count
from pipeline.stages.policies import PoliciesTask
from pipeline.stages.selection import CANDIDATE, DOCUMENT_KEY, RULES_VERSION, STAGE, SelectTask
from pipeline.takedown.taken import FOLDER as TOMBSTONES_FOLDER
from pipeline.transforms.select import Select
from schemas.errors import OutputError


def run(job: Job) -> None:
    """Selects among all extracted documents."""
    extract = job.needs("extract", STAGE)
    config = job.config.select
    if job.total("extract", "pairs.in"):  # a captions table: rows that share a picture are no copies of each other
        config = msgspec.structs.replace(config, max_url_pages=0, same_images=False)
    lists = job.text_lists
    runs = runs_before(config.against, job.url)
    tombstones = inherit(job.folder.store, runs)
    rules = msgspec.structs.replace(config, against=[])  # what the folders hold counts, not where they are
    fingerprints = sorted({file.sha256 for run in runs for file in run.fingerprints})
    identity = digest(STAGE, RULES_VERSION, rules, lists, extract.identity, fingerprints, tombstones)
    if job.is_done(STAGE, identity):
        return
    before = _tables_before(job, runs, tombstones)
    tasks = [
        msgspec.structs.replace(task, config=rules, lists=lists, tombstones=tuple(tombstones))
        for task in select_tasks(job, identity, 2 * sum(size for *_, size in before))  # a page's keys: 700 bytes
    ]
    parts = [task.output for task in tasks]
    if not job.folder.committed(STAGE).issuperset(parts):
        earlier = [
            EarlierTask(run_url=url, path=path, number=number, buckets=tasks[0].buckets)
            for number, (url, path, _) in enumerate(before, len(tasks))
        ]
        held = _policies(job, config, tasks[0].buckets)
        select = Select(tasks, earlier, held, job.engine.processes)
        job.run(STAGE, parts, lambda pipeline: pipeline | select)
    job.folder.finish(STAGE, identity, parts)


def _policies(job: Job, config: SelectConfig, buckets: int) -> list[PoliciesTask]:
    """A task for each part that holds policies, if any kind is to be heard."""
    parts = [
        commit.part
        for commit in (job.folder.commits("extract") if config.policies else ())
        if any(file.path.startswith("policies/") for file in commit.files)
    ]
    return [PoliciesTask(run_url=job.url, part=part, buckets=buckets, kinds=config.policies) for part in parts]


def runs_before(urls: list[str], own_url: str) -> list[EarlierRun]:
    """The runs whose pages are not to come again, as their folders are now.

    Raises:
        OutputError: one is the run's own folder, or no finished run.
        SchemaError: one was written by another version.
    """
    runs = [earlier_run(url if "://" in url else os.path.abspath(url)) for url in dict.fromkeys(urls)]
    if any(run.url == own_url.rstrip("/") for run in runs):
        raise OutputError(f"--against {own_url}: the run's own folder, which holds what this command writes")
    return runs


def _tables_before(job: Job, runs: list[EarlierRun], tombstones: list[str]) -> list[tuple[str, str, int]]:
    """(folder, path, bytes) of the tables of fingerprints, each content once, and of the tombstones."""
    files = {file.sha256: (run.url, file.path, file.bytes) for run in runs for file in run.fingerprints}
    sizes = job.folder.store.files(TOMBSTONES_FOLDER.rstrip("/"))
    return [*(files[sha256] for sha256 in sorted(files)), *((job.url, name, sizes[name]) for name in tombstones)]


def select_tasks(job: Job, identity: str, bytes_before: int = 0) -> list[SelectTask]:
    """A task for each documents part, numbered in the order of their names; `bytes_before` of keys come from elsewhere."""
    key_bytes = job.total("extract", "documents") * max(DOCUMENT_KEY.itemsize, BANDS * BAND.itemsize) + bytes_before
    candidate_bytes = job.total("extract", "candidates") * CANDIDATE.itemsize
    buckets = bucket_count(max(key_bytes, candidate_bytes))
    parts = job.needs("extract", STAGE).parts
    return [
        SelectTask(
            run_url=job.url, part=part, number=number, identity=identity, buckets=buckets, config=job.config.select
        )
        for number, part in enumerate(parts)
    ]
