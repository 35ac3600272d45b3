"""Captions: the block of text that describes a picture.

Figures bind their caption by structure (`figcaption`, a class that says caption); a caption belongs to the medium that stands last before it
in the smallest container that holds both, else to the first after it.
"""

from pipeline.extract.blocks import Block, Walk
from pipeline.extract.mentions import Mention
from pipeline.extract.signs import CAPTION

MAX_STEPS = 3  # ours: containers between a caption and what it shares with its picture
MAX_CAPTION_CHARS = 1_000  # ours


def captions(walk: Walk) -> dict[Mention, str]:
    """The caption of each medium that has one."""
    found: dict[Mention, str] = {}
    read: set[int] = set()
    for container, bits in enumerate(walk.bits):
        if not bits & CAPTION:
            continue
        for place in range(walk.starts[container], walk.ends[container]):
            item = walk.items[place]
            if type(item) is not Block or place in read or len(item.text) > MAX_CAPTION_CHARS:
                continue
            read.add(place)
            mention = _medium_of(walk, place, item.container)
            if mention is not None:
                found[mention] = f"{found[mention]} {item.text}" if mention in found else item.text
    return found


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
