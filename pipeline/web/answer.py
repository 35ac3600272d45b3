"""What is asked of the web, and what comes back: one answer for each request, whatever happens."""

from typing import Literal, TypeAlias

import msgspec

from schemas.drops import DropReason

MediumKind: TypeAlias = Literal["image", "video", "track"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A URL to be asked for once. `number` is the asker's own, `hops` how many redirects have led to this URL."""

    number: int
    url: str
    kind: MediumKind
    hops: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of a request.

    `status` is "ok" or the value of a drop reason, `value` and `threshold` are in that rule's unit. `body` holds the bytes of a picture or track,
    `path` the file of a video, which the receiver deletes. `target` is where a REDIRECTED leads, after `hops` redirects.
    """

    number: int
    url: str
    status: str
    http_status: int | None = None
    detail: str = ""
    value: float | None = None
    threshold: float | None = None
    target: str = ""
    hops: int = 0
    body: bytes | None = None
    path: str | None = None


def dropped(
    request: Request,
    reason: DropReason,
    detail: str = "",
    *,
    http_status: int | None = None,
    value: float | None = None,
    threshold: float | None = None,
) -> Answer:
    """The answer that there is nothing, and why."""
    return Answer(
        number=request.number,
        url=request.url,
        status=reason.value,
        http_status=http_status,
        detail=detail[:_MAX_DETAIL_CHARS],
        value=value,
        threshold=threshold,
        hops=request.hops,
    )


_MAX_DETAIL_CHARS = 200  # ours: an error's message can quote what the server sent
