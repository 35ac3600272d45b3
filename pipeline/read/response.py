"""HTTP responses: the head of a captured response, and where its body begins.

In: the block of a WARC record. Out: a `Response`, lenient as browsers are: bare line feeds, no reason phrase, bytes beyond ASCII, folded lines.
"""

import re

import msgspec

from pipeline.read.warc_record import parse_fields

_STATUS = re.compile(rb"\s*HTTP(?:/\d(?:\.\d)?)?[ \t]+(\d{3})\b")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\s;\"',]+)", re.IGNORECASE)


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """`status` and `fields` (by lower-case name) of a response; its body is `block[body_at:]`."""

    status: int
    fields: dict[str, str]
    robots: list[str] = []
    body_at: int = 0

    @property
    def mime(self) -> str:
        """The media type without parameters, in lower case; empty where none is stated."""
        return self.fields.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def charset(self) -> str | None:
        """The charset that the header states."""
        found = _CHARSET.search(self.fields.get("content-type", ""))
        return found[1] if found else None


def parse_response(block: bytes) -> Response | None:
    """The response in `block`; None where there is no HTTP head.

    A head without an end (nothing follows it) is taken whole, its body is empty.
    """
    status = _STATUS.match(block)
    if not status:
        return None
    end = _HEAD_END.search(block)
    head = block[: end.start()] if end else block
    return Response(
        status=int(status[1]),
        fields=parse_fields(head),
        robots=_robots(head),
        body_at=end.end() if end else len(block),
    )


def _robots(head: bytes) -> list[str]:
    """What the head says about use by robots: the value of each X-Robots-Tag, and `tdm-reservation: VALUE`."""
    found = []
    for line in head.split(b"\n")[1:]:
        name, _, value = line.decode("latin-1").partition(":")
        if name.strip().lower() == "x-robots-tag":
            found.append(value.strip())
        elif name.strip().lower() == "tdm-reservation":
            found.append(f"tdm-reservation: {value.strip()}")
    return found
