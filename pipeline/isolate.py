"""Work in child processes, so that a record that kills its process costs nothing but itself.

A C parser that crashes, or a page that takes the memory of the machine, ends a process, not a job. `Workers.run(work, task)` runs
`work(task, note, skip)` in a child; `work` calls `note(record)` before it touches a record. When the child dies, the task starts again in a new
one; a record that was the last note of two deaths goes into `skip`, and `work` turns it into a drop. Results must therefore be a
function of the task and `skip` alone.

Children are plain interpreters on a socket pair: they inherit no threads and no locks of the engine that hosts us (a Beam
worker has both), and end by themselves when their parent is gone.
"""

import atexit
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from schemas.errors import SurroundingsError

Task = TypeVar("Task")
Result = TypeVar("Result")
Note = Callable[[int], None]

DEATHS_PER_RECORD = (
    2  # ours: the first may be the machine's fault (memory, an operator's kill), the second is the record's
)
_SERVE = "from pipeline.isolate import _serve; _serve({fd})"


class _Died(Exception):
    def __init__(self, exit_code: int, last_note: int | None) -> None:
        super().__init__(exit_code, last_note)
        self.exit_code, self.last_note = exit_code, last_note


class _Child:
    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-P", "-c", _SERVE.format(fd=theirs.fileno())]
            self.process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                process_group=0,  # Ctrl-C is for the parent, which then ends its children
            )
        self.connection = Connection(ours.detach())

    def run(self, work: Callable[..., Any], task: object, skip: frozenset[int]) -> tuple[str, Any]:
        """("result", value) or ("error", exception)."""
        last_note: int | None = None
        try:
            self.connection.send_bytes(pickle.dumps((work, task, skip)))
            while True:
                what, value = pickle.loads(self.connection.recv_bytes())
                if what != "note":
                    return what, value
                last_note = value
        except (EOFError, ConnectionError) as error:
            raise _Died(self.process.wait(), last_note) from error

    def close(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.wait()


class Workers:
    """At most `limit` child processes, started when first needed and used again.

    0 works in this process, for `memory://`, which no child sees.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slots = threading.Semaphore(limit)
        self._idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        self._all: set[_Child] = set()
        self._stopped = False
        atexit.register(self.stop)

    def run(self, work: Callable[[Task, Note, frozenset[int]], Result], task: Task) -> Result:
        """Runs `work(task, note, skip)` in a child and returns its result; exceptions of `work` are raised here.

        Raises:
            SurroundingsError: the child died twice without having noted a record, or `stop` was called.
        """
        if not self._limit:
            return work(task, lambda record: None, frozenset())
        skip: frozenset[int] = frozenset()
        deaths: Counter[int | None] = Counter()
        with self._slots:
            while True:
                try:
                    return self._once(work, task, skip)
                except _Died as died:
                    if self._stopped:
                        raise SurroundingsError("stopped") from died
                    deaths[died.last_note] += 1
                    if deaths[died.last_note] < DEATHS_PER_RECORD:
                        continue
                    if died.last_note is None or died.last_note in skip:
                        raise SurroundingsError(
                            f"a worker process died {DEATHS_PER_RECORD} times (exit code {died.exit_code}) outside of "
                            "any record; is the machine out of memory? Try fewer --workers"
                        ) from died
                    skip |= {died.last_note}

    def _once(self, work: Callable[..., Result], task: object, skip: frozenset[int]) -> Result:
        child = self._child()
        try:
            what, value = child.run(work, task, skip)
        except BaseException:  # a child that still works must not go back
            self._all.discard(child)
            child.close()
            raise
        self._idle.put(child)
        if what == "error":
            raise value
        return value  # type: ignore[no-any-return]

    def _child(self) -> _Child:
        if self._stopped:
            raise SurroundingsError("stopped")
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            child = _Child()
            self._all.add(child)
            return child

    def stop(self) -> None:
        """Ends all children, at work or not; what they were doing is lost, and no new one starts."""
        self._stopped = True
        for child in list(self._all):
            child.process.kill()
            child.process.wait()


def _serve(fd: int) -> None:
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    connection = Connection(fd)
    while True:
        try:
            work, task, skip = pickle.loads(connection.recv_bytes())
        except EOFError:
            return
        try:
            answer: tuple[str, Any] = ("result", work(task, lambda record: _send(connection, ("note", record)), skip))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again in the parent
            error.add_note(traceback.format_exc())
            answer = ("error", _picklable(error))
        _send(connection, answer)


def _send(connection: Connection, message: tuple[str, Any]) -> None:
    connection.send_bytes(pickle.dumps(message))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - pickling runs code of the error's class
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
