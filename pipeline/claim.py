"""Who may write into a run's folder: a file of the folder holds the id of its present writer, and who works for another one stops.

A command that was paused past its lease, and a job that works on at an engine which has forgotten it, do not know that a later command has taken the
folder. So each works under a claim, and a `Store` looks at it before it writes or deletes (of a part's files once for all of them). What is built for
workers under a claim carries it to them. What is looked at may change until the write is done: that moment is left open, nothing more.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Protocol

import msgspec

from schemas.errors import OutputError, SurroundingsError

JOB: Final = "stages/job.json"  # holds the id of the last job that was sent to a cluster


class Folder(Protocol):
    """What is needed here of a `Store`, which needs this module."""

    url: str

    def read(self, name: str) -> bytes:
        """A file's bytes."""

    def write(self, name: str, data: bytes) -> None:
        """Puts bytes to their place."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """The folder at `url` is its holder's as long as the file `name` in it holds this id."""

    url: str
    name: str
    id: str


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """What such a file says, whatever else is in it."""

    id: str


_held: ContextVar[Claim | None] = ContextVar("held", default=None)


def held() -> Claim | None:
    """What is worked under here."""
    return _held.get()


@contextmanager
def under(claim: Claim | None) -> Iterator[None]:
    """Works under a claim while the block runs, in this thread."""
    before = _held.set(claim)
    try:
        yield
    finally:
        _held.reset(before)


def claim_job(store: Folder) -> Claim:
    """A claim for a job that is about to be sent, which outlives this command; jobs that were sent before lose theirs."""
    claim = Claim(url=store.url, name=JOB, id=uuid.uuid4().hex)
    store.write(JOB, msgspec.json.encode(Holder(id=claim.id)))
    return claim


def stands(claim: Claim, store: Folder) -> bool:
    """Whether a claim on this store's folder is still the present one."""
    try:
        return msgspec.json.decode(store.read(claim.name), type=Holder).id == claim.id
    except SurroundingsError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return False
        raise


def check(store: Folder) -> None:
    """Looks whether what is worked under still allows to write here.

    Raises:
        OutputError: a later command has taken the folder.
    """
    claim = held()
    if claim is not None and claim.url == store.url and not stands(claim, store):
        raise OutputError(f"{store.url}: a later command has taken this folder over; what this one still did has ended")
