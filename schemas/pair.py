"""Pairs: one medium and one text about it, in img2dataset's and video2dataset's layout.

    key.jpg|png|webp  key.txt  key.json      image-text
    key.mp4|webm      key.txt  key.json      video-text

The text file holds the caption alone; the JSON repeats it beside what is known of the medium, so that either file is enough.
"""

from typing import Annotated, Final, Literal

import msgspec

from schemas.document import SampleKey, Sha256, Side

PAIR_VERSION: Final = 1

# A cell of a caption table that is neither medium nor caption: JSON's scalars.
Cell = str | int | float | bool | None


class Pair(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What both kinds of pair share.

    `width` and `height` are px of the member, `original_width` and `original_height` (img2dataset's names) of what came from the web; `sha256` and `source_sha256` are of
    the same two. `url` is the medium's, `page_url` that of the page it was cut from (empty for caption tables). `caption_source` says where the text came
    from: `alt`, `caption`, `title` or `track`; of a captions table it is `caption`. `columns` are the other columns of a caption table. `scores` are
    the medium's by scorer, and `similarity`, the cosine of its and the text's embeddings, where the run was told to ask a CLIP.
    """

    key: SampleKey
    url: str
    caption: str
    caption_source: str
    width: Side
    height: Side
    original_width: Side
    original_height: Side
    sha256: Sha256
    source_sha256: Sha256
    phash: str = ""
    page_url: str = ""
    language: str = ""
    columns: dict[str, Cell] = {}
    scores: dict[str, float] = {}
    version: Literal[1] = PAIR_VERSION


class ImageTextPair(Pair, frozen=True, kw_only=True, tag_field="kind", tag="image_text"):
    """A picture and its text; `width`, `height` in px."""


class VideoTextPair(Pair, frozen=True, kw_only=True, tag_field="kind", tag="video_text"):
    """A clip and its text; `start_s` and `duration_s` are seconds of the source video, `fps` frames a second."""

    duration_s: Annotated[float, msgspec.Meta(gt=0)]
    fps: Annotated[float, msgspec.Meta(gt=0)]
    start_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
