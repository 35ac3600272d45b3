"""What img2dataset says of a URL that failed, as a drop reason: its statuses, and the texts of urllib's and OpenCV's errors."""

import re

from schemas.drops import DropReason

_HTTP = re.compile(r"HTTP Error (\d{3})")
# The first text that an error holds, in lower case, decides.
_TEXTS: tuple[tuple[str, DropReason], ...] = (
    ("disallowed by x-robots-tag", DropReason.OPTED_OUT),
    ("hash mismatch", DropReason.DIGEST_MISMATCH),
    ("redirect error", DropReason.TOO_MANY_REDIRECTS),
    ("timed out", DropReason.TIMEOUT),
    ("certificate", DropReason.TLS_FAILED),
    ("ssl", DropReason.TLS_FAILED),
    ("name or service not known", DropReason.DNS_FAILED),
    ("name resolution", DropReason.DNS_FAILED),
    ("no address associated", DropReason.DNS_FAILED),
    ("nodename nor servname", DropReason.DNS_FAILED),
    ("incompleteread", DropReason.TRUNCATED),
    ("unknown url type", DropReason.BAD_URL),
    ("no host given", DropReason.BAD_URL),
    ("can't contain control characters", DropReason.BAD_URL),
    ("nonnumeric port", DropReason.BAD_URL),
    ("codec can't encode", DropReason.BAD_URL),
    ("encoding with 'idna' codec failed", DropReason.BAD_URL),
    ("image too small", DropReason.SIDE_TOO_SMALL),
    ("image area too large", DropReason.TOO_MANY_PIXELS),
    ("aspect ratio too large", DropReason.ASPECT_RATIO),
)


def failure(status: str, message: str) -> tuple[DropReason, int | None]:
    """(reason, the server's status where it gave one). What is not known passes, if it happened on the way, so that a retry asks again; a drop reason is one.

    >>> failure("failed_to_download", "HTTP Error 404: Not Found")
    (<DropReason.HTTP_STATUS: 'http_status'>, 404)
    >>> failure("failed_to_download", "<urlopen error [Errno 111] Connection refused>")
    (<DropReason.CONNECTION_FAILED: 'connection_failed'>, None)
    """
    if status in set(DropReason):
        return DropReason(status), None
    lower = message.lower()
    named = next((reason for text, reason in _TEXTS if text in lower), None)
    if found := _HTTP.search(message):
        code = int(found[1])
        passes = code == 429 or code >= 500
        return named or (DropReason.HTTP_UNAVAILABLE if passes else DropReason.HTTP_STATUS), code
    on_the_way = status == "failed_to_download"
    return named or (DropReason.CONNECTION_FAILED if on_the_way else DropReason.BROKEN_IMAGE), None
