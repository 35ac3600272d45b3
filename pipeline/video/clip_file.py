"""The file of one clip: packets that are passed through, or frames that are encoded, in a container that says nothing else.

In: packets or upright frames with their ticks. Out: bytes. No times, names or versions get into the container, and one thread encodes, so that the same
input and libraries give the same bytes.
"""

import io
from fractions import Fraction
from typing import Literal, TypeAlias

import av
import numpy as np
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream
from PIL import Image

Extension: TypeAlias = Literal["mp4", "webm"]

_PRESET = "veryfast"  # ours
# Without it x264's fast code decides some costs otherwise on another processor, and even from one run to the next.
_SAME_EVERYWHERE = "cpu-independent=1"
# The last two make all processors give the same pixels.
_SCALING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_FORMAT = "yuv420p"
_KEY_DISTANCE_S = (
    1.0  # ours: training takes one frame a second, and sources of keyframes alone would become many times as large
)


class _File:
    def __init__(self, extension: Extension) -> None:
        self._bytes = io.BytesIO()
        self._container = av.open(self._bytes, "w", format=extension, options={"fflags": "+bitexact"})

    def close(self) -> bytes:
        """Ends the file."""
        self._container.close()
        return self._bytes.getvalue()


class PassedClip(_File):
    """A clip of packets as they are; `origin` is the tick that becomes 0."""

    def __init__(self, extension: Extension, source: VideoStream, origin: int) -> None:
        super().__init__(extension)
        self._stream = self._container.add_stream_from_template(source)
        self._origin = origin

    def add(self, packet: "Packet[VideoStream]") -> None:
        """Adds a packet, whose times it changes."""
        assert packet.pts is not None  # a plan passes no others through
        assert packet.dts is not None
        packet.pts -= self._origin
        packet.dts -= self._origin
        packet.stream = self._stream
        self._container.mux_one(packet)


class EncodedClip(_File):
    """A clip of frames, encoded by x264; its times count from the first one. The source's keyframes stay keyframes, up to one a second."""

    def __init__(self, size: tuple[int, int], rate: Fraction, tick_s: Fraction, crf: int) -> None:
        super().__init__("mp4")
        options = {"crf": str(crf), "preset": _PRESET, "x264-params": _SAME_EVERYWHERE}
        self._stream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = _FORMAT
        self._stream.codec_context.time_base = self._tick_s = tick_s
        self._stream.codec_context.thread_count = 1
        self._next_key = 0

    def add(self, frame: VideoFrame, tick: int, is_key: bool) -> None:
        """Adds a frame, whose times it changes."""
        frame.pts, frame.time_base = tick, self._tick_s
        is_key = is_key and tick >= self._next_key
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        if is_key:
            self._next_key = tick + int(_KEY_DISTANCE_S / self._tick_s)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> bytes:
        """Ends the file."""
        self._container.mux(self._stream.encode(None))
        return super().close()


def upright(frame: VideoFrame, size: tuple[int, int], rotation: int) -> VideoFrame:
    """The frame in the clip's size and format, after so many quarter turns counterclockwise."""
    width, height = size[:: -1 if rotation % 2 else 1]
    scaled = frame.reformat(width, height, _FORMAT, interpolation=_SCALING)
    if not rotation:
        return scaled
    rows = scaled.to_ndarray()
    chroma = rows[height:].reshape(2, height // 2, width // 2)
    planes = [np.rot90(plane, rotation).ravel() for plane in (rows[:height], *chroma)]
    return VideoFrame.from_ndarray(np.concatenate(planes).reshape(-1, size[0]), _FORMAT)


def luminance(frame: VideoFrame) -> Image.Image:
    """The first plane of a frame that has 8 bits, as a picture."""
    plane = frame.planes[0]
    return Image.frombuffer("L", (frame.width, frame.height), bytes(plane), "raw", "L", plane.line_size, 1)
