"""Pictures a second from one loopback server: `download`, a bare aiohttp client, and img2dataset, in one run.

One server process gives the same JPEGs to all. Each client runs in a process of its own and hashes what it gets (SHA-256); nothing is resized and
nothing stored (img2dataset: output "dummy", no re-encoding, one process, its best number of threads here). Counted are the seconds between the
first and the last request that the server saw, so that no client's start counts, and the CPU seconds of the client's process, which have its
start in them. At the end `download` is asked for ten times the URLs, to see that its memory stays.

Run: python -m tests.bench.bench_fetch [--img2dataset COMMAND] [--urls N]
"""

import argparse
import asyncio
import hashlib
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import aiohttp
import numpy as np
import uvloop
from PIL import Image

from pipeline.web.answer import Request
from pipeline.web.config import FetchConfig
from pipeline.web.download import download

CONNECTIONS = 64
SIZES_PX = (128, 256, 512)


def picture(side: int) -> bytes:
    """A JPEG of smooth noise."""
    noise = np.random.default_rng(side).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def serve(pipe: Connection) -> None:
    """The server: gives /<side>/<anything>; a message on the pipe is answered with (requests, seconds from first to last) since the one before."""
    replies = {str(side): reply(picture(side)) for side in SIZES_PX}
    seen: list[float] = []

    class Server(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)
            self.left = b""

        def data_received(self, data: bytes) -> None:
            *requests, self.left = (self.left + data).split(b"\r\n\r\n")
            for request in requests:
                side = request[:40].split(b" ")[1].split(b"/")[1].decode()
                if side in replies:
                    seen.append(time.perf_counter())
                self.transport.write(replies.get(side) or b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n")

    def tell() -> None:
        pipe.recv()
        pipe.send((len(seen), seen[-1] - seen[0] if seen else 0.0))
        seen.clear()

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        asyncio.get_running_loop().add_reader(pipe.fileno(), tell)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def reply(body: bytes) -> bytes:
    """The response as it goes over the wire."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def ours(port: int, urls: list[str]) -> None:
    """`download`, with the pace of a host opened."""
    config = FetchConfig(
        contact="bench@example.org",
        allow=[f"127.0.0.1:{port}"],
        connections=CONNECTIONS,
        per_host=CONNECTIONS,
        delay_s=0,
    )
    for answer in download((Request(number=n, url=url, kind="image") for n, url in enumerate(urls)), config):
        assert answer.body is not None, answer
        hashlib.sha256(answer.body).digest()


def bare(_: int, urls: list[str]) -> None:
    """aiohttp on uvloop without anything around it: no checks, no limits, no second thread."""

    async def run() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            left = iter(urls)

            async def work() -> None:
                for url in left:
                    async with session.get(url) as response:
                        hashlib.sha256(await response.read()).digest()

            await asyncio.gather(*[work() for _ in range(CONNECTIONS)])

    uvloop.run(run())


def img2dataset(command: str, threads: int) -> Callable[[int, list[str]], None]:
    """img2dataset as a command, in a folder that goes."""

    def run(_: int, urls: list[str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "urls.txt").write_text("\n".join(urls))
            options = {
                "url_list": f"{folder}/urls.txt",
                "output_folder": f"{folder}/out",
                "output_format": "dummy",
                "resize_mode": "no",
                "disable_all_reencoding": True,
                "processes_count": 1,
                "thread_count": threads,
                "number_sample_per_shard": len(urls),
                "enable_wandb": False,
            }
            arguments = [f"--{name}={value}" for name, value in options.items()]
            subprocess.run([command, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


def measure(name: str, client: Callable[[int, list[str]], None], port: int, urls: list[str], pipe: Connection) -> float:
    """Runs a client in a process of its own; prints and returns its pictures a second."""
    parent = os.fork()
    if parent == 0:
        done = False
        try:
            client(port, urls)
            done = True
        finally:
            os._exit(0 if done else 1)
    _, status, usage = os.wait4(parent, 0)
    pipe.send(None)
    requests, seconds = pipe.recv()
    if status or requests < len(urls):
        sys.exit(f"{name}: {requests} of {len(urls)} requests, exit status {status}")
    rate = requests / seconds
    cpu_us = (usage.ru_utime + usage.ru_stime) / requests * 1e6
    print(f"{name:28} {rate:8.0f} /s   {cpu_us:6.0f} us CPU each   peak {usage.ru_maxrss >> 10:5} MiB", flush=True)
    return rate


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--img2dataset", default="img2dataset", help="the command, of another environment if need be")
    parser.add_argument("--urls", type=int, default=10_000)
    arguments = parser.parse_args()
    pipe, end = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(end,), daemon=True)
    server.start()
    port = pipe.recv()
    for side in SIZES_PX:
        urls = [f"http://127.0.0.1:{port}/{side}/{number}.jpg" for number in range(arguments.urls)]
        print(f"\n{side} x {side} px, {len(picture(side)):,} bytes, {len(urls):,} URLs")
        measure("aiohttp alone", bare, port, urls, pipe)
        rate = measure("download", ours, port, urls, pipe)
        if shutil.which(arguments.img2dataset):
            peers = [
                measure(
                    f"img2dataset, {threads} threads", img2dataset(arguments.img2dataset, threads), port, urls, pipe
                )
                for threads in (16, 64)
            ]
            print(f"download / img2dataset: {rate / max(peers):.1f}")
        else:
            print("img2dataset is not installed; --img2dataset names a command")
    print()
    measure("download, ten times the URLs", ours, port, urls * 10, pipe)
    server.terminate()


if __name__ == "__main__":
    main()
