"""Where a site says what may be done with it: robots.txt (RFC 9309), ai.txt (Spawning), /.well-known/tdmrep.json (TDM Reservation Protocol).

In: a URL. Out: the origin that it speaks for, and which of the three it is.
"""

from typing import Literal, TypeAlias

import can_ada

MAX_POLICY_BYTES = 500 << 10  # RFC 9309 2.5: at least so much has to be read

PolicyKind: TypeAlias = Literal["robots", "ai", "tdmrep"]

_PATHS: dict[str, PolicyKind] = {"/robots.txt": "robots", "/ai.txt": "ai", "/.well-known/tdmrep.json": "tdmrep"}


def origin_of(url: str) -> str:
    """Scheme, host and port (where it is not the scheme's own); "" of what is no http(s) URL.

    >>> origin_of("HTTPS://A.org:443/x")
    'https://a.org'
    """
    try:
        origin: str = can_ada.parse(url).origin
    except (ValueError, TypeError):  # TypeError: a lone surrogate
        return ""
    return origin if origin.startswith(("http://", "https://")) else ""


def policy_place(url: str) -> tuple[str, PolicyKind] | None:
    """(origin, kind) of the URL of a policy, None for any other."""
    if not url.endswith(("/robots.txt", "/ai.txt", "/tdmrep.json")):
        return None
    origin = origin_of(url)
    kind = _PATHS.get(can_ada.parse(url).pathname) if origin else None
    return (origin, kind) if kind else None
