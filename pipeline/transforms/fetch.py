"""Fetch: media URLs to media parts, from what the crawl holds and then, in rounds, from the web."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import msgspec

from pipeline.stages import fetch, fetch_web, picks, wanted
from pipeline.stages.packed import split
from pipeline.transforms.spread import InChild, Spread


class FetchFromCrawl(beam.PTransform):  # type: ignore[misc]
    """Media URLs to media parts, with bytes that the crawl holds; redirects are followed `redirects` times.

    In: the pipeline. Out: one sorted list of the names of all parts.
    """

    def __init__(
        self,
        wanted: list[fetch.LookupTask],
        index: list[fetch.LookupTask],
        chunk: fetch.ChunkTask,
        files: list[fetch.CrawlFile],
        redirects: int,
        processes: int,
    ) -> None:
        super().__init__()
        self._wanted, self._index, self._chunk, self._files = wanted, index, chunk, files
        self._redirects, self._processes = redirects, processes

    def expand(self, pipeline: Any) -> Any:
        """One round a redirect; a round joins what is still looked for with the whole index."""
        chunk, files = self._chunk, self._files
        wanted = pipeline | "Wanted" >> Spread(
            self._wanted, fetch.wanted_keys, self._processes, flat=True
        )  # (bucket, WANTED)
        index = pipeline | "Index" >> Spread(
            self._index, fetch.index_keys, self._processes, flat=True
        )  # (bucket, INDEXED)
        found = []
        for number in range(self._redirects + 1):
            looked_up = (
                {"wanted": wanted, "index": index}
                | f"GroupByUrl{number}" >> beam.CoGroupByKey()
                | f"LookUp{number}" >> beam.ParDo(_LookUp(self._wanted[0].buckets)).with_outputs("again", main="found")
            )
            found.append(looked_up.found)
            wanted = looked_up.again
        return (
            found  # ((file, stretch), FOUND)
            | "Flatten" >> beam.Flatten()
            | "GroupByStretch" >> beam.GroupByKey()
            | "ChunkTask" >> beam.MapTuple(lambda stretch, blobs: _chunk_task(stretch, blobs, chunk, files))
            | "FetchChunk" >> beam.ParDo(InChild(fetch.fetch_chunk, self._processes)).with_output_types(str)
            | "Names" >> beam.combiners.ToList()
            | "Sort" >> beam.Map(sorted)
        )


class _LookUp(beam.DoFn):  # type: ignore[misc]
    def __init__(self, buckets: int) -> None:
        self._buckets = buckets

    def process(self, element: tuple[int, dict[str, Iterable[bytes]]]) -> Iterator[Any]:
        found, again = fetch.look_up(element[1]["wanted"], element[1]["index"])
        yield from fetch.chunks(found)
        for bucket, blob in split(again, self._buckets):
            yield beam.pvalue.TaggedOutput("again", (bucket, blob))


def _chunk_task(
    stretch: tuple[int, int], blobs: Iterable[bytes], chunk: fetch.ChunkTask, files: list[fetch.CrawlFile]
) -> fetch.ChunkTask:
    return msgspec.structs.replace(chunk, file=files[stretch[0]], references=b"".join(blobs))


class FetchFromWeb(beam.PTransform):  # type: ignore[misc]
    """One round: what is wanted next of what the run does not have yet, asked by buckets of hosts.

    In: the pipeline. Out: one sorted list of the names of all parts (or of what else `work` makes of a bucket). `tasks[i].select.number` is `i`; `states`
    and the URLs of `ask` are filled in here.
    """

    def __init__(
        self,
        tasks: list[wanted.WantTask],
        known: list[wanted.KnownTask],
        moved: list[wanted.MovedTask],
        ask: fetch_web.AskTask,
        processes: int,
        work: Callable[..., list[str]] = fetch_web.ask_bucket,
    ) -> None:
        super().__init__()
        self._tasks, self._known, self._moved, self._ask, self._processes = tasks, known, moved, ask, processes
        self._work = work

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, ask, in_child = self._tasks, self._ask, self._processes
        candidates = [picks.CandidateTask(select=task.select, selected_part=task.selected_part) for task in tasks]
        states = (
            {
                "seen": pipeline | "Seen" >> Spread(candidates, picks.seen_keys, in_child, flat=True),
                "known": pipeline | "Known" >> Spread(self._known, wanted.known_media, in_child, flat=True),
            }  # (bucket, SEEN) and (bucket, KNOWN)
            | "GroupByUrl" >> beam.CoGroupByKey()
            | "Match" >> beam.FlatMapTuple(lambda _, groups: wanted.match(groups["seen"], groups["known"]))
        )  # (part, STATE)
        every = pipeline | "EveryPart" >> beam.Create([(task.select.number, b"") for task in tasks], reshuffle=False)
        wants = (
            {"states": states, "every": every}
            | "GroupByPart" >> beam.CoGroupByKey()
            | "WantTask" >> beam.MapTuple(lambda part, groups: _want_task(part, groups, tasks))
            | "Want"
            >> beam.ParDo(InChild(wanted.wanted_urls, in_child, flat=True)).with_output_types(tuple[int, bytes])
        )
        moved = pipeline | "Moved" >> Spread(self._moved, wanted.moved_urls, in_child, flat=True)
        return (
            (wants, moved)  # (bucket of the host, URLs)
            | "Flatten" >> beam.Flatten()
            | "GroupByHost" >> beam.GroupByKey()
            | "AskTask" >> beam.MapTuple(lambda bucket, blobs: _ask_task(bucket, blobs, ask))
            | "Ask" >> beam.ParDo(InChild(self._work, in_child, flat=True)).with_output_types(str)
            | "Names" >> beam.combiners.ToList()
            | "Sort" >> beam.Map(sorted)
        )


def _want_task(part: int, groups: dict[str, Iterable[bytes]], tasks: list[wanted.WantTask]) -> wanted.WantTask:
    return msgspec.structs.replace(tasks[part], states=b"".join(groups["states"]))


def _ask_task(bucket: int, blobs: Iterable[bytes], ask: fetch_web.AskTask) -> fetch_web.AskTask:
    return msgspec.structs.replace(ask, bucket=bucket, wanted=sorted(blobs))
