"""m3w crawl: all stages, one after the other; what is finished is not done again."""

from jobs import extract, fetch, score, selection, shard
from jobs.job import Job
from pipeline.read.inputs import Input


def run(job: Job, inputs: list[Input], limit: int | None = None, source: fetch.Source = fetch.Source()) -> None:
    """Crawls to shards."""
    models = score.check(job)
    extract.run(job, inputs, limit)
    selection.run(job)
    fetch.run(job, source=source)
    score.run(job, models)
    shard.run(job)
