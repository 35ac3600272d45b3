"""Where a video is to be cut, read off its packets alone, before anything is decoded.

In: an opened stream. Out: a `Plan`, the clips' spans and whether their packets can be passed through, or the `Drop` that the packets already tell.
Passed through are streams that every reader of shards decodes and that fit as they are. Their clips begin at keyframes, and only at such that nothing
that is decoded later is shown earlier (an open group of pictures leans on the one before it).
"""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import msgspec
from av.video.stream import VideoStream

from pipeline.video.clip_file import Extension
from pipeline.video.config import VideoConfig
from pipeline.video.probe import Opened, drop, stated_s
from schemas.drops import Drop, DropReason

MAX_PACKETS = 200_000  # ours: what is read by default, 240 s, holds 14,400 at 60 frames a second
MAX_DECODED_PIXELS = 1 << 34  # ours: some four minutes of 1080p at 30 frames a second
MAX_MISSING_S = 1.0  # ours: a file may end so much before the end that it states, which writers round
# What is passed through, and the container that it goes into.
_PASSED: dict[str, Extension] = {"h264": "mp4", "vp9": "webm"}
_PASSED_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_SQUARE = 0.01  # ours: pixels that are so little off a square count as square


class Seen(msgspec.Struct, frozen=True):
    """A packet: when its frame is shown, in ticks of the stream's time base, and whether decoding can start at it."""

    shown: int
    is_key: bool


