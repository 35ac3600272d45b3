"""The thread that asks: whatever its start and its faults, the caller gets answers or an error, and never waits for ever."""

import time
from typing import Any

import pytest

from pipeline.web import download
from pipeline.web.answer import Request
from pipeline.web.config import FetchConfig
from pipeline.web.download import Line
from pipeline.web.politeness import Turns
from tests.hostile_server import HostileServer, reply


def ask(server: HostileServer) -> list[str]:
    """The statuses of two questions."""
    config = FetchConfig(contact="crawl@example.org", allow=[f"127.0.0.1:{server.port}"], delay_s=0.0)
    requests = [Request(number=number, url=server.url("/x.txt"), kind="track") for number in range(2)]
    with Line(config) as line:
        return [answer.status for answer in line.ask(requests)]


def test_questions_wait_for_a_loop_that_starts_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the caller has long asked when the thread's loop begins."""
    work = Line._work

    def late(line: Line) -> None:
        time.sleep(0.1)
        work(line)

    monkeypatch.setattr(Line, "_work", late)
    with HostileServer({"/x.txt": reply(b"WEBVTT\n")}) as server:
        assert ask(server) == ["ok", "ok"]


@pytest.mark.parametrize("part", [(Turns, "take"), (Turns, "done"), (Turns, "add"), (download, "Client")])
def test_faults_in_the_loop_are_raised_by_the_caller(part: tuple[Any, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours in a callback, or before there is a client, ends the asking with its own error."""

    def fault(*arguments: object) -> None:
        raise ArithmeticError("a fault")

    monkeypatch.setattr(*part, fault)
    with HostileServer({"/x.txt": reply(b"WEBVTT\n")}) as server, pytest.raises(ArithmeticError, match="a fault"):
        ask(server)
