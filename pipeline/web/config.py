"""How the web is asked."""

import msgspec


class FetchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Asking the web for what the crawl does not hold.

    `contact` is a mail address or URL of who runs the job; it stands in the user agent, and without it nothing is asked.
    `allow` opens single `host:port` pairs among the addresses that are refused otherwise.
    """

    contact: str = ""
    allow: list[str] = []
