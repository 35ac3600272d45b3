"""Makes the crawl of `m3w demo` out of larger crawls of the same sites.

In: a folder with `NAME.warc.gz` for every name of `SUBSETS`, a member per record. Out: `NAME.warc.gz` in a second
folder: one warcinfo record of ours, then chosen members, byte for byte and in their order: pages, the pictures that
these pages show or link to, and what answered 404. Left out are requests, scripts, fonts, styles, videos, pictures past
a size, and pictures whose licence is not that of the page. Holes in a crawl are what crawls are like: the demo shows
what becomes of them.

    python tests/bench/make_demo.py CRAWLS jobs/demo/crawl
"""

import gzip
import itertools
import re
import sys
import uuid
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin

from fastwarc.warc import ArchiveIterator, WarcRecordType
from selectolax.lexbor import LexborHTMLParser


@dataclass(frozen=True, kw_only=True)
class Subset:
    """What to take of a crawl: pages whose URL matches `pages`, and their pictures but those whose URL matches `without`."""

    pages: str
    max_image_bytes: int
    without: str = r"(?!)"


SUBSETS = {
    "gutenberg-illustrated": Subset(
        pages=r"/(14838|20170|17645|9198|18195)-h\.htm$",
        max_image_bytes=81_000,
        # One book shows thumbnails that link to scans: here most of the scans were not crawled.
        without=r"/ill-00[1-4]\d\.jpg$",
    ),
    "swcarpentry-python-novice": Subset(
        # The lesson as learners see it, and four of its pages again as instructors see them: the same text.
        pages=r"/python-novice-inflammation/($|index|discuss|reference|images|LICENSE|0\d-|10-|instructor/0[3567]-)",
        max_image_bytes=110_000,
        # The logos are trade marks, and where the colour cube comes from is not stated.
        without=r"/software-logo|/color-cube\.png$",
    ),
    "distill-growing-ca": Subset(pages=r"/2020/growing-ca/$", max_image_bytes=200_000),
    "distill-augmented-rnns": Subset(
        pages=r"/2016/augmented-rnns/$",
        max_image_bytes=200_000,
        # Their captions say that they are taken or derived from other papers.
        without=r"/(show-attend-tell|rnn-attention-waveform-bw|NTM-Copy-ReadWrite)\.",
    ),
}


@dataclass(frozen=True)
class Member:
    """One record and the bytes of its gzip member; `links` are the URLs that a page shows or links to."""

    compressed: bytes
    url: str
    status: int
    media_type: str
    length: int
    links: frozenset[str]


def members(crawl: bytes) -> list[Member]:
    """The response records of a gzip WARC with a member per record, in order."""
    borders = [record.stream_pos for record in _records(crawl, WarcRecordType.any_type)] + [len(crawl)]
    end_of = dict(itertools.pairwise(borders))
    return [
        _member(record, crawl[record.stream_pos : end_of[record.stream_pos]])
        for record in _records(crawl, WarcRecordType.response)
    ]


def _records(crawl: bytes, types: WarcRecordType) -> Any:
    return ArchiveIterator(BytesIO(crawl), record_types=types, parse_http=True)


def _member(record: Any, compressed: bytes) -> Member:
    body = record.reader.read()
    media_type = record.http_content_type or ""
    url = record.headers["WARC-Target-URI"].strip("<>")
    links = frozenset(_links(body, url)) if media_type == "text/html" else frozenset()
    return Member(compressed, url, record.http_headers.status_code, media_type, len(body), links)


def _links(html: bytes, url: str) -> list[str]:
    tree = LexborHTMLParser(html)
    shown = [node.attributes.get("src") for node in tree.css("img[src]")]
    linked = [node.attributes.get("href") for node in tree.css("a[href]")]
    return [urljoin(url, link) for link in shown + linked if link]


def choose(records: list[Member], subset: Subset) -> list[Member]:
    """The members to keep, in their order; a second capture of a URL stays."""
    pages = [r for r in records if r.status == 200 and r.media_type == "text/html" and re.search(subset.pages, r.url)]
    wanted = {page.url for page in pages}.union(*(page.links for page in pages))
    return [r for r in records if r.status == 404 or r in pages or (r.url in wanted and _is_taken_image(r, subset))]


def _is_taken_image(record: Member, subset: Subset) -> bool:
    is_image = record.media_type.startswith("image/") and not re.search(subset.without, record.url)
    return is_image and record.length <= subset.max_image_bytes


def write(name: str, chosen: list[Member], file: BinaryIO) -> None:
    """Writes a warcinfo record and the members. The same input gives the same bytes."""
    fields = f"format: WARC File Format 1.0\r\ndescription: records of {name}, chosen for the demo of m3w\r\n".encode()
    head = (
        "WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Type: application/warc-fields\r\n"
        f"WARC-Record-ID: <{uuid.uuid5(uuid.NAMESPACE_URL, name).urn}>\r\nWARC-Date: 2026-11-20T00:00:00Z\r\n"
        f"Content-Length: {len(fields)}\r\n\r\n"
    ).encode()
    file.write(gzip.compress(head + fields + b"\r\n\r\n", mtime=0))
    file.writelines(record.compressed for record in chosen)


def main(source: Path, target: Path) -> None:
    """Writes one small crawl for every subset and prints what it holds."""
    target.mkdir(parents=True, exist_ok=True)
    for name, subset in SUBSETS.items():
        chosen = choose(members((source / f"{name}.warc.gz").read_bytes()), subset)
        with (target / f"{name}.warc.gz").open("wb") as file:
            write(name, chosen, file)
            pages = sum(record.media_type == "text/html" and record.status == 200 for record in chosen)
            print(f"{name}: {len(chosen)} responses, {pages} of them pages, {file.tell():,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
