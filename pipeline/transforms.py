"""The wiring: which stage function runs on what, as Beam transforms. The only Beam in the library.

Work on a unit (a slice, a part, a stretch of a file, a shard) happens in a child process of the worker (`pipeline.isolate`); the engine spreads
units and groups packed keys (`pipeline.stages.packed`). No transform writes through a sink of a runner: a unit's function commits its own part.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import apache_beam as beam
import msgspec

from pipeline.isolate import Workers
from pipeline.pairs.frequency import too_frequent
from pipeline.runfolder import RunFolder
from pipeline.stages import assemble, fetch, fetch_web, frequency, near, pairing, picks, selected, selection, wanted
from pipeline.stages.packed import by_part, split
from schemas.errors import M3wError

_workers: dict[int, Workers] = {}


class InChild(beam.DoFn):  # type: ignore[misc]
    """Runs `work(task, note, skip)` for each task in one of at most `processes` child processes of this worker."""

    def __init__(self, work: Callable[..., Any], processes: int, flat: bool = False) -> None:
        self._work, self._processes, self._flat = work, processes, flat

    def process(self, task: Any) -> Iterator[Any]:
        """One task; its result, or, if `flat`, each item of it."""
        workers = _workers.setdefault(self._processes, Workers(self._processes))
        try:
            result = workers.run(self._work, task)
        except M3wError as error:  # a runner keeps the text of an error, not its class
            raise RuntimeError(f"[m3w {type(error).__name__}] {error} [/m3w]") from error
        if self._flat:
            yield from result
        else:
            yield result


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


class Select(beam.PTransform):  # type: ignore[misc]
    """URL dedup, text dedup, media URLs each once, one verdict part for each documents part.

    In: the pipeline. Out: the counts of each part written. `tasks[i].number` is `i`.
    """

    def __init__(self, tasks: list[selection.SelectTask], processes: int) -> None:
        super().__init__()
        self._tasks, self._processes = tasks, processes

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, buckets, in_child = self._tasks, self._tasks[0].buckets, self._processes
        by_url = (
            pipeline
            | "Keys" >> Spread(self._tasks, selection.document_keys, in_child, flat=True)  # (bucket, DOCUMENT_KEY)
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
        if tasks[0].config.near_duplicates:
            stayed = kept | "Near" >> NearDuplicates(tasks, in_child)
            kept, capped = stayed.kept, stayed.capped
            verdicts.append(stayed.verdicts)
        kept, same, frequent = kept | "Frequent" >> Repetitions(tasks, in_child)
        verdicts.append(same)
        owned = (
            {"kept": kept, "frequent": frequent}
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
            | {"capped": capped, "every": every}
            | "GroupByPart" >> beam.CoGroupByKey()
            | "WriteTask" >> beam.MapTuple(lambda part, groups: _write_task(part, groups, tasks))
            | "Write" >> beam.ParDo(InChild(selected.write_selected, in_child)).with_output_types(Any)
        )


class Repetitions(beam.PTransform):  # type: ignore[misc]
    """What stands on too many pages goes. In: (part, RANKED). Out: (part, RANKED) that stay, (part, VERDICT), (part, PAGES) of what is too frequent."""

    def __init__(self, tasks: list[selection.SelectTask], processes: int) -> None:
        super().__init__()
        self._tasks, self._processes = tasks, processes

    def expand(self, kept: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, in_child, config = self._tasks, self._processes, self._tasks[0].config
        frequent = (
            {"kept": kept}
            | "GroupByPart" >> beam.CoGroupByKey()
            | "CountTask" >> beam.MapTuple(lambda part, groups: _frequency_task(part, groups, tasks))
            | "Count"
            >> beam.ParDo(InChild(frequency.page_counts, in_child, flat=True)).with_output_types(tuple[int, bytes])
            | "GroupByKey" >> beam.GroupByKey()  # (bucket, PAGES)
            | "Sum" >> beam.FlatMapTuple(lambda _, blobs: by_part(frequency.sums(blobs, config)))
        )
        left = (
            {"kept": kept, "frequent": frequent}
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

    def __init__(self, tasks: list[selection.SelectTask], processes: int) -> None:
        super().__init__()
        self._tasks, self._processes = tasks, processes

    def expand(self, kept: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, in_child = self._tasks, self._processes
        led = (
            kept
            | "GroupByPart" >> beam.GroupByKey()
            | "BandTask"
            >> beam.MapTuple(lambda part, ranked: near.NearTask(select=tasks[part], ranked=b"".join(ranked)))
            | "Bands" >> beam.ParDo(InChild(near.band_keys, in_child, flat=True)).with_output_types(tuple[int, bytes])
            | "GroupByBand" >> beam.GroupByKey()  # (bucket, BAND)
            | "Leaders" >> beam.ParDo(_Leaders()).with_outputs("asks", main="leaders")  # (part, LEADER), (part, ASK)
        )
        signed = (
            led.asks
            | "GroupAsks" >> beam.GroupByKey()
            | "SignTask" >> beam.MapTuple(lambda part, asks: near.NearTask(select=tasks[part], asks=b"".join(asks)))
            | "Sign"
            >> beam.ParDo(InChild(near.signatures_for, in_child, flat=True)).with_output_types(tuple[int, bytes])
        )
        return (
            {"ranked": kept, "led": led.leaders, "signed": signed}  # (part, SIGNED)
            | "GroupByLoser" >> beam.CoGroupByKey()
            | "NearTask" >> beam.MapTuple(lambda part, groups: _near_task(part, groups, tasks))
            | "DropNear" >> beam.ParDo(InChild(near.drop_near, in_child)).with_output_types(Any)
            | "Stayed" >> beam.ParDo(_Stayed()).with_outputs("verdicts", "capped", main="kept")
        )


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
    return frequency.FrequencyTask(
        select=tasks[part], kept=b"".join(groups["kept"]), frequent=b"".join(groups.get("frequent", ()))
    )


def _write_task(part: int, groups: dict[str, Iterable[Any]], tasks: list[selection.SelectTask]) -> selected.WriteTask:
    packed = {name: b"".join(groups[name]) for name in ("kept", "verdicts", "frequent", "owned")}
    return selected.WriteTask(select=tasks[part], capped=sum(groups["capped"]), **packed)


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


class WriteNames(beam.PTransform):  # type: ignore[misc]
    """Writes each incoming list of names as JSON to one file of a run: how a list comes back to who submitted the job."""

    def __init__(self, run_url: str, path: str) -> None:
        super().__init__()
        self._run_url, self._path = run_url, path

    def expand(self, names: Any) -> Any:
        """In: one list of strings. Out: nothing of use."""
        return names | beam.Map(_write_names, run_url=self._run_url, path=self._path)


def _write_names(names: list[str], run_url: str, path: str) -> None:
    RunFolder(run_url).store.write(path, msgspec.json.encode(names))


class FetchFromWeb(beam.PTransform):  # type: ignore[misc]
    """One round: what is wanted next of what the run does not have yet, asked by buckets of hosts.

    In: the pipeline. Out: one sorted list of the names of all parts. `tasks[i].select.number` is `i`; `states` and the URLs of `ask` are filled in here.
    """

    def __init__(
        self,
        tasks: list[wanted.WantTask],
        known: list[wanted.KnownTask],
        moved: list[wanted.MovedTask],
        ask: fetch_web.AskTask,
        processes: int,
    ) -> None:
        super().__init__()
        self._tasks, self._known, self._moved, self._ask, self._processes = tasks, known, moved, ask, processes

    def expand(self, pipeline: Any) -> Any:
        """Comments give the element type after each step."""
        tasks, ask, in_child = self._tasks, self._ask, self._processes
        candidates = [picks.CandidateTask(select=task.select, selected_part=task.selected_part) for task in tasks]
        states = (
            {
                "candidates": pipeline | "Candidates" >> Spread(candidates, picks.candidate_keys, in_child, flat=True),
                "known": pipeline | "Known" >> Spread(self._known, wanted.known_media, in_child, flat=True),
            }  # (bucket, CANDIDATE) and (bucket, KNOWN)
            | "GroupByUrl" >> beam.CoGroupByKey()
            | "Match" >> beam.FlatMapTuple(lambda _, groups: wanted.match(groups["candidates"], groups["known"]))
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
            | "Ask" >> beam.ParDo(InChild(fetch_web.ask_bucket, in_child, flat=True)).with_output_types(str)
            | "Names" >> beam.combiners.ToList()
            | "Sort" >> beam.Map(sorted)
        )


def _want_task(part: int, groups: dict[str, Iterable[bytes]], tasks: list[wanted.WantTask]) -> wanted.WantTask:
    return msgspec.structs.replace(tasks[part], states=b"".join(groups["states"]))


def _ask_task(bucket: int, blobs: Iterable[bytes], ask: fetch_web.AskTask) -> fetch_web.AskTask:
    return msgspec.structs.replace(ask, bucket=bucket, wanted=sorted(blobs))
