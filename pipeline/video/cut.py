"""Clips of a video: what becomes of the bytes that stand behind a video URL.

    file ──probe──▶ container, stream ──plan──▶ spans ──decode every frame, pass packets through or encode──▶ clips, or a Drop

Every frame of a clip is decoded once, which also proves the clip whole; frames come and go one by one, so that memory holds a decoder's few and the
clips themselves. Sound is dropped (no reader of the shards listens), and so is all metadata. Packets of H.264 and VP9 that fit are passed through as
they are; all else becomes H.264 in MP4, which every reader of video shards decodes, with its keyframes where the source had them. It is x264 that encodes, as PyAV's wheels hold it: it is GPL,
which matters to who ships it together with this program.
"""

import hashlib
import io
from fractions import Fraction
from typing import BinaryIO

import av
import msgspec
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.images.measure import phash, reduced
from pipeline.video.clip_file import EncodedClip, Extension, PassedClip, luminance, upright
from pipeline.video.config import VideoConfig
from pipeline.video.plan import Plan, Span, plan
from pipeline.video.probe import Opened, demuxer, drop, open_stream
from schemas.drops import Drop, DropReason

_PIECE_BYTES = 1 << 20


class Clip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clip as it is stored.

    `width` and `height` are px of `data`, `source_width` and `source_height` the source's; all are upright. `start_s` counts from the source's first
    frame. `fps` is frames by seconds. `sha256` is of `data`, `source_sha256` of the whole source, `phash` of the middle frame, 64 bits in hex.
    """

    data: bytes
    extension: Extension
    width: int
    height: int
    source_width: int
    source_height: int
    start_s: float
    duration_s: float
    fps: float
    sha256: str
    source_sha256: str
    phash: str


def cut(file: BinaryIO | str, config: VideoConfig) -> list[Clip] | Drop:
    """Cuts a video into clips, in order, or says why there is none. `file` can seek; a string is a path.

    The same bytes, configuration and versions of the libraries give the same clips. Nothing raises for what is in the file.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(file, str):
        with open(file, "rb") as opened:
            return cut(opened, config)
    size = file.seek(0, io.SEEK_END)
    if size > config.max_bytes:
        return drop(DropReason.TOO_MANY_BYTES, value=size, threshold=config.max_bytes)
    format = demuxer(file)
    if isinstance(format, Drop):
        return format
    try:
        made = _cut(file, format, config)
    except av.FFmpegError as fault:
        return drop(DropReason.BROKEN_VIDEO, detail=f"{format}: {type(fault).__name__}: {fault.strerror}")
    if isinstance(made, Drop):
        return made
    source = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE_BYTES):
        source.update(piece)
    return [msgspec.structs.replace(clip, source_sha256=source.hexdigest()) for clip in made]


def _cut(file: BinaryIO, format: str, config: VideoConfig) -> list[Clip] | Drop:
    opened = open_stream(file, format, config)
    if isinstance(opened, Drop):
        return opened
    with opened[0]:
        planned = plan(opened, config)
    if isinstance(planned, Drop):
        return planned
    opened = open_stream(file, format, config)  # a decoder that has seen nothing
    if isinstance(opened, Drop):
        return opened
    with opened[0]:
        return _clips(opened, planned, config)


def _clips(opened: Opened, planned: Plan, config: VideoConfig) -> list[Clip] | Drop:
    """Decodes the frames of all spans one by one, and fills the clips with them or with their packets."""
    container, stream, _ = opened
    clips = [_Clip(span, planned) for span in planned.spans]
    at = passed = place = 0
    for packet in container.demux(stream):
        if not packet.size and packet.dts is not None:
            continue  # Theora's sign that a frame is shown again; the one without a time is the end's
        frames = packet.decode()
        if planned.passed is not None and packet.size:
            passed += passed < len(clips) and place >= clips[passed].span.last
            if passed < len(clips) and place >= clips[passed].span.first:
                clips[passed].take(packet, stream)
            place += 1
        for frame in frames:
            tick = frame.pts if frame.pts is not None else frame.dts
            if tick is None or (fault := _fault(frame, planned)):
                return drop(DropReason.BROKEN_VIDEO, detail=f"{stream.codec_context.name}: {fault or 'no time'}")
            while at < len(clips) and tick >= clips[at].span.end:
                clips[at].close()
                at += 1
            if at < len(clips):
                clips[at].show(frame, tick, _rate(stream), config.crf)
        if at == len(clips):
            break
    for clip in clips:
        clip.close()
    if any(not clip.frames for clip in clips):
        return drop(DropReason.BROKEN_VIDEO, detail=f"{stream.codec_context.name}: a clip without frames")
    size = (stream.height, stream.width) if planned.rotation % 2 else (stream.width, stream.height)
    return [clip.finished(size) for clip in clips]


def _fault(frame: VideoFrame, planned: Plan) -> str:
    """What is wrong with a frame."""
    if frame.is_corrupt:
        return "a frame is damaged"
    if planned.passed is not None and (frame.width, frame.height) != planned.size:
        return f"frames change their size to {frame.width} x {frame.height}"
    return ""


def _rate(stream: VideoStream) -> Fraction:
    """Frames a second, for the encoder's bit rate alone: each frame keeps its time."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25).limit_denominator(1001)


class _Clip:
    """A clip in the making: it is shown its frames in order, and, where those are passed through, given its packets."""

    def __init__(self, span: Span, planned: Plan) -> None:
        self.span = span
        self.frames = 0
        self._planned = planned
        self._first = self._last = span.start
        self._middle: VideoFrame | None = None  # until the middle is there, the latest
        self._phash = ""
        self._file: PassedClip | EncodedClip | None = None
        self._data = b""

    def take(self, packet: "Packet[VideoStream]", source: VideoStream) -> None:
        """Takes a packet as it is."""
        if self._planned.passed is None:
            return
        if not isinstance(self._file, PassedClip):
            self._file = PassedClip(self._planned.passed, source, self.span.start)
        self._file.add(packet)

    def show(self, frame: VideoFrame, tick: int, rate: Fraction, crf: int) -> None:
        """Takes a frame; one that does not come later than the one before it is left out."""
        if tick < self.span.start or (self.frames and tick <= self._last):
            return
        if not self.frames:
            self._first = tick
        planned, is_key = self._planned, frame.key_frame
        if planned.passed is None:
            frame = upright(frame, planned.size, planned.rotation)
            if not isinstance(self._file, EncodedClip):
                self._file = EncodedClip(planned.size, rate, planned.tick_s, crf)
            self._file.add(frame, tick - self._first, is_key)
        if 2 * self._last < self.span.start + self.span.end:
            self._middle = frame
        self.frames, self._last = self.frames + 1, tick

    def close(self) -> None:
        """Ends the file, and lets go of what made it."""
        if self._file is not None:
            self._data = self._file.close()
        if self._middle is not None:
            self._phash = phash(reduced(luminance(self._middle)))
        self._file = self._middle = None

    def finished(self, source_size: tuple[int, int]) -> Clip:
        """The clip, but for its source's hash."""
        planned, tick_s = self._planned, self._planned.tick_s
        duration_s = float((self.span.end - self._first) * tick_s)
        return Clip(
            data=self._data,
            extension=planned.passed or "mp4",
            width=planned.size[0],
            height=planned.size[1],
            source_width=source_size[0],
            source_height=source_size[1],
            start_s=float((self._first - planned.begin) * tick_s),
            duration_s=duration_s,
            fps=self.frames / duration_s,
            sha256=hashlib.sha256(self._data).hexdigest(),
            source_sha256="",
            phash=self._phash,
        )
