"""Calls of a store that are tried again: one that falters for half a minute stops no job, one that fails for longer does, and a refusal does at once.

A client's own tries lie below (s3fs and botocore: five each, within seconds, for 5xx and for silence of 15 s); they know single requests, these here know
what they were for, and all kinds of stores alike.
"""

import errno
import socket
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")

WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)  # ours: as long as a store asks for calm
PATIENCE_S: Final = 60.0  # ours: a call whose own tries took longer is not made again
CLIENTS: Final = ("botocore", "aiobotocore", "aiohttp", "gcsfs", "google")  # they raise what is no OSError
# Of errors with a number: s3fs gives EIO and EBUSY for answers of a store, the rest are the network's. Of silence there is none.
_ERRNOS: Final = frozenset(
    {None, errno.EIO, errno.EBUSY, errno.EAGAIN, errno.ETIMEDOUT, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH}
)
_MAY_PASS: Final = frozenset({408, 425, 429})  # of the statuses below 500
_CUT_UPLOADS: Final = frozenset({"RequestTimeout", "IncompleteBody", "BadDigest"})  # S3's 400 for a part of a body
# Of clients' errors without a status: the network's, and answers that came damaged. All else is about settings and keys.
_OF_THE_NETWORK: Final = frozenset(
    {"ConnectionError", "HTTPClientError", "ClientConnectionError", "ClientPayloadError", "TransportError"}
    | {"FlexibleChecksumError", "ResponseParserError", "IncompleteReadError"}
)


def passing(call: Callable[[], T]) -> T:
    """What `call` returns, which may fail for a passing reason and can be made again.

    Raises:
        Exception: what it raised last; at once where it would only fail again.
    """
    began = time.monotonic()
    for wait in WAITS_S:
        try:
            return call()
        except Exception as error:
            if not may_pass(error) or time.monotonic() - began > PATIENCE_S:
                raise
        time.sleep(wait)
    return call()


def may_pass(error: BaseException) -> bool:
    """Whether the same call may go well later: an answer of 5xx, silence, a broken connection, a cut or damaged answer."""
    if of_client(error):
        status = _status(error)
        if status is not None:
            return status >= 500 or status in _MAY_PASS
        return any(kind.__name__ in _OF_THE_NETWORK for kind in type(error).__mro__)
    if error.__cause__ is not None and of_client(error.__cause__):
        return may_pass(error.__cause__)
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and type(error) in (OSError, socket.gaierror) and error.errno in _ERRNOS


def of_client(error: BaseException) -> bool:
    """Whether a store's client raised it as an error of its own."""
    return type(error).__module__.partition(".")[0] in CLIENTS


def _status(error: Any) -> int | None:
    """The HTTP status that a client's error carries, 408 for all uploads that came in part."""
    answer: object = getattr(error, "response", None)
    if isinstance(answer, dict):  # botocore's
        if answer.get("Error", {}).get("Code") in _CUT_UPLOADS:
            return 408
        found: object = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:  # aiohttp's; gcsfs's
        found = error.status if hasattr(error, "status") else getattr(error, "code", None)
    return found if isinstance(found, int) else None
