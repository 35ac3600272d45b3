"""What comes back from servers that misbehave on purpose: bodies, statuses, redirects.

Every request has to end in one answer with the right status, within a bounded time and in bounded memory.
"""

import asyncio
import email.utils
import gzip
import ssl
import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from pipeline.images import ImageConfig, prepare
from pipeline.web import client
from pipeline.web.answer import Request
from pipeline.web.download import download
from pipeline.web.status import PASSING
from schemas.drops import Drop, DropReason
from tests.asking import HTML, JPEG, config, fetch, moved, one
from tests.hostile_server import Handler, HostileServer, chunked, endless, in_turn, reply, reset, self_signed, silent


def png_of(width: int, height: int, padding: int = 0) -> bytes:
    """A PNG that promises a size and has hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", bytes(padding)) + chunk(b"IEND", b"")


def test_bytes_come_as_they_are() -> None:
    """A picture with a stated length, one in chunks, and one that is packed against our will come as the same bytes."""
    pages: dict[str, bytes | Handler] = {
        "/a": reply(JPEG),
        "/b": chunked(JPEG),
        "/c": reply(gzip.compress(JPEG), Content_Encoding="gzip"),
    }
    with HostileServer(pages) as server:
        answers = fetch(server, "/a", "/b", "/c")

    assert [("ok", 200, JPEG)] * 3 == [(answer.status, answer.http_status, answer.body) for answer in answers]


def test_videos_go_to_files_and_tracks_to_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A video is a temporary file of the receiver's, a track is bytes; an HTML page is no video and leaves no file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    video, track = b"\x00\x00\x00\x18ftypmp42" + bytes(300_000), b"WEBVTT\n\n"
    with HostileServer({"/v": chunked(video), "/t": reply(track), "/h": reply(HTML)}) as server:
        kinds = {"/v": "video", "/t": "track", "/h": "video"}
        asked = [Request(number=n, url=server.url(p), kind=k) for n, (p, k) in enumerate(kinds.items())]  # type: ignore[arg-type]
        answers = sorted(download(asked, config(server)), key=lambda answer: answer.number)

    assert ["ok", "ok", "not_a_video"] == [answer.status for answer in answers]
    assert answers[0].path is not None
    assert video == Path(answers[0].path).read_bytes()
    assert track == answers[1].body
    assert [Path(answers[0].path)] == list(tmp_path.iterdir())


# Bodies


@pytest.mark.parametrize("pause_s", [0.05, 5.0])
def test_slow_bodies_end(pause_s: float) -> None:
    """A body that drips, and one that stops, end with the URL's time or the time without a byte."""
    start = time.monotonic()
    answer = one(endless(b"\xff", pause_s), retries=0)

    assert "timeout" == answer.status
    assert time.monotonic() - start < 4


