"""What robots.txt and opt-outs leave, at which pace it is asked, and until when."""

import asyncio
import gzip
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.web.answer import Answer, Request
from pipeline.web.config import FetchConfig
from pipeline.web.download import download
from pipeline.web.politeness import Turns
from pipeline.web.robots import MAX_BYTES, read_robots
from pipeline.web.status import PASSING
from tests.asking import HTML, JPEG, config, fetch, moved, one
from tests.hostile_server import Handler, HostileServer, chunked, endless, reply, reset, silent

# robots.txt and opt-outs


def robots(page: bytes | Handler, **settings: Any) -> tuple[Answer, HostileServer]:
    """The answer for /private/a of a server with this robots.txt."""
    with HostileServer({"/robots.txt": page, "/private/a": reply(JPEG), "/r": page}) as server:
        return fetch(server, "/private/a", **settings)[0], server


RULES = b"User-agent: *\nDisallow: /private/\n\nUser-agent: m3w\nAllow: /private/open\nDisallow: /private/\n"


def test_robots_txt_is_obeyed() -> None:
    """What robots.txt forbids is not asked; redirects of the file are followed; a rule for others does not bind us."""
    for page in (reply(RULES), chunked(RULES), reply(gzip.compress(RULES), Content_Encoding="gzip")):
        answer, server = robots(page)
        assert "robots_disallowed" == answer.status
        assert 0 == server.asked["/private/a"]

    with HostileServer({"/robots.txt": moved("/r"), "/r": reply(RULES), "/private/a": reply(JPEG)}) as server:
        assert "robots_disallowed" == fetch(server, "/private/a")[0].status

    assert "ok" == robots(reply(b"User-agent: otherbot\nDisallow: /"))[0].status


@pytest.mark.parametrize("status", ["404 No", "403 No", "410 Gone"])
def test_no_robots_txt_allows(status: str) -> None:
    """RFC 9309: a file that is not there allows everything."""
    assert "ok" == robots(reply(HTML, status=status))[0].status


@pytest.mark.parametrize("page", [reply(status="500 Oops"), reply(status="503 Busy"), reset, silent])
def test_unreachable_robots_txt_forbids(page: bytes | Handler) -> None:
    """RFC 9309: a server that fails on robots.txt is not asked for anything now; later it may be."""
    answer, server = robots(page, url_timeout_s=0.3)

    assert "robots_unreachable" == answer.status
    assert answer.status in PASSING
    assert 0 == server.asked["/private/a"]


def test_robots_txt_is_asked_once_an_origin_and_can_be_left_out() -> None:
    """One robots.txt for all URLs of an origin; none where the run does not respect it."""
    pages: dict[str, bytes | Handler] = {f"/{number}": reply(JPEG) for number in range(20)}
    with HostileServer(pages) as server:
        fetch(server, *pages)
        assert 1 == server.asked["/robots.txt"]
        fetch(server, *pages, respect_robots=False)
        assert 1 == server.asked["/robots.txt"]


def test_huge_robots_txt_is_read_to_the_limit() -> None:
    """A robots.txt without end is read up to 500 KiB, and what stands there holds."""
    answer, _ = robots(endless(RULES + b"#" * 60_000 + b"\n", 0), url_timeout_s=5.0)

    assert "robots_disallowed" == answer.status
    late = read_robots(200, b"#" * MAX_BYTES + b"\n" + RULES)
    assert late.refusal("http://a.org/private/a") is None


def test_crawl_delay_is_kept() -> None:
    """A crawl delay spaces the requests, one at a time, up to a limit."""
    pages: dict[str, bytes | Handler] = {f"/{number}": reply(JPEG) for number in range(3)}
    pages["/robots.txt"] = reply(b"User-agent: *\nCrawl-delay: 900\n")
    with HostileServer(pages) as server:
        fetch(server, "/0", "/1", "/2", max_crawl_delay_s=0.2)
        gaps = [later - earlier for earlier, later in zip(server.times[1:], server.times[2:], strict=False)]

    assert min(gaps) > 0.15
    assert 1 == server.most_at_once


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X_Robots_Tag": "noai"}, "opted_out"),
        ({"X_Robots_Tag": "noindex, NoImageAI"}, "opted_out"),
        ({"X_Robots_Tag": "m3w: noai"}, "opted_out"),
        ({"X_Robots_Tag": "otherbot: noai"}, "ok"),
        ({"X_Robots_Tag": "noindex"}, "ok"),
        ({"TDM_Reservation": "1"}, "opted_out"),
        ({"TDM_Reservation": "0"}, "ok"),
    ],
)
def test_opt_outs_in_the_head(headers: dict[str, str], status: str) -> None:
    """Who answers that a picture is not for training is heard."""
    assert status == one(reply(JPEG, **headers)).status


# Pace, deadlines, ends


