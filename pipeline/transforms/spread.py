"""A stage function on a list of tasks, each in a child process of the worker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import apache_beam as beam
import msgspec

from pipeline.claim import Claim, check, held, under
from pipeline.isolate import Note, Workers
from pipeline.runfolder import RunFolder
from pipeline.software import check_software, software
from pipeline.store import Store
from schemas.errors import M3wError

_workers: dict[int, Workers] = {}
_steps: dict[str, int] = {}  # tasks done in this process, by function; of the pipeline that was built here last
_latest: str = ""


class InChild(beam.DoFn):  # type: ignore[misc]
    """Runs `work(task, note, skip)` for each task in one of at most `processes` child processes of this worker.

    It is done under the claim that this was made under. A worker that has other software than who made this, or comes when the claim is lost, refuses
    before it is given a task.
    """

    def __init__(self, work: Callable[..., Any], processes: int, flat: bool = False) -> None:
        self._work, self._processes, self._flat = work, processes, flat
        self._software, self._claim = software(), held()
        _steps[work.__name__] = 0

    def setup(self) -> None:
        """Once a worker."""
        with _told():
            check_software(self._software)
            if self._claim is not None:
                _admit(self._claim)

    def process(self, task: Any) -> Iterator[Any]:
        """One task; its result, or, if `flat`, each item of it."""
        workers = _workers.setdefault(self._processes, Workers(self._processes))
        with _told():
            result = workers.run(partial(_under, self._claim, self._work), task)
        _count(self._work.__name__)
        if self._flat:
            yield from result
        else:
            yield result


@cache
def _admit(claim: Claim) -> None:
    """Looks at a claim when a worker begins: an engine that starts a job of a lost one again gets no further."""
    with under(claim):
        check(Store(claim.url))


def _under(claim: Claim | None, work: Callable[..., Any], task: Any, note: Note, skip: frozenset[int]) -> Any:
    with under(claim):
        return work(task, note, skip)


@contextmanager
def _told() -> Iterator[None]:
    """A runner keeps the text of an error, not its class."""
    try:
        yield
    except M3wError as error:
        raise RuntimeError(f"[m3w {type(error).__name__}] {error} [/m3w]") from error


def _count(step: str) -> None:
    global _latest
    if step in _steps:  # else it was built elsewhere
        _steps[step], _latest = _steps[step] + 1, step


def step_at_work() -> str:
    """What the pipeline that runs in this process has come to: the function that was last done, and for how many tasks; "" where that says no more than parts do."""
    return f"at {_latest}, {_steps[_latest]} done" if len(_steps) > 1 and _latest else ""


def forget_steps() -> None:
    """Another pipeline is about to be built."""
    global _latest
    _latest = ""
    _steps.clear()


def stop_children() -> None:
    """Ends the child processes of this process; the next transform starts new ones."""
    for workers in _workers.values():
        workers.stop()
    _workers.clear()


class Spread(beam.PTransform):  # type: ignore[misc]
    """Runs a stage function on a list of tasks. In: the pipeline. Out: the results (their items, if `flat`)."""

    def __init__(self, tasks: list[Any], work: Callable[..., Any], processes: int, flat: bool = False) -> None:
        super().__init__()
        self._tasks, self._work, self._processes, self._flat = tasks, work, processes, flat

    def expand(self, pipeline: Any) -> Any:
        """Reshuffle keeps the engine from fusing all tasks into the one step that created them."""
        return (
            pipeline
            | "Create" >> beam.Create(self._tasks, reshuffle=False)
            | "Reshuffle" >> beam.Reshuffle()
            | "Run" >> beam.ParDo(InChild(self._work, self._processes, self._flat)).with_output_types(Any)
        )


class WriteNames(beam.PTransform):  # type: ignore[misc]
    """Writes each incoming list of names as JSON to one file of a run: how a list comes back to who submitted the job."""

    def __init__(self, run_url: str, path: str) -> None:
        super().__init__()
        self._run_url, self._path = run_url, path

    def expand(self, names: Any) -> Any:
        """In: one list of strings. Out: nothing of use."""
        return names | beam.Map(_write_names, run_url=self._run_url, path=self._path, claim=held())


def _write_names(names: list[str], run_url: str, path: str, claim: Claim | None) -> None:
    with _told(), under(claim):
        RunFolder(run_url).store.write(path, msgspec.json.encode(names))
