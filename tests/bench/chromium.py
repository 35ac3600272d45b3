"""A headless Chromium that sees a crawl and nothing else, driven over WebDriver with the standard library.

Every host name leads to a server on the loopback, which answers from a dict of bodies (by `media_key`, so that http and https are one) and
otherwise with 404: pages run their scripts and show their pictures as far as the crawl holds them, and no request leaves the machine.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from pipeline.urls import media_key

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync "
    "--disable-default-apps --disable-extensions --disable-dev-shm-usage --mute-audio --no-proxy-server --window-size=1280,2000"
).split()
TIMEOUT_MS = 10_000
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Body = tuple[str, bytes]  # Content-Type, payload


def lacking() -> str | None:
    """What a rendered page needs and this machine lacks, or None."""
    absent = [] if any(map(shutil.which, BROWSERS)) else ["chromium"]
    absent += [] if shutil.which("chromedriver") else ["chromedriver"]
    return f"no {' and no '.join(absent)} on the PATH (Debian: chromium, chromium-driver)" if absent else None


def replay(bodies: Mapping[str, Body]) -> ThreadingHTTPServer:
    """A server on the loopback that answers every host's requests from `bodies`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content_type, payload = bodies.get(
                media_key(f"http://{self.headers.get('Host', '')}{self.path}"), ("", b"")
            )
            with contextlib.suppress(ConnectionError):
                self.send_response(200 if payload else 404)
                self.send_header("Content-Type", content_type or "text/plain")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Chromium:
    """One browser for many pages; a context that ends what it started."""

    def __init__(self, bodies: Mapping[str, Body]) -> None:
        self._bodies = bodies

    def __enter__(self) -> Self:
        self._ends = contextlib.ExitStack()
        server = replay(self._bodies)
        self._ends.callback(server.shutdown)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        driver = subprocess.Popen(
            ["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._ends.callback(driver.wait)
        self._ends.callback(driver.terminate)
        self._root = f"http://127.0.0.1:{port}"
        profile = self._ends.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        self._wait()
        options = {
            "binary": next(path for name in BROWSERS if (path := shutil.which(name))),
            "args": [
                *FLAGS,
                f"--user-data-dir={profile}",
                f"--host-resolver-rules=MAP * 127.0.0.1:{server.server_address[1]}",
                "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable",
            ],
        }
        timeouts = {"pageLoad": TIMEOUT_MS, "script": TIMEOUT_MS}
        wanted = {
            "capabilities": {
                "alwaysMatch": {"goog:chromeOptions": options, "timeouts": timeouts, "pageLoadStrategy": "normal"}
            }
        }
        session = self._send("POST", "/session", wanted)
        self._session = f"/session/{session['sessionId']}"  # type: ignore[index]
        self._ends.callback(self._send, "DELETE", self._session)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def run(self, url: str, script: str) -> object:
        """Shows a page, lets its scripts run, and gives what `script` returns in it.

        Raises:
            RuntimeError: the browser does not come to an end of it.
        """
        with contextlib.suppress(RuntimeError):  # a page that loads for ever is judged as it stands by then
            self._send("POST", f"{self._session}/url", {"url": url})
        return self._send("POST", f"{self._session}/execute/sync", {"script": script, "args": []})

    def _send(self, method: str, path: str, body: object = None) -> object:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._root + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with _DIRECT.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(error.read().decode(errors="replace")[:200]) from error
        except OSError as error:
            raise RuntimeError(str(error)) from error

    def _wait(self) -> None:
        for _ in range(100):
            with contextlib.suppress(RuntimeError):
                self._send("GET", "/status")
                return
            time.sleep(0.1)
        raise RuntimeError("chromedriver does not answer")


def without_scheme(pages: Iterator[tuple[str, Body]]) -> dict[str, Body]:
    """Bodies by `media_key`; of one key the first stays."""
    bodies: dict[str, Body] = {}
    for url, body in pages:
        bodies.setdefault(media_key(url), body)
    return bodies
