"""Which answers of the web pass with time."""

from schemas.drops import DropReason

# `m3w fetch --retry` asks for these again: another day, another answer.
PASSING: frozenset[str] = frozenset(
    reason.value
    for reason in (
        DropReason.HTTP_UNAVAILABLE,
        DropReason.DNS_FAILED,
        DropReason.CONNECTION_FAILED,
        DropReason.TRUNCATED,
        DropReason.TIMEOUT,
        DropReason.DEADLINE,
        DropReason.ROBOTS_UNREACHABLE,
    )
)
