"""m3w fetch: the bytes of media, from the crawl itself, then from a folder that img2dataset has filled, then from the web."""

import time

import msgspec

from jobs import img2dataset
from jobs.job import Job
from jobs.selection import select_tasks
from pipeline.read.media_folder import MediaShard, find_shards
from pipeline.report import sum_counts
from pipeline.runfolder import Commit, digest
from pipeline.stages.fetch import MAX_REDIRECTS, RULES_VERSION, STAGE, ChunkTask, CrawlFile, LookupTask
from pipeline.stages.fetch_folder import OFFERED, OfferTask, TakenTask, TakeTask
from pipeline.stages.fetch_web import AskTask, WebPart, ask_bucket, depends_on
from pipeline.stages.media_index import copies_name
from pipeline.stages.packed import MAX_BUCKETS, bucket_count
from pipeline.stages.url_list import SCRATCH, scratch, write_urls
from pipeline.stages.wanted import KnownTask, MovedTask, WantTask
from pipeline.transforms.fetch import FetchFromCrawl, FetchFromWeb
from pipeline.transforms.folder import FetchFromFolder
from pipeline.transforms.spread import WriteNames
from schemas.drops import DropReason

NAMES = "stages/fetch.names.json"
ASKING = "stages/fetch.asking.json"
URLS_PER_BUCKET = 5_000  # ours: enough hosts to keep one worker's connections busy, some minutes of work
MIN_BUCKETS = 16  # ours: a small job, too, has work for every core of a small machine; never of the number of workers


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where media come from that the crawl does not hold: a folder's shards, and who asks the web (img2dataset, or we)."""

    shards: list[MediaShard] = []
    img2dataset: bool = False

    @property
    def identity(self) -> str:
        """Of the folder's content; "" for none."""
        return digest("folder", [(one.name, one.identity) for one in self.shards]) if self.shards else ""


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How far the web has been asked: what this depends on, the next round, all parts so far, and those of the last round; the folder that was gone through.

    It changes between rounds only, so that a round that is interrupted wants the same URLs again, in the same chunks.
    """

    identity: str
    generation: int
    retry: bool
    parts: list[str]
    round: int = 0
    last: list[str] = []
    folder: str = ""


def run(job: Job, retry: bool = False, source: Source = Source()) -> None:
    """Takes every media URL of the selected documents that the crawl holds; of others what the folder holds; asks the web for the rest, if it is told who asks.

    What was asked is never asked again; `retry` asks anew for what failed for a reason that may pass.
    """
    if not retry and _is_done(job, source.identity):
        return
    crawl = _take_from_crawl(job)
    missing = _missing(job, crawl)
    parts = sorted({*crawl, *_web_parts(job)})
    if source.shards or (missing > 0 and _rounds(job)):
        parts = _ask(job, crawl, missing, retry, source)
    if not _rounds(job) and (missing := _missing(job, parts)) > 0:
        job.progress.say(
            f"fetch: {missing:,} media URLs are not in the crawl{' or the folder' if source.shards else ''}; to ask the web "
            "for them, say who asks: --set fetch.contact=you@example.org"
        )
    if retry:
        job.progress.say("fetch: asked again; m3w shard makes the shards with what came of it")
    job.folder.store.remove([ASKING])
    job.folder.store.remove_folder(SCRATCH)
    job.folder.finish(STAGE, _identity(job, _rounds(job), parts), parts)


def _missing(job: Job, parts: list[str]) -> int:
    """How many media URLs these parts have no row of."""
    media = sum_counts(job.folder.commits_of(STAGE, parts))
    return job.total("select", "media_urls") - sum(n for name, n in media.items() if name.startswith("media."))


def _rounds(job: Job) -> int:
    return job.config.fetch.rounds if job.config.fetch.contact else 0


def _identity(job: Job, rounds: int, parts: list[str]) -> str:
    """What later stages depend on: the set of parts, too, since the web answers differently twice."""
    extract, select = job.needs("extract", STAGE), job.needs("select", STAGE)
    rules = depends_on(job.config.images, job.config.video)
    return digest(STAGE, RULES_VERSION, rules, extract.identity, select.identity, rounds, parts)


def _is_done(job: Job, folder: str) -> bool:
    """Whether all is taken, and asked as often as it is to be asked; who is not to ask finds what was asked before good."""
    record = job.folder.stage(STAGE)
    parts = record.parts if record else []
    web = _web_parts(job)
    if folder and not any(web[part].folder == folder for part in parts if part in web):
        return False
    enough = [_rounds(job), job.config.fetch.rounds]
    identities = [_identity(job, rounds, parts) for rounds in enough]
    found = record.identity if record and record.identity in identities else identities[0]
    return job.is_done(STAGE, found)


def _web_parts(job: Job) -> dict[str, WebPart]:
    """The parts that came from the web, or from a folder, under the present configuration."""
    rules = depends_on(job.config.images, job.config.video)
    found = {}
    for commit in job.folder.commits_of(STAGE, sorted(job.folder.committed(STAGE))):
        if commit.detail:
            of = msgspec.json.decode(commit.detail, type=WebPart)
            if of.depends_on == rules:
                found[commit.part] = of
    return found


def _ask(job: Job, crawl: list[str], missing: int, retry: bool, source: Source) -> list[str]:
    """Goes through the folder, then asks round by round; returns all parts."""
    asking = _begin(job, crawl, retry)
    if source.shards and asking.folder != source.identity:
        job.folder.store.write(ASKING, msgspec.json.encode(asking))
        names = _take_from_folder(job, asking, source.shards, source.identity)
        asking = msgspec.structs.replace(asking, parts=sorted({*asking.parts, *names}), folder=source.identity)
    hosts = min(MAX_BUCKETS, max(MIN_BUCKETS, missing // URLS_PER_BUCKET))
    deadline_s = job.config.fetch.stage_deadline_s
    until = time.time() + deadline_s if deadline_s else None
    while _rounds(job) and asking.round < job.config.fetch.rounds + job.config.fetch.max_redirects:
        job.folder.store.write(ASKING, msgspec.json.encode(asking))
        names = _ask_round(job, asking, hosts, until, source.img2dataset)
        if not names:
            break
        parts = sorted({*asking.parts, *names})
        asking = msgspec.structs.replace(asking, round=asking.round + 1, parts=parts, last=names)
    return asking.parts


def _begin(job: Job, crawl: list[str], retry: bool) -> Asking:
    """Goes on with what was interrupted, if nothing that it depends on has changed."""
    identity = _identity(job, job.config.fetch.rounds, crawl)
    if job.folder.store.exists(ASKING):
        asking = msgspec.json.decode(job.folder.store.read(ASKING), type=Asking)
        if asking.identity == identity:
            return asking
    job.folder.store.remove_folder(SCRATCH)
    web = _web_parts(job)
    generation = max((part.generation for part in web.values()), default=0) + retry
    return Asking(identity=identity, generation=generation, retry=retry, parts=sorted({*crawl, *web}))


def _ask_round(job: Job, asking: Asking, hosts: int, until: float | None, by_img2dataset: bool) -> list[str]:
    """Asks one round of URLs; returns the names of its parts."""
    config = job.config
    tasks: list[WantTask] = []
    known: list[KnownTask] = []
    if asking.round < config.fetch.rounds:
        tasks = [
            WantTask(
                select=select,
                selected_part=select.output,
                hosts=hosts,
                videos=config.video.take,
                asks_new=not asking.retry,
            )
            for select in select_tasks(job, job.needs("select", STAGE).identity)
        ]
        known = [
            KnownTask(
                run_url=job.url,
                part=part,
                buckets=tasks[0].select.buckets,
                asks_again_before=asking.generation if asking.retry else 0,
                is_last=part in asking.last,
            )
            for part in asking.parts
        ]
    moved = [MovedTask(run_url=job.url, part=part, hosts=hosts) for part in _leading_on(job, asking.last)]
    if not tasks and not moved:
        return []
    ask = AskTask(
        run_url=job.url,
        bucket=0,
        round=asking.round,
        generation=asking.generation,
        fetch=config.fetch,
        images=config.images,
        video=config.video,
        until=until,
    )
    work = write_urls if by_img2dataset else ask_bucket
    names = _run(job, FetchFromWeb(tasks, known, moved, ask, job.engine.processes, work))
    return _by_img2dataset(job, asking) if by_img2dataset and names else names


def _by_img2dataset(job: Job, asking: Asking) -> list[str]:
    """Has img2dataset ask the round's lists of URLs, and takes what it got; returns the names of the parts."""
    folder = scratch(asking.generation, asking.round)
    where = f"{job.url}/{folder}"
    img2dataset.download(f"{where}/urls", f"{where}/media", job.config.fetch, job.engine.processes)
    names = _take_from_folder(job, asking, find_shards(f"{where}/media", {}), "")
    job.folder.store.remove_folder(folder)
    return names


