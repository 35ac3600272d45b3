"""Videos: what is cut out of them, what is passed through, and what is a drop."""

import io
import struct
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import pytest

from pipeline.video.config import VideoConfig
from pipeline.video.cut import Clip, cut
from pipeline.video.plan import Seen, Span, keyframe_spans
from schemas.drops import Drop, DropReason
from tests.pictures import encode, photo
from tests.videos import sound, video

SHARED = Path(__file__).parents[1] / "../shared/data/video"


def _clips(data: bytes, config: VideoConfig | None = None) -> list[Clip]:
    made = cut(io.BytesIO(data), config or VideoConfig())
    assert isinstance(made, list), made
    return made


def _drop(data: bytes, config: VideoConfig | None = None) -> Drop:
    made = cut(io.BytesIO(data), config or VideoConfig())
    assert isinstance(made, Drop)
    assert made.kind == "video"
    return made


def _packets(data: bytes) -> list[bytes]:
    with av.open(io.BytesIO(data)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def _times(data: bytes) -> list[float]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.time for frame in container.decode(video=0)]


@pytest.mark.parametrize(("format", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9"), ("mov", "libx264")])
def test_what_fits_is_passed_through(format: str, codec: str) -> None:
    """H.264 and VP9 keep their packets, begin at keyframes and at time 0; clips are as long as groups of pictures allow."""
    source = video(5, format=format, codec=codec)
    clips = _clips(source, VideoConfig(clip_s=2.5))
    assert [packet for clip in clips for packet in _packets(clip.data)] == _packets(source)
    assert [(0, 2), (2, 2), (4, 1)] == [(round(clip.start_s, 2), round(clip.duration_s, 2)) for clip in clips]
    for clip in clips:
        assert ("webm" if codec == "libvpx-vp9" else "mp4") == clip.extension
        assert pytest.approx([n / 10 for n in range(round(clip.duration_s * 10))], abs=0.002) == _times(clip.data)
        assert pytest.approx(10) == clip.fps
    assert 3 == len({clip.phash for clip in clips}) == len({clip.sha256 for clip in clips})


@pytest.mark.parametrize(("format", "codec"), [("webm", "libvpx"), ("ogg", "libvpx"), ("mp4", "mpeg4")])
def test_other_codecs_become_h264(format: str, codec: str) -> None:
    """What shards' readers may not decode is encoded again, and cut where it is wanted, not at keyframes."""
    clips = _clips(video(5, format=format, codec=codec), VideoConfig(clip_s=2.5))
    assert [("mp4", 0.0, 2.5), ("mp4", 2.5, 2.5)] == [(c.extension, c.start_s, round(c.duration_s, 3)) for c in clips]
    for clip in clips:
        with av.open(io.BytesIO(clip.data)) as container:
            assert "h264" == container.streams.video[0].codec_context.name
        assert 25 == len(_times(clip.data))


def test_high_videos_are_scaled_down() -> None:
    """Frames are at most so high, keep their aspect, and have even sides."""
    (clip,) = _clips(video(2, width=96, height=64), VideoConfig(max_height_px=47))
    assert (70, 46, 96, 64) == (clip.width, clip.height, clip.source_width, clip.source_height)
    with av.open(io.BytesIO(clip.data)) as container:
        stream = container.streams.video[0]
        assert (70, 46, "yuv420p") == (stream.width, stream.height, stream.pix_fmt)


def test_a_group_longer_than_a_clip_is_encoded_again() -> None:
    """Where keyframes are too far apart to cut at them, frames are cut."""
    clips = _clips(video(5, gop=100), VideoConfig(clip_s=2))
    assert [2.0, 2.0, 1.0] == [round(clip.duration_s, 3) for clip in clips]


def _keys(data: bytes) -> list[float]:
    with av.open(io.BytesIO(data)) as container:
        return [frame.time for frame in container.decode(video=0) if frame.key_frame]


def test_keyframes_are_kept() -> None:
    """Passed through or encoded again, a clip has its source's keyframes, of those that are closer than a second not all; it begins with one."""
    passed, again = (_clips(video(5, gop=15), VideoConfig(clip_s=3, max_height_px=high)) for high in (64, 32))
    (dense,) = _clips(video(3, gop=1), VideoConfig(max_height_px=32))

    assert [[0, 1.5], [0, 1.5]] == [_keys(clip.data) for clip in passed]
    assert [[0, 1.5], [0, 1.5]] == [_keys(clip.data) for clip in again]
    assert [0, 1, 2] == _keys(dense.data)


@pytest.mark.parametrize("high", [64, 32])
def test_frames_keep_their_times(high: int) -> None:
    """Of a variable rate, from a start other than 0, with frames that lean on later ones: each frame is shown when it was, counted from the clip's start."""
    ticks = [7000 + 10 * n * n for n in range(30)]
    clips = _clips(video(3, ticks=ticks, gop=6), VideoConfig(clip_s=6, max_height_px=high))

    shown = [clip.start_s + time for clip in clips for time in _times(clip.data)]
    assert [0] * len(clips) == [_times(clip.data)[0] for clip in clips]
    assert pytest.approx([(tick - 7000) / 1000 for tick in ticks], abs=0.001) == shown


def test_turned_videos_stand_upright() -> None:
    """A turn that the container states is done to the frames, as readers of shards do not look for it."""
    source = video(2)
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # a quarter turn
    straight = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    head, tail = source.split(b"tkhd", 1)
    (clip,) = _clips(head + b"tkhd" + tail.replace(straight, matrix, 1))
    assert (64, 96, 64, 96) == (clip.width, clip.height, clip.source_width, clip.source_height)
    with av.open(io.BytesIO(clip.data)) as container:
        shown = next(container.decode(video=0))
        assert shown.rotation == 0
        levels = shown.to_ndarray(format="gray")
    assert (
        levels[0].mean() < levels[-1].mean()
    )  # the slope rose from left to right; turned clockwise, from top to bottom


def test_only_the_first_clips_are_taken() -> None:
    """A video gives no more clips than wanted, and a rest that is too short gives none."""
    assert 2 == len(_clips(video(5), VideoConfig(clip_s=1, max_clips=2)))
    assert [2.0, 2.0] == [round(c.duration_s, 3) for c in _clips(video(4.5), VideoConfig(clip_s=2))]


def test_nothing_but_pictures_is_kept() -> None:
    """Titles, comments, names of programs and times do not get into clips, and two attempts give the same bytes."""
    for source in (video(2), video(2, format="webm", codec="libvpx-vp9"), video(2, format="webm", codec="libvpx")):
        first, second = _clips(source), _clips(source)
        assert first == second
        assert b"made by hand" in source
        assert b"made by hand" not in first[0].data
        assert b"Lavf6" not in first[0].data
        with av.open(io.BytesIO(first[0].data)) as container:
            assert {"major_brand", "minor_version", "compatible_brands", "encoder"} >= set(container.metadata)


def test_a_path_is_as_good_as_a_file() -> None:
    """Videos from the web are temporary files."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(video(2))
        file.flush()
        assert cut(file.name, VideoConfig()) == _clips(video(2))


@pytest.mark.parametrize(
    ("make", "config", "reason"),
    [
        (lambda: b"", {}, DropReason.NOT_A_VIDEO),
        (lambda: b"<html><body>gone</body></html>", {}, DropReason.NOT_A_VIDEO),
        (lambda: encode(photo(), "JPEG"), {}, DropReason.NOT_A_VIDEO),
        (lambda: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", {}, DropReason.NOT_A_VIDEO),
        (sound, {}, DropReason.NOT_A_VIDEO),
        (lambda: video(1, format="avi", codec="mpeg4"), {}, DropReason.UNSUPPORTED_FORMAT),
        (lambda: video(1, codec="libx265", format="mp4").replace(b"hev1", b"xxxx"), {}, DropReason.UNSUPPORTED_FORMAT),
        (lambda: video(2), {"max_source_pixels": 6000}, DropReason.TOO_MANY_PIXELS),
        (lambda: video(2), {"max_bytes": 2000}, DropReason.TOO_MANY_BYTES),
        (lambda: video(0.5), {}, DropReason.TOO_SHORT),
        (lambda: video(3), {"max_s": 2}, DropReason.TOO_LONG),
        (lambda: video(3)[:2000], {}, DropReason.BROKEN_VIDEO),
        (lambda: video(3, format="webm", codec="libvpx")[:2000], {}, DropReason.BROKEN_VIDEO),
        (lambda: b"\0\0\0\x20ftypisom" + bytes(100), {}, DropReason.BROKEN_VIDEO),
    ],
)
def test_what_is_no_use_is_a_drop(make: Callable[[], bytes], config: dict[str, float], reason: DropReason) -> None:
    """Each thing that can be wrong with a file has its reason, and none raises."""
    assert reason == _drop(make(), VideoConfig(**config)).reason  # type: ignore[arg-type]


def test_damage_is_a_drop() -> None:
    """Frames that do not decode are no clip, also where packets would be passed through."""
    source = bytearray(video(4))
    at = source.index(b"mdat") + 2000
    source[at : at + 300] = bytes(300)
    assert DropReason.BROKEN_VIDEO == _drop(bytes(source)).reason


def test_spans_begin_at_closed_keyframes() -> None:
    """A keyframe before which something is shown that is decoded behind it is no place to cut."""
    shown = [0, 1, 2, 6, 4, 5, 7, 8]  # the keyframe at 6 is decoded before 4 and 5
    packets = [Seen(tick, tick in (0, 2, 6, 8)) for tick in shown]
    assert [Span(0, 2, 0, 2), Span(2, 8, 2, 7), Span(8, 9, 7, 8)] == keyframe_spans(packets, 9, 6, True)
    assert [Span(0, 8, 0, 7)] == keyframe_spans(packets, 9, 8, False)
    assert [] == keyframe_spans(packets, 9, 5, True)
    assert [] == keyframe_spans(packets[1:], 9, 9, True)


@pytest.mark.skipif(not SHARED.exists(), reason="real videos are not part of the package")
def test_the_same_bytes_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """x264's code for one kind of processor gives what its code for all gives; what it gives by default differs even from run to run."""
    source, config = (SHARED / "mdn-rabbit320.webm").read_bytes(), VideoConfig(clip_s=3, max_clips=1)
    fast = _clips(source, config)
    monkeypatch.setattr("pipeline.video.clip_file._SAME_EVERYWHERE", "asm=0")
    assert fast == _clips(source, config)


@pytest.mark.skipif(not SHARED.exists(), reason="real videos are not part of the package")
def test_real_videos() -> None:
    """Every real video gives clips that follow each other without a gap and hold what they say."""
    for path in sorted(SHARED.glob("*.[mow][pge][4bv]*")):
        if path.stat().st_size > 400_000:
            continue
        clips = _clips(path.read_bytes(), VideoConfig(clip_s=5))
        for clip in clips:
            assert len(_times(clip.data)) == round(clip.fps * clip.duration_s)
            assert clip.duration_s <= 5
        for before, after in pairwise(clips):
            assert before.start_s + before.duration_s == pytest.approx(after.start_s, abs=0.5)
