"""m3w plan: what a run would cost, from a sample of its input.

Some slices of the input go through the stages, in this process and into a temporary folder that counts as a store does; one page that comes with m3w
goes through them before, to learn what a stage costs to begin. `pipeline.plan` carries that to the whole. The web is not asked, and no model scores.
"""

import functools
import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.resources import as_file, files

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from jobs import extract, fetch, selection, shard
from jobs.counted import counted_url, take_counts
from jobs.job import Job
from jobs.measured import MeasuredEngine
from jobs.progress import Progress
from pipeline.claim import claim_job, under
from pipeline.config import Config
from pipeline.plan import Plan, Sample, StageRan, StageSample, Whole, estimate
from pipeline.read.inputs import Input, find_inputs
from pipeline.report import sum_counts
from pipeline.runfolder import RunFolder, digest
from pipeline.scores.config import ScoresConfig
from pipeline.stages.assembled import KINDS
from pipeline.stages.extract import ExtractTask
from schemas.errors import InputError

STAGES = ("extract", "select", "fetch", "shard")
ONE_PAGE = "distill-growing-ca.warc.gz"  # of the demo's crawl: a document that stays, with a picture


def run(inputs: list[Input], config: Config, workers: int, slices: int) -> None:
    """Measures `slices` slices of the inputs and prints what all of them would cost on so many workers.

    Raises:
        InputError: there is no page in the sample, or as `m3w crawl`.
    """
    sample, whole = measure(inputs, config, workers, slices)
    print_plan(sample, whole, estimate(sample, whole), Console())


def measure(inputs: list[Input], config: Config, workers: int, slices: int) -> tuple[Sample, Whole]:
    """Runs one page twice (the first time loads libraries and models), then the sample."""
    alone = msgspec.structs.replace(
        config, fetch=msgspec.structs.replace(config.fetch, contact=""), scores=ScoresConfig()
    )
    with as_file(files("jobs") / "demo" / "crawl" / ONE_PAGE) as page:
        one = find_inputs([str(page)])
        for _ in range(2):
            start = measured(one, alone, None)[0]
    stages, sample = measured(inputs, alone, slices)
    tasks = extract.tasks_of("", alone, inputs, None)
    whole = Whole(
        bytes=sum(one.size for one in inputs),
        parts=len(tasks),
        target_bytes=config.shard.target_bytes,
        chunk_urls=config.fetch.chunk_urls if config.fetch.contact else 0,
        workers=workers,
    )
    return msgspec.structs.replace(sample, stages=[_beside(name, stages[name], start[name]) for name in STAGES]), whole


def _beside(stage: str, ran: StageRan, start: StageRan) -> StageSample:
    return StageSample(
        **msgspec.structs.asdict(ran),
        stage=stage,
        start_cpu_s=start.cpu_s,
        start_graph_bytes=start.graph_bytes,
        start_requests=start.requests,
    )


def measured(inputs: list[Input], config: Config, slices: int | None) -> tuple[dict[str, StageRan], Sample]:
    """What each stage took on (some slices of) the inputs, and what came of them."""
    with tempfile.TemporaryDirectory(prefix="m3w-plan-") as folder:
        os.mkdir(f"{folder}/run")
        engine = MeasuredEngine()
        job = Job(RunFolder(counted_url(f"{folder}/run")), config, engine, Progress())
        tasks = chosen(extract.tasks_of(job.url, config, inputs, None), slices)
        names = {task.slice.input.name for task in tasks.values()}
        used = [one for one in inputs if one.name in names]
        job.folder.claim()
        with under(claim_job(job.folder.store)):  # as on a cluster, where workers look at it
            extracted = _stage(job, engine, "extract", lambda: extract.run_tasks(job, used, tasks))
            if not job.total("extract", "pages.in"):
                raise InputError(f"no page in the {len(tasks)} slices of the sample; try a larger --sample")
            ran = {
                "extract": extracted,
                "select": _stage(job, engine, "select", lambda: selection.run(job)),
                "fetch": _stage(job, engine, "fetch", lambda: fetch.run(job)),
                "shard": _stage(job, engine, "shard", lambda: shard.run(job)),
            }
        return ran, _sample(job, tasks, _slice_bytes(inputs, config, tasks))


def chosen(tasks: dict[str, ExtractTask], slices: int | None) -> dict[str, ExtractTask]:
    """So many of the slices, spread over the input by the hash of their names; two at least, whose difference tells what a part costs."""
    drawn = sorted(tasks.items(), key=lambda item: digest(item[0]))
    return dict(sorted(drawn if slices is None else drawn[: max(2, slices)]))


