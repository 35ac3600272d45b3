"""select, what stands on too many pages: pictures by their URL, paragraphs of a domain, sets of pictures.

    page_counts       a part's kept rows   ->  (bucket, on how many of the part's pages a URL or a domain's paragraph stands)
    sums              a bucket             ->  what stands on too many pages of all parts, for the parts that hold it
    weed              a part               ->  the rows that stay, (bucket, keys of their sets of pictures)
    latest_of_images  a bucket             ->  survivors, verdicts
    weeded            a part's rows        ->  what goes from each, for who writes it down

A part counts for itself first, so a picture on every page of the crawl is a record a part. A domain's paragraphs are counted under a key that mixes
the two, so that a domain with half of all pages is spread over the buckets. Counts are of the pages that stay after the copies are gone;
what goes here is not counted again.
"""

from collections.abc import Iterable
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.config import SelectConfig
from pipeline.dedup.minhash import mix
from pipeline.isolate import Note
from pipeline.stages.extract import MAX_CANDIDATES, TRACK_RANK
from pipeline.stages.packed import KEY, Records, find_keys, first_of_runs, join, key_numbers, split
from pipeline.stages.refused import Refused, Why, unpack_refused
from pipeline.stages.selection import (
    RANKED,
    VERDICTS,
    Bucketed,
    SelectTask,
    candidate_records,
    first_stays,
    hash_number,
    read_documents,
)
from pipeline.web.host import registered_domain
from schemas.document import DraftMedium, Text, decode_draft_nodes
from schemas.drops import Drop, DropReason

URL, PARAGRAPH = 0, 1
PAGES = np.dtype([*KEY, ("kind", "<u1"), ("part", "<u4"), ("pages", "<u4")])
STANDS = np.dtype([*KEY, ("row", "<u4"), ("place", "<u4")])  # a paragraph: which of the document's
IMAGE_SET = np.dtype([*KEY, *RANKED.descr, ("url_hi", "<u8"), ("url_lo", "<u8")])
GONE_CANDIDATE = np.dtype([("medium", "<u2"), ("rank", "<u2")])  # selected.gone_candidates
MAX_NODES = 1 << 16  # selected.gone_nodes packs places in two bytes; what stands behind stays


class FrequencyTask(msgspec.Struct, frozen=True, kw_only=True):
    """A part with its kept rows (RANKED), what stands on too many pages (PAGES) and what may not be used (Refused), packed."""

    select: SelectTask
    kept: bytes
    frequent: bytes = b""
    refused: bytes


class Weeded(msgspec.Struct, frozen=True, kw_only=True):
    """What goes from a document: places of nodes, (medium, rank) of candidates, their drops; and why the page falls, if it does."""

    nodes: list[int]
    candidates: list[tuple[int, int]]
    drops: list[Drop]
    page: DropReason | None


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What of a part stays: RANKED, and IMAGE_SET by bucket."""

    part: int
    kept: bytes
    image_sets: Bucketed


def page_counts(task: FrequencyTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """On how many of a part's kept pages each candidate URL and each paragraph of a domain stands, by bucket."""
    rows = np.sort(join([task.kept], RANKED)["row"])
    config, counts = task.select.config, []
    if config.max_url_pages:
        counts.append(count_pages(_candidates(task.select, rows), URL, task.select.number))
    if config.max_domain_paragraphs:
        counts.append(count_pages(_paragraphs(task.select, rows), PARAGRAPH, task.select.number))
    return list(split(np.concatenate(counts), task.select.buckets)) if counts else []


def count_pages(stands: Records, kind: int, part: int) -> Records:
    """PAGES of records that say on which row a key stands; twice on one row counts once."""
    stands = stands[np.lexsort((stands["row"], stands["lo"], stands["hi"]))]
    stands = stands[first_of_runs(stands, ("hi", "lo", "row")) == np.arange(len(stands))]
    begins = np.flatnonzero(first_of_runs(stands, ("hi", "lo")) == np.arange(len(stands)))
    counts = np.zeros(len(begins), dtype=PAGES)
    counts["hi"], counts["lo"] = stands["hi"][begins], stands["lo"][begins]
    counts["kind"], counts["part"], counts["pages"] = kind, part, np.diff(np.append(begins, len(stands)))
    return counts


def sums(blobs: Iterable[bytes], config: SelectConfig) -> Records:
    """Of one bucket what stands on too many pages of all parts, a record for each part that holds it, with the sum."""
    counts = join(blobs, PAGES)
    counts = counts[np.lexsort((counts["part"], counts["kind"], counts["lo"], counts["hi"]))]
    first = first_of_runs(counts, ("hi", "lo", "kind"))
    totals = np.zeros(len(counts), dtype=np.uint32)
    np.add.at(totals, first, counts["pages"])
    counts["pages"] = totals[first]
    limits = np.array([config.max_url_pages, config.max_domain_paragraphs - 1])[counts["kind"]]
    frequent: Records = counts[counts["pages"] > limits]
    return frequent


