"""m3w shard: selected documents and media to webdataset tars, manifest and data set card."""

import msgspec

from jobs.job import Job
from jobs.score import scores_for_shards
from jobs.selection import select_tasks
from pipeline.card import data_set_card
from pipeline.images import ImageFilterConfig
from pipeline.pairs.frequency import OCCURRENCE
from pipeline.report import CARD, MANIFEST, make_manifest, sum_counts
from pipeline.runfolder import digest
from pipeline.stages.assemble import RULES_VERSION, AssembleTask
from pipeline.stages.assembled import KINDS
from pipeline.stages.media_records import MEDIUM, MediaTask
from pipeline.stages.packed import bucket_count
from pipeline.stages.picks import CandidateTask
from pipeline.stages.repeats import block_bytes
from pipeline.stages.scored import RunScores
from pipeline.stages.selection import CANDIDATE
from pipeline.stages.shard import STAGE, ShardTask, shard_count, write_one_shard
from pipeline.takedown.taken import tombstone_files
from pipeline.transforms.assemble import Assemble
from pipeline.transforms.spread import Spread
from schemas.manifest import encode_manifest


def run(job: Job) -> None:
    """Writes the shards anew if anything that they depend on has changed."""
    select, fetch = job.needs("select", STAGE), job.needs("fetch", STAGE)
    config = job.config
    scores = scores_for_shards(job)
    rules = (config.image_filters, config.pairs, config.pii, config.shard.seed)
    lists, tombstones = (job.picture_lists, job.text_lists), tombstone_files(job.folder.store)
    depends_on = (rules, lists, tombstones, scores, select.identity, fetch.identity)
    assembled = digest("assemble", RULES_VERSION, *depends_on)
    identity = digest(STAGE, assembled, config.shard)
    if job.is_done(STAGE, identity) and job.folder.store.exists(MANIFEST):
        return
    tasks = _assemble_tasks(job, select.parts, fetch.parts, assembled, scores)
    parts = [task.output for task in tasks]
    committed = job.folder.committed(STAGE)
    if not committed.issuperset(parts):
        media = _media_tasks(job, fetch.parts, tasks[0].candidates.select.buckets, scores)
        job.run(STAGE, parts, lambda pipeline: pipeline | Assemble(tasks, media, job.engine.processes))
    _write_shards(job, identity, parts)


def _write_shards(job: Job, identity: str, parts: list[str]) -> None:
    """From here on shards are replaced in place, so the manifest goes first and comes back last."""
    counts = sum_counts(job.folder.commits_of(STAGE, parts))
    shards: list[ShardTask] = []
    for kind in KINDS:
        size = counts[f"sample_bytes.{kind}"]
        number = shard_count(size, job.config.shard.target_bytes) if size else 0
        shards += [
            ShardTask(run_url=job.url, kind=kind, number=n, count=number, identity=identity, parts=parts)
            for n in range(number)
        ]
    job.folder.reopen(STAGE)
    job.folder.store.remove([MANIFEST, CARD])
    outputs = [shard.output for shard in shards]
    job.folder.forget(STAGE, {*parts, *outputs})
    committed = job.folder.committed(STAGE)
    todo = [shard for shard in shards if shard.output not in committed]
    if todo:
        job.run(STAGE, outputs, lambda pipeline: pipeline | Spread(todo, write_one_shard, job.engine.processes))
    job.folder.finish(STAGE, identity, [*parts, *outputs])
    job.prune_lists()
    write_manifest(job)


def write_manifest(job: Job) -> None:
    """Writes what the run has put into its shards, for programs and for people.

    Raises:
        SchemaError: the counts do not add up.
    """
    manifest = make_manifest(job.folder, job.inputs(), job.config)
    job.folder.store.write(CARD, data_set_card(manifest).encode())
    job.folder.store.write(MANIFEST, encode_manifest(manifest))


def _assemble_tasks(
    job: Job, select_parts: list[str], media_parts: list[str], identity: str, scores: RunScores | None
) -> list[AssembleTask]:
    extract_parts = {commit.detail: commit.part for commit in job.folder.commits_of("select", select_parts)}
    medium_bytes = max(MEDIUM.itemsize, block_bytes(job.config.image_filters.max_phash_distance))
    matched = job.total("extract", "candidates") * CANDIDATE.itemsize + job.total("fetch", "media.ok") * medium_bytes
    texts = 2 * job.total("extract", "candidates") * OCCURRENCE.itemsize  # at most: a medium has a candidate or more
    buckets = bucket_count(matched + (texts if job.config.pairs.from_pages else 0))
    return [
        AssembleTask(
            candidates=CandidateTask(
                select=msgspec.structs.replace(task, buckets=buckets),
                selected_part=extract_parts[task.part],
                documents=_filters(job).max_documents + 1,
            ),
            output=f"{task.part}-{identity[:12]}",
            media_parts=media_parts,
            seed=job.config.shard.seed,
            pairs=job.config.pairs,
            pii=job.config.pii,
            lists=job.text_lists,
            scores=scores,
        )
        for task in select_tasks(job, "")
    ]


def _media_tasks(job: Job, media_parts: list[str], buckets: int, scores: RunScores | None) -> list[MediaTask]:
    every = MediaTask(
        run_url=job.url,
        part="",
        number=0,
        buckets=buckets,
        filters=_filters(job),
        lists=job.picture_lists,
        tombstones=tuple(tombstone_files(job.folder.store)),
    )
    if scores is None:
        return [msgspec.structs.replace(every, part=part, number=n) for n, part in enumerate(media_parts)]
    return [
        msgspec.structs.replace(every, part=part, number=n, scores=scores.pictures[part], scorers=scores.names)
        for n, part in enumerate(media_parts)
    ]


def _filters(job: Job) -> ImageFilterConfig:
    """Of a captions table many rows may tell of one picture."""
    filters = job.config.image_filters
    return msgspec.structs.replace(filters, max_documents=0) if job.total("extract", "pairs.in") else filters
