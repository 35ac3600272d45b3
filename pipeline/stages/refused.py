"""Which documents may not be used: banned words in the URL, lists, opt-outs, evaluation sets.

Judged before anything that compares documents, so that a page that may not be used is nobody's better copy. Where a page goes is decided from its
row alone: who counts it later asks again and gets the same answer.
"""

from collections.abc import Mapping
from typing import Any

from pipeline.lists.lists import TextLists
from pipeline.optout import opt_out
from schemas.document import Text, decode_draft_nodes
from schemas.drops import Drop, DropReason

COLUMNS = ["url", "robots", "nodes"]  # of the documents table


def refusal(document: Mapping[str, Any], banned: str | None, lists: TextLists | None) -> Drop | None:
    """Why a document may not be used, or None; `banned` is the banned word that its URL holds."""
    url = document["url"]
    if banned is not None:
        return Drop(kind="page", reason=DropReason.BANNED_URL, url=url, detail=banned)
    if directive := opt_out(document["robots"] or ()):
        return Drop(kind="page", reason=DropReason.OPTED_OUT, url=url, detail=directive)
    if lists is None:
        return None
    if drop := lists.refused_place(url):
        return drop
    if not lists.asks_texts:
        return None
    nodes = decode_draft_nodes(document["nodes"])
    return lists.refused_text("\n".join(node.text for node in nodes if isinstance(node, Text)), url)
