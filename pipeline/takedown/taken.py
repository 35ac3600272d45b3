"""What was taken down, asked of pages and media: a run's tombstones as tables of numbers.

A run's own tombstones are all that bind it: who runs `--against` another run takes over its tombstones first. Texts of pages are compared in select,
with those of all other pages; here are domains, the URLs of media, and the hashes of media, 40 bytes an entry in each process.
"""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.lists.ngrams import Hashes, member
from pipeline.lists.pictures import NearHashes
from pipeline.stages.media_index import key16
from pipeline.store import Store
from pipeline.takedown.entries import Entries
from pipeline.urls import media_key
from schemas.drops import Drop, DropReason
from schemas.tables import TOMBSTONES, read_table

FOLDER = "tombstones/"


def tombstone_files(store: Store) -> list[str]:
    """The tombstone tables of a run, sorted."""
    return [name for name in store.files(FOLDER.rstrip("/")) if name.endswith(".parquet")]


class Taken:
    """Domains and media that were taken down. All questions answer None or False where nothing was."""

    def __init__(self, tombstones: pa.Table) -> None:
        domains = tombstones.filter(pc.equal(tombstones["kind"], "domain"))["url"].to_pylist()
        self._domains = Entries(domains=frozenset(domains))
        media = tombstones.filter(pc.equal(tombstones["kind"], "medium"))
        self._keys = np.unique(_first_halves(_hashes(media["key"], 16)))
        digests = [_hashes(media[name], 32) for name in ("sha256", "source_sha256")]
        self._digests = np.unique(_first_halves(np.concatenate(digests)))
        self._has_media = bool(media.num_rows)
        alike = media.filter(pc.and_(pc.is_valid(media["phash"]), pc.is_valid(media["max_distance"])))
        bits, hashes = alike["max_distance"].to_numpy(), _hashes(alike["phash"], 8)
        self._alike = [NearHashes(np.unique(hashes[bits == one], axis=0), one) for one in np.unique(bits).tolist()]

    @property
    def has_places(self) -> bool:
        """Whether any domain or URL of a medium was taken down."""
        return bool(self._domains.domains) or bool(len(self._keys))

    def page(self, url: str) -> Drop | None:
        """Why a page may not be used whose domain was taken down, or whose URL was listed: that of a table's row is its medium's."""
        if not self.medium_url(url):
            return None
        detail = "its domain" if self._on_domain(url) else "its URL"
        return Drop(kind="page", reason=DropReason.TAKEN_DOWN, url=url, detail=detail)

    def medium_url(self, url: str) -> bool:
        """Whether what has this URL was taken down by it, or with its domain."""
        return self._on_domain(url) or (bool(len(self._keys)) and self._has_key(key16(media_key(url))))

    def medium(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the media table has the URL or the bytes of what was taken down, or looks like what was to go with its likes."""
        if not self._has_media:
            return False
        if self._has_key(row["media_key"]):
            return True
        digests = b"".join(row[name] or b"" for name in ("sha256", "source_sha256"))
        if member(_first_halves(np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)), self._digests).any():
            return True
        phash = row["phash"] or b""
        return any(phash) and any(near.distance(phash) is not None for near in self._alike)

    def _on_domain(self, url: str) -> bool:
        return bool(self._domains.domains) and self._domains.means_host(url)

    def _has_key(self, key: bytes) -> bool:
        return bool(member(_first_halves(np.frombuffer(key, dtype=np.uint8).reshape(1, 16)), self._keys)[0])


def _hashes(column: pa.ChunkedArray, width: int) -> NDArray[np.uint8]:
    """The hashes of a column, without its nulls, as an array of shape (n, width)."""
    return np.frombuffer(b"".join(column.drop_null().to_pylist()), dtype=np.uint8).reshape(-1, width)


def _first_halves(hashes: NDArray[np.uint8]) -> Hashes:
    """The first 8 bytes of each hash as a number."""
    return np.ascontiguousarray(hashes[:, :8]).view(">u8").ravel().astype(np.uint64)


@functools.lru_cache(maxsize=1)
def taken_from(run_url: str, names: tuple[str, ...]) -> Taken:
    """What these tombstone tables of a run's folder say."""
    store = Store(run_url)
    columns = ["kind", "url", "key", "sha256", "source_sha256", "phash", "max_distance"]
    tables = [pa.schema([TOMBSTONES.field(column) for column in columns]).empty_table()]
    for name in names:
        with store.open(name) as file:
            tables.append(read_table(file, TOMBSTONES, name, columns).replace_schema_metadata())
    return Taken(pa.concat_tables(tables))