class Span(msgspec.Struct, frozen=True):
    """A clip: ticks [start, end), and, where packets are passed through, their places [first, last) in the stream."""

    start: int
    end: int
    first: int = 0
    last: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a video is cut.

    `begin` is the tick of the stream's first frame, `tick_s` its time base; `passed` names the container where packets are passed through, and is None where frames are encoded again;
    `size` is width and height, px, of a clip; `rotation` the quarter turns counterclockwise that a frame needs to stand upright.
    """

    spans: list[Span]
    begin: int
    tick_s: Fraction
    passed: Extension | None
    size: tuple[int, int]
    rotation: int


def plan(opened: Opened, config: VideoConfig) -> Plan | Drop:
    """Reads packets as far as clips are wanted, decodes the first frame, and says where to cut.

    Raises:
        av.FFmpegError: the packets cannot be read.
    """
    container, stream, tick_s = opened
    read = _read(opened, config)
    if isinstance(read, Drop):
        return read
    length_s, stated = float((read.end - read.begin) * tick_s), stated_s(container, stream)
    if read.is_whole and stated is not None and length_s < stated - MAX_MISSING_S:
        return drop(DropReason.BROKEN_VIDEO, value=length_s, threshold=stated, detail="ends before its stated end")
    size = _fitting(stream, read.rotation, config.max_height_px)
    fits = not read.rotation and size == (stream.width, stream.height) and read.can_pass
    passed = _PASSED.get(stream.codec_context.name) if fits and stream.pix_fmt in _PASSED_PIXELS else None
    ticks = max(1, int(config.clip_s / tick_s))
    spans = keyframe_spans(read.packets, read.end, ticks, read.is_whole) if passed else []
    if not spans:
        passed = None
        spans = [Span(at, min(at + ticks, read.end)) for at in range(read.begin, read.end, ticks)]
    spans = [span for span in spans[: config.max_clips] if (span.end - span.start) * tick_s >= config.min_s]
    if not spans:
        return drop(DropReason.TOO_SHORT, value=length_s, threshold=config.min_s)
    cut = Plan(spans=spans, begin=read.begin, tick_s=tick_s, passed=passed, size=size, rotation=read.rotation or 0)
    return _within_budget(cut, read.packets, stream.width * stream.height)


class _Read(msgspec.Struct, kw_only=True):
    """What reading found: `can_pass` says that every packet has its times and is to be shown, `is_whole` that the stream was read to its end."""

    packets: list[Seen] = []
    begin: int = 0
    end: int = 0
    rotation: int | None = None
    can_pass: bool = True
    is_whole: bool = True


def _read(opened: Opened, config: VideoConfig) -> _Read | Drop:
    container, stream, tick_s = opened
    last_tick = int((config.max_clips + 1) * config.clip_s / tick_s)  # a clip more: its keyframe ends the last one
    frame_ticks = _frame_ticks(stream, tick_s)
    read = _Read()
    for packet in container.demux(stream):
        if not packet.size:
            continue  # the end's, or Theora's sign that a frame is shown again
        shown = packet.pts if packet.pts is not None else packet.dts
        if packet.is_corrupt or shown is None or len(read.packets) == MAX_PACKETS:
            return drop(
                DropReason.BROKEN_VIDEO,
                value=len(read.packets),
                detail="a packet is cut short, has no time, or is one too many",
            )
        if read.rotation is None:
            read.rotation = next((round(frame.rotation / 90) % 4 for frame in packet.decode()), None)
        read.can_pass &= packet.pts is not None and packet.dts is not None and not packet.is_discard
        read.begin = min(read.begin, shown) if read.packets else shown
        read.end = max(read.end, shown + (packet.duration or frame_ticks))
        read.packets.append(Seen(shown, packet.is_keyframe))
        if shown - read.begin > last_tick:
            read.is_whole = False
            break
    return read if read.packets else drop(DropReason.BROKEN_VIDEO, detail="no packets")


def keyframe_spans(packets: Sequence[Seen], end: int, ticks: int, is_whole: bool) -> list[Span]:
    """Spans of at most `ticks`, each of as many groups of pictures as fit; none where one is longer, or the first packet is no keyframe.

    `end` is the end of the last packet's time. What stands behind the last keyframe of a stream that was not read to its end is left out.
    """
    borders: list[tuple[int, int]] = [(len(packets), end)] if is_whole else []
    lowest = end
    for place in range(len(packets) - 1, -1, -1):
        lowest = min(lowest, packets[place].shown)
        if packets[place].is_key and packets[place].shown == lowest:
            borders.append((place, lowest))
    borders.reverse()
    if not borders or borders[0][0] != 0 or packets[-1].shown - borders[-1][1] > ticks:
        return []
    spans: list[Span] = []
    first = borders[0]
    for border, following in pairwise(borders):
        if following[1] - border[1] > ticks:
            return []
        if following[1] - first[1] > ticks:
            spans.append(Span(first[1], border[1], first[0], border[0]))
            first = border
    if first != borders[-1]:
        spans.append(Span(first[1], borders[-1][1], first[0], borders[-1][0]))
    return spans


def _frame_ticks(stream: VideoStream, tick_s: Fraction) -> int:
    """How long a frame lasts whose packet does not say."""
    rate = stream.average_rate or stream.guessed_rate
    return max(1, round(1 / (rate * tick_s))) if rate else 1


def _fitting(stream: VideoStream, rotation: int | None, max_height_px: int) -> tuple[int, int]:
    """Width and height, upright, of square pixels, both even, at most `max_height_px` high; the stream's where they are so."""
    ratio = stream.sample_aspect_ratio or Fraction(1)
    if ratio <= 0 or abs(ratio - 1) <= _SQUARE:
        ratio = Fraction(1)
    width, height = stream.width * ratio, Fraction(stream.height)
    if rotation in (1, 3):
        width, height = height, width
    low = min(int(height), max_height_px)
    even = low - low % 2
    return max(2, 2 * round(width * low / height / 2)), max(2, even)


def _within_budget(whole: Plan, packets: Sequence[Seen], pixels: int) -> Plan | Drop:
    """The plan without the clips at its end that would cost too much to decode; `pixels` are a frame's."""
    shown = sorted(packet.shown for packet in packets)
    costs = [pixels * bisect_left(shown, span.end) for span in whole.spans]
    spans = [span for span, cost in zip(whole.spans, costs, strict=True) if cost <= MAX_DECODED_PIXELS]
    if not spans:
        return drop(DropReason.TOO_MANY_PIXELS, value=costs[0], threshold=MAX_DECODED_PIXELS, detail="of all frames")
    return msgspec.structs.replace(whole, spans=spans)
