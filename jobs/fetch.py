"""m3w fetch: the bytes of media, from the crawl itself."""

import msgspec

from jobs.job import Job
from pipeline.runfolder import digest
from pipeline.stages.fetch import MAX_REDIRECTS, RULES_VERSION, STAGE, ChunkTask, LookupTask
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
        _look_up_and_take(job, extract.parts, select.parts)
        names = msgspec.json.decode(job.folder.store.read(NAMES), type=list[str])
        job.folder.store.remove([NAMES])
    job.folder.finish(STAGE, identity, names)


def _look_up_and_take(job: Job, extract_parts: list[str], select_parts: list[str]) -> None:
    files = _files(job)
    places = {name: place for place, (name, _, _) in enumerate(files)}
    buckets = bucket_count(job.total("select", "media_urls") * 48 + job.total("extract", "media_index") * 96)
    wanted = [LookupTask(run_url=job.url, part=part, buckets=buckets) for part in select_parts]
    index = [LookupTask(run_url=job.url, part=part, buckets=buckets, files=places) for part in extract_parts]
    chunk = ChunkTask(
        run_url=job.url, file_name="", file_url="", copied=False, references=b"", config=job.config.images
    )
    redirects = min(MAX_REDIRECTS, job.total("extract", "records.redirect"))
    transform = FetchFromCrawl(wanted, index, chunk, files, redirects, job.engine.processes)
    job.run(STAGE, [], lambda pipeline: pipeline | transform | WriteNames(job.url, NAMES))


def _files(job: Job) -> list[tuple[str, str, bool]]:
    """(name, URL, whether it holds bare bytes) of all files that a reference can name, sorted."""
    copies = [
        file.path
        for commit in job.folder.commits("extract")
        for file in commit.files
        if file.path.startswith("media-copies/")
    ]
    inputs = [(one.name, one.url, False) for one in job.inputs()]
    return sorted([*inputs, *((path, f"{job.url}/{path}", True) for path in copies)])