def weed(task: FrequencyTask, note: Note, skip: frozenset[int]) -> Left:
    """A part's kept rows without the pages that have no text or no media left."""
    kept = np.sort(join([task.kept], RANKED), order="row")
    frequent, refused = join([task.frequent], PAGES), unpack_refused(task.refused)
    fallen = [row for row, one in weeded(task.select, kept["row"], frequent, refused).items() if one.page is not None]
    kept = kept[~np.isin(kept["row"], np.array(fallen, dtype=np.uint32))]
    sets = list(split(_image_sets(task.select, kept, frequent, refused), task.select.buckets))
    return Left(part=task.select.number, kept=kept.tobytes(), image_sets=sets if task.select.config.same_images else [])


def weeded(task: SelectTask, rows: NDArray[np.uint32], frequent: Records, refused: Refused) -> dict[int, Weeded]:
    """What goes from each of a part's rows (ascending) from which anything goes."""
    there = set(rows.tolist())
    unusable = {row: whys for row, whys in refused.by_row().items() if row in there}
    if not len(frequent) and not unusable:
        return {}
    candidates, paragraphs = _candidates(task, rows), _paragraphs(task, rows)
    urls: dict[int, dict[tuple[int, int], int]] = {}
    for one, pages in _those_in(candidates, frequent[frequent["kind"] == URL]):
        urls.setdefault(int(one["row"]), {})[int(one["medium"]), int(one["rank"])] = pages
    texts: dict[int, dict[int, int]] = {}
    for one, pages in _those_in(paragraphs, frequent[frequent["kind"] == PARAGRAPH]):
        texts.setdefault(int(one["row"]), {})[int(one["place"])] = pages
    touched = sorted(urls.keys() | texts.keys() | unusable.keys())
    stored = read_documents(task, ["nodes"])["nodes"].take(np.array(touched, dtype=np.int64)).to_pylist()
    return {
        row: weed_nodes(
            decode_draft_nodes(nodes), urls.get(row, {}), texts.get(row, {}), unusable.get(row, {}), task.config
        )
        for row, nodes in zip(touched, stored, strict=True)
    }


def weed_nodes(
    nodes: list[Text | DraftMedium],
    urls: dict[tuple[int, int], int],
    texts: dict[int, int],
    unusable: dict[tuple[int, int], Why],
    config: SelectConfig,
) -> Weeded:
    """What goes from one document: of (medium, rank) and of text nodes by their number the pages on which they stand; why candidates are unusable.

    A medium goes with its last candidate, for the reason that its best one has.
    """
    drops: dict[int, Drop] = {}  # by place
    medium = text = 0
    for place, node in enumerate(nodes):
        if isinstance(node, Text):
            if text in texts:
                drops[place] = _boilerplate(node, texts[text], config)
            text += 1
            continue
        ranks = range(min(len(node.candidates), MAX_CANDIDATES))
        if all((medium, rank) in urls or (medium, rank) in unusable for rank in ranks):
            why = unusable.get((medium, 0))
            drops[place] = _unusable(node, why) if why else _frequent(node, urls[medium, 0], config)
        medium += 1
    _spare(nodes, drops)
    left = [node for place, node in enumerate(nodes) if place not in drops]
    texts_left = sum(isinstance(node, Text) for node in left)
    page = DropReason.NO_TEXT_LEFT if text and not texts_left else None
    if page is None and texts_left == len(left):
        page = DropReason.NO_IMAGE
    candidates = sorted(urls.keys() | unusable.keys())
    return Weeded(nodes=sorted(drops), candidates=candidates, drops=[drops[at] for at in sorted(drops)], page=page)


def _spare(nodes: list[Text | DraftMedium], drops: dict[int, Drop]) -> None:
    """Takes out of what goes the headings that have something of their sections left, and what cannot be written down.

    OBELICS counts no headings: it drops paragraphs of less than four words before. Of 264 repeated paragraphs on pages of two
    courses, a manual and a library 226 are headings (`# Objective`, `### Output`), whose sections differ.
    """
    following = 0  # the level of the next node that is left; 0 at the end
    for place in reversed(range(len(nodes))):
        own = _level(nodes[place])
        if place in drops and (own < following or place >= MAX_NODES):
            del drops[place]
        if place not in drops:
            following = own


def _level(node: Text | DraftMedium) -> int:
    """1 to 6 for a heading, 7 for anything else."""
    mark = node.text.partition(" ")[0] if isinstance(node, Text) else ""
    return len(mark) if 0 < len(mark) < 7 and mark == "#" * len(mark) else 7


def _boilerplate(node: Text, pages: int, config: SelectConfig) -> Drop:
    limit = config.max_domain_paragraphs
    reason = DropReason.DOMAIN_BOILERPLATE
    return Drop(kind="paragraph", reason=reason, value=pages, threshold=limit, detail=node.text[:80])


