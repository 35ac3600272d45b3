"""The engine: how the stages' Beam pipelines are run.

Without Beam options of the user's it is Beam's in-process runner, named explicitly (`DirectRunner` would first try to download another one), in one
process: its threads only hand work to `workers` child processes. There are more threads than children, because the runner deals its tasks
out to threads beforehand: whichever child is free takes the next task of any of them.
"""

import contextlib
import io
import re
from collections.abc import Callable, Iterable
from typing import Any

from schemas import errors

THREADS_PER_WORKER = (
    4  # measured: the wait for the slowest of two workers falls from a quarter of the time to a twentieth
)
_BLAMED = re.compile(r"\[m3w (\w+)\] (.*?) \[/m3w\]", re.DOTALL)


class Engine:
    """Runs pipelines with `workers` child processes, or as `beam_options` (arguments such as `--runner=...`) say."""

    def __init__(self, workers: int, beam_options: list[str], urls: Iterable[str] = ()) -> None:
        self.workers = workers
        self.beam_options = beam_options
        self.in_process = any(url.startswith("memory:") for url in urls)  # no child sees this process's memory
        given = {option.split("=")[0] for option in beam_options}
        self.is_local = "--runner" not in given  # Beam's in-process runner
        self._is_one_process = self.is_local and "--direct_running_mode" not in given

    @property
    def processes(self) -> int:
        """Child processes a Beam worker process has: a distributed engine runs one worker process for each core."""
        if self.in_process:
            return 0
        return self.workers if self._is_one_process else 1

    def run(self, build: Callable[[Any], Any]) -> None:
        """Builds a pipeline with `build(pipeline)` and runs it to its end.

        Raises:
            M3wError: what a stage function raised.
            SurroundingsError: the engine failed.
        """
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions

        from pipeline.transforms.spread import stop_children

        noise = io.StringIO()  # Beam prints the traceback of what is raised here anyway
        try:
            with (
                contextlib.redirect_stderr(noise),
                beam.Pipeline(options=PipelineOptions(self._arguments())) as pipeline,
            ):
                build(pipeline)
        except Exception as error:
            stop_children()
            raise self._unwrapped(error) from error
        except KeyboardInterrupt:
            stop_children()
            raise

    def _arguments(self) -> list[str]:
        if not self.is_local:
            return self.beam_options
        threads = max(1, self.workers * THREADS_PER_WORKER)
        local = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", f"--direct_num_workers={threads}"]
        return [*local, *self.beam_options]

    def _unwrapped(self, error: Exception) -> Exception:
        """What a stage function raised, out of what the runner made of it."""
        if isinstance(error, errors.M3wError):
            return error
        if found := _BLAMED.findall(str(error)):
            name, message = found[0]  # what came first; later ones may be its consequences
            return getattr(errors, name)(message)  # type: ignore[no-any-return]
        if self.is_local:
            return error  # a fault of ours, with its traceback
        reason = str(error).strip().splitlines() or [""]
        return errors.SurroundingsError(
            f"the engine failed ({' '.join(self.beam_options)}): {type(error).__name__}: {reason[0][:300]}"
        )
