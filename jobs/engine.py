"""The engine: how the stages' Beam pipelines are run.

Without Beam options of the user's it is Beam's in-process runner, named explicitly (`DirectRunner` would first try to download another one), in one
process: its threads only hand work to `workers` child processes. There are more threads than children, because the runner deals its tasks
out to threads beforehand: whichever child is free takes the next task of any of them.

A cluster's workers are other machines' processes: they see stores, not this machine's disk, and outlive who submits.
"""

import contextlib
import io
import os
import re
import time
from collections.abc import Callable, Iterable
from typing import Any

from jobs.flink import JobServer, blamed
from jobs.flink_rest import Flink
from pipeline.software import software
from schemas import errors

THREADS_PER_WORKER = (
    4  # measured: the wait for the slowest of two workers falls from a quarter of the time to a twentieth
)
POLL_S = 2.0
ARRIVAL_S = 60.0  # ours: a job was seen to take half of it from the job server to Flink, on two busy cores
_NO_M3W = re.compile(r"No module named '(?:pipeline|schemas)[^']*'")
_LOST = "FlinkJobNotFoundException"
_GIVEN_UP = re.compile(r"failed in state \w+: (.*)")
_AGAIN = "the same command goes on with what is left"
_NO_POOL = "finishConnect(..) failed: Connection refused"  # a task manager's words; it connects to nothing else


class Engine:
    """Runs pipelines with `workers` child processes, or as `beam_options` (arguments such as `--runner=...`) say; `flink` is where Flink itself can be asked.

    Raises:
        UsageError: one of the `urls` is on this machine's disk, and the workers are not on this machine.
    """

    def __init__(self, workers: int | None, beam_options: list[str], urls: Iterable[str] = (), flink: str = "") -> None:
        self.workers = workers or os.cpu_count() or 1
        self.beam_options = beam_options
        given = dict(option.partition("=")[::2] for option in beam_options)
        self.is_local = "--runner" not in given  # Beam's in-process runner
        self._is_one_process = self.is_local and "--direct_running_mode" not in given
        self.in_process = any(url.startswith("memory:") for url in urls)  # no child sees this process's memory
        self.job_server = JobServer(given["--job_endpoint"]) if given.get("--job_endpoint") else None
        self.flink = Flink(flink) if flink else None
        if self.job_server and given.get("--environment_type") != "LOOPBACK":
            _refuse_local(urls)

    @property
    def processes(self) -> int:
        """Child processes a Beam worker process has: a distributed engine runs one worker process for each core."""
        if self.in_process:
            return 0
        return self.workers if self._is_one_process else 1

    def check(self) -> None:
        """Asks a cluster whether it is there.

        Raises:
            SurroundingsError: it is not.
        """
        for one in (self.job_server, self.flink):
            if one is not None:
                one.check()

    def running(self, run_url: str) -> list[str]:
        """The stages of a run's folder whose jobs have not ended on a cluster."""
        sources = [source for source in (self.flink, self.job_server) if source is not None]
        return sorted({stage for source in sources for stage in source.running(run_url)})

    def wait(self, run_url: str, stage: str) -> None:
        """Returns when a stage's job has ended, or Flink has not had for a minute what the job server believes to run."""
        seen = time.monotonic()
        while stage in self.running(run_url):
            if self.flink is None or stage in self.flink.running(run_url):
                seen = time.monotonic()
            elif time.monotonic() - seen > ARRIVAL_S:
                return
            time.sleep(POLL_S)

    def says(self, name: str) -> str:
        """How a job is, in a few words, as far as it can be known: by Flink, or by this process, which then does the work."""
        if self.flink is not None:
            return self.flink.says(name)
        from pipeline.transforms.spread import step_at_work

        return step_at_work()

    def run(self, build: Callable[[Any], Any], name: str) -> None:
        """Builds a pipeline with `build(pipeline)` and runs it to its end.

        An interrupt ends it on this machine only: asked to cancel a job, Beam's server for Flink says that it has, and Flink goes on.

        Raises:
            M3wError: what a stage function raised.
            SurroundingsError: the engine failed.
        """
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from pipeline.transforms.spread import forget_steps, stop_children

        forget_steps()
        noise = io.StringIO()  # Beam prints the traceback of what is raised here anyway
        try:
            with (
                contextlib.redirect_stderr(noise),
                beam.Pipeline(options=PipelineOptions(self._arguments(name))) as pipeline,
            ):
                build(pipeline)
        except Exception as error:
            stop_children()
            raise self._unwrapped(error) from error
        except KeyboardInterrupt:
            stop_children()
            raise

    def _arguments(self, name: str) -> list[str]:
        if not self.is_local:
            quiet = "--experiments=disable_logging_submission_environment"  # it would run pip, which may not be there
            return [f"--job_name={name}", quiet, *self.beam_options]
        threads = max(1, self.workers * THREADS_PER_WORKER)
        local = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", f"--direct_num_workers={threads}"]
        return [*local, *self.beam_options]

    def _unwrapped(self, error: Exception) -> Exception:
        """What a stage function raised, out of what the runner made of it."""
        if isinstance(error, errors.M3wError):
            return error
        name, message = blamed(str(error))
        if name:
            return getattr(errors, name)(message)  # type: ignore[no-any-return]
        if self.is_local:
            return error  # a fault of ours, with its traceback
        text = str(error).strip()
        if missing := _NO_M3W.search(text):
            return errors.SurroundingsError(
                f"a worker has no m3w ({missing[0]}); install {_pinned()} where the worker pool runs"
            )
        if _NO_POOL in text:
            pool = next(
                (one.partition("=")[2] for one in self.beam_options if one.startswith("--environment_config=")), ""
            )
            return errors.SurroundingsError(f"no worker pool answers at {pool}, as a task manager sees that address")
        if _LOST in text:
            return errors.SurroundingsError(
                f"Flink has lost the job (a job manager that was started anew knows none of before); {_AGAIN}"
            )
        if given_up := _GIVEN_UP.search(text):
            return errors.SurroundingsError(f"the cluster has given the job up: {given_up[1][:300]}; {_AGAIN}")
        reason = text.splitlines() or [""]
        return errors.SurroundingsError(
            f"the engine failed ({' '.join(self.beam_options)}): {type(error).__name__}: {reason[0][:300]}"
        )


def _pinned() -> str:
    versions = software()
    return f"m3w {versions['m3w']} for Python {versions['Python']}"


def _refuse_local(urls: Iterable[str]) -> None:
    for url in urls:
        if "://" not in url and not url.startswith("@"):
            raise errors.UsageError(
                f"{url} is on this machine's disk, which a cluster's workers do not see; give the URL of a store (s3://..., gs://...), or "
                "file:///... for a disk that all of them share"
            )
