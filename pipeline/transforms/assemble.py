"""Assemble: selected documents meet their media, by media URL and back by documents part."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import msgspec

from pipeline.pairs.frequency import too_frequent
from pipeline.stages import assemble, media_records, pairing, picks
from pipeline.stages.packed import by_part
from pipeline.transforms.frequent import FrequentPictures
from pipeline.transforms.spread import InChild, Spread


class Assemble(beam.PTransform):  # type: ignore[misc]
    """Selected documents and media to finished documents and pairs. In: the pipeline. Out: None a part.

    `tasks[i].candidates.select.number` is `i`; its `found` and `frequent` are filled in here.
    """

    def __init__(
        self, tasks: list[assemble.AssembleTask], media: list[media_records.MediaTask], processes: int
    ) -> None:
        super().__init__()
        self._tasks, self._media, self._processes = tasks, media, processes

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        tasks = self._tasks
        seen = pipeline | "Seen" >> Spread(
            [task.candidates for task in tasks], picks.seen_keys, self._processes, flat=True
        )  # (bucket, SEEN)
        every = pipeline | "EveryPart" >> beam.Create([(number, b"") for number in range(len(tasks))], reshuffle=False)
        found = (
            {"seen": seen, "media": self._media_records(seen)}
            | "GroupByUrl" >> beam.CoGroupByKey()
            | "Found" >> beam.FlatMapTuple(lambda _, groups: picks.found(groups["seen"], groups["media"]))
        )  # (part, FOUND)
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
            {"found": found, "frequent": frequent, "every": every}
            | "GroupByPart" >> beam.CoGroupByKey()
            | "AssembleTask" >> beam.MapTuple(lambda part, groups: _assemble_task(part, groups, tasks))
            | "Run" >> beam.ParDo(InChild(assemble.assemble, self._processes)).with_output_types(Any)
        )

    def _media_records(self, seen: Any) -> Any:
        """(bucket, MEDIUM), in which pictures that stand in too many documents have failed."""
        media, pipeline = self._media, seen.pipeline
        if not media or not media[0].filters.max_documents:
            return pipeline | "Media" >> Spread(media, media_records.media_records, self._processes, flat=True)
        every = pipeline | "EveryMediaPart" >> beam.Create([(task.number, b"") for task in media], reshuffle=False)
        frequent = seen | FrequentPictures(media, media[0].filters, media[0].buckets, self._processes)
        return (
            {"frequent": frequent, "every": every}
            | "GroupByMediaPart" >> beam.CoGroupByKey()
            | "MediaTask"
            >> beam.MapTuple(
                lambda number, groups: msgspec.structs.replace(media[number], frequent=b"".join(groups["frequent"]))
            )
            | "Media"
            >> beam.ParDo(InChild(media_records.media_records, self._processes, flat=True)).with_output_types(
                tuple[int, bytes]
            )
        )


def _assemble_task(
    part: int, groups: dict[str, Iterable[bytes]], tasks: list[assemble.AssembleTask]
) -> assemble.AssembleTask:
    packed = {name: b"".join(groups[name]) for name in ("found", "frequent")}
    return msgspec.structs.replace(tasks[part], **packed)
