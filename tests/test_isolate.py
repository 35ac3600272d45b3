"""Child processes: a record that kills one is skipped, its neighbours are not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.isolate import Workers
from schemas.errors import ShardError, SurroundingsError
from tests import works


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    pool = Workers(1)
    yield pool
    pool.stop()


def test_records_that_kill_are_skipped(workers: Workers) -> None:
    """Two records that end the process cost nothing but themselves."""
    assert workers.run(works.count_up, [1, 13, 2, 13, 3]) == [1, -1, 2, -1, 3]


def test_one_death_is_forgiven(workers: Workers, tmp_path: Path) -> None:
    """A process that dies once, by the machine's fault, costs no record."""
    assert workers.run(works.die_once, str(tmp_path / "mark")) == "done, skipped 0"


def test_death_without_a_record_is_the_surroundings_fault(workers: Workers) -> None:
    """What dies twice before any record cannot be skipped."""
    with pytest.raises(SurroundingsError, match="outside of any record"):
        workers.run(works.die_at_once, None)


def test_errors_keep_their_class(workers: Workers) -> None:
    """What the work raises is raised here, and the child goes on."""
    with pytest.raises(ShardError, match="so it is"):
        workers.run(works.fail, "so it is")
    assert workers.run(works.count_up, [1]) == [1]


def test_children_are_used_again(workers: Workers) -> None:
    """One child serves task after task."""
    first, second = workers.run(works.process_id, None), workers.run(works.process_id, None)

    assert first == second != os.getpid()


def test_no_child_for_limit_0() -> None:
    """With limit 0 the work is done in this process."""
    assert Workers(0).run(works.process_id, None) == os.getpid()


def test_nothing_starts_after_stop() -> None:
    """A stopped pool refuses work."""
    pool = Workers(1)
    pool.stop()
    with pytest.raises(SurroundingsError):
        pool.run(works.process_id, None)
