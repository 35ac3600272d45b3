"""m3w crawl: the four stages, one after the other; what is finished is not done again."""

from jobs import extract, fetch, selection, shard
from jobs.job import Job
from pipeline.read.inputs import Input


def run(job: Job, inputs: list[Input], limit: int | None = None, source: fetch.Source = fetch.Source()) -> None:
    """Crawls to shards."""
    extract.run(job, inputs, limit)
    selection.run(job)
    fetch.run(job, source=source)
    shard.run(job)
