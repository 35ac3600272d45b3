"""select: which documents stay, and which media URLs they name.

    document_keys    a documents part  ->  (bucket of the URL, keys) of what may be used (`judged`)
    latest_by_url    a bucket          ->  (bucket of the text, survivors), verdicts
    first_by_text    a bucket          ->  survivors, verdicts
    media_keys       a part's kept rows -> (bucket of the media URL, keys)
    first_owners     a bucket          ->  each media URL once, with the part that is to write it
    write_selected   a part            ->  selected, media-urls, drops

Only keys are shuffled (`packed`). Of several captures of a URL the latest stays; URLs are judged first, so that a page captured twice is not its own
duplicate. Of pages with the same text the one with most media stays, then the latest. Both orders end with a hash of where the capture
stands in the crawl, so they are total and made of the documents alone.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.config import SelectConfig
from pipeline.lists.lists import text_lists
from pipeline.lists.policies import Policies
from pipeline.runfolder import RunFolder
from pipeline.stages.packed import KEY, Records, first_of_runs, join, key_numbers, split
from pipeline.stages.refused import COLUMNS, refusal
from pipeline.takedown.taken import taken_from
from schemas.drops import Drop, DropReason
from schemas.tables import DOCUMENTS, read_table

STAGE = "select"
RULES_VERSION = 7

DOCUMENT_KEY = np.dtype(
    [
        *KEY,
        ("text_hi", "<u8"),
        ("text_lo", "<u8"),
        ("date", "<u4"),
        ("earlier", "<u1"),
        ("media", "<u2"),
        ("tie", "<u8"),
        ("part", "<u4"),
        ("row", "<u4"),
    ]
)
# Where a page is known from (`earlier`), from this run up: the higher one is the better one.
OWN, EARLIER, TAKEN = range(3)
# A document that goes: the reason's place in VERDICTS, and the key and date of the document that stays in its stead.
VERDICTS = (
    DropReason.DUPLICATE_URL,
    DropReason.DUPLICATE_TEXT,
    DropReason.NEAR_DUPLICATE,
    DropReason.SAME_IMAGES,
    DropReason.IN_EARLIER_RUN,
    DropReason.TAKEN_DOWN,
)
VERDICT = np.dtype(
    [
        ("part", "<u4"),
        ("row", "<u4"),
        ("reason", "<u1"),
        ("better_hi", "<u8"),
        ("better_lo", "<u8"),
        ("better_date", "<i8"),
        ("similarity", "<f4"),
    ]
)
# What decides which of two documents is better: one of an earlier run, most media, the latest; then hashes of its URL and its place in the crawl.
RANK = [("earlier", "<u1"), ("media", "<u2"), ("date", "<u4"), ("url", "<u8"), ("tie", "<u8")]
RANKED = np.dtype([("part", "<u4"), ("row", "<u4"), *RANK])
CANDIDATE = np.dtype([*KEY, ("part", "<u4"), ("row", "<u4"), ("medium", "<u2"), ("rank", "<u2")])
SEEN = np.dtype([*KEY, ("part", "<u4"), ("row", "<u4")])  # a media URL and a document that names it
OWNED = np.dtype([("part", "<u4"), ("row", "<u4"), ("medium", "<u2"), ("rank", "<u2")])
PACKED_CANDIDATE = np.dtype([("medium", "<u2"), ("rank", "<u2"), ("hi", ">u8"), ("lo", ">u8")])  # documents.media_keys

Bucketed = list[tuple[int, bytes]]


class SelectTask(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers of this stage need besides keys.

    `number` is the part's place in the sorted list of documents parts; `lists` the name of the compiled lists in the run's folder, if there are any;
    `tombstones` are the names of the tables of what was taken down.
    """

    run_url: str
    part: str
    number: int
    identity: str
    buckets: int
    config: SelectConfig
    lists: str = ""
    tombstones: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """The name of the part that comes of it."""
        return f"{self.part}-{self.identity[:12]}"


def banned_word(url: str, words: list[str]) -> str | None:
    """The first banned word that stands in a URL as a whole word (parted by anything but letters and digits), case folded."""
    found = set(re.findall(r"[^\W_]+", url.casefold()))
    return next((word for word in words if word.casefold() in found), None)


