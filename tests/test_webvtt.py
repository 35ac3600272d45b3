"""WebVTT: which cues a file holds, and what is said in a span of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.video.webvtt import MAX_BYTES, Cue, parse, text_between

FILE = """WEBVTT - a film
Kind: captions

NOTE
a remark --> for translators

STYLE
::cue { color: red }

REGION
id:fred

1
00:01.000 --> 00:04.500 align:start position:10%
<v Roger Bingham>We are in <i>New York</i> City
for &lt;once&gt; &amp; all

intro
01:00:02.250 --> 01:00:03.000
<c.yellow>Yes</c><00:19.000><lang en> it is</lang>

00:00:04.000 --> 00:00:06.000
overlaps

00:09.000 --> 00:08.000
ends before it begins

00:12.000 --> 00:13.000

00:10.000 --> nonsense
no timing
"""
CUES = [
    Cue(1.0, 4.5, "We are in New York City\nfor <once> & all"),
    Cue(4.0, 6.0, "overlaps"),
    Cue(3602.25, 3603.0, "Yes it is"),
]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_cues_of_webvtt(ends: str, mark: str) -> None:
    """Notes, styles, regions, settings, tags and names are no text; hours may be left out; all line ends are read."""
    assert CUES == parse((mark + FILE.replace("\n", ends)).encode())


def test_cues_of_srt() -> None:
    """SRT has commas, numbers and no head."""
    srt = b"1\n00:00:01,500 --> 00:00:02,000\n<b>One</b>\n\n2\n00:00:02,000 --> 00:00:03,000\nTwo\n"
    assert [Cue(1.5, 2.0, "One"), Cue(2.0, 3.0, "Two")] == parse(srt)


def test_a_head_right_above_a_cue_hides_none() -> None:
    """A file whose writer forgot the blank line below the head still has its first cue."""
    assert [Cue(0.0, 1.0, "Hello")] == parse(b"WEBVTT\n00:00.000 --> 00:01.000\nHello")


def test_text_of_a_span() -> None:
    """Cues that touch the span only at its ends are not in it; order is that of time."""
    assert "We are in New York City for <once> & all overlaps" == text_between(CUES, 0, 10)
    assert "overlaps" == text_between(CUES, 4.5, 10)
    assert "" == text_between(CUES, 6, 3602.25)
    assert "" == text_between([], 0, 10)


def test_lines_that_roll_up_stand_once() -> None:
    """A cue that repeats the line before it adds its own alone; a line that comes back later is said again."""
    rolling = [Cue(0, 1, "one"), Cue(1, 2, "one\ntwo"), Cue(2, 3, "two\nthree"), Cue(3, 4, "one")]
    assert "one two three one" == text_between(rolling, 0, 9)
    assert "one two three" == text_between(rolling, 1, 3)


@pytest.mark.parametrize(
    "data", [b"", b"WEBVTT", b"<html><p>404 --> gone</p></html>", bytes(range(256)) * 40, b"\n" * (MAX_BYTES + 1)]
)
def test_garbage_has_no_cues(data: bytes) -> None:
    """What is no WebVTT is an empty list."""
    assert [] == parse(data)


@given(
    st.lists(st.sampled_from(["\n", "\n\n", "WEBVTT", "-->", "00:01.000", " ", "<v", ">", "&amp;", "1:2", "\0", "x"]))
)
def test_never_raises(pieces: list[str]) -> None:
    """Any text gives cues whose times run forward and whose text is plain."""
    for cue in parse("".join(pieces).encode()):
        assert cue.end_s > cue.start_s
        assert cue.text == cue.text.strip() != ""
