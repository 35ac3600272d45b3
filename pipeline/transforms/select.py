"""Select: documents parts in, verdict parts out, by keys of URL, text, band, image set and media URL."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam

from pipeline.stages import earlier, frequency, near, policies, selected, selection
from pipeline.stages.packed import by_part, split
from pipeline.transforms.judge import Judge
from pipeline.transforms.spread import InChild, Spread


class Select(beam.PTransform):  # type: ignore[misc]
    """URL dedup, text dedup, media URLs each once, one verdict part for each documents part.

    In: the pipeline. Out: the counts of each part written. `tasks[i].number` is `i`, those of `before` go on from there;
    `held` are the policies parts.
    """

    def __init__(
        self,
        tasks: list[selection.SelectTask],
        before: list[earlier.EarlierTask],
        held: list[policies.PoliciesTask],
        processes: int,
    ) -> None:
        super().__init__()
        self._tasks, self._before, self._held, self._processes = tasks, before, held, processes

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, buckets, in_child = self._tasks, self._tasks[0].buckets, self._processes
        judged = pipeline | "Judge" >> Judge(tasks, self._held, in_child)
        refused = judged.refused
        keys = (
            judged.keys,
            pipeline | "KeysOfBefore" >> Spread(self._before, earlier.earlier_keys, in_child, flat=True),
        )
        by_url = (
            keys  # (bucket, DOCUMENT_KEY)
            | "AllKeys" >> beam.Flatten()
            | "GroupByUrl" >> beam.GroupByKey()
            | "LatestByUrl" >> beam.ParDo(_LatestByUrl(buckets)).with_outputs("verdicts", main="survivors")
        )
        by_text = (
            by_url.survivors  # (bucket, DOCUMENT_KEY re-keyed by text)
            | "GroupByText" >> beam.GroupByKey()
            | "FirstByText" >> beam.ParDo(_FirstByText()).with_outputs("verdicts", main="kept")
        )
        verdicts = [by_url.verdicts, by_text.verdicts]  # (part, VERDICT)
        kept = by_text.kept  # (part, RANKED)
        capped = pipeline | "NoneCapped" >> beam.Create([], reshuffle=False)
        if tasks[0].config.near_duplicates or tasks[0].tombstones:
            stayed = kept | "Near" >> NearDuplicates(tasks, self._before, in_child)
            kept, capped = stayed.kept, stayed.capped
            verdicts.append(stayed.verdicts)
        else:
            kept = kept | "Own" >> _own_parts(tasks)
        kept, same, frequent = {"kept": kept, "refused": refused} | "Frequent" >> Repetitions(tasks, in_child)
        verdicts.append(same)
        owned = (
            {"kept": kept, "frequent": frequent, "refused": refused}
            | "GroupKept" >> beam.CoGroupByKey()
            | "MediaKeysTask" >> beam.MapTuple(lambda part, groups: _frequency_task(part, groups, tasks))
            | "MediaKeys"
            >> beam.ParDo(InChild(selected.media_keys, in_child, flat=True)).with_output_types(tuple[int, bytes])
            | "GroupByMediaUrl" >> beam.GroupByKey()
            | "FirstOwners"
            >> beam.FlatMapTuple(lambda _, blobs: by_part(selection.first_owners(blobs)))  # (part, OWNED)
        )
        groups = {"kept": kept, "verdicts": verdicts | beam.Flatten(), "frequent": frequent, "owned": owned}
        every = pipeline | "EveryPart" >> beam.Create([(task.number, b"") for task in tasks], reshuffle=False)
        return (
            groups
            | {"refused": refused, "capped": capped, "every": every}
            | "GroupByPart" >> beam.CoGroupByKey()
            | "WriteTask" >> beam.MapTuple(lambda part, groups: _write_task(part, groups, tasks))
            | "Write" >> beam.ParDo(InChild(selected.write_selected, in_child)).with_output_types(Any)
        )


class Repetitions(beam.PTransform):  # type: ignore[misc]
    """What stands on too many pages or may not be used goes. In: `kept` (part, RANKED), `refused`. Out: (part, RANKED) that stay, (part, VERDICT), (part, PAGES) of what is too frequent."""

    def __init__(self, tasks: list[selection.SelectTask], processes: int) -> None:
        super().__init__()
        self._tasks, self._processes = tasks, processes

    def expand(self, given: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, in_child, config = self._tasks, self._processes, self._tasks[0].config
        frequent = (
            given
            | "GroupByPart" >> beam.CoGroupByKey()
            | "CountTask" >> beam.MapTuple(lambda part, groups: _frequency_task(part, groups, tasks))
            | "Count"
            >> beam.ParDo(InChild(frequency.page_counts, in_child, flat=True)).with_output_types(tuple[int, bytes])
            | "GroupByKey" >> beam.GroupByKey()  # (bucket, PAGES)
            | "Sum" >> beam.FlatMapTuple(lambda _, blobs: by_part(frequency.sums(blobs, config)))
        )
        left = (
            given
            | {"frequent": frequent}
            | "GroupFrequent" >> beam.CoGroupByKey()
            | "WeedTask" >> beam.MapTuple(lambda part, groups: _frequency_task(part, groups, tasks))
            | "Weed" >> beam.ParDo(InChild(frequency.weed, in_child)).with_output_types(Any)
            | "Left" >> beam.ParDo(_Left()).with_outputs("image_sets", main="kept")
        )
        latest = (
            left.image_sets  # (bucket, IMAGE_SET)
            | "GroupByImages" >> beam.GroupByKey()
            | "LatestOfImages" >> beam.ParDo(_LatestOfImages()).with_outputs("verdicts", main="kept")
        )
        return latest.kept if config.same_images else left.kept, latest.verdicts, frequent


class _Left(beam.DoFn):  # type: ignore[misc]
    def process(self, element: frequency.Left) -> Iterator[Any]:
        yield element.part, element.kept
        for bucket, blob in element.image_sets:
            yield beam.pvalue.TaggedOutput("image_sets", (bucket, blob))


class _LatestOfImages(beam.DoFn):  # type: ignore[misc]
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        survivors, verdicts = frequency.latest_of_images(element[1])
        yield from by_part(frequency.ranked(survivors))
        for part, blob in by_part(verdicts):
            yield beam.pvalue.TaggedOutput("verdicts", (part, blob))


class NearDuplicates(beam.PTransform):  # type: ignore[misc]
    """Of texts that are nearly the same the best stays. In: (part, RANKED). Out: `kept` (part, RANKED), `verdicts`, `capped` (part, number)."""

    def __init__(self, tasks: list[selection.SelectTask], before: list[earlier.EarlierTask], processes: int) -> None:
        super().__init__()
        self._tasks, self._before, self._processes = tasks, before, processes

    def expand(self, kept: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, in_child = self._tasks, self._processes
        every: list[selection.SelectTask | earlier.EarlierTask] = [*tasks, *self._before]
        led = (
            kept
            | "GroupByPart" >> beam.GroupByKey()
            | "BandTask"
            >> beam.MapTuple(lambda part, ranked: near.NearTask(select=every[part], ranked=b"".join(ranked)))
            | "Bands" >> beam.ParDo(InChild(near.band_keys, in_child, flat=True)).with_output_types(tuple[int, bytes])
            | "GroupByBand" >> beam.GroupByKey()  # (bucket, BAND)
            | "Leaders" >> beam.ParDo(_Leaders()).with_outputs("asks", main="leaders")  # (part, LEADER), (part, ASK)
        )
        signed = (
            led.asks
            | "GroupAsks" >> beam.GroupByKey()
            | "SignTask" >> beam.MapTuple(lambda part, asks: near.NearTask(select=every[part], asks=b"".join(asks)))
            | "Sign"
            >> beam.ParDo(InChild(near.signatures_for, in_child, flat=True)).with_output_types(tuple[int, bytes])
        )
        return (
            {"ranked": kept | "Own" >> _own_parts(tasks), "led": led.leaders, "signed": signed}  # (part, SIGNED)
            | "GroupByLoser" >> beam.CoGroupByKey()
            | "NearTask" >> beam.MapTuple(lambda part, groups: _near_task(part, groups, tasks))
            | "DropNear" >> beam.ParDo(InChild(near.drop_near, in_child)).with_output_types(Any)
            | "Stayed" >> beam.ParDo(_Stayed()).with_outputs("verdicts", "capped", main="kept")
        )


def _own_parts(tasks: list[selection.SelectTask]) -> Any:
    """What is of this run's parts, out of (part, anything)."""
    return beam.Filter(lambda element, parts: element[0] < parts, len(tasks))


