"""What is said in a video: the cues of a WebVTT file, and the text of a span of them.

In: the bytes behind a `track`. Out: cues in order of time, and plain text. After the W3C's WebVTT (www.w3.org/TR/webvtt1, sections 4 and 6), as forgiving as
its parser; SRT, which differs by a comma, is read too. Captions that roll up repeat the line before in each cue: a text has it once.
"""

import html
import re
from collections.abc import Iterable, Sequence

import msgspec

from pipeline.video.probe import drop
from schemas.drops import Drop, DropReason

MAX_BYTES = 8 << 20  # ours: the subtitles of a whole film have 100 to 200 KB
MAX_CUES = 50_000  # ours: a film has some 1,500, one cue a word some 20,000
MAX_CUE_CHARS = 10_000  # ours

# Hours may be left out, and of SRT's comma and WebVTT's full stop either will do.
_TIME = r"(?:(\d{1,6}):)?(\d{1,2}):(\d{2})[.,](\d{3})"
_TIMING = re.compile(rf"[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}(?:[ \t]|$)")
_TAG = re.compile(r"<[^<>]*>")
_NO_CUE = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t]|$)")


class Cue(msgspec.Struct, frozen=True):
    """A text and when it is shown, in seconds; lines are separated by newlines."""

    start_s: float
    end_s: float
    text: str


def checked(data: bytes) -> bytes | Drop:
    """The bytes of a text track, or why they are none: too many, or without a single cue (a page in its place, another format)."""
    if len(data) > MAX_BYTES:
        return drop(DropReason.TOO_MANY_BYTES, value=len(data), threshold=MAX_BYTES, detail="text track")
    return data if parse(data) else drop(DropReason.NOT_A_TRACK, value=len(data), detail=repr(data[:40])[2:-1])


def parse(data: bytes) -> list[Cue]:
    """The cues of a WebVTT or SRT file, sorted by their times; none where it is neither, or of too many bytes. Never raises."""
    if len(data) > MAX_BYTES:
        return []
    text = data.decode("utf-8-sig", "replace").replace("\0", "\ufffd").replace("\r\n", "\n").replace("\r", "\n")
    cues: list[Cue] = []
    for block in re.split(r"\n{2,}", text):
        cue = _cue(block.split("\n"))
        if cue is not None and cue.text:
            cues.append(cue)
        if len(cues) == MAX_CUES:
            break
    return sorted(cues, key=lambda cue: (cue.start_s, cue.end_s))


def _cue(lines: Sequence[str]) -> Cue | None:
    """The cue of a block: its timing stands in the first line, or below its name; WEBVTT's own head may stand right above."""
    if _NO_CUE.match(lines[0]):
        return None
    for place, line in enumerate(lines[:3]):
        timing = _TIMING.match(line) if "-->" in line else None
        if timing is not None:
            start_s, end_s = _seconds(timing.groups()[:4]), _seconds(timing.groups()[4:])
            return Cue(start_s, end_s, _plain(lines[place + 1 :])) if end_s > start_s else None
    return None


def _seconds(fields: Sequence[str | None]) -> float:
    hours, minutes, seconds, thousandths = (int(field or 0) for field in fields)
    return hours * 3600 + minutes * 60 + seconds + thousandths / 1000


def _plain(lines: Iterable[str]) -> str:
    """The text of a cue's lines: without tags (voices, classes, karaoke times), entities as what they stand for."""
    text = html.unescape(_TAG.sub("", "\n".join(lines)[:MAX_CUE_CHARS]))
    return "\n".join(folded for line in text.splitlines() if (folded := " ".join(line.split())))


def text_between(cues: Iterable[Cue], start_s: float, end_s: float) -> str:
    """What is shown in [start_s, end_s): the lines of the cues that overlap it, in order, separated by spaces; a line that the cue before has too stands once."""
    said: list[str] = []
    before: list[str] = []
    for cue in cues:
        if cue.start_s >= end_s or cue.end_s <= start_s:
            continue
        lines = cue.text.split("\n")
        said += [line for line in lines if line not in before]
        before = lines
    return " ".join(said)