def _frequent(node: DraftMedium, pages: int, config: SelectConfig) -> Drop:
    url = node.candidates[0].url[:2000]
    reason = DropReason.FREQUENT_URL
    return Drop(kind=node.kind, reason=reason, medium_url=url, value=pages, threshold=config.max_url_pages)


def _unusable(node: DraftMedium, why: Why) -> Drop:
    return Drop(kind=node.kind, reason=why[0], medium_url=node.candidates[0].url[:2000], detail=why[1])


def usable(candidates: Records, frequent: Records, refused: Refused) -> Records:
    """The candidates (CANDIDATE) whose URL stands on no more pages than it may, and which no list or origin has ruled out."""
    left: Records = candidates[find_keys(candidates, frequent[frequent["kind"] == URL]) < 0]
    if len(refused.records):
        left = left[~np.isin(_place(left), _place(refused.records))]
    return left


def _place(records: Records) -> NDArray[np.uint64]:
    """Where a candidate stands in its part, as one number."""
    row, medium = records["row"].astype(np.uint64), records["medium"].astype(np.uint64)
    place: NDArray[np.uint64] = row << np.uint64(32) | medium << np.uint64(16) | records["rank"]
    return place


def latest_of_images(blobs: Iterable[bytes]) -> tuple[Records, Records]:
    """(survivors, verdicts) of one bucket of IMAGE_SET: of the pages with the same pictures the latest stays."""
    records = join(blobs, IMAGE_SET)
    date = -records["date"].astype(np.int64)
    records = records[np.lexsort((records["tie"], records["url"], date, records["lo"], records["hi"]))]
    return first_stays(records, VERDICTS.index(DropReason.SAME_IMAGES), better=("url_hi", "url_lo"))


def ranked(survivors: Records) -> Records:
    """Where the survivors stand, and how good they are."""
    rows = np.zeros(len(survivors), dtype=RANKED)
    for field in RANKED.names or ():
        rows[field] = survivors[field]
    return rows


def _image_sets(task: SelectTask, kept: Records, frequent: Records, refused: Refused) -> Records:
    """A key for each row's set of media, each by the best of its candidates that are left."""
    left = usable(_candidates(task, kept["row"]), frequent, refused)
    left = left[np.lexsort((left["rank"], left["medium"], left["row"]))]
    best = left[first_of_runs(left, ("row", "medium")) == np.arange(len(left))]
    best = best[np.lexsort((best["lo"], best["hi"], best["row"]))]
    best = best[first_of_runs(best, ("row", "hi", "lo")) == np.arange(len(best))]
    begins = np.flatnonzero(first_of_runs(best, ("row",)) == np.arange(len(best)))
    places = np.searchsorted(kept["row"], best["row"][begins])
    sets = np.zeros(len(begins), dtype=IMAGE_SET)
    for field in RANKED.names or ():
        sets[field] = kept[field][places]
    if len(best):
        sets["hi"] = np.add.reduceat(mix(best["hi"]), begins)
        sets["lo"] = np.add.reduceat(mix(best["lo"]), begins)
    url_keys = key_numbers(read_documents(task, ["url_key"])["url_key"].to_pylist())
    sets["url_hi"], sets["url_lo"] = url_keys[sets["row"]].T
    return sets


def _candidates(task: SelectTask, rows: NDArray[np.uint32]) -> Records:
    """The candidates of media in these rows, without text tracks."""
    records = candidate_records(task, rows)
    return records[records["rank"] < TRACK_RANK]


def _paragraphs(task: SelectTask, rows: NDArray[np.uint32]) -> Records:
    """Each paragraph of these rows under a key of its text and its page's domain."""
    table = read_documents(task, ["url", "paragraph_keys"]).take(rows)
    packed = [keys or b"" for keys in table["paragraph_keys"].to_pylist()]
    lengths = np.array([len(keys) // 8 for keys in packed], dtype=np.int64)
    domains = np.array([_domain_number(registered_domain(url)) for url in table["url"].to_pylist()], dtype=np.uint64)
    records = np.zeros(int(lengths.sum()), dtype=STANDS)
    texts = np.frombuffer(b"".join(packed), dtype=np.uint64)
    records["hi"], records["lo"] = mix(texts ^ np.repeat(domains, lengths)), texts
    records["row"] = np.repeat(rows, lengths)
    records["place"] = np.arange(len(records)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return records


@lru_cache(maxsize=1 << 16)
def _domain_number(domain: str) -> int:
    return hash_number(domain)


def _those_in(records: Records, frequent: Records) -> list[tuple[Records, int]]:
    at = find_keys(records, frequent)
    return list(zip(records[at >= 0], frequent["pages"][at[at >= 0]].tolist(), strict=True))