def _take_from_folder(job: Job, asking: Asking, shards: list[MediaShard], identity: str) -> list[str]:
    """Takes what a folder has of what has no bytes yet; returns the names of the parts. `identity` is "" for the folder of a round."""
    offered_bytes = len(shards) * OFFERED.itemsize * 10_000  # img2dataset's URLs a shard
    buckets = bucket_count(job.total("select", "media_urls") * 48 + offered_bytes)
    wanted = [LookupTask(run_url=job.url, part=part, buckets=buckets) for part in job.needs("select", STAGE).parts]
    web = _web_parts(job)
    taken = [
        TakenTask(
            run_url=job.url,
            part=part,
            buckets=buckets,
            whole=bool(identity) and part in web and web[part].folder == identity,
        )
        for part in asking.parts
    ]
    offers = [OfferTask(shard=shard, number=number, buckets=buckets) for number, shard in enumerate(shards)]
    take = TakeTask(
        run_url=job.url,
        shard=shards[0],
        chosen=b"",
        folder=identity,
        generation=asking.generation,
        rank=None if identity else asking.round,
        images=job.config.images,
        video=job.config.video,
    )
    return _run(job, FetchFromFolder(wanted, taken, offers, take, job.engine.processes))


def _leading_on(job: Job, parts: list[str]) -> list[str]:
    """The parts in which an answer leads to another host."""
    count = f"media.{DropReason.REDIRECTED}"
    return [commit.part for commit in job.folder.commits_of(STAGE, parts) if commit.counts.get(count)]


