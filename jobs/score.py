"""m3w score: what models say of the pictures that were fetched; thresholds on it are the shard stage's."""

import msgspec

from jobs.job import Job
from jobs.selection import select_tasks
from pipeline.runfolder import digest
from pipeline.scores.config import SIMILARITY, ScoresConfig
from pipeline.scores.find import Model, find_models
from pipeline.stages.picks import CandidateTask
from pipeline.stages.score import STAGE, PicturesTask, TextsTask, score
from pipeline.stages.scored import RunScores, Scored
from pipeline.transforms.spread import Spread
from schemas.errors import ConfigError, OutputError


def check(job: Job) -> list[Model]:
    """The models that the configuration names, found before any work is done.

    Raises:
        M3wError: as `find_models`; a threshold is on a score that no scorer gives (ConfigError).
    """
    if unknown := sorted(set(_judged(job)) - set(job.config.scores.names)):
        raise ConfigError(f"{_threshold(job, unknown[0])} is set, but [scores] names no scorer {unknown[0]}")
    return find_models(job.config.scores)


def command(job: Job) -> None:
    """Scores by all models that are named.

    Raises:
        ConfigError: none is.
    """
    if job.config.scores == ScoresConfig():
        raise ConfigError("[scores] names no scorer; try --set scores.nsfw=true, or scores.clip=FOLDER")
    run(job)


def run(job: Job, models: list[Model] | None = None) -> None:
    """Scores all pictures that were fetched, and all texts beside them, if any scorer is named; what has been scored is not scored again."""
    models = find_models(job.config.scores) if models is None else models
    if not models:
        return
    pictures = [PicturesTask(run_url=job.url, part=part, models=models) for part in job.needs("fetch", STAGE).parts]
    tasks: dict[str, PicturesTask | TextsTask] = {task.output: task for task in pictures}
    tasks |= {task.output: task for task in _text_tasks(job, models)}
    identity = digest(STAGE, sorted(tasks))
    if job.is_done(STAGE, identity):
        return
    committed = job.folder.committed(STAGE)
    todo = [task for name, task in tasks.items() if name not in committed]
    if todo:
        job.run(STAGE, tasks, lambda pipeline: pipeline | Spread(todo, score, job.engine.processes))
    job.folder.finish(STAGE, identity, tasks)


def _text_tasks(job: Job, models: list[Model]) -> list[TextsTask]:
    clip = next((model for model in models if model.kind == "clip"), None)
    if clip is None:
        return []
    selected = {commit.detail: commit.part for commit in job.folder.commits("select")}
    return [
        TextsTask(
            candidates=CandidateTask(select=task, selected_part=selected[task.part]), model=clip, pii=job.config.pii
        )
        for task in select_tasks(job, "")
    ]


def scores_for_shards(job: Job) -> RunScores | None:
    """What shard takes of the score stage: the scores that have a threshold or are configured; None if there are none.

    Raises:
        OutputError: they are not there, or are not those of the present media.
    """
    wanted = sorted({*_judged(job), *job.config.scores.names})
    if not wanted:
        return None
    record = job.folder.stage(STAGE)
    parts = {commit.part: msgspec.json.decode(commit.detail, type=Scored) for commit in job.folder.commits(STAGE)}
    pictures = {one.of: part for part, one in parts.items() if not one.texts}
    texts = {one.of: part for part, one in parts.items() if one.texts}
    named = next((one.names for one in parts.values() if not one.texts), [])
    needed = {"fetch": pictures} | ({"select": texts} if SIMILARITY in wanted else {})
    for stage, found in needed.items():
        if record is None or not found.keys() >= set(job.needs(stage, "shard").parts):
            raise OutputError(f"{job.url}: there are no scores of the present pictures; run m3w score first")
    if missing := sorted(set(wanted) - set(named)) if named else []:
        raise OutputError(
            f"{job.url}: {_threshold(job, missing[0])} is set, but its pictures have no score {missing[0]} "
            f"(they have {', '.join(named)}); name the scorer in [scores] and run m3w score"
        )
    assert record is not None
    width = max((one.width for one in parts.values() if SIMILARITY in wanted), default=0)
    names = [name for name in wanted if name != SIMILARITY]
    return RunScores(identity=record.identity, names=names, width=width, pictures=pictures, texts=texts)


def _judged(job: Job) -> list[str]:
    """The scores that have a threshold."""
    filters = job.config.image_filters
    return [*filters.max_scores, *filters.min_scores, *[SIMILARITY] * (job.config.pairs.min_similarity > -1)]


def _threshold(job: Job, name: str) -> str:
    """What is set about a score, for messages."""
    filters = job.config.image_filters
    if name == SIMILARITY:
        return "pairs.min_similarity" if job.config.pairs.min_similarity > -1 else "scores.clip"
    section = next((one for one in ("max_scores", "min_scores") if name in getattr(filters, one)), None)
    return f"image_filters.{section}.{name}" if section else f"scores {name}"
