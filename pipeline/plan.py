"""The cost model of a run: what a sample of an input cost, carried to the whole.

In: a `Sample` (measured), a `Whole` (what there is to do). Out: a `Plan`. Pure arithmetic on counts, bytes and seconds; what is not measured on the
sample is a constant here, with its source on its line. What grows with what:

    pages           CPU seconds, bytes out, bytes of packed keys
    parts           commit records, tables, the graph of a job: requests and bytes, above those of a job of one part
    parts x buckets the byte strings in which keys travel, as long as there are more keys than that
    parts x shards  reads of assembled parts: a shard is a range of each of them
"""

import math

import msgspec

from pipeline.read.files import BLOCK_BYTES
from pipeline.stages.assembled import ASSEMBLED
from pipeline.stages.near import BAND, BEST
from pipeline.stages.packed import BUCKET_BYTES, MAX_BUCKETS
from pipeline.stages.selection import DOCUMENT_KEY
from pipeline.stages.shard import READ_TOGETHER, shard_count

REQUEST_CPU_S = 0.004  # measured: 2.5 to 6.7 ms of s3fs and m3w.Store a request, S3 server on the loopback
REQUEST_S = 0.03  # measured: a range read of such a server, 10 to 33 ms; a store's first byte takes as long
STORE_BYTES_S = 100e6  # ours: what one worker reads of a store in a second
JOB_START_S = 8.0  # measured (docs/scale.md): of a job on Flink and its command what is not its work
SHUFFLE_START_S = 0.25  # measured: what each of its shuffles adds to that
JOB_CPU_S = 3.0  # measured: of who submits, job server and job manager, a job
WORKER_CPU_S = 4.5  # measured: of each worker, a job, nearly all of it for what Python and its child load
SHUFFLE_CPU_S = 0.15  # measured: of all of them together, a shuffle
STRING_BYTES = 21  # Beam: key, type and length of a packed string 8, its timestamp, window and pane 13
SELECT_CPU_S = 0.00036  # docs/select.md: a document, of 200,000; a sample is too small to show it
NAME_BYTES = 35  # measured: of a media part, in the task of each documents part that is assembled
JOIN_BYTES = 7.0  # measured: peak of a join for each byte that it joins, 3.4 to 6.8 (tracemalloc)
WEB_CPU_S = 0.005  # docs/web.md: 398 pictures of 68 KB a second, measured, on two cores
WEB_SHARE = 0.55  # OBELICS: downloads that succeed
WEB_BYTES = 68_000  # ours: of a picture, where the sample has none of its own
MAX_GRAPH_BYTES = 2 << 30  # Protobuf: a message
MAX_WORKER_BYTES = 4 << 30  # ours: what a core has on usual machines
MAX_TASK_BYTES = 64 << 20  # ours: of one unit of work, sent with it
MAX_SHARD_S = 600.0  # ours: reads for one shard of 256 MB before its first sample is written


class StageRan(msgspec.Struct, frozen=True, kw_only=True):
    """What one stage took on one input: CPU seconds, bytes by shuffle, the largest graph of its jobs, requests such as {"GET documents": 3}, bytes out, parts.

    `shuffles` is how many its jobs have, those that deal out tasks and those that nothing went through included.
    """

    cpu_s: float
    shuffled: dict[str, int]
    graph_bytes: int
    requests: dict[str, int]
    out_bytes: int
    parts: int
    jobs: int
    shuffles: int


class StageSample(StageRan, frozen=True, kw_only=True):
    """What one stage took on the sample, and, in `start_*`, on a single page: what it costs to begin."""

    stage: str
    start_cpu_s: float
    start_graph_bytes: int
    start_requests: dict[str, int]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, on `parts` slices of `bytes` together. `sample_bytes` and `samples` are by kind of shard; `same_text` is the most pages of one text."""

    bytes: int
    parts: int
    pages: int
    documents: int
    media_urls: int
    media_ok: int
    media_bytes: int
    same_text: int
    samples: dict[str, int]
    sample_bytes: dict[str, int]
    process_bytes: int
    stages: list[StageSample]


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do: an input's bytes and slices, the size of a shard, URLs in a part that comes from the web (0: it is not asked), workers.

    `request_s` is how long the store lets a request wait.
    """

    bytes: int
    parts: int
    target_bytes: int
    chunk_urls: int
    workers: int
    request_s: float = REQUEST_S


class StagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage will cost: core seconds, bytes shuffled, the widest bucket of a shuffle, requests, bytes out, bytes of its graph, units of work, seconds on all workers."""

    stage: str
    core_s: float
    shuffled_bytes: float
    bucket_bytes: float
    requests: float
    out_bytes: float
    graph_bytes: float
    units: int
    seconds: float


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """Something that ends a run when it grows past `most`, and what to turn then."""

    name: str
    value: float
    most: float
    unit: str
    turn: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The estimate. `shards` are of all kinds; `key` is the widest single key, with its bytes."""

    pages: float
    documents: float
    media_urls: float
    web_urls: float
    shards: int
    stages: list[StagePlan]
    key: tuple[str, float]
    worker_bytes: float
    limits: list[Limit]


