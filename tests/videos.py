"""Small videos that tests make."""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np


def video(
    seconds: float,
    *,
    format: str = "mp4",
    codec: str = "libx264",
    width: int = 96,
    height: int = 64,
    fps: int = 10,
    gop: int = 10,
    seed: int = 0,
    ticks: Sequence[int] = (),
) -> bytes:
    """A video of a bright square that wanders over a slope of grey; a keyframe every `gop` frames. `ticks` are the frames' times in ms."""
    file = io.BytesIO()
    slope = np.linspace(20, 160, width, dtype=np.uint8)[None, :, None].repeat(height, 0).repeat(3, 2)
    with av.open(file, "w", format=format) as container:
        container.metadata["title"] = container.metadata["comment"] = "made by hand"
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = width, height, "yuv420p", gop
        if ticks:
            stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"sc_threshold": "0", "deadline": "realtime", "cpu-used": "8"}
        for number in range(round(seconds * fps)):
            picture = slope.copy()
            at = (number * 3 + seed * 7) % (width - 16)
            picture[8 : height // 2, at : at + 16] = (250, 40 + seed * 20 % 200, 10)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            if ticks:
                frame.pts, frame.time_base = ticks[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def sound() -> bytes:
    """An MP4 with a second of silence and no picture."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        for number in range(8):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 8000, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()
