"""Signatures: what counts as the same text, how good the estimate is, and that bands find what is alike."""

import hashlib
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup.minhash import BANDS, MIN_SHINGLES, SHINGLE_WORDS, bands, signature, signatures, similarity

_VOCABULARY = [f"word{n}" for n in range(5000)]


def passage(seed: int, words: int = 300) -> list[str]:
    draw = random.Random(seed)
    return [draw.choice(_VOCABULARY) for _ in range(words)]


def shingle_set(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[place : place + SHINGLE_WORDS]) for place in range(len(words) - SHINGLE_WORDS + 1)}


@pytest.mark.parametrize("changed", [0, 3, 10, 25, 60])
def test_the_estimate_is_near_the_share_of_common_shingles(changed: int) -> None:
    """Over ten texts the mean error stays under three standard errors of 112 permutations."""
    errors = []
    for seed in range(10):
        one = passage(seed)
        other = list(one)
        for place in random.Random(seed).sample(range(len(one)), changed):
            other[place] = "changed"
        a, b = shingle_set(one), shingle_set(other)
        errors.append(similarity(signature(" ".join(one)), signature(" ".join(other))) - len(a & b) / len(a | b))

    assert abs(np.mean(errors)) < 3 * 0.5 / np.sqrt(112 * 10)


def test_case_punctuation_and_space_do_not_count() -> None:
    """The same words set otherwise are the same text."""
    words = passage(1)

    assert signature(" ".join(words)) == signature("**" + ",\n\n".join(words).upper() + "!**")


def test_borders_of_words_count() -> None:
    """The same letters cut into other words are another text."""
    pairs = [f"a{n}" for n in range(40)]

    assert similarity(signature(" ".join(pairs)), signature(" ".join("".join(pairs)))) < 0.2


def test_scripts_without_spaces_have_a_word_a_letter() -> None:
    """A Chinese sentence with one other letter is similar to itself, and has a signature."""
    text = "".join(chr(0x4E00 + 7 * n) for n in range(200))

    assert similarity(signature(text), signature(text[:100] + "好" + text[101:])) > 0.85


def test_too_short_texts_have_no_signature() -> None:
    """Eight shingles are needed, different ones; no text without a signature is like another."""
    words = [f"w{n}" for n in range(MIN_SHINGLES + SHINGLE_WORDS - 1)]

    assert len(signature(" ".join(words))) == 448
    assert signature(" ".join(words[1:])) == signature("again " * 100) == signature("") == b""
    assert similarity(b"", b"") == 0


def test_signatures_are_the_same_everywhere() -> None:
    """What is stored in tables of earlier runs stays comparable: the digest of one signature."""
    digest = hashlib.sha256(signature("Ein Text, 中文 и слова: " + " ".join(passage(7)))).hexdigest()

    assert digest == "041177166207d4b786f310543ad69ccd9b207fd9cfad05bdc68a21f2c9641b5b"


@given(st.text(max_size=300))
def test_any_text_is_taken(text: str) -> None:
    """Surrogates, controls, any plane: a signature of the right length or none."""
    assert len(signature(text * 3)) in (0, 448)


def test_bands_find_near_copies_only() -> None:
    """All of 30 pairs at some 0.95 share a band, no two of the different texts do."""
    packed: list[bytes | None] = [None]
    for seed in range(30):
        words = passage(seed)
        packed += [signature(" ".join(words)), signature(" ".join([*words[:-1], "other"]))]
    places, values = signatures(packed)
    keys = bands(values)

    assert places.tolist() == list(range(1, 61))
    assert keys.shape == (60, BANDS)
    shared = {(i, j) for i in range(60) for j in range(i) if set(keys[i].tolist()) & set(keys[j].tolist())}
    assert shared == {(2 * n + 1, 2 * n) for n in range(30)}
