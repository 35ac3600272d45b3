"""What is not wanted, asked of pages, media and pictures.

    compile_texts, compile_pictures   the user's files  ->  one blob each, read once a job, before it starts
    stored                            a blob            ->  its name in the run's folder, made of its digest
    text_lists, picture_lists         a name            ->  the tables, once a process
    TextLists, PictureLists           a question        ->  a Drop, or None

The digest in a blob's name is what a stage depends on: other entries are another stage, the same entries in other files are not. A list of n
entries takes 8 n bytes; nothing of an entry but its hash leaves its file, so lists that may not be shown do not end in a run's folder.
"""

import functools
import hashlib
from collections.abc import Collection, Iterable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.images import ImageConfig
from pipeline.lists.config import ListsConfig
from pipeline.lists.files import Entry, entries, texts
from pipeline.lists.ngrams import Hashes, Phrases, run_hashes, word_hashes, words_of
from pipeline.lists.pictures import PictureHashes, pictures
from pipeline.lists.places import Places
from pipeline.store import Store
from schemas.drops import Drop, DropKind, DropReason
from schemas.errors import ConfigError, InputError

FOLDER = "lists"  # of a run
NGRAM_WORDS = 13  # GPT-3, appendix C
MIN_WORDS = 8  # GPT-3, appendix C: the shortest text that is looked for, as a whole


class TextLists:
    """Blocked and opted-out places, blocked words, evaluation texts. All questions answer None where no list says no."""

    def __init__(self, blocked: Places, opted_out: Places, words: Phrases, evaluation: Phrases) -> None:
        self._blocked, self._opted_out, self._words, self._evaluation = blocked, opted_out, words, evaluation

    def refused_place(self, url: str, kind: DropKind = "page") -> Drop | None:
        """Whether a page's or medium's URL is blocked or opted out, by itself or by its domain."""
        if self._blocked.url(url):
            return _place_drop(kind, DropReason.BLOCKED_URL, url, "")
        if domain := self._blocked.domain(url):
            return _place_drop(kind, DropReason.BLOCKED_DOMAIN, url, domain)
        if self._opted_out.url(url):
            return _place_drop(kind, DropReason.OPTED_OUT, url, "opt-out list")
        if domain := self._opted_out.domain(url):
            return _place_drop(kind, DropReason.OPTED_OUT, url, f"opt-out list: {domain}")
        return None

    @property
    def asks_places(self) -> bool:
        """Whether any list is about URLs or domains."""
        return bool(self._blocked or self._opted_out)

    @property
    def asks_texts(self) -> bool:
        """Whether any list is about texts."""
        return bool(self._words or self._evaluation)

    def refused_text(self, text: str, url: str = "") -> Drop | None:
        """Whether a page's text holds a blocked word or phrase (the detail), or shares words with an evaluation set (the first of them)."""
        if not self.asks_texts:
            return None
        words = words_of(text)
        hashes = word_hashes(words)
        for phrases, reason in ((self._words, DropReason.BLOCKED_WORD), (self._evaluation, DropReason.CONTAMINATED)):
            count, start, length = phrases.find(hashes)
            if count:
                detail = " ".join(words[start : start + length])
                return Drop(kind="page", reason=reason, url=url, value=count, detail=detail)
        return None


class PictureLists:
    """Blocked pictures and those of evaluation sets."""

    def __init__(self, blocked: PictureHashes, evaluation: PictureHashes, distances: Hashes) -> None:
        self.measured = blocked.measured | evaluation.measured  # what a picture has to have been measured by
        self._lists = (
            (blocked.indexed(*map(int, distances)), DropReason.BLOCKED_IMAGE),
            (evaluation.indexed(*map(int, distances)), DropReason.CONTAMINATED),
        )

    def refused(
        self, source_sha256: bytes | None, source_md5: bytes | None, phash: bytes | None, pdq: bytes | None
    ) -> Drop | None:
        """Whether a picture is on a list, by any of its hashes; None is a hash that is not known. The detail is the hash's kind, the value its distance."""
        hashes = {"sha256": source_sha256, "md5": source_md5, "phash": phash, "pdq": pdq}
        for index, reason in self._lists:
            if found := index.find(hashes):
                return Drop(kind="image", reason=reason, value=found[1], detail=found[0])
        return None


