"""Which texts make pairs."""

import msgspec


class PairsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Image-text and video-text pairs: whether they are cut from pages."""

    from_pages: bool = True
