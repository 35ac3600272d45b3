"""The srcset attribute, by the grammar of the HTML standard ("parse a srcset attribute").

A value comes in, its image candidates go out, in the author's order. The grammar is worth following to the letter: URLs hold commas
(resizers write `w_300,h_200` in their paths), and splitting at commas tears them apart.
"""

import re
from typing import TypeAlias

Rendition: TypeAlias = tuple[str, int | None, float | None]

MAX_RENDITIONS = 64  # ours: real values have up to about 20

# A URL is what lies between spaces; it starts after any run of spaces and commas.
_URL = re.compile(r"[\t\n\f\r ,]*([^\t\n\f\r ]+)")
# Its descriptors run to the next comma outside parentheses (which are reserved: a descriptor with some in it is an error).
_DESCRIPTORS = re.compile(r"((?:[^,(]|\([^)]*(?:\)|$))*)(?:,|$)")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def parse_srcset(value: str) -> list[Rendition]:
    """The renditions of a srcset, each (URL, width in px or None, density or None).

    A rendition without a descriptor has density 1. One whose descriptors are errors by the standard goes, its neighbours stay. At most
    `MAX_RENDITIONS` are read.

    >>> parse_srcset("a,b.jpg 300w, c.jpg 2x,d.jpg")
    [('a,b.jpg', 300, None), ('c.jpg', None, 2.0), ('d.jpg', None, 1.0)]
    """
    renditions: list[Rendition] = []
    position = 0
    while len(renditions) < MAX_RENDITIONS and (match := _URL.match(value, position)):
        url, position = match[1], match.end()
        if url[-1] == ",":
            url = url.rstrip(",")
            if url:
                renditions.append((url, None, 1.0))
            continue
        text = _DESCRIPTORS.match(value, position)
        if text is None:
            break
        position = text.end()
        sizes = _sizes(text[1].split())
        if sizes is not None:
            renditions.append((url, *sizes))
    return renditions


def _sizes(descriptors: list[str]) -> tuple[int | None, float | None] | None:
    """Width and density that descriptors state; None where the standard calls them an error."""
    width = height = density = None
    for descriptor in descriptors:
        number, unit = descriptor[:-1], descriptor[-1]
        if unit in "wh" and number.isascii() and number.isdigit() and len(number) < 10 and int(number) > 0:
            if unit == "w" and width is None and density is None:
                width = int(number)
            elif unit == "h" and height is None and density is None:
                height = int(number)
            else:
                return None
        elif unit == "x" and density is None and width is None and height is None and _NUMBER.fullmatch(number):
            density = float(number)
            if density < 0:
                return None
        else:
            return None
    if height is not None and width is None:
        return None
    return (width, None) if width is not None else (None, 1.0 if density is None else density)