def compile_texts(config: ListsConfig) -> bytes:
    """All lists that are asked about pages and URLs, as one blob.

    Raises:
        InputError: a list that cannot be read, or an entry that is none; the message names file and line.
        SurroundingsError: disk or store refuse.
    """
    opt_outs = list(_entries(config.opt_out))
    urls = [entry for entry in opt_outs if "/" in entry.text]
    domains = [entry for entry in opt_outs if "/" not in entry.text]
    return _packed(
        Places.made_of(_entries(config.block_urls), _entries(config.block_domains)).arrays(),
        Places.made_of(urls, domains).arrays(),
        Phrases.made_of(_blocked_phrases(config.block_words)).arrays(),
        Phrases.made_of(_evaluation_phrases(config.evaluation_texts)).arrays(),
    )


def compile_pictures(config: ListsConfig, images: ImageConfig) -> bytes:
    """All lists that are asked about pictures, as one blob; `images` says which hashes the run's pictures have.

    Raises:
        InputError, SurroundingsError: as `compile_texts`.
        ConfigError: a list holds hashes of which no picture will have one.
    """
    blocked = PictureHashes.made_of(_entries(config.block_hashes))
    evaluation = PictureHashes.made_of(entry for url in config.evaluation_images for entry in pictures(url))
    measured = blocked.measured | evaluation.measured
    if measured and not images.measure:
        raise ConfigError(
            f"the lists of pictures hold hashes ({', '.join(sorted(measured))}) that find nothing in this run: set images.measure = true"
        )
    if "pdq" in measured and not images.pdq:
        raise ConfigError(
            "the lists of pictures hold PDQ hashes, which find nothing in this run: set images.pdq = true"
        )
    return _packed(
        blocked.arrays(),
        evaluation.arrays(),
        [np.array([config.max_phash_distance, config.max_pdq_distance], dtype=np.uint64)],
    )


def stored(store: Store, blob: bytes) -> str:
    """Puts a blob into the run's folder, if it is not there; returns its name, "" for none."""
    if not blob:
        return ""
    name = f"{FOLDER}/{hashlib.sha256(blob).hexdigest()[:32]}.bin"
    if not store.exists(name):
        store.write(name, blob)
    return name


def prune(store: Store, kept: Collection[str]) -> None:
    """Takes the blobs out of the run's folder that are not of these names."""
    store.remove([name for name in store.files(FOLDER) if name not in kept])


@functools.lru_cache(maxsize=1)
def text_lists(run_url: str, name: str) -> TextLists:
    """The lists of pages and URLs that a run's folder holds."""
    arrays = _unpacked(Store(run_url).read(name))
    blocked, opted_out = Places(*arrays[:2]), Places(*arrays[2:4])
    return TextLists(blocked, opted_out, Phrases.of_arrays(*arrays[4:7]), Phrases.of_arrays(*arrays[7:10]))


@functools.lru_cache(maxsize=1)
def picture_lists(run_url: str, name: str) -> PictureLists:
    """The lists of pictures that a run's folder holds."""
    arrays = _unpacked(Store(run_url).read(name))
    return PictureLists(PictureHashes(*arrays[:4]), PictureHashes(*arrays[4:8]), arrays[8])


def _entries(urls: list[str]) -> Iterator[Entry]:
    for url in urls:
        yield from entries(url)


def _blocked_phrases(urls: list[str]) -> Iterator[tuple[int, Hashes]]:
    for entry in _entries(urls):
        hashes = word_hashes(words_of(entry.text))
        if not 1 <= len(hashes) <= NGRAM_WORDS:
            raise InputError(
                f"{entry.where}: {entry.text[:80]!r} has {len(hashes)} words; a phrase has 1 to {NGRAM_WORDS}"
            )
        yield len(hashes), run_hashes(hashes, len(hashes))


def _evaluation_phrases(urls: list[str]) -> Iterator[tuple[int, Hashes]]:
    for url in urls:
        found = False
        for text in texts(url):
            hashes = word_hashes(words_of(text))
            if len(hashes) >= MIN_WORDS:
                found = True
                n = min(len(hashes), NGRAM_WORDS)
                yield n, run_hashes(hashes, n)
        if not found:
            raise InputError(f"{url}: no text of {MIN_WORDS} words or more, so nothing to look for")


def _place_drop(kind: DropKind, reason: DropReason, url: str, detail: str) -> Drop:
    return Drop(
        kind=kind,
        reason=reason,
        url=url if kind == "page" else "",
        medium_url="" if kind == "page" else url,
        detail=detail,
    )


def _packed(*groups: Iterable[NDArray[np.generic]]) -> bytes:
    file = BytesIO()
    for arrays in groups:
        for array in arrays:
            np.save(file, array, allow_pickle=False)
    return file.getvalue()


def _unpacked(blob: bytes) -> list[NDArray[Any]]:
    file, arrays = BytesIO(blob), []
    while file.tell() < len(blob):
        arrays.append(np.load(file, allow_pickle=False))
    return arrays
