"""What happens to the bytes of one picture: `sniff` and `read_header`, then `prepare`, and later `judge`.

    bytes ──formats, header──▶ Header ──segments, pixels──▶ picture ──measure──▶ Picture ──filters──▶ stays, or a reason

Pure functions of bytes and values; Pillow and numpy are the only tools. Nothing raises for what is in the bytes.
"""

from pipeline.images.columns import media_columns
from pipeline.images.filters import ImageFilterConfig, judge, judge_scores
from pipeline.images.formats import Format, PictureFormat, sniff
from pipeline.images.header import Header, read_header
from pipeline.images.picture import Change, ImageConfig, Picture, prepare

__all__ = [
    "Change",
    "Format",
    "Header",
    "ImageConfig",
    "ImageFilterConfig",
    "Picture",
    "PictureFormat",
    "judge",
    "judge_scores",
    "media_columns",
    "prepare",
    "read_header",
    "sniff",
]