def refusals(task: SelectTask, policies: Policies) -> dict[int, Drop]:
    """Which of a part's rows may not be used, and why."""
    lists = text_lists(task.run_url, task.lists) if task.lists else None
    columns = [name for name in COLUMNS if name != "nodes" or (lists is not None and lists.asks_texts)]
    table = read_documents(task, columns)
    words = task.config.banned_url_words
    taken = taken_from(task.run_url, task.tombstones)
    judged = (
        (row, taken.page(document["url"]) or refusal(document, banned_word(document["url"], words), lists, policies))
        for row, document in enumerate(table.to_pylist())
    )
    return {row: drop for row, drop in judged if drop is not None}


def document_keys(task: SelectTask, refused: Collection[int]) -> Bucketed:
    """The keys of a part's documents without the refused rows, by bucket of their URL."""
    table = read_documents(
        task, ["url", "url_key", "text_key", "words", "date", "images", "videos", "source", "offset"]
    )
    records = np.zeros(table.num_rows, dtype=DOCUMENT_KEY)
    url_keys, text_keys = key_numbers(table["url_key"].to_pylist()), key_numbers(table["text_key"].to_pylist())
    # A page without text is not a copy of another one without text: its URL stands in for it.
    text_keys = np.where((table["words"].to_numpy() == 0)[:, None], url_keys, text_keys)
    records["hi"], records["lo"] = url_keys.T
    records["text_hi"], records["text_lo"] = text_keys.T
    records["date"] = [_seconds(date) for date in table["date"].to_pylist()]
    records["media"] = np.minimum(table["images"].to_numpy() + table["videos"].to_numpy(), 2**16 - 1)
    records["tie"] = [
        _tie(source, offset)
        for source, offset in zip(table["source"].to_pylist(), table["offset"].to_pylist(), strict=True)
    ]
    records["part"], records["row"] = task.number, np.arange(len(records))
    return list(split(np.delete(records, np.array(sorted(refused), dtype=np.int64)), task.buckets))


def latest_by_url(blobs: Iterable[bytes]) -> tuple[Records, Records]:
    """(survivors, verdicts) of one bucket: of each URL the latest capture survives."""
    records = join(blobs, DOCUMENT_KEY)
    known_from = -_number(records, "earlier")
    order = np.lexsort((records["tie"], _latest_first(records), known_from, records["lo"], records["hi"]))
    return first_stays(records[order], VERDICTS.index(DropReason.DUPLICATE_URL), all_of_before=True)


def rekey_by_text(survivors: Records) -> Records:
    """The records with text and URL keys exchanged, so that they are split and joined by their text."""
    swapped = survivors.copy()
    for a, b in (("hi", "text_hi"), ("lo", "text_lo")):
        swapped[a], swapped[b] = survivors[b], survivors[a]
    return swapped


def first_by_text(blobs: Iterable[bytes]) -> tuple[Records, Records]:
    """(survivors, verdicts) of one bucket of re-keyed records: of each text the document with most media survives, then the latest."""
    records = join(blobs, DOCUMENT_KEY)
    order = np.lexsort(
        (
            records["tie"],
            records["text_lo"],
            records["text_hi"],
            _latest_first(records),
            -_number(records, "media"),
            -_number(records, "earlier"),
            records["lo"],
            records["hi"],
        )
    )
    survivors, verdicts = first_stays(
        records[order], VERDICTS.index(DropReason.DUPLICATE_TEXT), better=("text_hi", "text_lo")
    )
    return survivors, verdicts


def _latest_first(records: Records) -> NDArray[np.int64]:
    return -_number(records, "date")


def _number(records: Records, field: str) -> NDArray[np.int64]:
    number: NDArray[np.int64] = records[field].astype(np.int64)
    return number


