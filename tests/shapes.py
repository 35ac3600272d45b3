"""Pictures whose captions nothing but the picture predicts: one of 8 colours, 6 shapes and 4 places, each as likely as the others."""

import io
import math
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from schemas.shard import Sample, encode_index, sample_key, write_shard

COLOURS: Final = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 60, 220),
    "yellow": (240, 220, 40),
    "purple": (140, 40, 170),
    "cyan": (60, 210, 220),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
}
SHAPES: Final = ("circle", "ring", "cross", "triangle", "square", "star")
PLACES: Final = {"top left": (9, 9), "top right": (23, 9), "bottom left": (9, 23), "bottom right": (23, 23)}
SIDE: Final = 32  # px
ENTROPY: Final = math.log(len(COLOURS) * len(SHAPES) * len(PLACES))  # nats a caption


def shape(rng: np.random.Generator, key: str) -> Sample:
    """A pair with a shape a little off its place, of any size within a third, on noise."""
    colour, name, place = (list(names)[rng.integers(len(names))] for names in (COLOURS, SHAPES, PLACES))
    pixels = rng.normal(128, 12, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    centre = np.array(PLACES[place]) + rng.uniform(-1.5, 1.5, 2)
    _draw(ImageDraw.Draw(image), name, centre, rng.uniform(5.5, 7.5), COLOURS[colour])
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    caption = f"a {colour} {name} at the {place}"
    return Sample(key, {"png": file.getvalue(), "txt": caption.encode(), "json": b"{}"})


def write_shapes(folder: Path, number: int, seed: int) -> str:
    """A folder with one shard of so many pairs."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    path = folder / "00000.tar"
    with path.open("wb") as file:
        entries = write_shard((shape(rng, sample_key(f"{seed} {n}")) for n in range(number)), file)
        size = file.tell()
    path.with_name("00000.index.jsonl").write_bytes(encode_index(entries, size))
    return str(folder)


def _draw(draw: ImageDraw.ImageDraw, name: str, centre: np.ndarray, radius: float, colour: tuple[int, ...]) -> None:
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    match name:
        case "circle":
            draw.ellipse(box, fill=colour)
        case "ring":
            draw.ellipse(box, outline=colour, width=2)
        case "cross":
            draw.rectangle((box[0], y - 1.5, box[2], y + 1.5), fill=colour)
            draw.rectangle((x - 1.5, box[1], x + 1.5, box[3]), fill=colour)
        case "triangle":
            draw.polygon([(x, box[1]), (box[0], box[3]), (box[2], box[3])], fill=colour)
        case "square":
            draw.rectangle((x - 0.7 * radius, y - 0.7 * radius, x + 0.7 * radius, y + 0.7 * radius), fill=colour)
        case _:
            tips = [(radius if n % 2 == 0 else 0.4 * radius, np.pi * (n / 5 - 0.5)) for n in range(10)]
            draw.polygon([(x + r * float(np.cos(a)), y + r * float(np.sin(a))) for r, a in tips], fill=colour)
