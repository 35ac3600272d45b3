"""What is taken of videos."""

from typing import Annotated

import msgspec


class VideoConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Videos: whether the run takes any, which of them, and what clips are stored."""

    take: bool = True
    # Seconds of a clip, at most. A stream that is passed through is cut at keyframes, so that its clips may be shorter.
    clip_s: Annotated[float, msgspec.Meta(gt=0)] = 30.0  # ours: Flamingo's videos last 22 s on average (Flamingo A.3.3)
    # Clips of a video, counted from its beginning; what follows them is not read.
    max_clips: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8  # ours: four minutes; a page's text is about few of them
    # Height, px, of what is stored; a higher video is scaled down to it and encoded again, a lower one never up.
    max_height_px: Annotated[int, msgspec.Meta(ge=16)] = 480  # ours: 320 in training (Flamingo B.1.2), and room to crop
    # Seconds; a shorter video is a drop, a shorter last clip is left out.
    min_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0  # ours: training takes one frame a second (Flamingo B.1.2)
    # Seconds that the file states; a longer video is a drop.
    max_s: Annotated[float, msgspec.Meta(gt=0)] = 4 * 3600.0  # ours: longer ones are recordings of streams
    # Bytes of the source file; more is a drop.
    max_bytes: Annotated[int, msgspec.Meta(ge=1)] = 200_000_000  # ours: ten minutes of 1080p at 2.5 Mbit/s
    # Pixels (width x height) of a source's frame; more is a drop, before decoding. A decoder holds some 20 frames.
    max_source_pixels: Annotated[int, msgspec.Meta(ge=1)] = 4096 * 2304  # ours: 4K
    # Constant rate factor of x264, 0 to 51, of clips that are encoded again; lower is better and larger.
    crf: Annotated[int, msgspec.Meta(ge=0, le=51)] = 23  # x264's default
