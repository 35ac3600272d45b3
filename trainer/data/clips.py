"""Clips to pixels: a window of frames at even times, each as a picture is.

    packets' times ──▶ window ──▶ seek to the keyframe before it, decode up to its end ──▶ uint8 [T, 3, side, side]

What is seen at a time is the last frame that is shown by then. Times come from the packets, so that nothing is decoded that is not near the window. One thread
decodes, and scaling is exact, so that the same bytes give the same pixels. The first bytes choose the demuxer: left to itself, FFmpeg also takes playlists,
which open other files and addresses.
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from PIL import Image

from trainer.data.media import MediaConfig, MediumError, Pixels, augmented, square

MAX_PACKETS: Final = 200_000  # ours: an hour at 55 frames a second
MAX_DECODED_PIXELS: Final = 1 << 33  # ours: two minutes of 1080p at 30 frames a second, decoded to get at the window
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SCALING: Final = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def clip(data: bytes, config: MediaConfig, rng: np.random.Generator) -> Pixels:
    """[T, 3, side, side]: T = `frames` frames, `fps` a second, from a random time on; a shorter clip gives the frames it has. One coin turns all of them.

    Raises:
        MediumError: not MP4 or WebM, damaged, or of more than `max_pixels` a frame.
    """
    start, chance = rng.random(), rng.random(4)
    try:
        with _opened(data, config) as container:
            stream = container.streams.video[0]
            times = window(_shown(container, stream), float(stream.time_base or 0), start, config)
            images = list(_pictures(container, stream, times, config))
    except (av.FFmpegError, ValueError) as error:
        raise MediumError(f"{type(error).__name__}: {error}") from error
    return np.stack([square(augmented(image, config, chance), config) for image in images])


def window(shown: list[int], tick_s: float, start: float, config: MediaConfig) -> list[int]:
    """The times to look at, in ticks of `tick_s` seconds, of a clip whose frames are shown at these ticks; `start` in [0, 1) says where among all that fit.

    >>> window([0, 10, 20, 30], 0.1, 0.5, MediaConfig(frames=2))
    [10, 20]
    """
    first, last = min(shown), max(shown)
    apart = 1 / (config.fps * tick_s)
    count = min(config.frames, int((last - first + 0.5) / apart) + 1)
    begin = first + start * max(0, last - first - (count - 1) * apart) if count == config.frames else first
    return [round(begin + number * apart) for number in range(count)]


def _opened(data: bytes, config: MediaConfig) -> InputContainer:
    """The container, of which a video stream is known to be there."""
    demuxer = "mov" if data[4:8] == b"ftyp" else "matroska" if data.startswith(_EBML) else ""
    if not demuxer:
        raise MediumError("neither MP4 nor WebM")
    budget = {"max_pixels": str(config.max_pixels)}  # a stream can state more than its container
    container = av.open(BytesIO(data), "r", format=demuxer, options=budget, metadata_errors="ignore")
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None or not stream.time_base:
        container.close()
        raise MediumError("no video in it")
    if stream.width * stream.height > config.max_pixels:
        container.close()
        raise MediumError(f"{stream.width} x {stream.height} px")
    stream.codec_context.thread_count = 1
    stream.codec_context.options = budget
    return container


def _shown(container: InputContainer, stream: VideoStream) -> list[int]:
    """When each frame is shown, in ticks."""
    shown: list[int] = []
    for packet in container.demux(stream):
        at = packet.pts if packet.pts is not None else packet.dts
        if packet.is_corrupt or len(shown) == MAX_PACKETS:
            raise MediumError("a packet is cut short, or is one too many")
        if packet.size and at is not None and not packet.is_discard:
            shown.append(at)
    if not shown:
        raise MediumError("no frames")
    return shown


def _pictures(
    container: InputContainer, stream: VideoStream, times: list[int], config: MediaConfig
) -> Iterator[Image.Image]:
    """The picture at each of the times, which ascend."""
    container.seek(times[0], stream=stream)
    ahead, seen = iter([*times, float("inf")]), None
    wanted = next(ahead)
    budget = MAX_DECODED_PIXELS
    for frame in container.decode(stream):
        budget -= frame.width * frame.height
        if frame.is_corrupt or frame.pts is None or budget < 0:
            raise MediumError("a frame is damaged, has no time, or is one too many")
        if seen is not None and frame.pts > wanted:
            image = _picture(seen, stream, config)
            while frame.pts > wanted:
                yield image
                wanted = next(ahead)
        if wanted == float("inf"):
            return
        seen = frame
    if seen is None:
        raise MediumError("no frames")
    while wanted != float("inf"):
        yield _picture(seen, stream, config)
        wanted = next(ahead)


def _picture(frame: VideoFrame, stream: VideoStream, config: MediaConfig) -> Image.Image:
    """A frame upright, in square pixels, no larger than it is needed twice over."""
    width = frame.width * float(stream.sample_aspect_ratio or 1)
    shrink = min(1.0, 2 * config.side / max(width, frame.height))
    size = (max(1, round(width * shrink)), max(1, round(frame.height * shrink)))
    rows = frame.reformat(*size, "rgb24", interpolation=_SCALING).to_ndarray()
    return Image.fromarray(np.ascontiguousarray(np.rot90(rows, round(frame.rotation / 90) % 4)))