def first_stays(
    records: Records, reason: int, better: tuple[str, str] = ("hi", "lo"), all_of_before: bool = False
) -> tuple[Records, Records]:
    """(survivors, verdicts) of sorted records: the first of each key stays; the fields `better` hold its URL's key.

    There is no verdict about pages of before; all of them stay, if `all_of_before`: each may have another text.
    """
    first = first_of_runs(records, ("hi", "lo"))
    stays = first == np.arange(len(records))
    if all_of_before:
        stays |= records["earlier"] != OWN
    goes = ~stays & (records["earlier"] == OWN)
    verdicts = np.zeros(int(goes.sum()), dtype=VERDICT)
    winners = records[first[goes]]
    verdicts["part"], verdicts["row"] = records["part"][goes], records["row"][goes]
    verdicts["reason"] = why(winners["earlier"], reason)
    verdicts["better_hi"], verdicts["better_lo"], verdicts["better_date"] = (
        winners[better[0]],
        winners[better[1]],
        winners["date"],
    )
    return records[stays], verdicts


def why(known_from: NDArray[np.uint8], reason: int) -> NDArray[np.uint8]:
    """The places in VERDICTS of why documents go for better ones, given where each of these is known from; `reason` for one of this run."""
    places = (reason, VERDICTS.index(DropReason.IN_EARLIER_RUN), VERDICTS.index(DropReason.TAKEN_DOWN))
    return np.array(places, dtype=np.uint8)[known_from]


def ranked(survivors: Records) -> Records:
    """Where the survivors of `first_by_text` stand, and how good they are."""
    rows = np.zeros(len(survivors), dtype=RANKED)
    for field in ("part", "row", "earlier", "media", "date", "tie"):
        rows[field] = survivors[field]
    rows["url"] = survivors["text_hi"]  # the URL's key, after rekey_by_text
    return rows


def best_first(records: Records) -> tuple[NDArray[np.int64], ...]:
    """The order of RANKED records as keys of `np.lexsort`."""
    descending = tuple(-records[field].astype(np.int64) for field in ("date", "media", "earlier"))
    return records["tie"], records["url"], *descending


def candidate_records(task: SelectTask, rows: NDArray[Any]) -> Records:
    """A record for each candidate of the documents in these rows of a part."""
    return unpack_candidates(read_documents(task, ["media_keys"])["media_keys"].take(pa.array(rows)), task.number, rows)


def unpack_candidates(packed: Any, part: int, rows: NDArray[Any]) -> Records:
    """A record for each candidate of these documents, whose column `media_keys` is `packed`."""
    keys = packed.to_pylist()
    candidates = np.frombuffer(b"".join(keys), dtype=PACKED_CANDIDATE)
    records = np.zeros(len(candidates), dtype=CANDIDATE)
    for field in ("hi", "lo", "medium", "rank"):
        records[field] = candidates[field]
    records["part"] = part
    records["row"] = np.repeat(rows, [len(one) // PACKED_CANDIDATE.itemsize for one in keys])
    return records


def first_of_urls(records: Records) -> Records:
    """The first candidate of each media URL. A part sends no other: of a URL that is everywhere a bucket has a record a part, not one a page."""
    records = records[
        np.lexsort((records["rank"], records["medium"], records["row"], records["part"], records["lo"], records["hi"]))
    ]
    first: Records = records[first_of_runs(records, ("hi", "lo")) == np.arange(len(records))]
    return first


def first_owners(blobs: Iterable[bytes]) -> Records:
    """Where each media URL of one bucket stands first; the document there owns it."""
    first = first_of_urls(join(blobs, CANDIDATE))
    owners = np.zeros(len(first), dtype=OWNED)
    for field in ("part", "row", "medium", "rank"):
        owners[field] = first[field]
    return owners


def read_documents(task: SelectTask, columns: list[str] | None) -> pa.Table:
    """(Some columns of) a documents part."""
    name = f"documents/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        return read_table(file, DOCUMENTS, name, columns)


def _seconds(date: str) -> int:
    """Seconds since 1970 of an ISO date; 0 for none, so that an undated capture is the oldest."""
    try:
        moment = datetime.fromisoformat(date)
    except ValueError:
        return 0
    seconds = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return min(max(seconds, 0), 2**32 - 1)


def _tie(source: str, offset: int) -> int:
    """Where a capture stands in the crawl, as a number that decides where all else is equal."""
    return hash_number(f"{source}\0{offset}")


def hash_number(text: str) -> int:
    """The first 8 bytes of a text's SHA-256 as a number."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
