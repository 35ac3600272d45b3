"""An engine that measures: what a stage's job costs when it runs in this process, for `m3w plan`.

In: pipelines, as any engine gets them. Out: CPU seconds, the bytes that go through each shuffle, and the size of the job as it is sent to a cluster.
All work is done in this process, so that its clock and its counters see all of it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from jobs.engine import Engine

_lock = threading.Lock()
_shuffled: Counter[str] = Counter()


class Ran(msgspec.Struct, frozen=True, kw_only=True):
    """One job: its name, its CPU seconds, bytes by shuffle, how many shuffles it has, bytes of its tasks (which are dealt out by a shuffle, too), bytes of its graph."""

    name: str
    cpu_s: float
    shuffled: dict[str, int]
    shuffles: int
    task_bytes: int
    graph_bytes: int


class MeasuredEngine(Engine):
    """Beam's in-process runner with no child process, and one thread: two that wait for one another took 1.3 times the CPU seconds for the same pages."""

    def __init__(self) -> None:
        super().__init__(1, ["--direct_num_workers=1"])
        self.in_process = True
        self.ran: list[Ran] = []

    def run(self, build: Callable[[Any], Any], name: str) -> None:
        """Runs a job and adds it to `ran`.

        Raises:
            M3wError: as `Engine.run`.
        """
        graph_bytes, shuffles, aside_s = 0, 0, 0.0

        def build_and_weigh(pipeline: Any) -> None:
            nonlocal graph_bytes, shuffles, aside_s
            build(pipeline)
            start = time.process_time()
            graph_bytes = pipeline.to_runner_api().ByteSize()
            shuffles = _weigh_shuffles(pipeline)
            aside_s = time.process_time() - start

        _shuffled.clear()
        start = time.process_time()
        super().run(build_and_weigh, name)
        cpu_s = time.process_time() - start - aside_s
        tasks = sum(size for label, size in _shuffled.items() if "Reshuffle" in label)
        shuffled = {label: size for label, size in _shuffled.items() if "Reshuffle" not in label}
        self.ran.append(
            Ran(
                name=name,
                cpu_s=cpu_s,
                shuffled=shuffled,
                shuffles=shuffles,
                task_bytes=tasks,
                graph_bytes=graph_bytes,
            )
        )


def _weigh_shuffles(pipeline: Any) -> int:
    """Counts, beside each shuffle, the bytes of what goes into it, as Beam encodes it; how many shuffles there are."""
    import apache_beam as beam

    found = list(_shuffles(pipeline))
    for number, (label, given) in enumerate(found):
        given | f"Weigh{number}" >> beam.Map(_weigh, label)
    return len(found)


def _shuffles(pipeline: Any) -> Iterator[tuple[str, Any]]:
    """(full label, what goes in) of each GroupByKey."""
    import apache_beam as beam
    from apache_beam.pipeline import PipelineVisitor

    found: list[tuple[str, Any]] = []

    class Visitor(PipelineVisitor):  # type: ignore[misc]
        def visit_transform(self, node: Any) -> None:
            if isinstance(node.transform, beam.GroupByKey):
                found.append((node.full_label, node.inputs[0]))

        def enter_composite_transform(self, node: Any) -> None:
            self.visit_transform(node)

    pipeline.visit(Visitor())
    yield from found


def _weigh(element: Any, label: str) -> None:
    from apache_beam.coders import FastPrimitivesCoder

    size = len(FastPrimitivesCoder().encode(element))
    with _lock:
        _shuffled[label] += size
