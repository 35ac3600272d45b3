"""A proxy in front of an S3 server that fails on purpose, by a seeded draw for each request: what a store does on a bad day, on the loopback.

Each connection carries one request. Nothing here knows S3 but the two error answers.
"""

import asyncio
import random
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

HEAD_END = b"\r\n\r\n"


class Fault(Enum):
    """What a request may meet, and which requests can meet it."""

    BROKEN = "500 InternalError"
    BUSY = "503 SlowDown"
    FORBIDDEN = "403 AccessDenied"
    STALL = "GET: headers, half of the body, then silence"
    CUT = "GET: headers, half of the body, then the end"
    SHORT = "GET: half of the range, with a length that says so"
    RESET = "PUT: half of the body is taken, then the connection is reset"
    HOLD = "PUT: half of the body is taken, then silence"


class FailingProxy:
    """Passes requests on to the server on `port`; a share of them, by `faults`, fails.

    `met` and `requests` count since the last call of `fail`.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.port = 0
        self.fail({})

    def fail(self, faults: dict[Fault, float], *, seed: int = 1, after: int = 0) -> None:
        """From now on, when `after` requests have gone well, these shares of the requests fail."""
        self._after = after
        self.faults = faults
        self.met: Counter[Fault] = Counter()
        self.requests = 0
        self._draw = random.Random(seed)

    @contextmanager
    def running(self) -> Iterator["FailingProxy"]:
        """Listens on a free port of the loopback while the block runs."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            server.close()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0.05))
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(HEAD_END)
            fault = self._fault(head)
            body = await self._body(head, reader, writer, fault)
            if fault in (Fault.BROKEN, Fault.BUSY, Fault.FORBIDDEN):
                answer = _refusal(fault, head)
            else:
                answer = await self._asked(head, body)
            await _answer(answer, writer, fault)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def _fault(self, head: bytes) -> Fault | None:
        self.requests += 1
        drawn, method = self._draw.random(), head.split(b" ", 1)[0].decode()
        for fault, share in self.faults.items() if self.requests > self._after else ():
            takes_part = re.match(r"(GET|PUT):", fault.value)
            if drawn < share and (takes_part is None or takes_part[1] == method):
                if fault is Fault.SHORT and b"range:" not in head.lower():
                    continue
                self.met[fault] += 1
                return fault
            drawn -= share
        return None

    async def _body(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault | None
    ) -> bytes:
        length = int(_header(head, b"content-length") or 0)
        if _header(head, b"expect"):
            writer.write(b"HTTP/1.1 100 Continue" + HEAD_END)
        if fault in (Fault.RESET, Fault.HOLD):
            await reader.readexactly(length // 2)
            if fault is Fault.HOLD:
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                await asyncio.sleep(3600)
            writer.transport.abort()
            raise ConnectionResetError
        return await reader.readexactly(length)

    async def _asked(self, head: bytes, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            kept = re.sub(rb"(?im)^(connection|expect):.*\r\n", b"", head.removesuffix(HEAD_END) + b"\r\n")
            writer.write(kept + b"Connection: close" + HEAD_END + body)
            return await reader.read()
        finally:
            writer.close()


async def _answer(answer: bytes, writer: asyncio.StreamWriter, fault: Fault | None) -> None:
    head, _, body = answer.partition(HEAD_END)
    if fault is Fault.SHORT:
        body = body[: len(body) // 2]
        head = re.sub(rb"(?im)^content-length:.*$", b"Content-Length: %d" % len(body), head)
    half = len(body) // 2 if fault in (Fault.STALL, Fault.CUT) else len(body)
    writer.write(re.sub(rb"(?im)^connection:.*\r\n", b"", head) + b"\r\nConnection: close" + HEAD_END + body[:half])
    await writer.drain()
    if fault is Fault.STALL:
        await asyncio.sleep(3600)


def _header(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"(?im)^" + name + rb":\s*(.*?)\r$", head)
    return found[1] if found else b""


def _refusal(fault: Fault, head: bytes) -> bytes:
    status, code = fault.value.split()
    body = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
    shown = b"" if head.startswith(b"HEAD") else body
    return (
        f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}".encode()
        + HEAD_END
        + shown
    )
