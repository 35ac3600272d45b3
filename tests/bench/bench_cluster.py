"""m3w on a Flink cluster: two task managers beside one, the cluster beside the in-process runner, and beside what `m3w plan` says of it.

    python -m tests.bench.bench_cluster [--pages 16000] [--cluster .cluster]

The pages are those of bench_crawl, in twenty WARCs, each of which is a unit of work; two of these are the input of a tenth. Two WARCs of one page go through
before, twice: so Java warms up, and the second time is what jobs cost to begin. The four stages run one after the other, each a command of its own, on a cluster of
this bench alone, input and output in its S3 server. In the same run the in-process runner does the same with two workers, on disk, and in that
store.

CPU seconds are those of all processes: who submits, job server, job manager, task managers, Python workers and their children. The S3 server plays the
store, which is no machine of the user's, and is named apart. Memory of a worker is that of a pool, its Python worker and the child. Times of
vertices, and what goes through shuffles, are Flink's own numbers. The plan is made of a sample of two WARCs, and of how long this store lets a request wait.
"""

import argparse
import logging
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import s3fs

from jobs import plan
from jobs.cluster.configuration import HOST, environment
from jobs.cluster.start import start, stop
from jobs.presets import read_config
from pipeline.plan import StagePlan, estimate
from pipeline.read.inputs import find_inputs
from pipeline.store import Store
from tests.bench.bench_crawl import write_crawl
from tests.bench.flink_jobs import FlinkJob, ended_jobs
from tests.bench.sessions import Meter

WARCS = {"start": 2, "tenth": 2, "whole": 20}
WORKERS = 2  # of the in-process runner, and of the larger cluster
FLAT = 1.2  # ours: what ten times the pages may add to a worker, whose caches fill up meanwhile
STORE = "s3"
REQUESTS = 200  # to learn how long one waits


class Ran(NamedTuple):
    """One stage of one run: seconds of the command, CPU seconds and peak MiB by process, requests to the store, Flink's jobs."""

    wall_s: float
    cpu_s: dict[str, float]
    peak_mb: dict[str, float]
    requests: int
    jobs: list[FlinkJob]

    @property
    def own_cpu_s(self) -> float:
        """Without the store's."""
        return sum(seconds for name, seconds in self.cpu_s.items() if name != STORE)


Run = dict[str, Ran]  # by stage


class Place:
    """Where m3w runs: options of its commands, leaders of what works for them besides their own processes, Flink's address and the store's log."""

    def __init__(
        self, name: str, options: list[str], leaders: dict[str, int], flink: str = "", log: Path = Path(os.devnull)
    ) -> None:
        self.name = name
        self._options, self._leaders, self._flink, self._log = options, leaders, flink, log
        self._known: set[str] = set()

    def run(self, inputs: str, out: str) -> Run:
        """All stages, told as they end."""
        print(f"{self.name}, {inputs.rpartition('/')[2]}", flush=True)
        return {
            stage: told(stage, self._stage(stage, [inputs] if stage == "extract" else [], out)) for stage in plan.STAGES
        }

    def _stage(self, stage: str, inputs: list[str], out: str) -> Ran:
        command = [sys.executable, "-m", "jobs", stage, *inputs, "--out", out, *self._options]
        meter, asked = Meter(self._leaders), self._requests()
        with meter.measured() as took, tempfile.TemporaryFile() as said:
            begin = time.monotonic()
            process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
            meter.add("submitter", process.pid)
            try:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but still to be looked at
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
            wall_s = time.monotonic() - begin
            said.seek(0)
            text = said.read().decode()
        if process.wait():
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {text[-500:]}")
        jobs = ended_jobs(self._flink, self._known) if self._flink else []
        self._known |= {job.id for job in jobs}
        return Ran(wall_s, took.cpu_s, took.peak_mb, self._requests() - asked, jobs)

    def _requests(self) -> int:
        """How many lines the store has logged, one a request."""
        with self._log.open("rb") as log:
            return sum(b'" 2' in line or b'" 4' in line for line in log)


