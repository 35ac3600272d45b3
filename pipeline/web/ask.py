"""Ask: a request on its way through redirects and retries."""

import can_ada

from pipeline.urls import MAX_URL_CHARS
from pipeline.web.answer import Answer, Request

_DEFAULT_PORTS = {"http:": 80, "https:": 443}


class Ask:
    """A request on its way: where it stands after redirects, and how often that was asked."""

    __slots__ = ("deadline", "failed", "hops", "host", "origin", "port", "request", "retries", "url")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.hops = request.hops
        self.retries = 0
        self.deadline = 0.0  # the loop's time; 0 until it is asked
        self.failed: Answer | None = None  # of the last attempt
        self.url = self.origin = self.host = ""
        self.port = 0

    def go_to(self, url: str) -> bool:
        """Takes the URL, as the URL standard spells it (so that 0x7f.1 is 127.0.0.1); False where it is none that can be asked."""
        if len(url) > MAX_URL_CHARS:
            return False
        try:
            parsed = can_ada.parse(url)
        except (ValueError, TypeError):  # TypeError: a lone surrogate
            return False
        if parsed.protocol not in _DEFAULT_PORTS or not parsed.hostname:
            return False
        self.url = parsed.href
        self.host = parsed.hostname.strip("[]")
        self.port = int(parsed.port) if parsed.port else _DEFAULT_PORTS[parsed.protocol]
        self.origin = f"{parsed.protocol}//{parsed.host}"
        return True
