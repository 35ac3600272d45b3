"""Fetch, from a folder that img2dataset has filled: what is wanted and not there yet, a part for each shard of the folder that has some of it."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import msgspec

from pipeline.read.media_folder import MediaShard
from pipeline.stages import fetch_folder
from pipeline.stages.fetch import LookupTask
from pipeline.transforms.spread import InChild, Spread


class FetchFromFolder(beam.PTransform):  # type: ignore[misc]
    """Media URLs to media parts, with what a folder holds of them.

    In: the pipeline. Out: one sorted list of the names of all parts. `offers[i].number` is `i`; shard and rows of `take` are filled in here.
    """

    def __init__(
        self,
        wanted: list[LookupTask],
        taken: list[fetch_folder.TakenTask],
        offers: list[fetch_folder.OfferTask],
        take: fetch_folder.TakeTask,
        processes: int,
    ) -> None:
        super().__init__()
        self._wanted, self._taken, self._offers, self._take, self._processes = wanted, taken, offers, take, processes

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        take, in_child = self._take, self._processes
        shards = [offer.shard for offer in self._offers]
        groups = {
            "wanted": pipeline | "Wanted" >> Spread(self._wanted, fetch_folder.wanted_kinds, in_child, flat=True),
            "taken": pipeline | "Taken" >> Spread(self._taken, fetch_folder.taken_keys, in_child, flat=True),
            "offered": pipeline | "Offered" >> Spread(self._offers, fetch_folder.folder_keys, in_child, flat=True),
        }  # (bucket, WANTED), (bucket, TAKEN), (bucket, OFFERED)
        return (
            groups
            | "GroupByUrl" >> beam.CoGroupByKey()
            | "Match" >> beam.FlatMapTuple(lambda _, of: fetch_folder.match(of["wanted"], of["taken"], of["offered"]))
            | "GroupByShard" >> beam.GroupByKey()  # (shard, CHOSEN)
            | "TakeTask" >> beam.MapTuple(lambda number, blobs: _take_task(shards[number], blobs, take))
            | "Take" >> beam.ParDo(InChild(fetch_folder.take_shard, in_child)).with_output_types(str)
            | "Names" >> beam.combiners.ToList()
            | "Sort" >> beam.Map(sorted)
        )


def _take_task(shard: MediaShard, blobs: Iterable[bytes], take: fetch_folder.TakeTask) -> fetch_folder.TakeTask:
    return msgspec.structs.replace(take, shard=shard, chosen=b"".join(blobs))
