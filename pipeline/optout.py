"""What a response or a page says about its use as training data.

In: directives as extraction keeps them (`documents.robots`): those of robots metas, values of X-Robots-Tag, `tdm-reservation: VALUE`. Out: the one
that says no, or "". Asked are DeviantArt's `noai` and `noimageai` (img2dataset honours the same), and the TDM Reservation Protocol; `noindex` is
about search results and is no answer here. A value may be scoped to an agent (`otherbot: noai`); what is said to others only says nothing to us.
"""

from collections.abc import Iterable

PRODUCT = "m3w"  # our name in scopes, in robots.txt (the product token of RFC 9309 2.2.1) and in requests

# Directives that carry a value of their own, so that what stands before their colon is no agent (Google's list, and TDMRep's).
_VALUED = frozenset(
    ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview", "tdm-reservation", "tdm-policy")
)
_REFUSALS = frozenset(("noai", "noimageai"))


def opt_out(directives: Iterable[str]) -> str:
    """The first directive that takes a page, all of its pictures, or a medium, out of training data; "" where none does.

    A page of which all pictures are out is no document, so `noimageai` and `noai` come to the same.

    >>> opt_out(["noindex", "otherbot: noai", "tdm-reservation: 1"])
    'tdm-reservation'
    """
    for value in directives:
        ours = True
        for piece in value.lower().split(","):
            name, colon, rest = (part.strip() for part in piece.partition(":"))
            if name == "tdm-reservation" and rest == "1":
                return name
            if colon and name not in _VALUED:  # the scope lasts to the end of the value
                ours, name = name in ("*", PRODUCT), rest
            if ours and name in _REFUSALS:
                return name
    return ""
