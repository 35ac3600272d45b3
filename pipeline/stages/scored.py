"""What the score stage knows of a run, for those who judge by it.

    picture_scores   a part of pictures  ->  by media key: the row, and the scores
    page_texts       a document          ->  the texts that may make pairs, as they are embedded
    Similarities     a documents part    ->  the cosine of a picture and a text

Scores are small and go with their pictures through the join with documents. An embedding is not: what goes along is its row, and who needs it reads so
many bytes of `scores/<part>.npy`.
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.filters.pii import PiiConfig, scrub
from pipeline.pairs.rules import clean
from pipeline.scores.config import MAX_SCORES
from pipeline.stages.media_index import key16
from pipeline.stages.packed import Records
from pipeline.store import Store
from schemas.document import DraftMedium
from schemas.tables import SCORES, TEXT_EMBEDDINGS, read_table

DIGITS = 4  # of a score and of a similarity
# What a medium carries: its row (from 1; 0 is none) in the part of the stage, its scores by name, the scorer by which it goes.
SCORE_FIELDS: list[Any] = [("scored", "<u4"), ("scores", "<f4", (MAX_SCORES,)), ("scorer", "<u1")]
_HEAD_BYTES = 128  # of the .npy format for such an array, whatever its length


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """The detail of a part: the media part (or, of `texts`, the selected part) that it is about, the names of its scores, the embeddings' width (0: none)."""

    of: str
    texts: bool = False
    names: list[str] = []
    width: int = 0


class RunScores(msgspec.Struct, frozen=True, kw_only=True):
    """What shard takes of the stage: the names of the scores, and its parts; `width` is 0 where nothing was embedded."""

    identity: str
    names: list[str]
    width: int
    pictures: dict[str, str]  # by media part
    texts: dict[str, str]  # by selected part


def write_embeddings(file: BinaryIO, embeddings: NDArray[np.float16]) -> None:
    """Embeddings (n, width) as `numpy.load` reads them, and as `Similarities` finds them."""
    np.lib.format.write_array(file, embeddings, version=(1, 0))
    assert file.tell() == _HEAD_BYTES + embeddings.nbytes


def embedding_places(store: Store, path: str) -> list[tuple[bytes, tuple[int, int]]]:
    """The media key of each picture of `scores/<part>.npy`, and the offset and bytes of its embedding."""
    table = path.removesuffix(".npy") + ".parquet"
    with store.open(table) as file:
        keys = read_table(file, SCORES, table, ["media_key"])["media_key"].to_pylist()
    size = (store.files(path.rpartition("/")[0])[path] - _HEAD_BYTES) // max(1, len(keys))
    return [(key, (_HEAD_BYTES + number * size, size)) for number, key in enumerate(keys)]


def picture_scores(store: Store, part: str) -> dict[bytes, tuple[int, dict[str, float | None]]]:
    """Of each picture its row in the part, from 1, and its scores; None is a score that could not be had."""
    name = f"scores/{part}.parquet"
    with store.open(name) as file:
        rows = read_table(file, SCORES, name).to_pylist()
    return {row["media_key"]: (number, _rounded(row["scores"])) for number, row in enumerate(rows, 1)}


def _rounded(scores: list[tuple[str, float | None]]) -> dict[str, float | None]:
    """A score of 0.1 that was stored in 32 bits is no more than 0.1."""
    return {name: None if score is None else round(score, DIGITS) for name, score in scores}


def named_scores(match: Records, names: list[str]) -> dict[str, float]:
    """The scores that a match carries."""
    scores = zip(names, match["scores"].tolist(), strict=False)
    return {name: round(score, DIGITS) for name, score in scores if match["scored"] and score == score}


def page_texts(media: list[tuple[int, DraftMedium]], is_table: bool, pii: PiiConfig) -> Iterator[str]:
    """The texts that may make a pair with one of these media: those of a page cleaned, the caption of a table's row as it is."""
    for _, medium in media:
        scrubbed = scrubbed_medium(medium, pii)
        texts = (scrubbed.alt, scrubbed.caption, scrubbed.title)
        yield from [scrubbed.caption] if is_table else filter(None, map(clean, texts))


def scrubbed_medium(medium: DraftMedium, pii: PiiConfig) -> DraftMedium:
    """A medium whose texts hold no personal data."""
    texts = {name: scrub(getattr(medium, name), pii)[0] for name in ("alt", "title", "caption")}
    return msgspec.structs.replace(medium, **texts)


class Similarities:
    """The similarities of the pictures that one documents part may show and the texts of that part."""

    def __init__(self, store: Store, scores: RunScores, texts: str, media_parts: list[str], matches: Records) -> None:
        name = f"scores/{texts}.parquet"
        with store.open(name) as file:
            table = read_table(file, TEXT_EMBEDDINGS, name)
        self._texts = dict(zip(table["text_key"].to_pylist(), table["embedding"].to_pylist(), strict=True))
        size = scores.width * np.dtype(np.float16).itemsize
        seen = matches[matches["ok"] & (matches["scored"] > 0)]
        rows = sorted({(int(one["media_part"]), int(one["scored"])) for one in seen})
        places = [
            (f"scores/{scores.pictures[media_parts[part]]}.npy", _HEAD_BYTES + (row - 1) * size, size)
            for part, row in rows
        ]
        self._pictures = dict(zip(rows, store.read_ranges(places) if places else [], strict=True))

    def of(self, match: Records, text: str) -> float | None:
        """The cosine, -1 to 1; None where the picture or the text has no embedding."""
        picture = self._pictures.get((int(match["media_part"]), int(match["scored"])))
        embedding = self._texts.get(key16(text))
        if picture is None or embedding is None:
            return None
        one, other = (np.frombuffer(data, dtype=np.float16).astype(np.float64) for data in (picture, embedding))
        cosine = float(one @ other)  # both are of length 1
        return round(cosine, DIGITS) if cosine == cosine else None
