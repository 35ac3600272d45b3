"""Lists of picture hashes: exact ones by their first 64 bits, perceptual ones within a distance.

Perceptual hashes are cut into chunks of 16 bits. Two hashes within distance d agree in some chunk up to floor(d / chunks) bits (Norouzi et al. 2012,
multi-index hashing), so a question looks at the entries that share such a chunk and compares only these: no match is missed.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pipeline.images import ImageConfig, prepare
from pipeline.lists.files import Entry, content, entries
from pipeline.lists.ngrams import Hashes, member
from schemas.drops import Drop
from schemas.errors import InputError

_CHUNK_BITS = 16
_BYTES = {"sha256": 32, "md5": 16, "phash": 8, "pdq": 32}
_EXACT = ("sha256", "md5")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_KIND_OF_DIGITS = {2 * size: kind for kind, size in _BYTES.items() if kind != "pdq"}


def picture_hash(entry: Entry) -> tuple[str, bytes]:
    """(kind, hash) of an entry: told by a prefix `kind:`, or by how many hex digits there are.

    Raises:
        InputError: no such hash.
    """
    prefix, colon, digits = entry.text.lower().rpartition(":")
    kind = prefix if colon else _KIND_OF_DIGITS.get(len(digits), "")
    try:
        data = bytes.fromhex(digits)
    except ValueError:
        data = b""
    if not data or _BYTES.get(kind) != len(data):
        raise InputError(
            f"{entry.where}: {entry.text[:80]!r} is no hash of a picture; known are 64 hex digits (SHA-256), 32 (MD5), 16 (pHash), "
            "pdq: and 64"
        )
    return kind, data


def pictures(url: str) -> Iterator[Entry]:
    """The hashes of a list, or, of a picture file, its own.

    Raises:
        InputError: no such file, nothing in it, or a picture that does not decode.
        SurroundingsError: the disk or the store refuses.
    """
    if not url.split("?")[0].lower().endswith(_PICTURES):
        yield from entries(url)
        return
    picture = prepare(content(url), ImageConfig())
    if isinstance(picture, Drop):
        raise InputError(f"{url}: not a picture that can be compared: {picture.reason} {picture.detail}".rstrip())
    yield from (Entry(picture.source_sha256, url), Entry(picture.phash, url))


class NearHashes:
    """Perceptual hashes of one width, a multiple of 16 bits, that are found within `max_distance` bits."""

    def __init__(self, hashes: NDArray[np.uint8], max_distance: int) -> None:
        self._hashes, self._max_distance = hashes, max_distance
        chunks = hashes.view(">u2").astype(np.int64)
        self._order = [np.argsort(chunk, kind="stable") for chunk in chunks.T]
        self._sorted = [chunk[order] for chunk, order in zip(chunks.T, self._order, strict=True)]
        self._masks = _masks(max_distance // max(1, chunks.shape[1]))

    def distance(self, data: bytes) -> int | None:
        """The distance of the nearest entry, None where none is near enough."""
        if not len(self._hashes):
            return None
        near = []
        for place, chunk in enumerate(np.frombuffer(data, dtype=">u2").astype(np.int64)):
            wanted = chunk ^ self._masks
            starts = np.searchsorted(self._sorted[place], wanted, "left")
            ends = np.searchsorted(self._sorted[place], wanted, "right")
            near += [self._order[place][a:b] for a, b in zip(starts, ends, strict=True) if a < b]
        if not near:
            return None
        others = self._hashes[np.concatenate(near)]
        distance = int(np.bitwise_count(others ^ np.frombuffer(data, dtype=np.uint8)).sum(axis=1).min())
        return distance if distance <= self._max_distance else None


def _masks(max_bits: int) -> NDArray[np.int64]:
    """All chunks with up to `max_bits` bits set."""
    places = [combo for bits in range(max_bits + 1) for combo in combinations(range(_CHUNK_BITS), bits)]
    return np.array([sum(1 << bit for bit in combo) for combo in places], dtype=np.int64)


class PictureHashes:
    """One list of picture hashes, of all kinds."""

    def __init__(self, sha256: Hashes, md5: Hashes, phash: NDArray[np.uint8], pdq: NDArray[np.uint8]) -> None:
        self._sha256, self._md5, self._phash, self._pdq = sha256, md5, phash, pdq

    @classmethod
    def made_of(cls, entries: Iterable[Entry]) -> "PictureHashes":
        """The hashes of list entries.

        Raises:
            InputError: an entry is no hash.
        """
        found = {kind: bytearray() for kind in _BYTES}
        for entry in entries:
            kind, data = picture_hash(entry)
            found[kind] += data[:8] if kind in _EXACT else data
        sha256, md5 = (np.unique(np.frombuffer(found[kind], dtype=">u8").astype(np.uint64)) for kind in _EXACT)
        phash, pdq = (
            np.unique(np.frombuffer(found[kind], dtype=np.uint8).reshape(-1, _BYTES[kind]), axis=0)
            for kind in ("phash", "pdq")
        )
        return cls(sha256, md5, phash, pdq)

    @property
    def measured(self) -> set[str]:
        """Which hashes are among them that not every picture has: md5, phash, pdq."""
        return {kind for kind, hashes in zip(_BYTES, self.arrays(), strict=True) if len(hashes)} - {"sha256"}

    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """What the constructor takes."""
        yield from (self._sha256, self._md5, self._phash, self._pdq)

    def indexed(self, max_phash_distance: int, max_pdq_distance: int) -> "PictureIndex":
        """The list, ready for questions."""
        return PictureIndex(
            {"sha256": self._sha256, "md5": self._md5},
            {"phash": NearHashes(self._phash, max_phash_distance), "pdq": NearHashes(self._pdq, max_pdq_distance)},
        )


class PictureIndex:
    """A list of picture hashes that answers questions."""

    def __init__(self, exact: dict[str, Hashes], near: dict[str, NearHashes]) -> None:
        self._exact, self._near = exact, near

    def find(self, hashes: dict[str, bytes | None]) -> tuple[str, int] | None:
        """(kind, distance in bits) of the first of a picture's hashes that the list holds; those that are None are not known."""
        for kind, data in hashes.items():
            if data is None:
                continue
            if kind in self._near:
                if (distance := self._near[kind].distance(data)) is not None:
                    return kind, distance
            elif member(np.frombuffer(data[:8], dtype=">u8").astype(np.uint64), self._exact[kind])[0]:
                return kind, 0
        return None
