"""Shards of a store, kept on this disk within a limit of bytes: the one used longest ago makes room.

    ~/.cache/m3w/shards/NAME.tar         whole; NAME is made of the tar's URL, size and etag; its mtime is when it was last opened
                        NAME.SIZE.part   being fetched, under a lock by who does it, and counted with its whole size

All processes of a machine share the folder. A part without a lock is of somebody who died, and is deleted. Who has a tar open reads on when it is deleted.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from schemas.errors import ShardError


def cache_folder(name: str) -> Path:
    """A folder for files that can be made again (XDG)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "m3w" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def made_once(kept: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of a file that can be made again; where it is not there, one process of this machine makes it, and the others wait."""
    part = kept.with_suffix(".part")
    if not kept.exists():
        with locked(part):
            try:
                if not kept.exists():
                    part.write_bytes(make())
                    part.replace(kept)
            finally:
                part.unlink(missing_ok=True)
    return kept.read_bytes()


def cached(fs: Any, path: str, name: str, size: int, limit: int) -> Path | None:
    """The file of a tar of `size` bytes, fetched if it is not there; None where others' fetching leaves no room within `limit` bytes.

    Raises:
        ShardError: what came has another size.
    """
    folder = cache_folder("shards")
    kept, part = folder / f"{name}.tar", folder / f"{name}.{size}.part"
    if not kept.exists():
        with locked(part):
            if not kept.exists():
                try:
                    with locked(folder / "room.lock"):
                        if not _make_room(folder, limit):
                            return None
                    fs.get_file(path, str(part))
                    if part.stat().st_size != size:
                        raise ShardError(f"{path}: {part.stat().st_size} bytes came of {size}")
                    part.replace(kept)
                finally:
                    part.unlink(missing_ok=True)
            else:
                part.unlink(missing_ok=True)
    os.utime(kept)
    return kept


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of the file that has the name now, made if need be."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(path, handle):
                yield
                return
        finally:
            os.close(handle)


def _make_room(folder: Path, limit: int) -> bool:
    """Deletes tars until all files, parts at their whole size, fit; False where parts alone do not."""
    taken = sum(int(part.name.split(".")[1]) for part in folder.glob("*.part") if not _is_stale(part))
    kept = sorted(((one.stat(), one) for one in folder.glob("*.tar")), key=lambda pair: pair[0].st_mtime_ns)
    taken += sum(stat.st_size for stat, _ in kept)
    for stat, one in kept:
        if taken > limit:
            one.unlink()
            taken -= stat.st_size
    return taken <= limit


def _is_stale(part: Path) -> bool:
    """Whether a part is gone, or is deleted here because nobody holds its lock."""
    try:
        handle = os.open(part, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        part.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _is_at(path: Path, handle: int) -> bool:
    """Whether the open file still has that name; who had the lock before may have renamed or deleted it."""
    try:
        return path.stat().st_ino == os.fstat(handle).st_ino
    except FileNotFoundError:
        return False