def estimate(sample: Sample, whole: Whole) -> Plan:
    """Carries a sample to the whole."""
    by = whole.bytes / sample.bytes
    web_urls = max(0, sample.media_urls - sample.media_ok) * by if whole.chunk_urls else 0.0
    shards = shards_of(sample, whole, by, web_urls)
    media_parts = math.ceil(web_urls / whole.chunk_urls) if whole.chunk_urls else 0
    stages = [_stage(stage, sample, whole, by, shards) for stage in sample.stages]
    if whole.chunk_urls:
        stages.insert(-1, _web(web_urls, media_parts, sample, whole))
    key = widest_key(sample, whole, by)
    bucket_bytes = max(stage.bucket_bytes for stage in stages)
    worker_bytes = sample.process_bytes + JOIN_BYTES * max(bucket_bytes, key[1])
    plan = Plan(
        pages=sample.pages * by,
        documents=sample.documents * by,
        media_urls=sample.media_urls * by,
        web_urls=web_urls,
        shards=sum(shards.values()),
        stages=stages,
        key=key,
        worker_bytes=worker_bytes,
        limits=[],
    )
    return msgspec.structs.replace(plan, limits=limits_of(plan, sample, whole))


def shards_of(sample: Sample, whole: Whole, by: float, web_urls: float) -> dict[str, int]:
    """How many shards of each kind there will be; pictures of the web go into documents."""
    each = sample.media_bytes / sample.media_ok if sample.media_ok else WEB_BYTES
    sizes = {kind: size * by for kind, size in sample.sample_bytes.items()}
    if web_urls:
        sizes["interleaved"] = sizes.get("interleaved", 0.0) + web_urls * WEB_SHARE * each
    return {kind: shard_count(int(size), whole.target_bytes) for kind, size in sizes.items() if size}


def assembled_reads(parts: int, shards: int, samples: float) -> float:
    """Requests by which shards of one kind read the assembled parts: an index for each pair of both, and the range of it that holds a sample."""
    pairs = parts * shards
    return pairs + pairs * -math.expm1(-samples / pairs) if pairs else 0.0


def strings_bytes(parts: int, payload: float) -> float:
    """What a shuffle's packed strings cost besides their payload: each part sends one to each bucket, at most one a record (of 28 bytes and more)."""
    buckets = min(MAX_BUCKETS, max(1.0, payload / BUCKET_BYTES))
    return STRING_BYTES * min(parts * buckets, payload / 28)


def bucket_bytes(payload: float) -> float:
    """The bytes that meet in one bucket of a shuffle."""
    return max(payload / MAX_BUCKETS, min(payload, BUCKET_BYTES))


def per_part(measured: float, start: float, parts: int, wanted: int) -> float:
    """A cost that grows with the parts: measured on one (`start`) and on `parts` of them, for so many as are wanted.

    Where one part is all that was measured, each further one is taken to cost as much. On many it costs no more than their mean, though the one may have
    cost less than each of them: it is a single page, on which nothing is frequent.
    """
    each = measured / parts
    if parts > 1:
        each = min(each, max(0.0, measured - start) / (parts - 1))
    return measured + each * (wanted - parts)


def widest_key(sample: Sample, whole: Whole, by: float) -> tuple[str, float]:
    """The key of which most bytes meet in one place; such a key is one worker's, however many buckets there are."""
    keys = {
        "pages with one text": (sample.same_text * by if sample.same_text > 1 else 1) * DOCUMENT_KEY.itemsize,
        "a MinHash band that all parts share": whole.parts * BEST * BAND.itemsize,
    }
    name = max(keys, key=lambda one: keys[one])
    return name, keys[name]