def _slice_bytes(inputs: list[Input], config: Config, tasks: dict[str, ExtractTask]) -> int:
    """The bytes of these slices, each an equal part of its input."""
    every = Counter(task.slice.input.name for task in extract.tasks_of("", config, inputs, None).values())
    return round(sum(task.slice.input.size / every[task.slice.input.name] for task in tasks.values()))


def _stage(job: Job, engine: MeasuredEngine, stage: str, work: Callable[[], None]) -> StageRan:
    take_counts()
    before = len(engine.ran)
    start = time.process_time()
    work()
    cpu_s = time.process_time() - start
    requests = take_counts()
    jobs = engine.ran[before:]
    commits = job.folder.commits(stage)
    shuffled: Counter[str] = Counter()
    for one in jobs:
        shuffled.update(one.shuffled)
    return StageRan(
        cpu_s=cpu_s,
        shuffled=shuffled,
        graph_bytes=max((one.graph_bytes for one in jobs), default=0),
        requests=requests,
        out_bytes=sum(file.bytes for commit in commits for file in commit.files),
        parts=len(commits),
        jobs=len(jobs),
        shuffles=sum(one.shuffles for one in jobs),
    )


def _sample(job: Job, tasks: dict[str, ExtractTask], size: int) -> Sample:
    counts = {stage: sum_counts(job.folder.commits(stage)) for stage in STAGES}
    samples: Counter[str] = Counter()
    for commit in job.folder.commits("shard"):
        if commit.detail in KINDS:
            samples[commit.detail] += commit.counts["samples"]
    media = [file.bytes for commit in job.folder.commits("fetch") for file in commit.files if file.path[-4:] == ".tar"]
    return Sample(
        bytes=size,
        parts=len(tasks),
        pages=counts["extract"]["pages.in"],
        documents=counts["extract"]["documents"],
        media_urls=counts["select"]["media_urls"],
        media_ok=counts["fetch"]["media.ok"],
        media_bytes=sum(media),
        same_text=_most_of_one_text(job),
        samples=samples,
        sample_bytes={kind: counts["shard"][f"sample_bytes.{kind}"] for kind in KINDS},
        process_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        stages=[],
    )


def _most_of_one_text(job: Job) -> int:
    """On how many pages the text stands that is on most; at least one."""
    texts: Counter[bytes] = Counter()
    for commit in job.folder.commits("extract"):
        for file in commit.files:
            if file.path.startswith("documents/"):
                with job.folder.store.open(file.path) as opened:
                    for row in pc.value_counts(pq.read_table(opened, columns=["text_key"])["text_key"]).to_pylist():
                        texts[row["values"]] += row["counts"]
    return max(texts.values(), default=1)


def print_plan(sample: Sample, whole: Whole, plan: Plan, console: Console) -> None:
    """A table of the stages between lines about what is not a stage's."""
    say = functools.partial(console.print, soft_wrap=True)
    of = f"{decimal(sample.bytes)} of {decimal(whole.bytes)}"
    say(f"measured: {sample.parts:,} of {whole.parts:,} slices, {of}, {sample.pages:,} pages")
    found = f"{plan.documents:,.0f} documents before select, {plan.media_urls:,.0f} media URLs, {plan.shards:,} shards"
    say(f"in all about {plan.pages:,.0f} pages, {found}\n")
    console.print(_stages(plan))
    say(f"\ntime on {whole.workers:,} workers: {_time(sum(stage.seconds for stage in plan.stages))}")
    say(f"memory a worker: {decimal(round(plan.worker_bytes))}")
    say(f"widest key: {plan.key[0]}, {decimal(round(plan.key[1]))}")
    first = plan.limits[0]
    if first.value <= first.most:
        say(
            f"first to break, at {first.most / first.value:,.1f} times this input: {first.name}; then turn: {first.turn}"
        )
    for limit in plan.limits:
        if limit.value > limit.most:
            most = f"{_amount(limit.value, limit.unit)}, where {_amount(limit.most, limit.unit)} is the most"
            say(f"too much: {limit.name}, {most}; turn: {limit.turn}")


def _stages(plan: Plan) -> Table:
    table = Table(
        "stage",
        "core time",
        "time",
        "shuffled",
        "requests",
        "bytes out",
        "job graph",
        box=None,
        pad_edge=False,
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in plan.stages:
        table.add_row(
            stage.stage,
            _time(stage.core_s),
            _time(stage.seconds),
            decimal(round(stage.shuffled_bytes)),
            f"{stage.requests:,.0f}",
            decimal(round(stage.out_bytes)),
            decimal(round(stage.graph_bytes)),
        )
    return table


def _amount(value: float, unit: str) -> str:
    return decimal(round(value)) if unit == "bytes" else _time(value)


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.1f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
