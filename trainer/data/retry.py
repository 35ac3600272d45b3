"""Reads that are tried again: a store that falters for half a minute stops no run, one that fails for longer does."""

import time
from collections.abc import Callable
from itertools import count
from typing import Final, TypeVar

from schemas.errors import InputError, SurroundingsError

T = TypeVar("T")

ATTEMPTS: Final = 6  # ours: waits of 1, 2, 4, 8 and 16 seconds lie between
_CLIENTS: Final = ("aiohttp", "aiobotocore", "botocore", "gcsfs", "google")  # they raise what is no OSError
_GONE: Final = (404, 410)


def passing(read: Callable[[], T]) -> T:
    """The result of a read that may fail for a passing reason.

    Raises:
        InputError: what is to be read is not there.
        SurroundingsError: it may not be read, or still cannot be at the last attempt.
    """
    for attempt in count(1):
        try:
            return read()
        except Exception as error:
            # Of a web server fsspec says "not found" whatever the answer was, which is the cause.
            answer = error.__cause__ if _client(error.__cause__) == "aiohttp" else None
            if isinstance(error, FileNotFoundError) and (answer is None or getattr(answer, "status", None) in _GONE):
                raise InputError(f"{error}: no such shard") from error
            if not isinstance(error, OSError) and _client(error) not in _CLIENTS:
                raise
            if isinstance(error, PermissionError):
                raise SurroundingsError(f"it may not be read: {error}") from error
            if attempt == ATTEMPTS:
                raise SurroundingsError(f"still failing at attempt {attempt}: {error}") from error
            time.sleep(2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _client(error: BaseException | None) -> str:
    """The package whose error it is."""
    return type(error).__module__.partition(".")[0]
