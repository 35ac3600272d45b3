"""Small crawls that tests make: WARC records, a member each, with pages and pictures in them."""

import gzip
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

DATE = "2026-01-02T03:04:05Z"
WORDS = (
    "the river runs below the old bridge and in the morning the fog lies on it so that the boats of the fishermen have to be "
    "called in by a bell that hangs at the landing with a rope of hemp which somebody has renewed every spring"
).split()


def record(url: str, body: bytes, mime: str, *, status: int = 200, date: str = DATE, headers: str = "") -> bytes:
    """One response record, not compressed."""
    http = f"HTTP/1.1 {status} X\r\nContent-Type: {mime}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: {date}\r\n"
        f"WARC-Record-ID: <urn:uuid:{hashlib.md5((url + date).encode()).hexdigest()}>\r\n"
        f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


def write_warc(path: Path, records: Iterable[bytes]) -> Path:
    """A WARC with a gzip member a record."""
    path.write_bytes(b"".join(gzip.compress(one, mtime=0) for one in records))
    return path


def prose(seed: int, words: int = 90) -> str:
    """Sentences that pass the default filters and differ by seed."""
    start = seed * 7
    picked = [WORDS[(start + i * (1 + seed % 5)) % len(WORDS)] for i in range(words)]
    sentences = [picked[i : i + 12] for i in range(0, words, 12)]
    return " ".join(f"{' '.join(sentence).capitalize()} of house {seed * 31 + n} that is on hill {n * 17 + seed}." for n, sentence in enumerate(sentences))


def picture(seed: int, width: int = 120, height: int = 100) -> bytes:
    """A PNG that is not of one colour."""
    image = Image.new("RGB", (width, height), (seed * 37 % 256, 80, 120))
    image.paste((255 - seed * 11 % 200, 240, 10), (10, 10, width // 2, height // 2))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def page(seed: int, pictures: Iterable[str], title: str = "") -> bytes:
    """An article with pictures between its paragraphs."""
    shown = "".join(f'<p>{prose(seed * 10 + n)}</p><figure><img src="{src}" alt="picture {n}"></figure>' for n, src in enumerate(pictures))
    text = f"<html><head><title>{title or seed}</title></head><body><nav><a href='/'>Home</a></nav><article><h1>Page {seed}</h1>"
    return f"{text}{shown}<p>{prose(seed * 10 + 9)}</p></article></body></html>".encode()


def site(host: str, pages: int, first: int = 0) -> list[bytes]:
    """Pages with two pictures each; the pictures' records stand behind the pages'."""
    base = f"http://{host}"
    numbers = range(first, first + pages)
    html = [record(f"{base}/{n}.html", page(n, [f"/{n}-a.png", f"/{n}-b.png"]), "text/html") for n in numbers]
    images = [record(f"{base}/{n}-{x}.png", picture(n * 2 + (x == "b")), "image/png") for n in numbers for x in "ab"]
    return [*html, *images]
