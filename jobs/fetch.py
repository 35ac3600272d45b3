"""m3w fetch: the bytes of media, from the crawl itself."""

import msgspec

from jobs.job import Job
from pipeline.runfolder import Commit, digest
from pipeline.stages.fetch import MAX_REDIRECTS, RULES_VERSION, STAGE, ChunkTask, CrawlFile, LookupTask
from pipeline.stages.media_index import copies_name
from pipeline.stages.packed import bucket_count
from pipeline.transforms import FetchFromCrawl, WriteNames

NAMES = "stages/fetch.names.json"


def run(job: Job) -> None:
    """Takes every media URL of the selected documents that the crawl holds."""
    extract, select = job.needs("extract", STAGE), job.needs("select", STAGE)
    identity = digest(STAGE, RULES_VERSION, job.config.images, extract.identity, select.identity)
    if job.is_done(STAGE, identity):
        return
    names: list[str] = []
    if extract.parts:
        _look_up_and_take(job, select.parts)
        names = msgspec.json.decode(job.folder.store.read(NAMES), type=list[str])
        job.folder.store.remove([NAMES])
    job.folder.finish(STAGE, identity, names)


def _look_up_and_take(job: Job, select_parts: list[str]) -> None:
    commits = job.folder.commits("extract")
    files = _files(job, commits)
    places = {file.name: place for place, file in enumerate(files)}
    buckets = bucket_count(job.total("select", "media_urls") * 48 + job.total("extract", "media_index") * 96)
    wanted = [LookupTask(run_url=job.url, part=part, buckets=buckets) for part in select_parts]
    index = []
    for commit in commits:  # a part refers to its own input and to its own copies
        named = {name: places[name] for name in (commit.detail, copies_name(commit.part)) if name in places}
        index.append(LookupTask(run_url=job.url, part=commit.part, buckets=buckets, files=named))
    chunk = ChunkTask(run_url=job.url, file=files[0], references=b"", config=job.config.images, video=job.config.video)
    redirects = min(MAX_REDIRECTS, job.total("extract", "records.redirect"))
    transform = FetchFromCrawl(wanted, index, chunk, files, redirects, job.engine.processes)
    job.run(STAGE, [], lambda pipeline: pipeline | transform | WriteNames(job.url, NAMES))


def _files(job: Job, commits: list[Commit]) -> list[CrawlFile]:
    """All files that a reference can name, sorted by name."""
    copies = [
        CrawlFile(file.path, f"{job.url}/{file.path}", file.sha256, True)
        for commit in commits
        for file in commit.files
        if file.path == copies_name(commit.part)
    ]
    return sorted([CrawlFile(one.name, one.url, one.identity, False) for one in job.inputs()] + copies)
