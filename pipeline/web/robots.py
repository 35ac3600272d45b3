"""robots.txt, by RFC 9309: what an origin's file means for us. The file is asked for by `client`; here it is read.

No file (4xx) allows everything. A server that fails, or does not answer, forbids everything for now. A file is read up to 500 KiB.
"""

import msgspec
from protego import Protego

from pipeline.optout import PRODUCT
from pipeline.read.body import decode_body
from schemas.drops import DropReason

MAX_BYTES = 500 * 1024  # RFC 9309 2.5: at least so much has to be read
MAX_REDIRECTS = 5  # RFC 9309 2.3.1.2: at least so many have to be followed


class Robots(msgspec.Struct, frozen=True):
    """What an origin's robots.txt says: its `rules`, None where it has none; or the `failure` that kept it from us, with a `detail`."""

    rules: Protego | None = None
    failure: DropReason | None = None
    detail: str = ""

    def refusal(self, url: str) -> DropReason | None:
        """Why the URL may not be asked for, or None."""
        if self.failure is not None:
            return self.failure
        allowed = self.rules is None or self.rules.can_fetch(url, PRODUCT)
        return None if allowed else DropReason.ROBOTS_DISALLOWED

    @property
    def crawl_delay_s(self) -> float | None:
        """The pace that the file asks of us."""
        delay = self.rules.crawl_delay(PRODUCT) if self.rules is not None else None
        return delay if delay is not None and delay > 0 else None


def read_robots(http_status: int, body: bytes, content_encoding: str = "") -> Robots:
    """What a response to the question for robots.txt means; of the body, the first `MAX_BYTES` are enough."""
    if http_status == 429 or http_status >= 500:
        return Robots(failure=DropReason.ROBOTS_UNREACHABLE, detail=f"robots.txt answers {http_status}")
    if http_status != 200 or not body.strip():
        return Robots()
    text = decode_body(body, "", content_encoding, MAX_BYTES).data.decode("utf-8", "replace").removeprefix("\ufeff")
    return Robots(rules=Protego.parse(text))
