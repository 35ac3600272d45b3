"""The media index of a part: where the bytes of which URL are, and the bytes that had to be copied.

What extract finds of media becomes a row a record here, whether it came out of a crawl or stands beside a table. Bytes without random access (`data:`
pictures, members of packed files, files beside a table) go into `media-copies/`, so that the fetch stage finds all by (name, offset, length).
"""

from typing import BinaryIO

from pipeline.runfolder import PartWriter
from pipeline.urls import media_key
from schemas.shard import sample_key
from schemas.tables import MEDIA_INDEX, TableWriter


def copies_name(part: str) -> str:
    """The file of the bytes that a part has copied."""
    return f"media-copies/{part}.bin"


def key16(normalised_url: str) -> bytes:
    """The 16-byte key of a normalised URL: the bytes of its sample key."""
    return bytes.fromhex(sample_key(normalised_url))


class MediaIndexWriter:
    """The media index of one part in the making, with its copies; the file of copies is there only if something was copied."""

    def __init__(self, part: PartWriter, name: str) -> None:
        self._part = part
        self._table = TableWriter(part.file(f"media-index/{name}.parquet"), MEDIA_INDEX)
        self._copies_name = copies_name(name)
        self._copies: BinaryIO | None = None

    def copy(self, data: bytes) -> dict[str, object]:
        """Copies bytes; returns the reference to them."""
        if self._copies is None:
            self._copies = self._part.file(self._copies_name)
        offset = self._copies.tell()
        self._copies.write(data)
        return {"ref_name": self._copies_name, "ref_offset": offset, "ref_length": len(data), "copied": True}

    def add(self, url: str, kind: str, mime: str, date: str, digest: str, reference: dict[str, object]) -> None:
        """A medium and where its bytes are."""
        self._part.counts["media_index"] += 1
        row = {
            "url": url,
            "media_key": key16(media_key(url)),
            "kind": kind,
            "mime": mime,
            "date": date,
            "digest": digest,
        }
        self._table.add(row | reference)

    def redirect(self, url: str, target: str, date: str) -> None:
        """A URL that leads to another one."""
        row = {"url": url, "media_key": key16(media_key(url)), "kind": "redirect", "date": date}
        self._table.add(row | {"target_key": key16(media_key(target))})

    def close(self) -> None:
        """Writes the table's end."""
        self._table.close()
