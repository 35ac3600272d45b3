"""Small crawls that tests make: WARC records, a member each, with pages and pictures in them."""

import gzip
import hashlib
import io
import random
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

DATE = "2026-01-02T03:04:05Z"
NOUNS = (
    "river bridge morning fog boat fisherman bell landing rope spring garden window letter engine harbour market winter lamp "
    "orchard valley mirror carpenter violin kitchen station ladder forest island journey painter teacher compass library "
    "cellar meadow chimney lantern blanket teapot wagon tower pebble feather cloud mountain candle basket needle hammer"
).split()
VERBS = "carried followed mended painted noticed answered lifted repaired counted borrowed opened measured gathered sketched".split()


def record(url: str, body: bytes, mime: str, *, status: int = 200, date: str = DATE, headers: str = "") -> bytes:
    """One response record, not compressed."""
    http = (
        f"HTTP/1.1 {status} X\r\nContent-Type: {mime}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body
    )
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


def prose(seed: int, sentences: int = 8) -> str:
    """Sentences that pass the default filters and differ by seed."""
    draw = random.Random(seed)
    small = "the of and to in a with that by from under near behind over until while".split()
    made = []
    for _ in range(sentences):
        words = [draw.choice(choice) for _ in range(draw.randint(5, 9)) for choice in (small, NOUNS, VERBS)]
        made.append(f"{' '.join(words).capitalize()} in {draw.randint(2, 9999)}.")
    return " ".join(made)


def picture(seed: int, width: int = 120, height: int = 100) -> bytes:
    """A PNG of coloured tiles, which no other seed's picture looks like."""
    draw = random.Random(seed)
    image = Image.new("RGB", (6, 5))
    image.putdata([(draw.randrange(256), draw.randrange(256), draw.randrange(256)) for _ in range(30)])
    image = image.resize((width, height), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def page(seed: int, pictures: Iterable[str], title: str = "") -> bytes:
    """An article with pictures between its paragraphs."""
    shown = "".join(
        f'<p>{prose(seed * 10 + n)}</p><figure><img src="{src}" alt="picture {n}"></figure>'
        for n, src in enumerate(pictures)
    )
    text = f"<html><head><title>{title or seed}</title></head><body><nav><a href='/'>Home</a></nav><article><h1>Page {seed}</h1>"
    return f"{text}{shown}<p>{prose(seed * 10 + 9)}</p></article></body></html>".encode()


def site(host: str, pages: int, first: int = 0) -> list[bytes]:
    """Pages with two pictures each; the pictures' records stand behind the pages'."""
    base = f"http://{host}"
    numbers = range(first, first + pages)
    html = [record(f"{base}/{n}.html", page(n, [f"/{n}-a.png", f"/{n}-b.png"]), "text/html") for n in numbers]
    images = [record(f"{base}/{n}-{x}.png", picture(n * 2 + (x == "b")), "image/png") for n in numbers for x in "ab"]
    return [*html, *images]
