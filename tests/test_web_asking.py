"""What is asked of the web: who asks, which addresses, what robots.txt and opt-outs leave, at which pace, until when."""

import asyncio
import gzip
import itertools
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.web import resolver
from pipeline.web.addresses import is_address, refused
from pipeline.web.answer import Answer, Request
from pipeline.web.config import FetchConfig
from pipeline.web.download import download
from pipeline.web.host import registered_domain
from pipeline.web.politeness import Turns
from pipeline.web.robots import MAX_BYTES, read_robots
from pipeline.web.status import PASSING
from schemas.errors import ConfigError
from tests.asking import HTML, JPEG, config, fetch, moved, one
from tests.hostile_server import Handler, HostileServer, chunked, endless, reply, reset, silent

Lookup = Callable[[str], list[str]]


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> Callable[[Lookup], None]:
    """Sets what the system's resolver says."""
    return lambda function: monkeypatch.setattr(resolver, "system_lookup", function)


# Who asks, and what can be asked


def test_user_agent_names_product_version_and_contact() -> None:
    """Every request, that for robots.txt too, says who asks and how to reach them, and asks for plain bytes."""
    with HostileServer({"/a": reply(JPEG)}) as server:
        fetch(server, "/a")

    assert 2 == len(server.requests)
    for head in server.requests:
        assert re.fullmatch(r"m3w/\d[\w.]* \(\+crawl@example\.org\)", head["user-agent"])
        assert "identity" == head["accept-encoding"]


@pytest.mark.parametrize("contact", ["", "  "])
def test_without_contact_nothing_is_asked(contact: str) -> None:
    """No contact is an error of the configuration before the first request."""
    with pytest.raises(ConfigError, match=r"fetch\.contact"):
        download([Request(number=0, url="http://127.0.0.1:1/", kind="image")], FetchConfig(contact=contact))


@pytest.mark.parametrize("contact", ["a@b.org\r\nX: y", "käse@example.org", "nobody", "me at b.org", "@"])
def test_a_contact_can_be_written_to(contact: str) -> None:
    """What nobody could be reached by is refused when the configuration is read."""
    with pytest.raises(ValueError, match="contact has to be"):
        FetchConfig(contact=contact)


@pytest.mark.parametrize("place", ["*", "http://127.0.0.1:8000", "127.0.0.1", "::1:80", "10.0.0.0/8:80", "a:http"])
def test_what_is_allowed_is_a_host_and_a_port(place: str) -> None:
    """An entry that would open nothing is refused when the configuration is read."""
    with pytest.raises(ValueError, match="allow takes host:port"):
        FetchConfig(allow=[place])
    FetchConfig(allow=["127.0.0.1:8000", "[::1]:80", "intranet.example:8080"])


def test_connections_are_kept() -> None:
    """A hundred pictures of one host take no more connections than are asked at a time."""
    pages: dict[str, bytes | Handler] = {f"/{number}": reply(JPEG) for number in range(100)}
    with HostileServer(pages) as server:
        answers = fetch(server, *pages, per_host=3)

    assert {"ok"} == {answer.status for answer in answers}
    assert server.connections <= 4


@pytest.mark.parametrize(
    "url", ["", "ftp://example.org/a", "http://", "http://[::1", "http://a b/", "http://\ud800.org/", "data:image/png,"]
)
def test_what_is_no_url(url: str) -> None:
    """What cannot be asked is a bad URL, and does not raise."""
    answers = list(download([Request(number=7, url=url, kind="image")], FetchConfig(contact="a@b.org")))

    assert [(7, "bad_url")] == [(answer.number, answer.status) for answer in answers]


# Addresses and names


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:0a00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "2001:db8::1",
        "2002:7f00:1::",
        "fc00::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "nonsense",
    ],
)
def test_addresses_that_are_refused(address: str) -> None:
    """Private, local, reserved, shared and multicast addresses are refused, in each form that carries them."""
    assert refused(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_addresses_of_the_public_web(address: str) -> None:
    """Public addresses are not refused, nor are IPv6 forms of public IPv4 addresses."""
    assert not refused(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "2130706433", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]", "127。0。0。1"]
)
def test_spellings_of_the_loopback(host: str) -> None:
    """An address in a URL is refused in whatever way it is spelled, without being connected to."""
    with HostileServer({}) as server:
        url = f"http://{host}:{server.port}/a"
        answers = list(download([Request(number=0, url=url, kind="image")], config()))

    assert ["address_refused"] == [answer.status for answer in answers]
    assert 0 == server.connections


def test_is_address() -> None:
    """Hosts that the URL standard takes for addresses, and names."""
    hosts = ("1.2.3.4", "::1", "a.1b", "host1", "localhost")

    assert [True, True, False, False, False] == [is_address(host) for host in hosts]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["::1"], ["10.0.0.1", "192.168.0.1"]])
def test_names_of_inner_addresses_are_refused(lookup: Callable[[Lookup], None], addresses: list[str]) -> None:
    """A name that has only addresses of the inside is refused after resolution."""
    lookup(lambda _: addresses)
    with HostileServer({}) as server:
        asked = [Request(number=0, url=server.url("/a", "pictures.example.com"), kind="image")]
        answers = list(download(asked, config()))

    assert ["address_refused"] == [answer.status for answer in answers]
    assert 0 == server.connections


def test_a_changing_name_is_connected_where_it_was_checked(lookup: Callable[[Lookup], None]) -> None:
    """DNS rebinding: the connection goes to the addresses of the answer that was checked, and each answer is checked."""
    asked_for: list[str] = []

    def changing(host: str) -> list[str]:
        asked_for.append(host)
        return ["127.0.0.1"] if len(asked_for) == 1 else ["127.0.0.2"]

    lookup(changing)
    with HostileServer({"/a": reply(JPEG), "/b": reply(JPEG)}) as server:
        requests = [
            Request(number=number, url=server.url(path, "pictures.example.com"), kind="image")
            for number, path in enumerate(["/a", "/b"])
        ]
        before = list(download(requests, config(server)))
        after = list(download(requests, config(server)))  # now the name leads to an address that is not opened

    assert ["ok", "ok"] == [answer.status for answer in before]
    assert ["address_refused", "address_refused"] == [answer.status for answer in after]
    assert ["pictures.example.com"] * 2 == asked_for, "once for each call, however many connections"


def test_names_without_address(lookup: Callable[[Lookup], None]) -> None:
    """A name that does not exist is asked of the resolver once, for all its URLs."""
    asked_for: list[str] = []

    def unknown(host: str) -> list[str]:
        asked_for.append(host)
        raise OSError("Name or service not known")

    lookup(unknown)
    requests = [Request(number=number, url=f"http://gone.example/{number}", kind="image") for number in range(5)]
    for respect_robots in (True, False):
        asked_for.clear()
        answers = list(download(requests, config(respect_robots=respect_robots)))

        assert ["dns_failed"] * 5 == [answer.status for answer in answers]
        assert ["gone.example"] == asked_for


def test_registered_domain() -> None:
    """Hosts of one owner meet, owners behind a private suffix are parted, addresses and bare names are themselves."""
    urls = [
        "https://a.b.example.com:1/",
        "http://u@me.github.io",
        "http://[::1]:80/x",
        "http://localhost:8/",
        "http://10.0.0.1",
    ]

    assert ["example.com", "me.github.io", "[::1]", "localhost", "10.0.0.1"] == [registered_domain(url) for url in urls]


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
