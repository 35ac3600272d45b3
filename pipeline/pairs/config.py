"""Which texts make pairs."""

from typing import Annotated

import msgspec

_Words = Annotated[int, msgspec.Meta(ge=1)]


class PairsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Image-text and video-text pairs cut from pages: whether any are, and which texts and pictures do. Each bound is itself still kept.

    An alt text is a short description (ALIGN) or, past its longest, a long one; a caption is bounded by COYO; a title is a long description or none.
    """

    from_pages: bool = True
    # Shortest side of the picture's source, px; its longer side to its shorter one.
    min_side_px: Annotated[int, msgspec.Meta(ge=1)] = 200  # ALIGN, COYO
    max_aspect: Annotated[float, msgspec.Meta(ge=1)] = 3.0  # ALIGN, COYO
    min_alt_words: _Words = 3  # ALIGN
    max_alt_words: _Words = 20  # ALIGN
    min_caption_words: _Words = 3  # COYO
    max_caption_words: _Words = 256  # COYO
    min_description_words: _Words = (
        10  # ours: half of the 20.5 tokens that LTIP's texts have on average (Flamingo A.3.3)
    )
    # Different pictures beside which the same text stands, different texts that stand beside the same picture.
    max_pictures_of_text: Annotated[int, msgspec.Meta(ge=1)] = 10  # ALIGN
    max_texts_of_picture: Annotated[int, msgspec.Meta(ge=1)] = 1_000  # ALIGN
    # Least similarity of picture and text by the CLIP of scores.clip, the cosine of their embeddings; -1 keeps all.
    min_similarity: Annotated[float, msgspec.Meta(ge=-1, le=1)] = -1.0
