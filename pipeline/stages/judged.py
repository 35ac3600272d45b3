"""select, the beginning: each documents part is judged by itself.

    judge   a documents part, the rules of the origins that it names  ->  (bucket of the URL, keys of what may be used), what may not

What may not be used is said once, here: keys go on without it, and the rest is packed (`refused`) for the steps that weed, look for media and write.
"""

from collections.abc import Set

import msgspec

from pipeline.isolate import Note
from pipeline.lists.lists import text_lists
from pipeline.lists.policies import Policies
from pipeline.stages.policies import unpack_rules
from pipeline.stages.refused import Why, pack_refused, refused_candidates
from pipeline.stages.selection import Bucketed, SelectTask, document_keys, read_documents, refusals
from pipeline.takedown.taken import taken_from
from schemas.document import decode_draft_nodes


class JudgeTask(msgspec.Struct, frozen=True, kw_only=True):
    """A documents part, and the rules that have come to it (`policies.rules_by_part`)."""

    select: SelectTask
    rules: list[bytes]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of what may be used of a part, and what may not (`pack_refused`)."""

    part: int
    keys: Bucketed
    refused: bytes


def judge(task: JudgeTask, note: Note, skip: frozenset[int]) -> Judged:
    """Judges a part's documents, then the candidates of those that are left."""
    select, policies = task.select, unpack_rules(task.rules)
    pages = refusals(select, policies)
    candidates = _candidates(select, policies, pages.keys())
    keys = document_keys(select, pages.keys())
    return Judged(part=select.number, keys=keys, refused=pack_refused(pages, candidates))


def _candidates(select: SelectTask, policies: Policies, refused: Set[int]) -> list[tuple[int, int, int, Why]]:
    lists = text_lists(select.run_url, select.lists) if select.lists else None
    taken = taken_from(select.run_url, select.tombstones)
    if not policies and not taken.has_places and (lists is None or not lists.asks_places):
        return []
    return [
        (row, *one)
        for row, nodes in enumerate(read_documents(select, ["nodes"])["nodes"].to_pylist())
        if row not in refused
        for one in refused_candidates(decode_draft_nodes(nodes), lists, policies, taken)
    ]
