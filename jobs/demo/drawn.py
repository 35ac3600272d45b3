"""Pictures whose captions nothing but the picture predicts, and captions tables of them: what a small model can be seen to learn to look at.

    shapes    "a red ring at the top left"       one of 8 colours, 6 shapes and 4 places
    digits    "the digits 4 7 in blue"           two of 10 digits, one of 8 colours

All are as likely as one another and drawn on noise, a little off their place and of any size within a third. So a text model, however good, cannot have a
loss below the captions' entropy.
"""

import csv
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE: Final = 64  # px: the least side that the image filters keep
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
PLACES: Final = {
    "top left": (0.28, 0.28),
    "top right": (0.72, 0.28),
    "bottom left": (0.28, 0.72),
    "bottom right": (0.72, 0.72),
}

Drawn = tuple[Image.Image, str]


def shape(rng: np.random.Generator, side: int) -> Drawn:
    """A picture of a shape, and its caption."""
    colour, name, place = (list(names)[rng.integers(len(names))] for names in (COLOURS, SHAPES, PLACES))
    image = _noise(rng, side)
    x, y = side * (np.array(PLACES[place]) + rng.uniform(-0.05, 0.05, 2))
    _draw_shape(ImageDraw.Draw(image), name, (float(x), float(y)), side * rng.uniform(0.17, 0.23), COLOURS[colour])
    return image, f"a {colour} {name} at the {place}"


def digits(rng: np.random.Generator, side: int) -> Drawn:
    """A picture of two digits side by side, and its caption."""
    colour, (left, right) = list(COLOURS)[rng.integers(len(COLOURS))], rng.integers(10, size=2)
    image = _noise(rng, side)
    place = side * rng.uniform(0.45, 0.55, 2)
    font = _font(round(side * rng.uniform(0.6, 0.8)))
    ImageDraw.Draw(image).text((place[0], place[1]), f"{left}{right}", COLOURS[colour], font, anchor="mm")
    return image, f"the digits {left} {right} in {colour}"


class Source(NamedTuple):
    """What draws a picture and its caption, and the entropy of the captions, in nats."""

    draw: Callable[[np.random.Generator, int], Drawn]
    entropy: float


SOURCES: Final = {
    "shapes": Source(shape, math.log(len(COLOURS) * len(SHAPES) * len(PLACES))),
    "digits": Source(digits, math.log(len(COLOURS) * 10 * 10)),
}


def write_table(folder: Path, source: str, number: int, seed: int) -> list[tuple[str, str]]:
    """So many pictures below a folder, and `captions.csv` with the path and the caption of each; gives its rows."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    draw, rng = SOURCES[source].draw, np.random.default_rng(seed)
    rows = []
    for n in range(number):
        image, caption = draw(rng, SIDE)
        rows.append((f"pictures/{n:05}.png", caption))
        image.save(folder / rows[-1][0], compress_level=1)
    with (folder / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "caption"), *rows])
    return rows


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's own; to load it takes as long as to draw a picture."""
    return ImageFont.load_default(size)


def _noise(rng: np.random.Generator, side: int) -> Image.Image:
    return Image.fromarray(rng.normal(128, 12, (side, side, 3)).clip(0, 255).astype(np.uint8))


def _draw_shape(
    draw: ImageDraw.ImageDraw, name: str, centre: tuple[float, float], radius: float, colour: tuple[int, int, int]
) -> None:
    x, y = centre
    box = (x - radius, y - radius, x + radius, y + radius)
    arm = radius / 4
    match name:
        case "circle":
            draw.ellipse(box, fill=colour)
        case "ring":
            draw.ellipse(box, outline=colour, width=max(1, round(radius / 3)))
        case "cross":
            draw.rectangle((box[0], y - arm, box[2], y + arm), fill=colour)
            draw.rectangle((x - arm, box[1], x + arm, box[3]), fill=colour)
        case "triangle":
            draw.polygon([(x, box[1]), (box[0], box[3]), (box[2], box[3])], fill=colour)
        case "square":
            draw.rectangle((x - 0.7 * radius, y - 0.7 * radius, x + 0.7 * radius, y + 0.7 * radius), fill=colour)
        case _:
            tips = [(radius if n % 2 == 0 else 0.4 * radius, math.pi * (n / 5 - 0.5)) for n in range(10)]
            draw.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for r, a in tips], fill=colour)
