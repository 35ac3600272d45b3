"""Opt-outs in the head of a response: who gave the picture says that it is not for training.

X-Robots-Tag with `noai` or `noimageai`, for everybody or for us by name; TDM-Reservation: 1 (W3C TDM Reservation Protocol).
"""

from collections.abc import Iterable

from pipeline.web.robots import PRODUCT

_DIRECTIVES = frozenset({"noai", "noimageai"})  # img2dataset honours the same
# Directives that have a value behind a colon; any other name before a colon is that of an agent.
_WITH_VALUE = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


def opt_out(x_robots_tags: Iterable[str], tdm_reservations: Iterable[str]) -> str | None:
    """The words that opt out, or None. In: the values of the two headers, one for each time that they stand in the head.

    >>> opt_out(["otherbot: noai, noindex"], []), opt_out(["noindex, NoAI"], []), opt_out([], ["1"])
    (None, 'x-robots-tag: noai', 'tdm-reservation: 1')
    """
    for tag in x_robots_tags:
        for_us = True  # until an agent is named
        for part in tag.lower().split(","):
            name, colon, value = (piece.strip() for piece in part.partition(":"))
            if colon and name not in _WITH_VALUE:
                for_us = name in (PRODUCT, "*")
                name = value
            if for_us and name in _DIRECTIVES:
                return f"x-robots-tag: {name}"
    if any(value.strip() == "1" for value in tdm_reservations):
        return "tdm-reservation: 1"
    return None
