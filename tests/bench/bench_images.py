"""Pictures a second and core: `prepare` as a whole and by steps, beside the way of img2dataset's resizer (OpenCV), in one run.

The pictures are made here (a photograph-like noise over many octaves) in the sizes of the web. Time is that of the process' CPU, the best of some
rounds, so that a busy machine does not count. OpenCV decodes, resizes by area and encodes JPEG at quality 95, img2dataset's default; it neither hashes, turns,
converts colours nor strips. Without OpenCV its columns stay empty.

Run: python -m tests.bench.bench_images
"""

import hashlib
import io
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.images import ImageConfig, prepare, read_header, sniff
from pipeline.images.measure import colour_spread, phash, reduced
from pipeline.images.pixels import encoded, fitting_size
from pipeline.images.segments import stripped, walk
from tests.pictures import encode, exif, wide_profile

try:
    import cv2
except ImportError:
    cv2 = None

CONFIG = ImageConfig()
ROUNDS, ROUND_S = 5, 0.2


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Noise of four octaves, coarse ones stronger, as in photographs: JPEG at quality 85 takes 0.15 bytes a pixel."""
    rng = np.random.default_rng(seed)
    total: npt.NDArray[np.float64] = np.zeros((height, width, 3))
    for size, weight in ((128, 0.5), (32, 0.25), (8, 0.12), (2, 0.06)):
        noise = Image.fromarray(rng.integers(0, 256, (height // size + 1, width // size + 1, 3), dtype=np.uint8))
        total += weight * np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC))
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call: the mean of a round, the best of `ROUNDS`."""
    work()
    best = float("inf")
    for _ in range(ROUNDS):
        calls, start = 0, time.process_time()
        while (spent := time.process_time() - start) < ROUND_S:
            work()
            calls += 1
        best = min(best, spent / calls)
    return best


def by_opencv(data: bytes) -> bytes:
    """Decodes, brings the shorter side down to the configured one by area, encodes as JPEG at quality 95."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    height, width = image.shape[:2]
    size = fitting_size((width, height), CONFIG.short_side_px)
    if size != (width, height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return bytes(cv2.imencode(".jpg", image, [int(cv2.IMWRITE_JPEG_QUALITY), 95])[1])


def whole(pictures: dict[str, bytes]) -> None:
    """Prints pictures a second of `prepare` and of OpenCV, and their ratio."""
    print(f"{'picture':32} {'KB':>6} {'prepare/s':>10} {'OpenCV/s':>9} {'ratio':>6}  changes")
    for name, data in pictures.items():
        ours = seconds(lambda data=data: prepare(data, CONFIG))
        theirs = seconds(lambda data=data: by_opencv(data)) if cv2 is not None else float("nan")
        changes = "+".join(getattr(prepare(data, CONFIG), "changes", ())) or "none"
        print(f"{name:32} {len(data) / 1e3:6.0f} {1 / ours:10.0f} {1 / theirs:9.0f} {theirs / ours:6.2f}  {changes}")


def steps(data: bytes) -> None:
    """Prints the milliseconds of each step for one JPEG that is resized."""
    image = Image.open(io.BytesIO(data))
    size = fitting_size(image.size, CONFIG.short_side_px)

    def drafted() -> Image.Image:
        opened = Image.open(io.BytesIO(data))
        opened.draft(None, size)
        opened.load()
        return opened

    half = drafted()
    small = half.resize(size, Image.Resampling.BOX, reducing_gap=2.0)
    work: dict[str, Callable[[], object]] = {
        "sniff": lambda: sniff(data),
        "header": lambda: read_header(data),
        "walk and strip": lambda: stripped(data, "jpeg", list(walk(data, "jpeg"))),
        f"decode to {half.width} x {half.height}": drafted,
        f"decode to {image.width} x {image.height}": lambda: Image.open(io.BytesIO(data)).load(),
        f"resize to {size[0]} x {size[1]}": lambda: half.resize(size, Image.Resampling.BOX, reducing_gap=2.0),
        "encode": lambda: encoded(small, "jpeg", CONFIG.jpeg_quality),
        "copy of 32 x 32 px": lambda: reduced(small),
        "pHash and spread of the copy": lambda: (phash(reduced(half)), colour_spread(reduced(half))),
        "sha256": lambda: hashlib.sha256(data).digest(),
    }
    for name, step in work.items():
        print(f"{name:32} {seconds(step) * 1e3:8.3f} ms")


def main() -> None:
    """Prints both tables."""
    if cv2 is not None:
        cv2.setNumThreads(1)
    large, fitting = scene(1600, 1200), scene(640, 480)
    pictures = {
        "JPEG 640 x 480": encode(fitting, "JPEG", quality=85),
        "JPEG 640 x 480, EXIF": encode(fitting, "JPEG", quality=85, exif=exif(1)),
        "JPEG 640 x 480, on its side": encode(fitting, "JPEG", quality=85, exif=exif(6)),
        "JPEG 640 x 480, wide gamut": encode(fitting, "JPEG", quality=85, icc_profile=wide_profile()),
        "JPEG 1600 x 1200": encode(large, "JPEG", quality=85),
        "JPEG 1600 x 1200, progressive": encode(large, "JPEG", quality=85, progressive=True),
        "JPEG 4000 x 3000": encode(scene(4000, 3000), "JPEG", quality=85),
        "PNG 640 x 480": encode(fitting, "PNG"),
        "PNG 1600 x 1200": encode(large, "PNG"),
        "WebP 640 x 480": encode(fitting, "WEBP"),
        "WebP 1600 x 1200": encode(large, "WEBP"),
        "AVIF 640 x 480": encode(fitting, "AVIF"),
    }
    whole(pictures)
    print()
    steps(pictures["JPEG 1600 x 1200"])


if __name__ == "__main__":
    main()