def test_a_host_is_asked_at_its_pace() -> None:
    """No more requests at a time than the limit of a host, and starts spaced by the delay."""

    async def slow(writer: Any, _: dict[str, str]) -> None:
        await asyncio.sleep(0.05)
        writer.write(reply(JPEG))

    pages: dict[str, bytes | Handler] = {f"/{number}": slow for number in range(12)}
    with HostileServer(pages) as server:
        fetch(server, *pages, per_host=3)
        assert 3 == server.most_at_once
        server.times.clear()
        fetch(server, *pages, delay_s=0.05)
        gaps = sorted(later - earlier for earlier, later in zip(server.times[1:], server.times[2:], strict=False))

    assert gaps[len(gaps) // 2] > 0.03


def test_what_was_not_asked_in_time_is_deadline() -> None:
    """When the stage's time is over, what was not asked is DEADLINE, and what waited for a retry keeps its answer."""
    pages: dict[str, bytes | Handler] = {f"/{number}": reply(JPEG) for number in range(50)}
    pages["/0"] = reply(status="500 Oops")
    with HostileServer(pages) as server:
        requests = [Request(number=number, url=server.url(path), kind="image") for number, path in enumerate(pages)]
        slow = config(server, delay_s=0.1, per_host=1, backoff_s=10.0, url_timeout_s=60.0)
        start = time.monotonic()
        answers = {answer.number: answer.status for answer in download(requests, slow, time.time() + 0.5)}

    assert time.monotonic() - start < 2
    assert "http_unavailable" == answers.pop(0)
    assert {"ok", "deadline"} == set(answers.values())
    assert 49 == len(answers)


def test_closing_the_generator_ends_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stops in the middle is left with no thread, no open connection and no file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pages: dict[str, bytes | Handler] = {f"/{n}": reply(b"\x00\x00\x00\x18ftypmp42" + bytes(1000)) for n in range(30)}
    pages |= {f"/hang{n}": silent for n in range(10)}
    with HostileServer(pages) as server:
        requests = [Request(number=n, url=server.url(path), kind="video") for n, path in enumerate(pages)]
        answers = download(requests, config(server, read_timeout_s=30.0, url_timeout_s=30.0, per_host=64))
        taken = next(answers)
        time.sleep(0.3)
        start = time.monotonic()
        answers.close()  # type: ignore[attr-defined]

    assert time.monotonic() - start < 2
    assert taken.path is not None
    os.unlink(taken.path)
    assert [] == list(tmp_path.iterdir())
    assert [] == [thread.name for thread in threading.enumerate() if thread.name == "m3w-fetch"]


def test_a_slow_caller_slows_the_asking() -> None:
    """While answers wait for the caller, no more is asked than the budget holds; nothing is lost by it."""
    body = JPEG + bytes(200_000)
    pages: dict[str, bytes | Handler] = {f"/{number}": reply(body) for number in range(60)}
    with HostileServer(pages) as server:
        requests = [Request(number=n, url=server.url(path), kind="image") for n, path in enumerate(pages)]
        answers = download(requests, config(server, held_bytes=2 << 20, per_host=8))
        next(answers)
        time.sleep(0.3)
        asked_early = server.asked.total()
        left = sum(answer.status == "ok" for answer in answers)

    assert asked_early < 20, "half of 2 MiB waits, eight are on their way"
    assert 59 == left


def test_nothing_to_ask() -> None:
    """No requests, no thread, no answers."""
    assert [] == list(download([], FetchConfig(contact="a@b.org")))


@given(
    hosts=st.lists(st.sampled_from("abc"), max_size=40),
    per_host=st.integers(1, 3),
    delay_s=st.sampled_from([0.0, 1.0]),
    takes=st.integers(1, 4),
)
def test_turns_keep_pace_and_lose_nothing(hosts: list[str], per_host: int, delay_s: float, takes: int) -> None:
    """Whatever the order: each item has one turn, no host more at a time than its limit, nor starts closer than its delay."""
    turns: Turns[tuple[str, int]] = Turns(per_host, delay_s)
    for number, host in enumerate(hosts):
        turns.pace(host, None, 0.0)
        turns.add(host, (host, number), not_before=float(number) if number % 5 == 4 else 0.0)
    now, taken = 0.0, []
    starts: dict[str, list[float]] = {host: [] for host in "abc"}
    while len(taken) < len(hosts):
        open_now: list[str] = []
        while len(open_now) < takes and (item := turns.take(now)) is not None:
            open_now.append(item[0])
            starts[item[0]].append(now)
            taken.append(item)
        assert all(open_now.count(host) <= per_host for host in "abc")
        for host in open_now:
            turns.done(host, connected=True)
        if not open_now:
            at = turns.wake_at()
            assert at is not None
            assert at > now
            now = at

    assert list(range(len(hosts))) == sorted(number for _, number in taken)
    for times in starts.values():
        assert all(later - earlier >= delay_s for earlier, later in itertools.pairwise(times))