class _Leaders(beam.DoFn):  # type: ignore[misc]
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        leaders, asks = near.leaders(element[1])
        yield from by_part(leaders, "asker")
        for part, blob in by_part(asks):
            yield beam.pvalue.TaggedOutput("asks", (part, blob))


class _Stayed(beam.DoFn):  # type: ignore[misc]
    def process(self, element: near.Stayed) -> Iterator[Any]:
        yield element.part, element.ranked
        yield beam.pvalue.TaggedOutput("verdicts", (element.part, element.verdicts))
        yield beam.pvalue.TaggedOutput("capped", (element.part, element.capped))


def _near_task(part: int, groups: dict[str, Iterable[bytes]], tasks: list[selection.SelectTask]) -> near.NearTask:
    return near.NearTask(select=tasks[part], **{name: b"".join(groups[name]) for name in ("ranked", "led", "signed")})


class _LatestByUrl(beam.DoFn):  # type: ignore[misc]
    def __init__(self, buckets: int) -> None:
        self._buckets = buckets

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        survivors, verdicts = selection.latest_by_url(element[1])
        yield from split(selection.rekey_by_text(survivors), self._buckets)
        for part, blob in by_part(verdicts):
            yield beam.pvalue.TaggedOutput("verdicts", (part, blob))


class _FirstByText(beam.DoFn):  # type: ignore[misc]
    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        survivors, verdicts = selection.first_by_text(element[1])
        yield from by_part(selection.ranked(survivors))
        for part, blob in by_part(verdicts):
            yield beam.pvalue.TaggedOutput("verdicts", (part, blob))


def _frequency_task(
    part: int, groups: dict[str, Iterable[bytes]], tasks: list[selection.SelectTask]
) -> frequency.FrequencyTask:
    packed = {name: b"".join(blobs) for name, blobs in groups.items()}
    return frequency.FrequencyTask(select=tasks[part], **packed)


def _write_task(part: int, groups: dict[str, Iterable[Any]], tasks: list[selection.SelectTask]) -> selected.WriteTask:
    packed = {name: b"".join(groups[name]) for name in ("kept", "verdicts", "frequent", "refused", "owned")}
    return selected.WriteTask(select=tasks[part], capped=sum(groups["capped"]), **packed)
