"""Captions: the block of text that describes a picture.

Figures bind their caption by structure (`figcaption`, a class that says caption); a caption belongs to the medium that stands last before it
in the smallest container that holds both, else to the first after it.
"""

from pipeline.extract.blocks import Block, Mention, Walk
from pipeline.extract.signs import CAPTION

MAX_STEPS = 3  # ours: containers between a caption and what it shares with its picture
MAX_CAPTION_CHARS = 1_000  # ours


def captions(walk: Walk) -> tuple[dict[Mention, str], set[int]]:
    """The caption of each medium that has one, and the items that are captions."""
    found: dict[Mention, str] = {}
    items: set[int] = set()
    for place, item in enumerate(walk.items):
        if type(item) is not Block or len(item.text) > MAX_CAPTION_CHARS or not _says_caption(walk, item):
            continue
        mention = _medium_of(walk, place, item.container)
        if mention is not None:
            found[mention] = f"{found[mention]} {item.text}" if mention in found else item.text
            items.add(place)
    return found, items


def _says_caption(walk: Walk, block: Block) -> bool:
    container = block.container
    parent = walk.parents[container]
    return bool((walk.bits[container] | walk.bits[parent]) & CAPTION) or walk.tags[walk.parents[parent]] == "figcaption"


def _medium_of(walk: Walk, place: int, container: int) -> Mention | None:
    item = walk.items[place]
    if type(item) is Block and item.media:
        return item.media[0]
    for _ in range(MAX_STEPS):
        if container == 0:
            return None
        before = walk.items[walk.starts[container] : place]
        after = walk.items[place + 1 : walk.ends[container]]
        for other in [*reversed(before), *after]:
            if type(other) is Mention:
                return other
            if type(other) is Block and other.media:
                return other.media[-1]
        container = walk.parents[container]
    return None