def test_endless_body_is_cut_in_bounded_memory() -> None:
    """A body without end is left at the limit, whether or not it looks like a picture, and is never held whole."""
    images = ImageConfig(max_bytes=3_000_000)
    pages: dict[str, bytes | Handler] = {f"/{n}": endless(b"\xff\xd8\xff" + bytes(100_000), 0) for n in range(20)}
    with HostileServer(pages) as server:
        tracemalloc.start()
        answers = fetch(server, *pages, images=images, per_host=20, held_bytes=8 << 20, url_timeout_s=20.0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

    assert {("too_many_bytes", 3_000_000.0)} == {(answer.status, answer.threshold) for answer in answers}
    assert peak < 40 << 20, "20 bodies of 3 MB, the server's own buffers beside them"


def test_stated_length_above_the_limit_is_not_read() -> None:
    """What says that it is too large is left at once."""
    answer = one(reply(JPEG, length=10**9))

    assert ("too_many_bytes", 1e9) == (answer.status, answer.value)


def test_short_body_is_truncated() -> None:
    """Fewer bytes than stated, and chunks that break off, are no picture."""

    def closing(data: bytes) -> Handler:
        async def handle(writer: Any, _: dict[str, str]) -> None:
            writer.write(data)
            writer.close()

        return handle

    short, broken = reply(JPEG, length=len(JPEG) + 10), chunked(JPEG)[:-20]

    assert ["truncated"] * 2 == [one(closing(page)).status for page in (short, broken)]


def test_long_body_ends_at_its_stated_length() -> None:
    """Bytes behind the stated length are not the picture's, nor the next answer's on that connection."""
    with HostileServer({"/a": reply(JPEG, length=len(JPEG) - 10), "/b": reply(JPEG)}) as server:
        first, second = fetch(server, "/a", "/b", per_host=1)

    assert (first.status, first.body) in (("ok", JPEG[:-10]), ("connection_failed", None)), "by how the packets fell"
    assert ("ok", JPEG) == (second.status, second.body)


def test_gzip_bomb_is_not_unpacked() -> None:
    """A body that unpacks to more than the limit goes, and no more than the limit is unpacked."""
    bomb = gzip.compress(bytes(50_000_000))
    answer = one(reply(bomb, Content_Encoding="gzip"), images=ImageConfig(max_bytes=1_000_000))

    assert ("too_many_bytes", "unpacked") == (answer.status, answer.detail)


def test_pixel_bombs_do_not_get_decoded() -> None:
    """A picture of 50,000 x 50,000 px is left by its header when there is more to come, and else handed on to the judge, who knows."""
    large = one(endless(png_of(50_000, 50_000, 200_000), 0.05))
    small = one(reply(png_of(50_000, 50_000)))
    judged = prepare(small.body or b"", ImageConfig())

    assert ("too_many_pixels", 2.5e9) == (large.status, large.value)
    assert "ok" == small.status
    assert isinstance(judged, Drop)
    assert DropReason.TOO_MANY_PIXELS == judged.reason


def test_truncated_picture_is_handed_on() -> None:
    """Half a JPEG that came as its length says is ok for the client; the picture's judge has the last word."""
    answer = one(reply(JPEG[: len(JPEG) // 2]))

    assert ("ok", JPEG[: len(JPEG) // 2]) == (answer.status, answer.body)


def test_pages_in_the_place_of_pictures_are_refused() -> None:
    """HTML is no image whatever the server calls it, packed or not, and is left after its first bytes."""
    pages: dict[str, bytes | Handler] = {
        "/short": reply(HTML, Content_Type="image/jpeg"),
        "/packed": reply(gzip.compress(HTML), Content_Encoding="gzip"),
        "/endless": endless(HTML * 100, 0.05),
    }
    with HostileServer(pages) as server:
        answers = fetch(server, *pages)

    assert [("not_an_image", "html")] * 3 == [(answer.status, answer.detail) for answer in answers]


@pytest.mark.parametrize("line", [b"X-More: of the same\r\n", b"x" * 5000, b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_endless_heads_end(line: bytes) -> None:
    """A head that does not end, in lines, in one line, or of provisional answers, ends within the URL's time."""

    async def handle(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
        writer.write(b"" if line.startswith(b"HTTP") else b"HTTP/1.1 200 OK\r\n")
        while not writer.is_closing():
            writer.write(line * 10)
            await writer.drain()
            await asyncio.sleep(0.01)

    start = time.monotonic()
    answer = one(handle, retries=0)

    assert answer.status in ("connection_failed", "timeout")
    assert time.monotonic() - start < 4


def test_a_long_first_body_does_not_keep_the_host_waiting() -> None:
    """Once robots.txt is read, a host is asked at its pace, though its first URL takes long."""
    with HostileServer({"/slow": endless(b"\xff", 0.05), "/a": reply(JPEG)}) as server:
        requests = [Request(number=n, url=server.url(path), kind="image") for n, path in enumerate(["/slow", "/a"])]
        start = time.monotonic()
        first = next(iter(download(requests, config(server))))

    assert (1, "ok") == (first.number, first.status)
    assert time.monotonic() - start < 1.5


# Statuses, retries


def test_statuses_that_pass_are_asked_again() -> None:
    """500 and then 200 is a picture; 503 for ever is asked `retries` times more; 404 and 403 are asked once."""
    pages: dict[str, bytes | Handler] = {
        "/a": in_turn(reply(status="500 Oops"), reply(JPEG)),
        "/b": reply(status="503 Busy"),
        "/c": reply(status="404 No"),
        "/d": reply(status="403 No"),
    }
    with HostileServer(pages) as server:
        answers = fetch(server, *pages, retries=2)

    assert [("ok", 200), ("http_unavailable", 503), ("http_status", 404), ("http_status", 403)] == [
        (answer.status, answer.http_status) for answer in answers
    ]
    assert [2, 3, 1, 1] == [server.asked[path] for path in pages]


def test_retries_that_are_nearly_due() -> None:
    """A wait below half a millisecond, which the loop rounds to none, is a wait like others."""
    paths = [f"/{number}" for number in range(60)]
    with HostileServer({path: reply(status="503 Busy") for path in paths}) as server:
        answers = fetch(server, *paths, retries=4, backoff_s=0.0005, per_host=8)

    assert {("http_unavailable", 503)} == {(answer.status, answer.http_status) for answer in answers}
    assert {5} == {server.asked[path] for path in paths}


def test_retry_after_leaves_the_host_alone() -> None:
    """429 with Retry-After: nothing of the host is asked before the time is over, as seconds or as a date."""
    for seconds in (True, False):
        value = "1" if seconds else email.utils.formatdate(time.time() + 2, usegmt=True)
        busy = reply(status="429 Slow down", Retry_After=value)
        with HostileServer({"/a": in_turn(busy, reply(JPEG)), "/b": reply(JPEG)}) as server:
            answers = fetch(server, "/a", "/b", per_host=1, url_timeout_s=5.0)

        assert ["ok", "ok"] == [answer.status for answer in answers]
        first, *later = server.times[1:]  # robots.txt came before
        assert min(later) - first > 0.8


def test_long_retry_after_gives_the_host_up() -> None:
    """A host that asks to wait for an hour is not asked again, and its other URLs say why."""
    with HostileServer({"/a": reply(status="429 Slow down", Retry_After="3600")}) as server:
        answers = fetch(server, "/a", "/b", "/c", per_host=1)

    assert ["http_unavailable"] * 3 == [answer.status for answer in answers]
    assert "3600 s" in answers[2].detail
    assert 2 == server.asked.total()


def test_broken_connections_and_silence() -> None:
    """A reset, an answer that is no HTTP, and a server that says nothing are told apart."""
    pages: dict[str, bytes | Handler] = {"/reset": reset, "/garbage": b"\x00\x01garbage\r\n\r\n", "/silent": silent}
    with HostileServer(pages) as server:
        answers = fetch(server, *pages, retries=1)

    assert ["connection_failed", "connection_failed", "timeout"] == [answer.status for answer in answers]
    assert 2 == server.asked["/silent"]


def test_closed_port_is_given_up() -> None:
    """A host that nobody listens on fails without its hundred URLs being tried."""
    with HostileServer({}) as server:
        pass
    start = time.monotonic()
    answers = fetch(server, *[f"/{n}" for n in range(100)], respect_robots=False, host_failures=5, per_host=1)

    assert {"connection_failed"} == {answer.status for answer in answers}
    assert "5 failures in a row" in answers[-1].detail
    assert time.monotonic() - start < 5


def test_bad_certificate(tmp_path: Path) -> None:
    """A certificate that nobody vouches for is TLS_FAILED, with or without robots.txt."""
    with HostileServer({"/a": reply(JPEG)}, self_signed(tmp_path)) as server:
        answers = [*fetch(server, "/a"), *fetch(server, "/a", respect_robots=False)]

    assert ["tls_failed", "tls_failed"] == [answer.status for answer in answers]
    assert 0 == server.asked.total()


def test_good_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that the context trusts brings the picture."""
    server_side = self_signed(tmp_path)
    trusting = ssl.create_default_context(cafile=tmp_path / "server.pem")
    monkeypatch.setattr(client, "tls_context", lambda: trusting)
    with HostileServer({"/a": reply(JPEG)}, server_side) as server:
        assert ["ok"] == [answer.status for answer in fetch(server, "/a")]


# Redirects


def test_redirects_on_one_domain_are_followed() -> None:
    """A redirect on the same host leads to the picture; loops and long chains end at the limit."""
    pages: dict[str, bytes | Handler] = {"/a": moved("b/../c"), "/c": reply(JPEG), "/loop": moved("/loop")}
    with HostileServer(pages) as server:
        followed, loop = fetch(server, "/a", "/loop", max_redirects=3)

    assert ("ok", 1, JPEG) == (followed.status, followed.hops, followed.body)
    assert ("too_many_redirects", 4.0, 3.0) == (loop.status, loop.value, loop.threshold)
    assert 4 == server.asked["/loop"]


def test_redirect_to_another_domain_is_named() -> None:
    """Who leads to another registered domain is answered with the target; hops of earlier rounds count."""
    page = moved("//pictures.example.com/x.jpg?a=1")
    with HostileServer({"/a": page}) as server:
        asked = [Request(number=hops, url=server.url("/a"), kind="image", hops=hops) for hops in (0, 5)]
        first, last = sorted(download(asked, config(server)), key=lambda answer: answer.number)

    assert ("redirected", "http://pictures.example.com/x.jpg?a=1", 1) == (first.status, first.target, first.hops)
    assert "too_many_redirects" == last.status


def test_redirects_do_not_lead_inside() -> None:
    """A redirect to a port that is not opened is refused, and nobody connects to it; what is no URL is a bad one."""
    with HostileServer({"/secret": reply(JPEG)}) as inside:
        pages: dict[str, bytes | Handler] = {"/a": moved(inside.url("/secret")), "/b": moved("file:///etc/passwd")}
        with HostileServer(pages) as server:
            answers = fetch(server, "/a", "/b")

    assert ["address_refused", "bad_url"] == [answer.status for answer in answers]
    assert 0 == inside.connections


def test_passing_statuses_are_drop_reasons() -> None:
    """What `--retry` asks again passes; what a server or a file says for good does not."""
    assert set(DropReason) >= PASSING
    assert {"http_status", "robots_disallowed", "opted_out", "address_refused", "not_an_image"}.isdisjoint(PASSING)
