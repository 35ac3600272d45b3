"""Personal data in text."""

import msgspec


class PiiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is replaced in texts."""

    emails: bool = True
    phones: bool = True
    ips: bool = True
