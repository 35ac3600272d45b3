"""score: what models say of the pictures that were fetched, and of the texts that may stand beside them.

    score_pictures   a media part     ->  scores/<part>.parquet, a row a picture: its scores; scores/<part>.npy, row by row: its embedding
    score_texts      a selected part  ->  scores/<part>.parquet, a row a text: its embedding

Nothing is judged here: shard joins scores with thresholds, so that a threshold changes without another look at a picture. A picture that
several URLs of a part share is scored once. The batches are the same with any number of workers: models give slightly other numbers in other batches.
"""

import io
import warnings
from itertools import islice

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.filters.pii import PiiConfig
from pipeline.images import sniff
from pipeline.images.pixels import DECODED, DECODER_FAULTS, in_8_bits, on_white
from pipeline.isolate import Note
from pipeline.pairs.rules import MAX_CHARACTERS
from pipeline.runfolder import PartWriter, RunFolder, digest
from pipeline.scores.find import Model
from pipeline.scores.load import embedder, picture_scorer
from pipeline.stages.media_index import key16
from pipeline.stages.picks import CandidateTask, left_nodes, selected_rows
from pipeline.stages.scored import Scored, page_texts, write_embeddings
from pipeline.store import Store
from schemas.tables import DOCUMENTS, MEDIA, SCORES, TEXT_EMBEDDINGS, TableWriter, read_table

STAGE = "score"
RULES_VERSION = 1
BATCH = 32  # ours: enough for a GPU to be busy, some 100 MB of decoded pictures
_IN_MODEL = -1  # noted while a model works: a death there is no picture's fault

Place = tuple[int, int]  # offset and bytes in the media tar


class PicturesTask(msgspec.Struct, frozen=True, kw_only=True):
    """A media part and the models that see its pictures."""

    run_url: str
    part: str
    models: list[Model]

    @property
    def output(self) -> str:
        """The part's name."""
        return digest(STAGE, RULES_VERSION, self.part, [model.identity for model in self.models])


class TextsTask(msgspec.Struct, frozen=True, kw_only=True):
    """A selected part and the CLIP that reads its texts."""

    candidates: CandidateTask
    model: Model
    pii: PiiConfig

    @property
    def output(self) -> str:
        """The part's name."""
        return digest(STAGE, RULES_VERSION, "texts", self.candidates.selected_part, self.model.identity, self.pii)


def score(task: PicturesTask | TextsTask, note: Note, skip: frozenset[int]) -> None:
    """Writes one part of the stage, of either kind."""
    if isinstance(task, PicturesTask):
        score_pictures(task, note, skip)
    else:
        score_texts(task, note, skip)


def score_pictures(task: PicturesTask, note: Note, skip: frozenset[int]) -> None:
    """Writes the scores and embeddings of one media part's pictures."""
    folder = RunFolder(task.run_url)
    name = f"media/{task.part}.parquet"
    with folder.store.open(name) as file:
        rows = read_table(file, MEDIA, name, ["media_key", "kind", "status", "offset", "bytes"]).to_pylist()
    rows = [row for row in rows if row["status"] == "ok" and row["kind"] == "image"]
    places = sorted({(row["offset"], row["bytes"]) for row in rows})
    asked = _Asked(task.models)
    for first in range(0, len(places), BATCH):
        batch = places[first : first + BATCH]
        pictures = {}
        for number, data in enumerate(_read(folder.store, task.part, batch), first):
            if number not in skip:
                note(number)
                pictures[places[number]] = _decoded(data)
        note(_IN_MODEL)
        asked.ask({place: picture for place, picture in pictures.items() if picture is not None})
    with folder.part(STAGE, task.output) as part:
        asked.write(part, task, [(row["media_key"], (row["offset"], row["bytes"])) for row in rows])


