"""Which blocks are the page's main content."""

from pipeline.extract.blocks import Block, Walk
from pipeline.extract.signs import BIT

_NEGATIVE = sum(
    BIT[name]
    for name in (
        "nav", "tag_nav", "footer", "tag_footer", "tag_aside", "side", "comment", "share", "related", "ad", "notice", "sign_up", "form", "tag_form"
    )
)  # fmt: skip


def width(text: str) -> int:
    """The length of a text in letters of an alphabet: Chinese, Japanese and the like say as much with half as many characters."""
    chars = len(text)
    if text.isascii():
        return chars
    return 2 * chars if len(text.encode("utf-8", "replace")) > 2.4 * chars else chars


def content_blocks(walk: Walk) -> list[bool]:
    """For each item of the walk whether it is a block of main content."""
    containers = len(walk.parents)
    widths = [0] * containers
    for item in walk.items:
        if type(item) is Block:
            widths[item.container] += width(item.text)
    for container in range(containers - 1, 0, -1):
        widths[walk.parents[container]] += widths[container]
    bits = [0] * containers
    for container in range(1, containers):
        own = walk.bits[container] if 2 * widths[container] < widths[0] else 0
        bits[container] = bits[walk.parents[container]] | own
    kept = []
    for item in walk.items:
        good = type(item) is Block and not bits[item.container] & _NEGATIVE and 2 * item.link_chars < len(item.text)
        kept.append(good)
    return kept
