"""A web server on the loopback that does what it is told, however bad: whole answers, or handlers that write to the socket as they like."""

import asyncio
import datetime
import ipaddress
import ssl
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Handler: TypeAlias = Callable[[asyncio.StreamWriter, dict[str, str]], Awaitable[None]]


def reply(body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    """A response as it goes over the wire; `length` is what it says of its body, headers are named with underscores."""
    head = {name.replace("_", "-"): value for name, value in headers.items()}
    head["Content-Length"] = str(len(body) if length is None else length)
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(body: bytes, **headers: str) -> bytes:
    """A response that does not state its length."""
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 200 OK\r\n{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode()
        + body
        + b"\r\n0\r\n\r\n"
    )


def endless(piece: bytes, pause_s: float, chunk: bool = True) -> Handler:
    """A body that does not end, a piece every so many seconds."""

    async def handle(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if chunk else b"HTTP/1.1 200 OK\r\n\r\n")
        while not writer.is_closing():
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if chunk else piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    return handle


async def silent(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
    """Takes the request and says nothing."""
    await asyncio.sleep(60)


async def reset(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
    """Resets the connection."""
    writer.transport.abort()


def in_turn(*replies: bytes) -> Handler:
    """One answer after the other; the last for ever."""
    left = list(replies)

    async def handle(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return handle


class HostileServer:
    """Serves `pages` (path to answer or handler) from a thread of its own; what it has no page for is 404.

    `asked` counts requests by path, `agents` and `hosts` are what the clients said, `most_at_once` is how many requests were open at a time.
    """

    def __init__(self, pages: dict[str, bytes | Handler], tls: ssl.SSLContext | None = None) -> None:
        self.pages = pages
        self.asked: Counter[str] = Counter()
        self.times: list[float] = []
        self.requests: list[dict[str, str]] = []
        self.connections = 0
        self.most_at_once = 0
        self._open = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()
        self._loop.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The URL of a path."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}{path}"

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopped.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for _ in range(3):  # a transport closes its socket a turn of the loop after it was aborted
            await asyncio.sleep(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head.decode("latin-1"), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head: str, writer: asyncio.StreamWriter) -> None:
        first, *lines = head.strip().split("\r\n")
        path = first.split(" ")[1]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.asked[path] += 1
        self.requests.append(headers)
        self.times.append(self._loop.time())
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            page = self.pages.get(path, reply(status="404 Not Found"))
            if isinstance(page, bytes):
                writer.write(page)
            else:
                await page(writer, headers)
        finally:
            self._open -= 1


def self_signed(folder: Path) -> ssl.SSLContext:
    """The TLS context of a server whose certificate nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
