"""Clips: which frames are looked at, and what is no clip."""

import numpy as np
import pytest

from tests.videos import sound, video
from trainer.data.clips import clip, window
from trainer.data.media import MediaConfig, MediumError

CONFIG = MediaConfig(side=48, frames=4, fps=2.0, mean=(0.2, 0.4, 0.6))


class Start(np.random.Generator):
    """Chance that puts the window where it is told to."""

    def __init__(self, start: float) -> None:
        super().__init__(np.random.PCG64(0))
        self._start = start

    def random(self, size: int | None = None) -> object:  # type: ignore[override]
        """The start, or numbers that switch nothing on."""
        return self._start if size is None else np.full(size, 0.9)


def at(pixels: np.ndarray) -> list[int]:
    """Where the bright square of each frame begins, in px of a video of 96."""
    bright = pixels[:, 0, 16, :].astype(int) - pixels[:, 2, 16, :] > 120
    return [2 * int(np.argmax(row)) for row in bright]


@pytest.mark.parametrize(("format", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9")])
@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.5, 7), (0.999, 13)])
def test_a_window_of_frames(format: str, codec: str, start: float, first: int) -> None:
    """Four frames, half a second apart, from where chance says, whatever the distance of keyframes; the square moves 3 px a frame."""
    pixels = clip(video(3.0, format=format, codec=codec, gop=12), CONFIG, Start(start))

    assert (4, 3, 48, 48) == pixels.shape
    expected = [3 * (first + 5 * number) % 80 for number in range(4)]
    assert np.abs(np.subtract(at(pixels), expected)).max() <= 2
    assert [51, 102, 153] == pixels[0, :, 0, 0].tolist()


def test_a_short_clip_gives_what_it_has() -> None:
    """1.3 seconds have frames at 0, 0.5 and 1; a single frame is one."""
    rng = np.random.default_rng(0)
    assert 3 == len(clip(video(1.3), CONFIG, rng))
    assert 1 == len(clip(video(0.1), CONFIG, rng))


def test_the_same_bytes_give_the_same_pixels() -> None:
    """The window is a function of the generator alone, and one coin turns all frames."""
    data = video(4.0)
    config = MediaConfig(side=48, flip=0.5, colour=0.3)
    first, second = (clip(data, config, np.random.default_rng(3)) for _ in range(2))

    assert np.array_equal(first, second)
    mirrored = clip(data, MediaConfig(side=48, flip=1.0), Start(0.0))
    plain = clip(data, MediaConfig(side=48), Start(0.0))
    assert np.array_equal(mirrored, plain[..., ::-1])


def test_uneven_times() -> None:
    """What is seen at a time is the last frame shown by then."""
    data = video(0.4, ticks=[0, 100, 1900, 2000])
    pixels = clip(data, MediaConfig(side=48, frames=3), Start(0.0))

    assert np.abs(np.subtract(at(pixels), [0, 3, 9])).max() <= 2


def test_windows_fit() -> None:
    """Every window lies within the clip, and chance reaches both of its ends."""
    shown = list(range(0, 3000, 40))
    config = MediaConfig()
    assert [0, 1000, 2000] == window(shown, 0.001, 0.7, config)
    begins = [window(list(range(0, 9000, 40)), 0.001, start, config) for start in (0.0, 0.999)]
    assert [0, 1958] == [one[0] for one in begins]
    assert begins[1][-1] <= 8960


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no clip",
        sound(),
        video(2.0)[:2000],
        video(2.0)[:-500],
        video(1.0, format="webm", codec="libvpx-vp9")[:300],
        b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
    ],
)
def test_what_is_no_clip(data: bytes) -> None:
    """Foreign, silent or cut bytes, and playlists, are a broken medium."""
    with pytest.raises(MediumError):
        clip(data, CONFIG, np.random.default_rng(0))


def test_too_large() -> None:
    """Pixels are counted before a frame is decoded."""
    with pytest.raises(MediumError, match="96 x 64"):
        clip(video(0.2), MediaConfig(max_pixels=6000), np.random.default_rng(0))