@contextmanager
def cluster(jars: Path, crawls: Path, task_managers: int) -> Iterator[tuple[Place, Place]]:
    """A cluster with the crawls in its store: as the place where jobs run, and as a store of the in-process runner."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("flink", "job-server"):
            (folder / name).symlink_to(jars.absolute() / name)
        running = start(folder, task_managers)
        try:
            ports, log = running.ports, folder / f"logs/{STORE}.log"
            os.environ |= environment(ports)
            store = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"], skip_instance_cache=True)
            for bucket in ("crawls", "runs"):
                store.mkdir(bucket)
            for path in crawls.glob("*/*.warc.gz"):
                store.put_file(str(path), f"crawls/{path.relative_to(crawls)}")
            address = ["--endpoint", f"{HOST}:{ports.job}", "--worker-pool", f"localhost:{ports.workers}"]
            flink = ["--runner", "flink", *address, "--workers", str(task_managers)]
            leaders = {name: process.pid for name, process in running.processes.items()}
            of_store = {STORE: leaders[STORE]}
            on_flink = Place(f"Flink {task_managers}", flink, leaders, f"http://{HOST}:{ports.rest}", log)
            yield on_flink, Place("in process, store", ["--workers", str(WORKERS)], of_store, log=log)
        finally:
            stop(folder)


def runs_of(jars: Path, folder: Path) -> tuple[dict[tuple[str, str], Run], float]:
    """All runs, by place and size; how long (s) a request to the store waits."""
    found: dict[tuple[str, str], Run] = {}
    request_s = 0.0
    crawls = folder / "crawls"
    for task_managers in (2, 1):
        with cluster(jars, crawls, task_managers) as (flink, in_process):
            flink.run("s3://crawls/start", "s3://runs/warm-up")
            for size in WARCS:
                found[flink.name, size] = flink.run(f"s3://crawls/{size}", f"s3://runs/flink-{size}")
            if task_managers == WORKERS:
                request_s = waited_s(Store("s3://runs/waits"))
                found[in_process.name, "whole"] = in_process.run("s3://crawls/whole", "s3://runs/in-process")
    disk = Place("in process", ["--workers", str(WORKERS)], {})
    for size in ("tenth", "whole"):
        found[disk.name, size] = disk.run(str(crawls / size), str(folder / f"run-{size}"))
    return found, request_s


def waited_s(store: Store) -> float:
    """How long a small file is waited for, at the median, without the CPU seconds of who asks."""
    store.write("small", b"small")
    times = []
    for _ in range(REQUESTS):
        start, cpu_s = time.perf_counter(), time.process_time()
        store.read("small")
        times.append(time.perf_counter() - start - (time.process_time() - cpu_s))
    return statistics.median(times)


def told(stage: str, ran: Ran) -> Ran:
    """Prints what a stage took, and gives it back."""
    groups: dict[str, float] = defaultdict(float)
    for name, seconds in ran.cpu_s.items():
        groups[re.sub(r"-\d+$", "", name)] += seconds
    cpu = ", ".join(f"{name} {seconds:.1f}" for name, seconds in groups.items())
    flink = "".join(f"; {job.seconds:.1f} s in Flink, {len(job.vertices)} vertices" for job in ran.jobs)
    print(f"  {stage:8}{ran.wall_s:7.1f} s; CPU s: {cpu}{flink}", flush=True)
    return ran


def print_aims(runs: dict[tuple[str, str], Run], pages: int) -> None:
    """What was to be reached, beside what was; the rest of the numbers that belong to it."""
    one, two, disk = (runs[name, "whole"] for name in ("Flink 1", "Flink 2", "in process"))
    print(f"\nextract of {pages:,} pages: 1 task manager, 2, ratio")
    times = [(work_s(run["extract"]), run["extract"].jobs[0].seconds, run["extract"].wall_s) for run in (one, two)]
    for name, before, after in zip(("its vertex", "its job", "the command"), *times, strict=True):
        aim = told_aim(after / before, 0.65) if name == "its vertex" else ""
        print(f"  {name:12}{before:8.1f} s{after:8.1f} s{after / before:8.2f}{aim}")
    print("\nCPU ms a page, the store's left out; beside the in-process runner's on disk")
    for place in ("in process", "in process, store", "Flink 2", "Flink 1"):
        each = {stage: ran.own_cpu_s for stage, ran in runs[place, "whole"].items()}
        ratio = sum(each.values()) / cpu_s(disk)
        aim = told_aim(ratio, 1.5) if "Flink" in place else ""
        by_stage = ", ".join(f"{stage} {1e3 * seconds / pages:.2f}" for stage, seconds in each.items())
        print(f"  {place:18}{1e3 * sum(each.values()) / pages:8.2f}{ratio:8.2f}{aim}   {by_stage}")
    print("\npeak of memory, MB: a tenth of the pages, all of them, ratio")
    for place in ("Flink 2", "Flink 1"):
        for what in ("workers-1", "task-manager-1", "submitter"):
            tenth, whole = (max(ran.peak_mb[what] for ran in runs[place, size].values()) for size in ("tenth", "whole"))
            aim = told_aim(whole / tenth, FLAT) if what == "workers-1" else ""
            print(f"  {place} {what:16}{tenth:8.0f}{whole:8.0f}{whole / tenth:8.2f}{aim}")
    print("\nbytes a page, of two task managers: shuffled (all that vertices hand on)")
    for stage, ran in two.items():
        shuffled, sent = (sum(getattr(job, what) for job in ran.jobs) / pages for what in ("shuffled", "sent"))
        print(f"  {stage:8}{shuffled:8.0f} ({sent:.0f})")


def work_s(ran: Ran) -> float:
    """Seconds of the vertex that does the work of a job of one step."""
    (job,) = ran.jobs
    return next(seconds for name, seconds in job.vertices.items() if name.endswith("Spread/Run)"))


def cpu_s(run: Run) -> float:
    """Of all stages."""
    return sum(ran.own_cpu_s for ran in run.values())


def told_aim(value: float, aim: float) -> str:
    """Whether it is reached."""
    return f"  (aim {aim}: {'reached' if value <= aim else 'missed'})"


def print_plan(runs: dict[tuple[str, str], Run], request_s: float, crawls: Path) -> None:
    """What a sample of two WARCs says of the runs on Flink, beside what they took."""
    inputs = {size: find_inputs([str(crawls / size)]) for size in ("tenth", "whole")}
    sample, every = plan.measure(inputs["whole"], read_config("m3w"), WORKERS, 2)
    every = msgspec.structs.replace(every, request_s=request_s)
    print(f"\nplanned, measured, by how much the plan is off; a request waits {1e3 * request_s:.1f} ms")
    print(f"  {'':22}{'CPU s':>23}{'seconds':>23}{'shuffled, KB':>23}{'requests':>23}")
    for size, found in inputs.items():
        for workers in (1, 2):
            sizes = {"bytes": sum(one.size for one in found), "parts": WARCS[size], "workers": workers}
            stages = {
                one.stage: planned(one) for one in estimate(sample, msgspec.structs.replace(every, **sizes)).stages
            }
            run = {stage: measured(ran) for stage, ran in runs[f"Flink {workers}", size].items()}
            for beside in (stages, run):
                beside["all"] = [sum(column) for column in zip(*beside.values(), strict=True)]
            for stage, values in stages.items():
                cells = "".join(errors(*both) for both in zip(values, run[stage], strict=True))
                print(f"  {size:6}{workers} on it  {stage:8}{cells}")


def planned(stage: StagePlan) -> list[float]:
    """Of a stage: CPU seconds, seconds, KB shuffled, requests."""
    return [stage.core_s, stage.seconds, stage.shuffled_bytes / 1e3, stage.requests]


def measured(ran: Ran) -> list[float]:
    """The same."""
    return [ran.own_cpu_s, ran.wall_s, sum(job.shuffled for job in ran.jobs) / 1e3, ran.requests]


def errors(planned: float, measured: float) -> str:
    """Both, and by how much the plan is off."""
    off = f"{planned / measured - 1:+5.0%}" if measured else "    -"
    return f"{planned:8,.1f} {measured:8,.1f} {off}"


def main() -> None:
    """Prints what each run took, then the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pages", type=int, default=16_000)
    arguments.add_argument("--cluster", type=Path, default=Path(".cluster"), help="where make cluster keeps the jars")
    options = arguments.parse_args()
    logging.disable(logging.CRITICAL)  # as the command does
    each = options.pages // WARCS["whole"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "crawls").mkdir()
        for size, warcs in WARCS.items():
            of_warc = 1 if size == "start" else each
            write_crawl(folder / "crawls" / size, of_warc * warcs, of_warc)
        runs, request_s = runs_of(options.cluster, folder)
        print_aims(runs, each * WARCS["whole"])
        print_plan(runs, request_s, folder / "crawls")


if __name__ == "__main__":
    main()
