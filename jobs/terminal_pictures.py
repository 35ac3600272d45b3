"""Pictures in a terminal: by the terminal's own protocol where it has one, else in coloured half blocks, else not at all."""

import base64
import io
import os
from collections.abc import Mapping
from typing import Literal, TypeAlias

Protocol: TypeAlias = Literal["kitty", "iterm", "blocks", "none"]

KITTY_CHUNK = 4096  # the protocol's limit for one escape sequence


def protocol(environment: Mapping[str, str], is_terminal: bool) -> Protocol:
    """How the terminal that `environment` describes can show a picture."""
    if not is_terminal or "NO_COLOR" in environment or environment.get("TERM") == "dumb":
        return "none"
    program = environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or program in ("ghostty", "WezTerm"):
        return "kitty"
    if program == "iTerm.app":
        return "iterm"
    colours = environment.get("COLORTERM", "") in ("truecolor", "24bit") or "256color" in environment.get("TERM", "")
    return "blocks" if colours else "none"


def picture(data: bytes, how: Protocol, columns: int = 40, rows: int = 14) -> str:
    """A picture's bytes as what is to be written to the terminal, at most `columns` by `rows` cells; empty for `none`."""
    if how == "none":
        return ""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGB")
    if how == "blocks":
        small.thumbnail((columns, rows * 2))
        return _blocks(small)
    small.thumbnail((columns * 10, rows * 20))
    png = io.BytesIO()
    small.save(png, "PNG")
    encoded = base64.b64encode(png.getvalue()).decode()
    if how == "iterm":
        return f"\x1b]1337;File=inline=1;height={rows};preserveAspectRatio=1:{encoded}\x07\n"
    return _kitty(encoded, rows)


def _kitty(encoded: str, rows: int) -> str:
    chunks = [encoded[at : at + KITTY_CHUNK] for at in range(0, len(encoded), KITTY_CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        head = f"a=T,f=100,r={rows}," if number == 0 else ""
        parts.append(f"\x1b_G{head}m={int(number < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(parts) + "\n"


def _blocks(image: "Image.Image") -> str:  # type: ignore[name-defined]  # noqa: F821
    """Two pixels a cell: the upper half block in the upper one's colour, on a ground of the lower one's."""
    width, height = image.size
    pixels = image.load()
    lines = []
    for y in range(0, height - 1, 2):
        cells = (f"\x1b[38;2;{_rgb(pixels[x, y])}m\x1b[48;2;{_rgb(pixels[x, y + 1])}m▀" for x in range(width))
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines) + "\n"


def _rgb(pixel: tuple[int, int, int]) -> str:
    return ";".join(map(str, pixel))


def here() -> Protocol:
    """How standard output can show a picture."""
    import sys

    return protocol(os.environ, sys.stdout.isatty())
