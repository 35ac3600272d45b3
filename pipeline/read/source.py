"""A byte source with a position: what the record parsers read from.

In: anything with `read(n)` (an open file, an inflating member). Out: bytes, with the absolute position of the next one. One class, because a WARC is
parsed alike whether its bytes come from a file or out of a gzip member, and because damage needs to go back: `Damage` says what broke.
"""

from collections.abc import Callable
from typing import BinaryIO, Protocol, TypeAlias

from schemas.drops import DropReason

CHUNK_BYTES = 64 << 10

OpenAt: TypeAlias = Callable[[int], "Readable"]
Write: TypeAlias = Callable[[bytes], object]


class Readable(Protocol):
    """The one thing asked of a file."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


class Damage(Exception):
    """The bytes are no record: never leaves `pipeline.read`, it becomes a gap or a drop."""

    def __init__(self, reason: DropReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Window:
    """The bytes of `file` from where it stands on, ending at `stop` bytes from there (None: at its own end)."""

    def __init__(self, file: BinaryIO, remaining: int | None) -> None:
        self._file = file
        self._remaining = remaining

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end of the window."""
        if self._remaining is None:
            return self._file.read(size)
        data = self._file.read(min(size, self._remaining) if size >= 0 else self._remaining)
        self._remaining -= len(data)
        return data


class Source:
    """Buffered bytes from `position` on; memory is bounded by what is peeked at.

    `position` is the absolute offset of the next byte.
    """

    def __init__(self, file: Readable, position: int = 0, *, extend: Callable[[], bool] | None = None) -> None:
        self.position = position
        self._extend = extend
        self._file = file
        self._buffer = b""
        self._at = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end, without moving."""
        if len(self._buffer) - self._at < size:
            parts = [self._buffer[self._at :]]
            have = len(parts[0])
            while have < size and (part := self._file.read(max(size - have, CHUNK_BYTES))):
                parts.append(part)
                have += len(part)
            self._buffer, self._at = b"".join(parts), 0
        return self._buffer[self._at : self._at + size]

    def read(self, size: int, /) -> bytes:
        """The next `size` bytes, fewer only at the end."""
        data = self.peek(size)
        self._at += len(data)
        self.position += len(data)
        return data

    def chunk(self) -> bytes:
        """Whatever is at hand, or the next chunk; none at the end."""
        if self._at == len(self._buffer):
            self._buffer, self._at = self._file.read(CHUNK_BYTES), 0
        data = self._buffer[self._at :]
        self._at = len(self._buffer)
        self.position += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Puts back the last bytes that were read."""
        if self._buffer.endswith(data) and self._at == len(self._buffer):
            self._at -= len(data)
        else:
            self._buffer, self._at = data + self._buffer[self._at :], 0
        self.position -= len(data)

    def skip(self, size: int, into: Write | None = None) -> int:
        """Moves `size` bytes on, giving them to `into`, if it is there; returns by how many it could."""
        done = 0
        while done < size and (data := self.read(min(size - done, CHUNK_BYTES))):
            done += len(data)
            if into is not None:
                into(data)
        return done

    def find(self, pattern: bytes) -> bool:
        """Moves to the next place where `pattern` stands; False, and to the end, where there is none."""
        while window := self.peek(max(CHUNK_BYTES, len(self._buffer) - self._at)):
            found = window.find(pattern)
            if found >= 0:
                self.skip(found)
                return True
            if len(window) < CHUNK_BYTES:
                self.skip(len(window))
                return False
            self.skip(len(window) - len(pattern) + 1)
        return False

    def extend(self) -> bool:
        """At the end: whether there is more, for a reader who misses something, in what stands behind."""
        return self._extend is not None and self._extend()

    def at_end(self) -> bool:
        """Whether no byte is left."""
        return not self.peek(1)
