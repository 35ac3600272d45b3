"""The server of the fetch benchmark: the same JPEGs for every client, from a process of its own.

It answers on one port of several loopback addresses, so that a client that keeps to a pace a host, or shares hosts out among its processes, has
hosts to work with. A reply lies ready as bytes; the server is not what is measured, and `ceiling` says what it could give.
"""

import asyncio
import io
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import cast

import numpy as np
import uvloop
from PIL import Image

ADDRESSES = [
    f"127.0.0.{number}" for number in range(1, 65)
]  # hosts enough for the buckets to be of one size, as a crawl has
SIZES_PX = {"small": (160, 120), "middle": (640, 480), "large": (1280, 960)}
_NO = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"


def picture(width: int, height: int) -> bytes:
    """A JPEG of noise in all sizes, with about the bytes a pixel that a photograph has."""
    numbers = np.random.default_rng(width)
    levels = np.full((height, width, 3), 128.0)
    cell = width // 2
    while cell:
        coarse = numbers.normal(128, 40, (height // cell + 1, width // cell + 1, 3)).clip(0, 255).astype(np.uint8)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        levels += (np.asarray(smooth) - 128.0) * (cell / width) ** 0.3
        cell //= 2
    buffer = io.BytesIO()
    Image.fromarray(levels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class Server:
    """A running server; `port` is the same at all `ADDRESSES`."""

    def __init__(self, port: int, pipe: Connection) -> None:
        self.port = port
        self._pipe = pipe

    def urls(self, size: str, count: int) -> list[str]:
        """So many URLs of pictures of one size, all hosts in turn."""
        return [f"http://{ADDRESSES[n % len(ADDRESSES)]}:{self.port}/{size}/{n}.jpg" for n in range(count)]

    def first_request(self) -> float:
        """When the first request for a picture came since the call before, in epoch seconds; 0 if none did."""
        self._pipe.send(None)
        return cast(float, self._pipe.recv())

    def ceiling(self, size: str, seconds: float = 1.0) -> float:
        """Pictures a second that one bare socket takes from the server."""
        request = f"GET /{size}/0.jpg HTTP/1.1\r\nHost: a\r\n\r\n".encode()
        length = len(_reply(picture(*SIZES_PX[size])))
        buffer = bytearray(length)
        count, start = 0, time.monotonic()
        with socket.create_connection((ADDRESSES[0], self.port)) as connection:
            while time.monotonic() < start + seconds:
                connection.sendall(request)
                left = length
                while left:
                    left -= connection.recv_into(buffer, left)
                count += 1
        rate = count / (time.monotonic() - start)
        self.first_request()
        return rate


@contextmanager
def running() -> Iterator[Server]:
    """A server while the block runs."""
    pipe, end = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(end,), daemon=True)
    process.start()
    try:
        yield Server(pipe.recv(), pipe)
    finally:
        process.terminate()
        process.join()


def _reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def _serve(pipe: Connection) -> None:
    replies = {size.encode(): _reply(picture(*side)) for size, side in SIZES_PX.items()}
    first = 0.0

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast("asyncio.Transport", transport)
            self._left = b""

        def data_received(self, data: bytes) -> None:
            nonlocal first
            *heads, self._left = (self._left + data).split(b"\r\n\r\n")
            for head in heads:
                reply = replies.get(head[: head.index(b"\r\n")].split(b"/")[1])
                if reply is not None and not first:
                    first = time.time()
                self._transport.write(reply or _NO)

    def tell() -> None:
        nonlocal first
        pipe.recv()
        pipe.send(first)
        first = 0.0

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Protocol, ADDRESSES[0], 0)
        port = server.sockets[0].getsockname()[1]
        others = await asyncio.gather(*[loop.create_server(Protocol, address, port) for address in ADDRESSES[1:]])
        loop.add_reader(pipe.fileno(), tell)
        pipe.send(port)
        await asyncio.gather(*[one.serve_forever() for one in (server, *others)])

    uvloop.run(run())
