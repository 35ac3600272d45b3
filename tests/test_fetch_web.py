"""Fetching from the web: a run whose pages point to a server on the loopback interface."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipeline.report import read_manifest
from pipeline.runfolder import RunFolder
from pipeline.stages.extract import TRACK_RANK
from pipeline.stages.fetch_web import chunks
from pipeline.stages.wanted import AGAIN, FINAL, FOLLOWED, NEW, OK, Wanted, next_ranks
from schemas.shard import index_tar
from tests import crawls


class Server(ThreadingHTTPServer):
    """Answers by path: bytes of a picture, a status, or a redirect's target; counts who was asked for what."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, bytes | int | str] = {}
        self.asked: Counter[str] = Counter()
        self.connections = 0
        self.pause_s = 0.0

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        """A new connection."""
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        """One answer."""
        self.server.asked[self.path] += 1
        time.sleep(self.server.pause_s)
        answer = self.server.answers.get(self.path, 404)
        body = answer if isinstance(answer, bytes) else b""
        self.send_response(200 if body else answer if isinstance(answer, int) else 302)
        if isinstance(answer, str):
            self.send_header("Location", answer)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@contextmanager
def served() -> Iterator[Server]:
    """A server while the block runs."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test."""
    with served() as one:
        yield one


def figure(*sources: str) -> str:
    """A figure with one picture that has several renditions."""
    srcset = ", ".join(f"{source} {100 * (len(sources) - n)}w" for n, source in enumerate(sources))
    return f'<figure><img srcset="{srcset}" alt="a picture of something"></figure>'


def page(number: int, figures: list[str]) -> bytes:
    """An article with figures between its paragraphs."""
    shown = "".join(f"<p>{crawls.prose(number * 100 + n)}</p>{one}" for n, one in enumerate(figures))
    return f"<html><body><article><h1>Page {number}</h1>{shown}<p>{crawls.prose(number * 100 + 99)}</p></article></body></html>".encode()


def crawled(folder: Path, pages: list[list[str]], *more: bytes) -> Path:
    """A run whose extract and select are done, of pages with these figures and further records."""
    records = [crawls.record(f"http://a.example/{n}.html", page(n, of), "text/html") for n, of in enumerate(pages)]
    warc = crawls.write_warc(folder / "pages.warc.gz", [*records, *more])
    out = folder / "run"
    assert main(["crawl", str(warc), "--out", str(out), "--workers", "2"]) == 0
    return out


def settings(server: Server, *more: str) -> list[str]:
    """What lets a run ask the server, without waiting."""
    values = [
        "fetch.contact=me@example.org",
        f'fetch.allow=["{server.place}"]',
        "fetch.delay_s=0",
        "fetch.backoff_s=0.01",
    ]
    return [word for value in [*values, *more] for word in ("--set", value)]


def fetch(out: Path, server: Server, *options: str) -> None:
    """Runs m3w fetch."""
    assert main(["fetch", "--out", str(out), "--workers", "2", *settings(server), *options]) == 0


def rows(out: Path) -> list[dict[str, Any]]:
    """The rows of the media table that came from the web."""
    return [row for path in sorted((out / "media").glob("web-*.parquet")) for row in pq.read_table(path).to_pylist()]


def output(out: Path) -> dict[str, str]:
    """Digests of all media."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (out / "media").iterdir()}


def statuses(out: Path, server: Server) -> Counter[tuple[str, str, int, int]]:
    """(path, status, generation, round) of the rows."""
    return Counter(
        (row["url"].removeprefix(f"http://{server.place}"), row["status"], row["generation"], row["rank"])
        for row in rows(out)
    )


def test_the_next_candidate_is_asked_only_after_the_better_one_failed(tmp_path: Path, server: Server) -> None:
    """Each URL is asked once, in its round; a medium with bytes asks nothing more, and what was asked is not asked by a second run."""
    base = f"http://{server.place}"
    server.answers = {
        "/1.png": crawls.picture(1),
        "/2b.png": crawls.picture(2),
        "/3b.png": b"no picture",
        "/2c.png": crawls.picture(9),
    }
    figures = [
        figure(f"{base}/1.png", f"{base}/1b.png"),
        figure(*(f"{base}/2{x}.png" for x in "abc")),
        figure(f"{base}/3a.png", f"{base}/3b.png"),
    ]
    out = crawled(tmp_path, [figures, figures[:1]])
    assert not server.asked

    fetch(out, server)
    fetch(out, server)

    assert statuses(out, server) == {
        ("/1.png", "ok", 0, 0): 1,
        ("/2a.png", "http_status", 0, 0): 1,
        ("/3a.png", "http_status", 0, 0): 1,
        ("/2b.png", "ok", 0, 1): 1,
        ("/3b.png", "not_an_image", 0, 1): 1,
    }
    assert all(number == 1 for path, number in server.asked.items() if path != "/robots.txt")
    for name in (out / "media").glob("web-*.tar"):
        with name.open("rb") as tar:
            stored = {entry.members[0].offset for entry in index_tar(tar)}
        found = pq.read_table(name.with_suffix(".parquet")).to_pylist()
        assert stored == {row["offset"] for row in found if row["status"] == "ok"}
        assert found == sorted(found, key=lambda row: str(row["media_key"].hex()))


def test_a_retry_asks_what_may_have_passed_and_nothing_else(tmp_path: Path, server: Server) -> None:
    """A server's error is asked again in a new generation, a page that is not there is not; the shards then hold the picture."""
    base = f"http://{server.place}"
    server.answers = {"/1.png": 503, "/2.png": crawls.picture(2), "/3.png": 404}
    out = crawled(tmp_path, [[figure(f"{base}/{n}.png") for n in (1, 2, 3)]])
    fetch(out, server, "--set", "fetch.retries=0")
    before = Counter(server.asked)
    server.answers["/1.png"] = crawls.picture(1)

    fetch(out, server, "--retry")
    assert main(["shard", "--out", str(out), "--workers", "2"]) == 0

    assert statuses(out, server) == {
        ("/1.png", "http_unavailable", 0, 0): 1,
        ("/2.png", "ok", 0, 0): 1,
        ("/3.png", "http_status", 0, 0): 1,
        ("/1.png", "ok", 1, 0): 1,
    }
    assert server.asked - before - Counter({"/robots.txt": 9}) == {"/1.png": 1}
    assert read_manifest(RunFolder(str(out))).images.kept == 2


