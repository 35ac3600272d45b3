"""Records a second and core: `read` beside bare FastWARC and warcio, in one run, on gzip, Zstandard and plain WARCs.

The WARCs are made here: a request, a response and a metadata record a page, as in Common Crawl's; pages of 24 KB of words, every sixth a picture of
60 KB of noise. All readers take every block out and parse the head of every response; `read` checks offsets and lengths, parses dates and types, sniffs
and decodes besides. "careful" is our parser without FastWARC, the way behind damage. Time is that of the process' CPU, the best of some rounds.

Run: python -m tests.bench.bench_read
"""

import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pipeline.read.inputs import find_inputs
from pipeline.read.members import packing_of
from pipeline.read.records import read
from pipeline.read.slices import Slice, slices
from pipeline.read.source import Source
from pipeline.read.warc import warc_records
from tests.warcs import members, response, warc

try:
    from fastwarc import ArchiveIterator as FastIterator
    from warcio.archiveiterator import ArchiveIterator as WarcioIterator
except ImportError:
    WarcioIterator = None

PAGES, ROUNDS = 1500, 3
SLICES: dict[Path, list[Slice]] = {}


def records(seed: int = 0) -> list[bytes]:
    """Three records a page."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 11))) for _ in range(5000)]
    made = []
    for number in range(PAGES):
        url = f"http://{words[number % 700]}.org/{number}"
        made.append(warc("request", url, b"GET / HTTP/1.1\r\nHost: a.org\r\nUser-Agent: CCBot/2.0\r\n\r\n"))
        if number % 6 == 5:
            made.append(
                response(url, b"\xff\xd8\xff" + draw.randbytes(60_000), "image/jpeg", payload_digest=f"sha1:{number}")
            )
        else:
            text = " ".join(draw.choices(words, k=3200)).encode()
            made.append(response(url, b"<!doctype html><html><body><p>" + text, payload_digest=f"sha1:{number}"))
        made.append(
            warc(
                "metadata",
                url,
                b"fetchTimeMs: 12\r\ncharset-detected: UTF-8\r\n",
                content_type="application/warc-fields",
            )
        )
    return made


def by_read(path: Path) -> int:
    """Ours, as extract uses it."""
    return sum(1 for each in SLICES[path] for _ in read(each))


def by_frames(path: Path, *, trust: bool) -> int:
    """Ours, WARC records only."""
    with path.open("rb") as file:
        packing = packing_of(Source(file))
        assert packing is not None

        def open_at(offset: int) -> BinaryIO:
            file.seek(offset)
            return file

        return sum(1 for _ in warc_records(open_at, packing, 0, None, keep_bytes=64 << 20, trust=trust))


def by_fastwarc(path: Path) -> int:
    """FastWARC as it comes, with HTTP heads."""
    with path.open("rb") as file:
        return sum(len(record.reader.read()) >= 0 for record in FastIterator(file, parse_http=True))


def by_warcio(path: Path) -> int:
    """warcio as it comes, with HTTP heads."""
    with path.open("rb") as file:
        return sum(len(record.content_stream().read()) >= 0 for record in WarcioIterator(file))


def seconds(work: Callable[[Path], int], path: Path, expected: int) -> float:
    """CPU seconds of a pass over the file, the best of `ROUNDS`."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.process_time()
        assert work(path) == expected
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    """Prints the table."""
    readers: dict[str, Callable[[Path], int]] = {
        "read": by_read,
        "WARC records": lambda path: by_frames(path, trust=True),
        "careful": lambda path: by_frames(path, trust=False),
        "FastWARC": by_fastwarc,
    }
    if WarcioIterator is not None:
        readers["warcio"] = by_warcio
    made = records()
    print(f"{len(made)} records, {sum(map(len, made)) / 1e6:.0f} MB unpacked; records/s/core (MB/s unpacked)\n")
    print(f"{'':8}" + "".join(f"{name:>20}" for name in readers))
    with tempfile.TemporaryDirectory() as folder:
        for packing in ("gzip", "zstd", "plain"):
            path = Path(folder, f"{packing}.warc")
            path.write_bytes(b"".join(members(made, packing)))
            SLICES[path] = [each for input in find_inputs([str(path)]) for each in slices(input)]
            cells = []
            for name, work in readers.items():
                if name == "warcio" and packing == "zstd":
                    cells.append(f"{'cannot':>20}")
                    continue
                spent = seconds(work, path, len(made))
                cells.append(f"{len(made) / spent:>12,.0f} ({sum(map(len, made)) / spent / 1e6:,.0f})".rjust(20))
            print(f"{packing:8}" + "".join(cells))


if __name__ == "__main__":
    main()
