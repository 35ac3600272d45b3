"""What is said in the videos of a document, out of the text tracks beside them.

    read_tracks   a document's candidates and matches  ->  for each of its videos with tracks the cues, or why there are none
    spoken        a track and a clip                   ->  the text of that clip

Of several tracks the first one counts that was found: extract has put those in the page's language first.
"""

from typing import TypeAlias

import numpy as np

from pipeline.stages.extract import TRACK_RANK
from pipeline.stages.media_records import EXTENSIONS, REASONS
from pipeline.stages.packed import Records
from pipeline.stages.selection import PACKED_CANDIDATE
from pipeline.store import Store
from pipeline.video.webvtt import Cue, parse, text_between
from schemas.drops import DropReason

Track: TypeAlias = list[Cue] | str  # its cues, or why there are none

_TEXT = EXTENSIONS.index("vtt")


def read_tracks(store: Store, media_parts: list[str], media_keys: bytes, matches: Records) -> dict[int, Track]:
    """The track of each video that has any, by the video's number among the page's media; `matches` are sorted by rank."""
    candidates = np.frombuffer(media_keys, dtype=PACKED_CANDIDATE)
    numbers = np.unique(candidates["medium"][candidates["rank"] >= TRACK_RANK]).tolist()
    tracks: dict[int, Track] = dict.fromkeys(numbers, DropReason.NOT_IN_CRAWL.value)
    ranges: dict[int, tuple[str, int, int]] = {}
    for number in numbers:
        found = matches[(matches["medium"] == number) & (matches["rank"] >= TRACK_RANK)]
        texts = found[found["ok"] & (found["extension"] == _TEXT)]
        if len(texts):
            first = texts[0]
            ranges[number] = f"media/{media_parts[first['media_part']]}.tar", int(first["offset"]), int(first["bytes"])
        elif len(found):
            tracks[number] = DropReason.NOT_A_TRACK.value if found[0]["ok"] else REASONS[found[0]["reason"]].value
    bodies = store.read_ranges(list(ranges.values())) if ranges else []
    return tracks | {number: parse(body) for number, body in zip(ranges, bodies, strict=True)}


def spoken(track: Track, clip: Records) -> str:
    """What the track says in the clip."""
    if isinstance(track, str):
        return ""
    return text_between(track, float(clip["start_s"]), float(clip["start_s"] + clip["duration_s"]))
