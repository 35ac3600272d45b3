"""Assemble: selected documents meet their media, by media URL and back by documents part."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import msgspec

from pipeline.pairs.frequency import too_frequent
from pipeline.stages import assemble, pairing, picks
from pipeline.stages.packed import by_part
from pipeline.transforms.spread import InChild, Spread


class Assemble(beam.PTransform):  # type: ignore[misc]
    """Selected documents and media to finished documents and pairs. In: the pipeline. Out: None a part.

    `tasks[i].candidates.select.number` is `i`; its `matches` and `frequent` are filled in here.
    """

    def __init__(self, tasks: list[assemble.AssembleTask], media: list[picks.MediaTask], processes: int) -> None:
        super().__init__()
        self._tasks, self._media, self._processes = tasks, media, processes

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        tasks = self._tasks
        candidates = [task.candidates for task in tasks]
        every = pipeline | "EveryPart" >> beam.Create(
            [(number, b"") for number in range(len(candidates))], reshuffle=False
        )
        matches = (
            {
                "candidates": pipeline
                | "Candidates" >> Spread(candidates, picks.candidate_keys, self._processes, flat=True),
                "media": pipeline | "Media" >> Spread(self._media, picks.media_records, self._processes, flat=True),
            }  # (bucket, CANDIDATE) and (bucket, MEDIUM)
            | "GroupByUrl" >> beam.CoGroupByKey()
            | "Match"
            >> beam.FlatMapTuple(lambda _, groups: picks.match(groups["candidates"], groups["media"]))  # (part, MATCH)
        )
        texts = [
            pairing.TextTask(candidates=task.candidates, config=task.pairs) for task in tasks if task.pairs.from_pages
        ]
        frequent = (
            pipeline
            | "Texts" >> Spread(texts, pairing.text_keys, self._processes, flat=True)  # (bucket, OCCURRENCE)
            | "GroupByText" >> beam.GroupByKey()
            | "TooFrequent"
            >> beam.FlatMapTuple(lambda _, blobs: by_part(too_frequent(blobs, tasks[0].pairs)))  # (part, FREQUENT)
        )
        return (
            {"matches": matches, "frequent": frequent, "every": every}
            | "GroupByPart" >> beam.CoGroupByKey()
            | "AssembleTask" >> beam.MapTuple(lambda part, groups: _assemble_task(part, groups, tasks))
            | "Run" >> beam.ParDo(InChild(assemble.assemble, self._processes)).with_output_types(Any)
        )


def _assemble_task(
    part: int, groups: dict[str, Iterable[bytes]], tasks: list[assemble.AssembleTask]
) -> assemble.AssembleTask:
    packed = {name: b"".join(groups[name]) for name in ("matches", "frequent")}
    return msgspec.structs.replace(tasks[part], **packed)
