"""Which texts make pairs, and what is counted over the whole run."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.pairs.config import PairsConfig
from pipeline.pairs.frequency import FREQUENT, PICTURE, TEXT, occurrences, too_frequent
from pipeline.pairs.rules import TextSource, clean, is_name, judge_picture, judge_text
from schemas.drops import DropReason

CONFIG = PairsConfig()
LONG = "A grey heron stands on one leg at the edge of a pond, between reeds, and looks at the water. Behind it a mill."


@pytest.mark.parametrize(
    ("text", "source", "reason"),
    [
        ("A heron on one leg", "alt", None),
        ("a heron", "alt", DropReason.TOO_FEW_WORDS),
        (LONG, "alt", None),
        ("heron bird grey water pond " * 5, "alt", DropReason.TERMINAL_PUNCTUATION),
        ("Grey heron near Leiden", "caption", None),
        (f"{LONG} " * 20, "caption", DropReason.TOO_MANY_WORDS),
        ("A heron on one leg.", "title", DropReason.TOO_FEW_WORDS),
        (LONG, "title", None),
        ("DSC_0012 copy 3.jpg", "alt", DropReason.FILE_NAME),
        ("https://a.example/heron.jpg", "caption", DropReason.FILE_NAME),
        ("12 / 04 / 2021", "alt", DropReason.FILE_NAME),
        ("", "caption", DropReason.NO_CAPTION),
        ("word " * 1000, "caption", DropReason.CAPTION_TOO_LONG),
        ("水边的灰鹭用一条腿站立", "alt", None),
    ],
)
def test_a_text_is_judged_by_where_it_stands(text: str, source: TextSource, reason: DropReason | None) -> None:
    """Short alt texts by ALIGN, captions by COYO, long alt texts and titles as descriptions that hold a sentence."""
    verdict = judge_text(clean(text), source, CONFIG)

    assert (verdict[0] if verdict else None) == reason


def test_a_sentence_that_ends_with_a_file_is_no_name() -> None:
    """A text is a file's name as a whole, not because one is mentioned in it."""
    assert is_name("holiday in Spain (3).jpeg")
    assert not is_name("The heron. From heron.jpg")
    assert not is_name("heron.jpg shows a heron")


@pytest.mark.parametrize(
    ("size", "reason"),
    [((200, 600), None), ((199, 300), DropReason.SIDE_TOO_SMALL), ((601, 200), DropReason.ASPECT_RATIO)],
)
def test_small_and_narrow_pictures_make_no_pairs(size: tuple[int, int], reason: DropReason | None) -> None:
    """ALIGN's bounds, each of them still kept."""
    verdict = judge_picture(*size, CONFIG)

    assert (verdict[0] if verdict else None) == reason


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5)), max_size=60))
def test_the_parts_counts_together_are_those_of_the_whole(stands: list[tuple[int, int, int]]) -> None:
    """However (part, text, picture) are spread over parts, what goes is what a count over all of them says."""
    config = PairsConfig(max_pictures_of_text=2, max_texts_of_picture=3)
    by_part = defaultdict(list)
    pictures, texts = defaultdict(set), defaultdict(set)
    for part, text, picture in stands:
        by_part[part].append((text, picture))
        pictures[text].add(picture)
        texts[picture].add(text)
    blobs = [occurrences(of, part, config).tobytes() for part, of in sorted(by_part.items(), reverse=True)]
    found = {(int(one["part"]), int(one["hi"]), int(one["lo"])) for one in too_frequent(blobs, config)}

    assert found == {(p, t, TEXT) for p, t, _ in stands if len(pictures[t]) > 2} | {
        (p, i, PICTURE) for p, _, i in stands if len(texts[i]) > 3
    }


def test_no_key_of_a_part_grows_without_bound() -> None:
    """A text beside a thousand pictures of one part is sent with as many as decide, and each picture with it."""
    records = occurrences([(7, picture) for picture in range(1000)], 0, CONFIG)

    assert [int((records["lo"] == kind).sum()) for kind in (TEXT, PICTURE)] == [11, 1000]
    assert len(too_frequent([records.tobytes()], CONFIG)) == 1
    assert too_frequent([], CONFIG).tobytes() == np.zeros(0, dtype=FREQUENT).tobytes()
