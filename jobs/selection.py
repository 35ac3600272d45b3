"""m3w select: which documents stay, and which media URLs they name."""

import msgspec

from jobs.job import Job
from pipeline.config import SelectConfig
from pipeline.dedup.minhash import BANDS
from pipeline.lists.lists import compile_texts, stored
from pipeline.runfolder import digest
from pipeline.stages.near import BAND
from pipeline.stages.packed import bucket_count
from pipeline.stages.policies import PoliciesTask
from pipeline.stages.selection import CANDIDATE, DOCUMENT_KEY, RULES_VERSION, STAGE, SelectTask
from pipeline.transforms.select import Select


def run(job: Job, config: SelectConfig | None = None) -> None:
    """Selects among all extracted documents, by the job's configuration or another one."""
    extract = job.needs("extract", STAGE)
    config = config or job.config.select
    lists = lists_name(job)
    identity = digest(STAGE, RULES_VERSION, config, lists, extract.identity)
    if job.is_done(STAGE, identity):
        return
    tasks = [msgspec.structs.replace(task, config=config, lists=lists) for task in select_tasks(job, identity)]
    if tasks:
        held = _policies(job, config, tasks[0].buckets)
        outputs = [task.output for task in tasks]
        job.run(STAGE, outputs, lambda pipeline: pipeline | Select(tasks, held, job.engine.processes))
    job.folder.finish(STAGE, identity, [task.output for task in tasks])


def _policies(job: Job, config: SelectConfig, buckets: int) -> list[PoliciesTask]:
    """A task for each part that holds policies, if any kind is to be heard."""
    parts = [
        commit.part
        for commit in (job.folder.commits("extract") if config.policies else ())
        if any(file.path.startswith("policies/") for file in commit.files)
    ]
    return [PoliciesTask(run_url=job.url, part=part, buckets=buckets, kinds=config.policies) for part in parts]


def lists_name(job: Job) -> str:
    """The name of the compiled lists about pages in the run's folder, or "" where the user gave none."""
    lists = job.config.lists
    if not any((lists.block_urls, lists.block_domains, lists.block_words, lists.opt_out, lists.evaluation_texts)):
        return ""
    return stored(job.folder.store, compile_texts(lists))


def select_tasks(job: Job, identity: str) -> list[SelectTask]:
    """A task for each documents part, numbered in the order of their names."""
    key_bytes = job.total("extract", "documents") * max(DOCUMENT_KEY.itemsize, BANDS * BAND.itemsize)
    candidate_bytes = job.total("extract", "candidates") * CANDIDATE.itemsize
    buckets = bucket_count(max(key_bytes, candidate_bytes))
    parts = job.needs("extract", STAGE).parts
    return [
        SelectTask(
            run_url=job.url, part=part, number=number, identity=identity, buckets=buckets, config=job.config.select
        )
        for number, part in enumerate(parts)
    ]
