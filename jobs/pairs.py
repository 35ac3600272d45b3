"""m3w pairs: captions tables to pairs, by the stages of a crawl."""

import msgspec

from jobs import fetch, score, selection, shard
from jobs.job import INPUTS, Job, part_name
from pipeline.config import Config
from pipeline.read.tables import Table, table_slices
from pipeline.runfolder import digest
from pipeline.stages.extract import STAGE
from pipeline.stages.table import RULES_VERSION, TableTask, extract_table_slice
from pipeline.transforms.spread import Spread
from schemas.document import MediumKind


def run(job: Job, tables: list[Table], kind: MediumKind, source: fetch.Source = fetch.Source()) -> None:
    """Tables to shards."""
    models = score.check(job)
    extract(job, tables, kind)
    selection.run(job)
    fetch.run(job, source=source)
    score.run(job, models)
    shard.run(job)


def extract(job: Job, tables: list[Table], kind: MediumKind) -> None:
    """Extracts all slices of the tables that have no part yet."""
    tasks = tasks_of(job.url, job.config, tables, kind)
    identity = digest(STAGE, sorted(tasks))
    if job.is_done(STAGE, identity):
        return
    job.folder.store.write(INPUTS, msgspec.json.encode([table.input for table in tables]))
    committed = job.folder.committed(STAGE)
    todo = [task for part, task in tasks.items() if part not in committed]
    if todo:
        job.run(STAGE, tasks, lambda pipeline: pipeline | Spread(todo, extract_table_slice, job.engine.processes))
    job.folder.finish(STAGE, identity, tasks)


def tasks_of(url: str, config: Config, tables: list[Table], kind: MediumKind) -> dict[str, TableTask]:
    """A task for each slice, by the name of its part."""
    tasks: dict[str, TableTask] = {}
    max_bytes = config.extract.read.max_record_bytes
    for table in tables:
        for piece in table_slices(table.input, slice_bytes=config.extract.slice_bytes):
            where = (table.input.name, table.input.size, table.input.identity, piece.start, piece.end)
            rules = (RULES_VERSION, table.columns, kind, max_bytes)
            part = part_name(table.input.name, digest(STAGE, "table", rules, where))
            tasks[part] = TableTask(
                run_url=url,
                part=part,
                slice=piece,
                columns=table.columns,
                kind=kind,
                max_medium_bytes=max_bytes,
            )
    return tasks
