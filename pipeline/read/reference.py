"""A medium read back from where extract saw it.

In: an open file, and the offset and length of a `MediaRecord`'s reference. Out: the medium's bytes, decoded as extract would have: in memory,
or, of what may be large, in a file.
"""

import tempfile
from typing import BinaryIO

from pipeline.read.body import dechunked, is_packed
from pipeline.read.classify import decoded, response_of
from pipeline.read.members import Gzip, Packing, Plain, Zstd, packing_of
from pipeline.read.page import ReadLimits
from pipeline.read.source import Damage, Source, Window
from pipeline.read.warc import read_at
from schemas.drops import Drop, DropReason

_HEAD_BYTES = 1 << 20  # ours: of a record that is copied, what is held in memory; it holds the response's head


def read_reference(
    file: BinaryIO, offset: int, length: int, *, max_bytes: int = ReadLimits().max_record_bytes
) -> bytes | Drop:
    """The body of the record at `offset`, or why there is none, or none of at most `max_bytes`."""
    try:
        packing = _packing(file, offset)
        file.seek(offset)
        record = read_at(Source(Window(file, length)), packing, max_bytes)
        response = response_of(record)
        if response is None:
            raise Damage(DropReason.BAD_RECORD, "no response")
        body = decoded(record, response, max_bytes)
        if body.too_large or len(record.block) < record.block_length:
            raise Damage(DropReason.TOO_MANY_BYTES, f"more than {max_bytes} bytes")
        return body.data
    except Damage as damage:
        return Drop(kind="image", reason=damage.reason, detail=f"offset {offset}: {damage.detail}")


def copy_reference(file: BinaryIO, offset: int, length: int, into: BinaryIO, *, max_bytes: int) -> Drop | None:
    """Writes the body of the record at `offset` to `into`, a piece at a time, or says why there is none, or none of at most `max_bytes`.

    A body that the server packed (videos are not) is read like any other, within `read_reference`'s limit.
    """
    with tempfile.TemporaryFile() as rest:

        def keep(piece: bytes) -> None:
            if rest.tell() + len(piece) > max_bytes:
                raise Damage(DropReason.TOO_MANY_BYTES, f"more than {max_bytes} bytes")
            rest.write(piece)

        try:
            packing = _packing(file, offset)
            file.seek(offset)
            record = read_at(Source(Window(file, length)), packing, _HEAD_BYTES, keep)
            response = response_of(record)
            if response is None:
                raise Damage(DropReason.BAD_RECORD, "no response")
        except Damage as damage:
            return Drop(kind="video", reason=damage.reason, detail=f"offset {offset}: {damage.detail}")
        encodings = [response.fields.get(f"{what}-encoding", "") for what in ("content", "transfer")]
        if is_packed(*encodings):
            body = read_reference(file, offset, length)
            if isinstance(body, Drop):
                return body
            into.write(body)
            return None
        rest.seek(0)
        source = Source(rest)
        source.unread(record.block[response.body_at :])
        if "chunked" in encodings[1].lower():
            dechunked(source, into.write)
        else:
            while piece := source.chunk():
                into.write(piece)
    return None


def _packing(file: BinaryIO, offset: int) -> Packing:
    """The packing of the record at `offset`; of a Zstandard frame that of the file, which may begin with a dictionary."""
    file.seek(offset)
    first = file.read(len(Plain.magic))
    if first.startswith(Zstd.magic):
        file.seek(0)
        return packing_of(Source(file)) or Zstd()
    if first.startswith(Gzip.magic):
        return Gzip()
    if first == Plain.magic:
        return Plain()
    raise Damage(DropReason.BAD_RECORD, "no WARC record there")