class _Asked:
    """The answers of all models on the pictures of a part."""

    def __init__(self, models: list[Model]) -> None:
        self._scorers = {model.name: picture_scorer(model) for model in models if model.kind != "clip"}
        self._clip = next((embedder(model) for model in models if model.kind == "clip"), None)
        self._scores: dict[Place, dict[str, float]] = {}
        self._embeddings: dict[Place, NDArray[np.float16]] = {}

    def ask(self, pictures: dict[Place, Image.Image]) -> None:
        """Asks each model about one batch."""
        if not pictures:
            return
        batch = list(pictures.values())
        scores = {name: scorer(batch).tolist() for name, scorer in self._scorers.items()}
        for number, place in enumerate(pictures):
            self._scores[place] = {name: of[number] for name, of in scores.items() if of[number] == of[number]}
        if self._clip:
            self._embeddings |= zip(pictures, self._clip.pictures(batch), strict=True)

    def write(self, part: PartWriter, task: PicturesTask, pictures: list[tuple[bytes, Place]]) -> None:
        """Writes a row a picture; what no model could take has a row without scores, and NaN for an embedding."""
        width = self._clip.width if self._clip else 0
        part.detail = msgspec.json.encode(
            Scored(of=task.part, names=[model.name for model in task.models], width=width)
        ).decode()
        table = TableWriter(part.file(f"scores/{task.output}.parquet"), SCORES)
        embeddings = np.full((len(pictures), width), np.nan, dtype=np.float16)
        for number, (key, place) in enumerate(pictures):
            found = self._scores.get(place, {})
            table.add({"media_key": key, "scores": list({name: found.get(name) for name in self._scorers}.items())})
            if place in self._embeddings:
                embeddings[number] = self._embeddings[place]
            part.counts["scored"] += 1
            part.counts["not_scored"] += len(found) < len(self._scorers) or bool(np.isnan(embeddings[number]).any())
        table.close()
        if width:
            write_embeddings(part.file(f"scores/{task.output}.npy"), embeddings)


def _read(store: Store, part: str, places: list[Place]) -> list[bytes]:
    return store.read_ranges([(f"media/{part}.tar", offset, size) for offset, size in places])


def _decoded(data: bytes) -> Image.Image | None:
    """A stored picture in RGB, or None if its bytes are none any more."""
    form = DECODED.get(str(sniff(data)))
    if form is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files
        try:
            image = in_8_bits(form(io.BytesIO(data)))
            return on_white(image) if image.mode == "RGBA" else image.convert("RGB")
        except DECODER_FAULTS:
            return None


def score_texts(task: TextsTask, note: Note, skip: frozenset[int]) -> None:
    """Writes the embeddings of all texts that stand beside media of one part's selected documents, each text once."""
    select = task.candidates.select
    folder = RunFolder(select.run_url)
    name = f"documents/{select.part}.parquet"
    with folder.store.open(name) as file:
        table = read_table(file, DOCUMENTS, name, ["nodes", "columns"])
    texts: set[str] = set()
    for verdict in selected_rows(task.candidates):
        stored = table.slice(verdict["row"], 1).to_pylist()[0]
        media = left_nodes(stored["nodes"], verdict["gone_nodes"])[1]
        texts.update(page_texts(media, stored["columns"] is not None, task.pii))
    clip = embedder(task.model)
    with folder.part(STAGE, task.output) as part:
        part.detail = msgspec.json.encode(
            Scored(of=task.candidates.selected_part, texts=True, width=clip.width)
        ).decode()
        writer = TableWriter(part.file(f"scores/{task.output}.parquet"), TEXT_EMBEDDINGS)
        ordered = iter(sorted(texts, key=lambda text: (len(text), text)))  # of like length: padding is work
        while batch := list(islice(ordered, BATCH)):
            embeddings = clip.texts([text[:MAX_CHARACTERS] for text in batch])
            for text, embedding in zip(batch, embeddings, strict=True):
                writer.add({"text_key": key16(text), "embedding": embedding.tobytes()})
        writer.close()
        part.counts["texts"] = len(texts)
