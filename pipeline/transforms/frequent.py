"""FrequentPictures: which pictures stand, with their perceptual copies, in too many documents of the run."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipeline.images import ImageFilterConfig
from pipeline.stages import media_records, repeats
from pipeline.stages.packed import split
from pipeline.transforms.spread import Spread


class FrequentPictures(beam.PTransform):  # type: ignore[misc]
    """The rule of `pipeline.stages.repeats`. In: (bucket, SEEN). Out: (media part, FREQUENT). `media[i].number` is `i`."""

    def __init__(
        self, media: list[media_records.MediaTask], filters: ImageFilterConfig, buckets: int, processes: int
    ) -> None:
        super().__init__()
        self._media, self._filters, self._buckets, self._processes = media, filters, buckets, processes

    def expand(self, seen: Any) -> Any:
        """Comments give the element type after each step."""
        buckets, limit, distance = self._buckets, self._filters.max_documents, self._filters.max_phash_distance
        pictures = seen.pipeline | "Pictures" >> Spread(
            self._media, media_records.picture_keys, self._processes, flat=True
        )
        blocks, holders, shown = (
            pictures | f"Keyed{kind}" >> beam.FlatMap(_of_kind, kind).with_output_types(tuple[int, bytes])
            for kind in ("blocks", "holders", "shown")
        )  # (bucket, BLOCK), (bucket, HOLDER), (bucket, SHOWN)
        copies = (
            blocks
            | "GroupByBlock" >> beam.GroupByKey()
            | "BetterCopies"
            >> beam.FlatMapTuple(lambda _, blobs: split(repeats.better_copies(blobs, distance), buckets))
        )  # (bucket, COPY)
        sightings = (
            {"seen": seen, "shown": shown}
            | "GroupShownByUrl" >> beam.CoGroupByKey()
            | "Sightings"
            >> beam.FlatMapTuple(
                lambda _, groups: split(repeats.sightings(groups["seen"], groups["shown"], limit), buckets)
            )
        )  # (bucket, SIGHTING)
        clusters = (
            {"holders": holders, "sightings": sightings, "copies": copies}
            | "GroupByPicture" >> beam.CoGroupByKey()
            | "Clusters" >> beam.ParDo(_Clusters(limit, buckets)).with_outputs("sightings", main="members")
        )
        return (
            {"members": clusters.members, "sightings": clusters.sightings}  # (bucket, MEMBER) and (bucket, SIGHTING)
            | "GroupByBestCopy" >> beam.CoGroupByKey()
            | "TooFrequent"
            >> beam.FlatMapTuple(lambda _, groups: repeats.too_frequent(groups["members"], groups["sightings"], limit))
        )


def _of_kind(keyed: tuple[str, int, bytes], kind: str) -> Iterator[tuple[int, bytes]]:
    if keyed[0] == kind:
        yield keyed[1:]


class _Clusters(beam.DoFn):  # type: ignore[misc]
    def __init__(self, limit: int, buckets: int) -> None:
        self._limit, self._buckets = limit, buckets

    def process(self, element: tuple[int, dict[str, Iterable[bytes]]]) -> Iterator[Any]:
        """(bucket, MEMBER), and apart from them (bucket, SIGHTING)."""
        groups = element[1]
        members, sightings = repeats.clusters(groups["holders"], groups["sightings"], groups["copies"], self._limit)
        yield from split(members, self._buckets)
        for keyed in split(sightings, self._buckets):
            yield beam.pvalue.TaggedOutput("sightings", keyed)
