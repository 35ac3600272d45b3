"""How the web is asked."""

import re
from typing import Annotated

import msgspec

_CONTACT = re.compile(r"(?:mailto:)?[^\s@]+@[^\s@]+|https?://\S+", re.IGNORECASE)
_PLACE = re.compile(r"(?:[^\s:/*?@\[\]]+|\[[0-9a-f:.]+\]):[0-9]{1,5}", re.IGNORECASE)


class FetchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking the web for what the crawl does not hold.

    `contact` is a mail address or URL of who runs the job; it stands in the user agent, and without it nothing is asked.
    `allow` opens single `host:port` pairs (a name or an address) among the addresses that are refused otherwise.
    """

    contact: str = ""
    allow: list[str] = []
    respect_robots: bool = True
    # URLs asked at a time, of all hosts together.
    connections: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 256  # ours
    # URLs asked at a time, of one host; one where its robots.txt states a crawl delay.
    per_host: Annotated[int, msgspec.Meta(ge=1)] = 4  # ours: browsers take 6
    # Between the starts of two requests to one host.
    delay_s: Annotated[float, msgspec.Meta(ge=0)] = 0.1  # ours
    # A crawl delay of robots.txt is kept up to this; what states more is asked at this pace.
    max_crawl_delay_s: Annotated[float, msgspec.Meta(ge=0)] = 10.0  # ours
    connect_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0  # img2dataset's timeout
    # Without a single byte.
    read_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0  # img2dataset's timeout
    # From the first asking to the last byte, redirects, retries and waits between them included.
    url_timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0  # ours: 20 MB at 3 Mbit/s
    max_redirects: Annotated[int, msgspec.Meta(ge=0)] = 5  # ours
    # Askings after the first that ended in 429, an error of the server or a timeout.
    retries: Annotated[int, msgspec.Meta(ge=0)] = 2  # ours
    # Before the first retry; doubled for each further one.
    backoff_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0  # ours
    # A host that asks to wait (Retry-After) for longer than this is left alone for the rest of the call.
    max_retry_after_s: Annotated[float, msgspec.Meta(ge=0)] = 30.0  # ours: half of a URL's time
    # Connections in a row that fail until a host is given up for the rest of the call.
    host_failures: Annotated[int, msgspec.Meta(ge=1)] = 20  # ours
    max_video_bytes: Annotated[int, msgspec.Meta(ge=1)] = 200_000_000  # ours: some ten minutes of 720p
    max_track_bytes: Annotated[int, msgspec.Meta(ge=1)] = 5_000_000  # ours: a film's subtitles are 0.2 MB
    # Memory for bodies on their way and bodies that wait for the reader.
    held_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 64 << 20  # ours: 500 pictures of 128 KB
    # Disk for videos on their way and videos that wait for the reader.
    spooled_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 4 << 30  # ours
    # Of a medium so many candidates are asked, one a round.
    rounds: Annotated[int, msgspec.Meta(ge=1, le=99)] = 3  # ours: lazy attribute, src, one smaller rendition
    # URLs that are committed together; after a kill no more than these are asked a second time.
    chunk_urls: Annotated[int, msgspec.Meta(ge=1)] = 1_000  # ours: a minute of work
    # From the stage's start; what has not been asked then waits for m3w fetch --retry. 0 for none.
    stage_deadline_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def __post_init__(self) -> None:
        contact = self.contact.strip()
        if contact and not (contact.isprintable() and contact.isascii() and _CONTACT.fullmatch(contact)):
            raise ValueError(
                f"contact has to be a mail address or URL of who runs this job, for those who are asked; it is {self.contact!r}"
            )
        for place in self.allow:
            if not _PLACE.fullmatch(place):
                raise ValueError(f"allow takes host:port, such as 127.0.0.1:8000 or [::1]:8000, and not {place!r}")
