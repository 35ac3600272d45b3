"""select, what origins say: robots.txt, ai.txt and tdmrep.json of the crawl to the documents parts that name their origins.

    held_policies    a policies part   ->  (bucket of the origin, its policies: what of them can say no)
    asked_origins    a documents part  ->  (bucket of the origin, the origins of its pages and media)
    rules_by_part    a bucket          ->  (documents part, the rules of origins that it names)

Of each kind the latest of an origin counts, and of two of one date the one whose rules sort last. Rules are judged where the URLs are: a page names some
thirty URLs, and the rules of an origin that has any are a few lines, so they travel once for each part that names the origin, never for each
document. Nobody holds more than its own part's policies, origins or rules, or those of a bucket, however large the crawl or a host in it; who says no
to nothing sends a few bytes, and a run without policies none.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator

import msgspec
import numpy as np

from pipeline.isolate import Note
from pipeline.lists.policies import Policies, authority, rules_of
from pipeline.read.policies import PolicyKind
from pipeline.runfolder import RunFolder
from pipeline.stages.extract import ranked_urls
from pipeline.stages.packed import KEY, Records, join, key_numbers, split
from pipeline.stages.selection import Bucketed, SelectTask, read_documents
from schemas.document import DraftMedium, decode_draft_nodes
from schemas.tables import POLICIES, read_table

ASKED = np.dtype([*KEY, ("part", "<u4")])


class Held(msgspec.Struct, frozen=True, array_like=True, order=True):
    """A policy of an origin; `rules` are "" where it says no to nothing."""

    authority: str
    kind: PolicyKind
    date: str
    rules: str


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(list[Held]).decode


class PoliciesTask(msgspec.Struct, frozen=True, kw_only=True):
    """A policies part, and which kinds are to be heard."""

    run_url: str
    part: str
    buckets: int
    kinds: tuple[PolicyKind, ...]


def held_policies(task: PoliciesTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The policies of a part, by bucket of their origin."""
    name = f"policies/{task.part}.parquet"
    with RunFolder(task.run_url).store.open(name) as file:
        table = read_table(file, POLICIES, name)
    found: dict[int, list[Held]] = {}
    for row in table.to_pylist():
        if row["kind"] in task.kinds:
            one = Held(authority(row["origin"]), row["kind"], row["date"], rules_of(row["kind"], row["text"]))
            found.setdefault(_number(_key(one.authority)) % task.buckets, []).append(one)
    return [(bucket, _encode(held)) for bucket, held in found.items()]


def asked_origins(task: SelectTask, note: Note, skip: frozenset[int]) -> Bucketed:
    """The origins that a part's pages and media stand under, by bucket."""
    table = read_documents(task, ["url", "nodes"])
    places = {authority(url) for url in table["url"].to_pylist()}
    for nodes in table["nodes"].to_pylist():
        media = (node for node in decode_draft_nodes(nodes) if isinstance(node, DraftMedium))
        places.update(authority(url) for medium in media for _, url in ranked_urls(medium))
    return list(split(asked_by(places, task.number), task.buckets))


def asked_by(places: Collection[str], part: int) -> Records:
    """ASKED of one documents part."""
    keys = sorted(_key(place) for place in places if place)
    asked = np.zeros(len(keys), dtype=ASKED)
    asked["hi"], asked["lo"] = key_numbers(keys).T
    asked["part"] = part
    return asked


def rules_by_part(asked_blobs: Iterable[bytes], held_blobs: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """(documents part, packed rules) of one bucket: the latest policies of the origins that a part names."""
    latest: dict[tuple[str, PolicyKind], Held] = {}
    for one in sorted(one for blob in held_blobs for one in _decode(blob)):
        latest[one.authority, one.kind] = one
    speaking: dict[tuple[int, int], list[Held]] = {}
    for one in latest.values():
        if one.rules:
            hi, lo = key_numbers([_key(one.authority)])[0].tolist()
            speaking.setdefault((hi, lo), []).append(one)
    asked = np.sort(join(asked_blobs, ASKED), order=("part", "hi", "lo")) if speaking else join([], ASKED)
    starts = np.flatnonzero(np.diff(asked["part"], prepend=np.uint32(2**32 - 1)))
    for run in np.split(asked, starts[1:]) if len(asked) else ():
        named = zip(run["hi"].tolist(), run["lo"].tolist(), strict=True)
        if rules := [one for key in named for one in speaking.get(key, ())]:
            yield int(run["part"][0]), _encode(rules)


def unpack_rules(packed: Iterable[bytes]) -> Policies:
    """The policies that have come to a part."""
    return Policies({(one.authority, one.kind): one.rules for blob in packed for one in _decode(blob)})


def _key(place: str) -> bytes:
    return hashlib.sha256(place.encode()).digest()[:16]


def _number(key: bytes) -> int:
    """The number by which `split` finds a key's bucket."""
    return int(key_numbers([key])[0, 0])