def test_what_leads_to_another_host_is_asked_there_in_the_next_round(tmp_path: Path, server: Server) -> None:
    """The bytes behind a redirect stand under the key of the URL that the page names; a run of redirects between hosts ends."""
    port = server.server_address[1]
    server.answers = {
        "/far.png": f"http://localhost:{port}/near.png",
        "/near.png": crawls.picture(3),
        "/ping.png": f"http://localhost:{port}/pong.png",
        "/pong.png": f"http://{server.place}/ping.png",
    }
    out = crawled(tmp_path, [[figure(f"http://{server.place}/{name}.png") for name in ("far", "ping")]])

    fetch(out, server, "--set", f'fetch.allow=["{server.place}", "localhost:{port}"]', "--set", "fetch.max_redirects=3")

    by_key: dict[bytes, list[tuple[int, str]]] = {}
    for row in rows(out):
        by_key.setdefault(row["media_key"], []).append((row["rank"], row["status"]))
    assert sorted(map(sorted, by_key.values())) == [
        [(0, "redirected"), (1, "ok")],
        [(0, "redirected"), (1, "redirected"), (2, "redirected"), (3, "too_many_redirects")],
    ]


def test_the_chunks_of_a_bucket_share_robots_txt_and_connections(tmp_path: Path, server: Server) -> None:
    """A host's robots.txt is asked once, and its connections stay open from chunk to chunk."""
    base = f"http://{server.place}"
    server.answers = {f"/{n}.png": crawls.picture(n) for n in range(9)}
    out = crawled(tmp_path, [[figure(f"{base}/{n}.png") for n in range(9)]])

    fetch(out, server, "--set", "fetch.chunk_urls=3", "--set", "fetch.per_host=1")

    assert server.asked["/robots.txt"] == 1
    assert server.connections <= 2  # robots.txt's, and another while its body is still on the way
    assert len(list((out / "media").glob("web-*.tar"))) == 3


@pytest.mark.slow
def test_a_kill_costs_one_chunk_and_changes_no_byte(tmp_path: Path, server: Server) -> None:
    """After SIGKILL the same command asks at most one unflushed chunk again, and its media are those of an undisturbed run."""
    base = f"http://{server.place}"
    server.answers = {f"/{n}.png": crawls.picture(n) for n in range(24)}
    figures = [[figure(f"{base}/{n}.png") for n in range(first, first + 6)] for first in range(0, 24, 6)]
    (tmp_path / "a").mkdir()
    out = crawled(tmp_path / "a", figures)
    shutil.copytree(out, tmp_path / "b")
    options = settings(server, "fetch.chunk_urls=5", "fetch.per_host=1")
    server.pause_s = 0.3
    command = [sys.executable, "-m", "jobs", "fetch", "--out", str(out), "--workers", "1", *options]
    process = subprocess.Popen(command, process_group=0)
    while len(list((out / "media").glob("web-*.tar"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    server.pause_s = 0

    assert main(["fetch", "--out", str(out), *options]) == 0
    twice = sum(number - 1 for path, number in server.asked.items() if path != "/robots.txt")
    assert main(["fetch", "--out", str(tmp_path / "b"), *options]) == 0

    assert 0 <= twice <= 5
    assert output(out) == output(tmp_path / "b")
    assert len(output(out)) == 2 * 5


def test_without_a_contact_nothing_is_asked(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says how much is not in the crawl, and how to ask for it."""
    crawled(tmp_path, [[figure(f"http://{server.place}/1.png")]])

    assert not server.asked
    assert "1 media URLs are not in the crawl" in capsys.readouterr().err


def test_hosts_of_a_bucket_take_turns() -> None:
    """A chunk holds the first URLs of each host, whatever order they come in."""
    wanted = [Wanted(bytes([n]), f"http://{host}.example/{n}", "image") for host in "ab" for n in range(3)]

    found = list(chunks(reversed(wanted), 4))

    assert [first for first, _ in found] == [0, 4]
    assert [one.url for one in found[0][1]] == [f"http://{host}.example/{n}" for n in (0, 1) for host in "ab"]


def test_of_a_medium_the_first_open_candidate_is_asked() -> None:
    """Bytes settle a medium, a final answer a candidate; tracks are asked beside a video that is there or wanted."""
    assert next_ranks({0: FINAL, 1: NEW, 2: NEW}) == [1]
    assert next_ranks({0: AGAIN, 1: NEW}) == [0]
    assert next_ranks({0: FINAL, 1: NEW, 2: OK}) == []
    assert next_ranks({0: FOLLOWED, 1: NEW}) == []
    assert next_ranks({0: FINAL, TRACK_RANK: NEW}) == []
    assert next_ranks({0: NEW, TRACK_RANK: NEW}) == [0, TRACK_RANK]
    assert next_ranks({0: OK, TRACK_RANK: NEW, TRACK_RANK + 1: FINAL}) == [TRACK_RANK]
