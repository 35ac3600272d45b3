"""Pictures in terminals: which protocol, and what is written."""

import base64
import re

import pytest

from jobs.terminal_pictures import KITTY_CHUNK, Protocol, picture, protocol
from tests.pictures import encode, photo

PNG = encode(photo(96, 72), "PNG")


@pytest.mark.parametrize(
    ("environment", "is_terminal", "expected"),
    [
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, True, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, True, "iterm"),
        ({"TERM": "xterm-256color"}, True, "blocks"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True, "blocks"),
        ({"TERM": "vt100"}, True, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, "none"),
        ({"TERM": "xterm-kitty", "KITTY_WINDOW_ID": "1"}, False, "none"),
    ],
)
def test_the_terminals_own_protocol_goes_first(
    environment: dict[str, str], is_terminal: bool, expected: Protocol
) -> None:
    """By what the environment says; nothing where there is no terminal or no colour is wanted."""
    assert protocol(environment, is_terminal) == expected


def test_blocks_have_two_pixels_a_cell() -> None:
    """A picture of 96 x 72 in 40 columns is 30 px high, fifteen rows, cut to the fourteen that are allowed."""
    lines = picture(PNG, "blocks", columns=40, rows=14).splitlines()

    assert len(lines) == 14
    assert all(line.count("▀") == lines[0].count("▀") <= 40 for line in lines)


def test_kitty_gets_chunks_of_one_png() -> None:
    """Chunks within the protocol's limit that together are a PNG; only the last says that it is."""
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", picture(encode(photo(900, 700), "PNG"), "kitty"))

    assert len(chunks) > 1
    assert all(len(data) <= KITTY_CHUNK for _, data in chunks)
    assert [options[-3:] for options, _ in chunks] == ["m=1"] * (len(chunks) - 1) + ["m=0"]
    assert base64.b64decode("".join(data for _, data in chunks)).startswith(b"\x89PNG")


def test_nothing_for_no_terminal() -> None:
    """A pipe gets text only."""
    assert picture(PNG, "none") == ""
