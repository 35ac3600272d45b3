"""m3w extract: crawls to documents."""

from collections.abc import Callable
from typing import Any

import msgspec

from jobs.job import INPUTS, Job, part_name
from pipeline.config import Config
from pipeline.read.inputs import Input
from pipeline.read.slices import slices
from pipeline.runfolder import digest
from pipeline.stages.extract import RULES_VERSION, STAGE, ExtractTask, extract_slice
from pipeline.transforms.spread import Spread


def run(job: Job, inputs: list[Input], limit: int | None = None) -> None:
    """Extracts all slices of the inputs that have no part yet; with `limit`, slice after slice until there are so many pages."""
    run_tasks(job, inputs, tasks_of(job.url, job.config, inputs, limit), limit)


def run_tasks(job: Job, inputs: list[Input], tasks: dict[str, ExtractTask], limit: int | None = None) -> None:
    """Extracts these slices of the inputs."""
    identity = digest(STAGE, sorted(tasks))
    if job.is_done(STAGE, identity):
        return
    job.folder.store.write(INPUTS, msgspec.json.encode(inputs))
    if limit is None:
        parts = list(tasks)
        committed = job.folder.committed(STAGE)
        todo = [task for part, task in tasks.items() if part not in committed]
        if todo:
            job.run(STAGE, parts, _spread(_largest_first(todo), job))
    else:
        parts = _first_pages(job, list(tasks.values()), limit)
    job.folder.finish(STAGE, identity, parts)


def tasks_of(url: str, config: Config, inputs: list[Input], limit: int | None) -> dict[str, ExtractTask]:
    """A task for each slice, by the name of its part."""
    tasks: dict[str, ExtractTask] = {}
    for one in inputs:
        for piece in slices(one, slice_bytes=config.extract.slice_bytes):
            where = (one.name, one.size, one.identity, piece.member, piece.start, piece.end)
            part = part_name(one.name, digest(STAGE, RULES_VERSION, config.extract, config.filters, limit, where))
            tasks[part] = ExtractTask(
                run_url=url, part=part, slice=piece, config=config.extract, filters=config.filters, page_limit=limit
            )
    return tasks


def _largest_first(tasks: list[ExtractTask]) -> list[ExtractTask]:
    """So that no worker starts the longest task last."""
    return sorted(tasks, key=lambda task: (-(task.slice.end or task.slice.input.size) + task.slice.start, task.part))


def _first_pages(job: Job, tasks: list[ExtractTask], limit: int) -> list[str]:
    """Extracts one slice after the other until there are `limit` pages; returns the parts."""
    parts: list[str] = []
    for task in tasks:
        part = part_name(task.slice.input.name, digest(task.part, limit))
        left = msgspec.structs.replace(task, part=part, page_limit=limit)
        if part not in job.folder.committed(STAGE):
            job.run(STAGE, [part], _spread([left], job))
        parts.append(part)
        limit -= job.folder.commit(STAGE, part).counts.get("pages.in", 0)
        if limit <= 0:
            break
    return parts


def _spread(tasks: list[ExtractTask], job: Job) -> Callable[[Any], Any]:
    return lambda pipeline: pipeline | Spread(tasks, extract_slice, job.engine.processes)
