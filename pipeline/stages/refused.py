"""What may not be used of a document: banned words in its URL, lists, opt-outs, policies of origins, evaluation sets.

Judged before anything that compares documents, so that a page that may not be used is nobody's better copy, and before anything is asked of the
web: a candidate that may not be used is not fetched, and the medium's next one takes its place. Each document is judged once; what came of it goes
with its part to whoever counts or writes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from pipeline.lists.lists import TextLists
from pipeline.lists.policies import Policies
from pipeline.optout import opt_out
from pipeline.stages.extract import TRACK_RANK, ranked_urls
from pipeline.stages.packed import Records
from pipeline.takedown.taken import Taken
from schemas.document import DraftMedium, Text, decode_draft_nodes
from schemas.drops import Drop, DropReason

COLUMNS = ["url", "robots", "nodes"]  # of the documents table
REFUSED_CANDIDATE = np.dtype([("row", "<u4"), ("medium", "<u2"), ("rank", "<u2"), ("why", "<u4")])

Why = tuple[DropReason, str]  # with the drop's detail


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """What may not be used of a part: pages by row; candidates of other pages (REFUSED_CANDIDATE), each with its place in `whys`."""

    pages: dict[int, Drop] = {}
    candidates: bytes = b""
    whys: list[Why] = []

    @property
    def records(self) -> Records:
        """The candidates."""
        return np.frombuffer(self.candidates, dtype=REFUSED_CANDIDATE)

    def by_row(self) -> dict[int, dict[tuple[int, int], Why]]:
        """Why candidates may not be used, by their document's row, then by (medium, rank)."""
        found: dict[int, dict[tuple[int, int], Why]] = {}
        for row, medium, rank, why in self.records.tolist():
            found.setdefault(row, {})[medium, rank] = self.whys[why]
        return found


_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Refused).decode


def pack_refused(pages: dict[int, Drop], candidates: list[tuple[int, int, int, Why]]) -> bytes:
    """The packed form of Refused; candidates are (row, medium, rank, why)."""
    places = {why: place for place, why in enumerate(dict.fromkeys(why for *_, why in candidates))}
    records = [(row, medium, rank, places[why]) for row, medium, rank, why in candidates]
    packed = np.array(records, dtype=REFUSED_CANDIDATE).tobytes()
    return _encode(Refused(pages=pages, candidates=packed, whys=list(places)))


def unpack_refused(packed: bytes) -> Refused:
    """What `pack_refused` packed."""
    return _decode(packed)


def refusal(
    document: Mapping[str, Any], banned: str | None, lists: TextLists | None, policies: Policies
) -> Drop | None:
    """Why a document may not be used, or None; `banned` is the banned word that its URL holds."""
    url = document["url"]
    if banned is not None:
        return Drop(kind="page", reason=DropReason.BANNED_URL, url=url, detail=banned)
    if directive := opt_out(document["robots"] or ()):
        return Drop(kind="page", reason=DropReason.OPTED_OUT, url=url, detail=directive)
    if why := refused_place(url, lists, policies):
        return Drop(kind="page", reason=why[0], url=url, detail=why[1])
    if lists is None or not lists.asks_texts:
        return None
    nodes = decode_draft_nodes(document["nodes"])
    # Without a paragraph it is a row of a captions table, or a page of pictures: then captions are its text.
    texts = [node.text for node in nodes if isinstance(node, Text)] or [
        node.caption for node in nodes if isinstance(node, DraftMedium)
    ]
    return lists.refused_text("\n".join(texts), url)


def refused_candidates(
    nodes: list[Text | DraftMedium], lists: TextLists | None, policies: Policies, taken: Taken
) -> Iterator[tuple[int, int, Why]]:
    """(medium, rank, why) of what is not to be looked for on behalf of a document's media.

    Candidates of one medium show the same: where one was taken down, the others are not asked for it either.
    """
    media = (node for node in nodes if isinstance(node, DraftMedium))
    for number, medium in enumerate(media):
        ranked = ranked_urls(medium)
        gone = next((url for rank, url in ranked if rank < TRACK_RANK and taken.medium_url(url)), None)
        for rank, url in ranked:
            if gone is not None:
                yield number, rank, (DropReason.TAKEN_DOWN, gone[:2000])
            elif why := refused_place(url, lists, policies):
                yield number, rank, why


def refused_place(url: str, lists: TextLists | None, policies: Policies) -> Why | None:
    """Why a page's or medium's URL may not be used: by a list, or by what its origin says."""
    if lists is not None and (drop := lists.refused_place(url)):
        return drop.reason, drop.detail
    said = policies.refusal(url)
    return (DropReason.OPTED_OUT, said) if said else None
