"""What a file is, before a packet of it is read: its container, and the video stream in it.

In: an open file. Out: a container and its stream, or the `Drop` that they already tell. The first bytes choose the demuxer, and only self-contained
formats are among them: left to itself, FFmpeg also takes playlists, which make it open other files and addresses.
"""

from fractions import Fraction
from typing import BinaryIO, TypeAlias

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.read.sniff import sniff
from pipeline.video.config import VideoConfig
from schemas.drops import Drop, DropReason

# FFmpeg's demuxers by their names.
_DEMUXERS = {"video/mp4": "mov", "video/webm": "matroska", "video/ogg": "ogg"}
_ATOMS = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip"})  # how QuickTime files without `ftyp` begin
# What is decoded; decoders are named after their codec, or after the library that does the work.
_DECODERS = frozenset(
    "h264 hevc vp8 vp9 libvpx libvpx-vp9 av1 libdav1d theora mpeg4 mpeg1video mpeg2video mjpeg".split()
)
_FIRST_BYTES = 512

# A container, its stream, and the seconds of a tick in which the stream counts time.
Opened: TypeAlias = tuple[InputContainer, VideoStream, Fraction]


def drop(reason: DropReason, *, value: float | None = None, threshold: float | None = None, detail: str = "") -> Drop:
    """The drop of a video."""
    return Drop(kind="video", reason=reason, value=value, threshold=threshold, detail=detail[:200])


def demuxer(file: BinaryIO) -> str | Drop:
    """The demuxer for what begins here."""
    file.seek(0)
    first = file.read(_FIRST_BYTES)
    if first[4:8] in _ATOMS:
        return "mov"
    mime = "video/x-msvideo" if first[:4] == b"RIFF" and first[8:12] == b"AVI " else sniff(first)
    found = _DEMUXERS.get(mime)
    if found is None:
        is_video = mime.startswith("video/")
        return drop(DropReason.UNSUPPORTED_FORMAT if is_video else DropReason.NOT_A_VIDEO, detail=mime)
    return found


def open_stream(file: BinaryIO, demuxer: str, config: VideoConfig) -> Opened | Drop:
    """Opens the container and its best video stream, to be decoded in one thread.

    Raises:
        av.FFmpegError: the container cannot be read.
    """
    file.seek(0)
    budget = {"max_pixels": str(config.max_source_pixels)}  # a stream can state more than its container
    container = av.open(file, "r", format=demuxer, options=budget, metadata_errors="ignore")
    stream = container.streams.best("video")
    refused = _refused(container, stream, config)
    if refused is not None:
        container.close()
        return refused
    assert isinstance(stream, VideoStream)  # `_refused` says so
    assert stream.time_base is not None
    stream.codec_context.thread_count = 1
    stream.codec_context.options = budget
    return container, stream, stream.time_base


def stated_s(container: InputContainer, stream: VideoStream) -> float | None:
    """The seconds that the file says the stream lasts; of a file with several streams it may say only how long the longest is."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _refused(container: InputContainer, stream: object, config: VideoConfig) -> Drop | None:
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        kinds = sorted({one.type for one in container.streams})
        return drop(DropReason.NOT_A_VIDEO, detail=f"streams: {', '.join(kinds)}")
    name = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    if name not in _DECODERS:
        return drop(DropReason.UNSUPPORTED_FORMAT, detail=name)
    pixels = stream.width * stream.height
    if pixels > config.max_source_pixels:
        return drop(DropReason.TOO_MANY_PIXELS, value=pixels, threshold=config.max_source_pixels)
    if not pixels or not stream.time_base:
        return drop(DropReason.BROKEN_VIDEO, detail=f"{name}: no size, or no time base")
    seconds = stated_s(container, stream)
    if seconds is not None and seconds > config.max_s:
        return drop(DropReason.TOO_LONG, value=seconds, threshold=config.max_s)
    return None