def _run(job: Job, transform: FetchFromCrawl | FetchFromFolder | FetchFromWeb) -> list[str]:
    """Runs a transform that writes parts; returns their names."""
    job.run(STAGE, [], lambda pipeline: pipeline | transform | WriteNames(job.url, NAMES))
    names = msgspec.json.decode(job.folder.store.read(NAMES), type=list[str])
    job.folder.store.remove([NAMES])
    return names


def _take_from_crawl(job: Job) -> list[str]:
    """Takes what the crawl holds; returns the names of the parts."""
    commits = job.folder.commits("extract")
    if not commits:
        return []
    files = _files(job, commits)
    places = {file.name: place for place, file in enumerate(files)}
    buckets = bucket_count(job.total("select", "media_urls") * 48 + job.total("extract", "media_index") * 96)
    wanted = [LookupTask(run_url=job.url, part=part, buckets=buckets) for part in job.needs("select", STAGE).parts]
    index = []
    for commit in commits:  # a part refers to its own input and to its own copies
        named = {name: places[name] for name in (commit.detail, copies_name(commit.part)) if name in places}
        index.append(LookupTask(run_url=job.url, part=commit.part, buckets=buckets, files=named))
    chunk = ChunkTask(run_url=job.url, file=files[0], references=b"", config=job.config.images, video=job.config.video)
    redirects = min(MAX_REDIRECTS, job.total("extract", "records.redirect"))
    return _run(job, FetchFromCrawl(wanted, index, chunk, files, redirects, job.engine.processes))


def _files(job: Job, commits: list[Commit]) -> list[CrawlFile]:
    """All files that a reference can name, sorted by name."""
    copies = [
        CrawlFile(file.path, f"{job.url}/{file.path}", file.sha256, True)
        for commit in commits
        for file in commit.files
        if file.path == copies_name(commit.part)
    ]
    return sorted([CrawlFile(one.name, one.url, one.identity, False) for one in job.inputs()] + copies)
