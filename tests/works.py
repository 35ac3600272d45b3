"""Work for `pipeline.isolate` that tests run in child processes: importable there, unlike what a test defines."""

import os
import signal
from pathlib import Path

from pipeline.isolate import Note
from schemas.errors import ShardError


def count_up(task: list[int], note: Note, skip: frozenset[int]) -> list[int]:
    """The task's numbers; 13 kills its process, skipped numbers become -1."""
    done = []
    for ordinal, number in enumerate(task):
        if ordinal in skip:
            done.append(-1)
            continue
        note(ordinal)
        if number == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(number)
    return done


def die_once(task: str, note: Note, skip: frozenset[int]) -> str:
    """Dies when the file is not there yet, having made it."""
    note(0)
    if not Path(task).exists():
        Path(task).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done, skipped {len(skip)}"


def die_at_once(task: None, note: Note, skip: frozenset[int]) -> None:
    """Dies before its first record."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(task: str, note: Note, skip: frozenset[int]) -> None:
    """Raises an error of ours."""
    raise ShardError(task)


def process_id(task: None, note: Note, skip: frozenset[int]) -> int:
    """Which process works."""
    return os.getpid()
