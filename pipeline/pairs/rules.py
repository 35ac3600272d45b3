"""Which text beside a medium is a description of it.

In: a text with the place that it came from, or a picture's size. Out: None, or the reason why it makes no pair, with the value and the threshold. Three
kinds of description are taken: short ones as ALIGN took them from alt attributes, captions as COYO bounds them, and long ones as LTIP has them:
an alt text past ALIGN's bound or a title attribute, if it is of ten words or more and holds a sentence; without that it is a list of search words.
"""

import re
from typing import Literal, TypeAlias

from pipeline.filters.passage import SENTENCE_MARKS, Passage
from pipeline.pairs.config import PairsConfig
from schemas.drops import DropReason

TextSource: TypeAlias = Literal["alt", "caption", "title", "track"]
MAX_CHARACTERS = 4_096  # ours: COYO's longest text with 16 characters a word

Verdict: TypeAlias = tuple[DropReason, float | None, float | None]

_ENDING = r"\.(?:jpe?g|jfif|png|gif|webp|svg|bmp|tiff?|heic|avif|ico|pdf|psd|eps|mp4|webm|mov|avi|mkv|mp3)"
_FILE = re.compile(rf"\S*[\w)\]]{_ENDING}(?:\?\S*)?", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]{1,15}://|www\.|data:)\S+", re.IGNORECASE)
_LINK = re.compile(r"\[([^\[\]]*)\]\([^()\s]*\)")


def clean(text: str) -> str:
    r"""The text of a pair: on one line, links as their words.

    >>> clean(" a [heron](http://a.example/) on\n one leg")
    'a heron on one leg'
    """
    return " ".join(_LINK.sub(r"\1", text).split())


def judge_text(text: str, source: TextSource, config: PairsConfig) -> Verdict | None:
    """Why a cleaned text makes no pair, or None if it may; the first rule that fails is the reason."""
    if not text:
        return DropReason.NO_CAPTION, None, None
    if len(text) > MAX_CHARACTERS:
        return DropReason.CAPTION_TOO_LONG, len(text), MAX_CHARACTERS
    if is_name(text):
        return DropReason.FILE_NAME, None, None
    words = len(Passage([text], "").terms)
    is_long = source == "title" or (source == "alt" and words > config.max_alt_words)
    if is_long:
        fewest, most = config.min_description_words, config.max_caption_words
    elif source == "alt":
        fewest, most = config.min_alt_words, config.max_alt_words
    else:
        fewest, most = config.min_caption_words, config.max_caption_words
    if words < fewest:
        return DropReason.TOO_FEW_WORDS, words, fewest
    if words > most:
        return DropReason.TOO_MANY_WORDS, words, most
    if is_long and not _holds_sentence(text):
        return DropReason.TERMINAL_PUNCTUATION, None, None
    return None


def judge_picture(width: int, height: int, config: PairsConfig) -> Verdict | None:
    """Why a picture of so many px (of its source) is in no pair, or None."""
    short, long = sorted((width, height))
    if short < config.min_side_px:
        return DropReason.SIDE_TOO_SMALL, short, config.min_side_px
    if long > config.max_aspect * short:
        return DropReason.ASPECT_RATIO, long / max(short, 1), config.max_aspect
    return None


def is_name(text: str) -> bool:
    """Whether a text is a file's name (its last word ends like one, and nothing before it is a sentence), a URL, or has no letter.

    >>> is_name("IMG_2041.JPG"), is_name("my holiday (2).png"), is_name("2041 / 7"), is_name("A heron. By Ann")
    (True, True, True, False)
    """
    if not any(character.isalpha() for character in text):
        return True
    *_, last = text.split()
    return _ADDRESS.fullmatch(text) is not None or (_FILE.fullmatch(last) is not None and not _holds_sentence(text))


def _holds_sentence(text: str) -> bool:
    return any(word.rstrip("\"'”’)»").endswith(SENTENCE_MARKS) for word in text.split())