def _stage(stage: StageSample, sample: Sample, whole: Whole, by: float, shards: dict[str, int]) -> StagePlan:
    counts = {
        name: _requests(name, number, stage, sample.parts, whole.parts, by) for name, number in stage.requests.items()
    }
    units = math.ceil(stage.parts * whole.parts / sample.parts)
    if stage.stage == "extract":
        counts["GET input"] = whole.bytes / BLOCK_BYTES + whole.parts
        counts["HEAD input"] = float(whole.parts)
    if stage.stage == "shard":
        units = whole.parts + sum(shards.values())
        counts["GET assembled"] = sum(
            assembled_reads(whole.parts, number, sample.samples.get(kind, 0) * by) for kind, number in shards.items()
        )
        counts["PUT shards"] = 2.0 * sum(shards.values())
    counts["GET commits"] = counts.get("GET commits", 0.0) + units  # the display of who submits reads each record
    requests = sum(counts.values())
    work_s = max(0.0, stage.cpu_s - stage.start_cpu_s) * by
    if stage.stage == "select":
        work_s = max(work_s, SELECT_CPU_S * sample.documents * by)
    core_s = stage.start_cpu_s + work_s + requests * REQUEST_CPU_S
    engine_s = engine_cpu_s(stage.jobs, stage.shuffles, whole.workers)
    side_by_side = sum(counts.get(name, 0.0) for name in ("GET media", "GET commits"))
    side_by_side += counts.get("GET assembled", 0.0) * (1 - 1 / READ_TOGETHER)
    waits_s = (requests - side_by_side) * whole.request_s
    payloads = [size * by for size in stage.shuffled.values()]
    return StagePlan(
        stage=stage.stage,
        core_s=core_s + engine_s,
        shuffled_bytes=sum(size + strings_bytes(whole.parts, size) for size in payloads),
        bucket_bytes=max((bucket_bytes(size) for size in payloads), default=0.0),
        requests=requests,
        out_bytes=stage.out_bytes * by,
        graph_bytes=per_part(stage.graph_bytes, stage.start_graph_bytes, sample.parts, whole.parts),
        units=units,
        seconds=start_s(stage.jobs, stage.shuffles) + seconds_on(whole.workers, units, core_s + waits_s),
    )


def _requests(name: str, number: int, stage: StageSample, parts: int, wanted: int, by: float) -> float:
    """Bytes of media are asked for by the medium and grow with the pages, all else with the parts."""
    if name in ("GET media", "PUT media"):
        return number * by
    return per_part(number, stage.start_requests.get(name, 0), parts, wanted)


def engine_cpu_s(jobs: int, shuffles: int, workers: int) -> float:
    """CPU seconds that an engine takes for itself: what it moves costs it little, since bytes come packed, but jobs have to begin."""
    return jobs * (JOB_CPU_S + workers * WORKER_CPU_S) + shuffles * SHUFFLE_CPU_S


def start_s(jobs: int, shuffles: int) -> float:
    """Seconds of jobs, one after the other, in which nothing is done of their work."""
    return jobs * JOB_START_S + shuffles * SHUFFLE_START_S


def seconds_on(workers: int, units: int, seconds: float) -> float:
    """How long so many equal units take that need so many seconds together: the last round of workers is not full."""
    return math.ceil(units / workers) * seconds / units if units else 0.0


def _web(urls: float, parts: int, sample: Sample, whole: Whole) -> StagePlan:
    """Asking the web: not measured on the sample. A part is put as tar, table and record, and read again three times."""
    each = sample.media_bytes / sample.media_ok if sample.media_ok else WEB_BYTES
    requests = 6.0 * parts
    core_s = urls * WEB_CPU_S + requests * REQUEST_CPU_S
    return StagePlan(
        stage="web",
        core_s=core_s + engine_cpu_s(1, 0, whole.workers),
        shuffled_bytes=0.0,
        bucket_bytes=0.0,
        requests=requests,
        out_bytes=urls * WEB_SHARE * each,
        graph_bytes=0.0,
        units=parts,
        seconds=start_s(1, 0) + seconds_on(whole.workers, parts, core_s),
    )


def limits_of(plan: Plan, sample: Sample, whole: Whole) -> list[Limit]:
    """What breaks, the nearest first."""
    fewer = "a larger extract.slice_bytes; runs over pieces of the input, each --against those before"
    pieces = "runs over pieces of the input, each --against those before"
    graph = max(plan.stages, key=lambda stage: stage.graph_bytes)
    samples = sum(sample.samples.values()) * whole.bytes / sample.bytes
    media_parts = sum(stage.units for stage in plan.stages if stage.stage in ("fetch", "web"))
    joined, free = plan.worker_bytes - sample.process_bytes, MAX_WORKER_BYTES - sample.process_bytes
    limits = [
        Limit(
            name=f"the job's graph in {graph.stage}",
            value=graph.graph_bytes,
            most=MAX_GRAPH_BYTES,
            unit="bytes",
            turn=fewer,
        ),
        Limit(
            name="a shard's reads of all parts",
            value=2 * whole.parts * (REQUEST_CPU_S + whole.request_s / READ_TOGETHER)
            + samples * ASSEMBLED.itemsize / STORE_BYTES_S,
            most=MAX_SHARD_S,
            unit="seconds",
            turn=fewer,
        ),
        Limit(
            name="the names of media parts in a task of shard",
            value=media_parts * NAME_BYTES,
            most=MAX_TASK_BYTES,
            unit="bytes",
            turn="a larger fetch.chunk_urls; runs over pieces of the input",
        ),
        Limit(name="what a worker joins", value=joined, most=free, unit="bytes", turn=pieces),
    ]
    return sorted(limits, key=lambda limit: -limit.value / limit.most)
