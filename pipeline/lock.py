"""One writer a folder.

On disk a lock dies with its holder. A store has no such thing, so there it is a lease that its holder renews and, since it may have been taken while the
holder was paused, looks at before each write (pipeline/claim.py).
"""

import fcntl
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec

from pipeline.claim import Claim, Holder, stands, under
from pipeline.store import Store, surroundings_blamed
from schemas.errors import OutputError, SurroundingsError

LOCK: Final = ".lock"
LEASE_S: Final = 60.0  # ours: so long a holder may be silent before the folder is another's
RENEW_S: Final = 15.0


class Lease(Holder, frozen=True, kw_only=True):
    """What the lock's file in a store says: its holder, and until when (s since the epoch) the lease stands without being renewed.

    A process id means nothing outside its `space`: containers may share a host's name.
    """

    host: str
    space: str
    pid: int
    until: float


@contextmanager
def locked(store: Store) -> Iterator[None]:
    """Keeps a second writer out of a store's folder while the block runs.

    In an object store the block works under the lease as its claim; after a kill the folder is free again when the lease has run out (60 s), or at once on
    the machine of the dead holder.

    Raises:
        OutputError: another writer is in the folder.
    """
    with _file_lock(store) if store.is_local else _lease(store):
        yield


@contextmanager
def _file_lock(store: Store) -> Iterator[None]:
    path = store.path(LOCK)
    with surroundings_blamed(path):
        os.makedirs(store.root, exist_ok=True)
        file = open(path, "a+b")  # noqa: SIM115 - what the block raises is not the file's fault
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{store.url}: another m3w is writing here; wait for it, or take another --out") from None
        yield


@contextmanager
def _lease(store: Store) -> Iterator[None]:
    claim = Claim(url=store.url, name=LOCK, id=uuid.uuid4().hex)
    _take(store, claim)
    done = threading.Event()
    renewer = threading.Thread(target=_renew, args=(store, claim, done), daemon=True)
    renewer.start()
    try:
        with under(claim):
            yield
    except BaseException:
        with suppress(SurroundingsError):  # what stopped the job is to be told
            _give_back(store, claim, done, renewer)
        raise
    _give_back(store, claim, done, renewer)


def _take(store: Store, claim: Claim) -> None:
    if store.exists(LOCK):
        holder = msgspec.json.decode(store.read(LOCK), type=Lease)
        here = (holder.host, holder.space) == (socket.gethostname(), _space())
        if not (here and _is_dead(holder.pid)) and holder.until > time.time():
            raise OutputError(
                f"{store.url}: another m3w (process {holder.pid} on {holder.host}) is writing here; wait for it, take another "
                f"--out, or, if it was killed, try again in {LEASE_S:.0f} s"
            )
    _write(store, claim)
    time.sleep(0.2)  # two that came at once: the one whose lease stands afterwards goes on
    if not stands(claim, store):
        raise OutputError(f"{store.url}: another m3w started to write here at the same moment")


def _write(store: Store, claim: Claim) -> None:
    lease = Lease(id=claim.id, host=socket.gethostname(), space=_space(), pid=os.getpid(), until=time.time() + LEASE_S)
    store.write(LOCK, msgspec.json.encode(lease))


def _renew(store: Store, claim: Claim, done: threading.Event) -> None:
    while not done.wait(RENEW_S):
        with suppress(SurroundingsError):  # the next try is before the lease ends
            if not stands(claim, store):
                return  # it ran out, while this process or its network was paused, and was taken
            _write(store, claim)


def _give_back(store: Store, claim: Claim, done: threading.Event, renewer: threading.Thread) -> None:
    done.set()
    renewer.join()  # what it writes late would be a lease without a holder
    if stands(claim, store):
        store.remove([LOCK])


def _space() -> str:
    """The namespace of process ids, where there are such (Linux)."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _is_dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
