"""Select, the beginning: what may be used of each documents part, by lists, opt-outs and the policies of the crawl's origins."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipeline.stages import judged, policies
from pipeline.stages.selection import SelectTask
from pipeline.transforms.spread import InChild, Spread


class Judge(beam.PTransform):  # type: ignore[misc]
    """In: the pipeline. Out: `keys` (bucket, DOCUMENT_KEY) of what may be used, `refused` (part, packed Refused).

    `held` are the policies parts, of which there may be none.
    """

    def __init__(self, tasks: list[SelectTask], held: list[policies.PoliciesTask], processes: int) -> None:
        super().__init__()
        self._tasks, self._held, self._processes = tasks, held, processes

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        tasks = self._tasks
        every = pipeline | "EveryPart" >> beam.Create([(task.number, b"") for task in tasks], reshuffle=False)
        return (
            {"rules": self._rules(pipeline), "every": every}  # (part, packed rules)
            | "GroupRules" >> beam.CoGroupByKey()
            | "JudgeTask" >> beam.MapTuple(lambda part, groups: _judge_task(part, groups, tasks))
            | "Judge" >> beam.ParDo(InChild(judged.judge, self._processes)).with_output_types(Any)
            | "Judged" >> beam.ParDo(_Judged()).with_outputs("refused", main="keys")
        )

    def _rules(self, pipeline: Any) -> Any:
        if not self._held:
            return pipeline | "NoRules" >> beam.Create([], reshuffle=False)
        asked = pipeline | "Asked" >> Spread(self._tasks, policies.asked_origins, self._processes, flat=True)
        held = pipeline | "Held" >> Spread(self._held, policies.held_policies, self._processes, flat=True)
        return (
            {"asked": asked, "held": held}  # (bucket, ASKED), (bucket, packed Held)
            | "GroupByOrigin" >> beam.CoGroupByKey()
            | "RulesByPart"
            >> beam.FlatMapTuple(lambda _, groups: policies.rules_by_part(groups["asked"], groups["held"]))
        )


def _judge_task(part: int, groups: dict[str, Iterable[bytes]], tasks: list[SelectTask]) -> judged.JudgeTask:
    return judged.JudgeTask(select=tasks[part], rules=sorted(groups["rules"]))


class _Judged(beam.DoFn):  # type: ignore[misc]
    def process(self, element: judged.Judged) -> Iterator[Any]:
        yield from element.keys
        yield beam.pvalue.TaggedOutput("refused", (element.part, element.refused))
