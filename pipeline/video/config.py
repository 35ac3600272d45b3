"""What is taken of videos."""

import msgspec


class VideoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Videos: whether the run takes any."""

    take: bool = True
