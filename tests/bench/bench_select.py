"""m3w select on skewed documents: are time and memory linear, and is what goes what has to go?

    python -m tests.bench.bench_select [--documents 200000] [--workers 2]

The documents parts are made here, by the writer of the extract stage, from one seed; a smaller run takes the first parts of the largest. A document is twenty
paragraphs of twenty-five words from a pool, each with a number of its own, and three pictures of two renditions each; its signature is that of its
paragraphs' words (the least value of each permutation over the pool's signatures), without the runs of words that cross from one paragraph into the next.

The skew: half of all pages are of one domain, and each of its pages has its refrain; one picture is on a third of all pages; one text is on a fiftieth of
them; one MinHash band is shared by a twentieth. What is planted, in hundredths of the pages: 5 exact copies, 10 near copies (one paragraph of twenty is another), 2 later
captures of a URL, 1 with the pictures of another page. Every count of the stage is then known, but for the near copies, of which bands may miss a few.

Time is wall and CPU of the whole process tree, memory its proportional set size, both sampled from /proc.
"""

import argparse
import itertools
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.dedup.minhash import PERMUTATIONS, signature
from pipeline.runfolder import RunFolder, digest
from pipeline.stages.media_index import key16
from pipeline.stages.selection import hash_number
from pipeline.urls import media_key, page_key
from schemas.document import Candidate, DraftMedium, Text, encode_draft_nodes
from schemas.shard import sample_key
from schemas.tables import DOCUMENTS, TableWriter
from tests import crawls
from tests.bench.processes import cpu_s, pss_mb, tree

PART_DOCUMENTS = 2000  # what extract makes of a slice of 64 MiB
POOL = 4000
PARAGRAPHS, WORDS = 20, 25
LOGO = "https://cdn.example/logo.png"
HOT_BAND = np.arange(8, dtype=np.uint32)  # the values of the first of 14 bands
HOT_TEXT = 1  # the document of which one text on many pages is a copy
SIZES = (0.1, 0.25, 0.5, 1.0)

EXACT, HOT_COPY, NEAR, RECAPTURE, SAME_PICTURES, ORIGINAL = range(6)


class Kind(NamedTuple):
    """What a document is, and of which it is a copy."""

    kind: int
    of: int


def drawn(number: int, what: str) -> float:
    """A number from 0 to 1 that only these two decide."""
    return hash_number(f"{what} {number}") / 2**64


def kind_of(number: int) -> Kind:
    """Copies are of originals that stand before them."""
    share = drawn(number, "kind")
    kinds = ((0.03, EXACT), (0.05, HOT_COPY), (0.15, NEAR), (0.17, RECAPTURE), (0.18, SAME_PICTURES))
    kind = next((kind for end, kind in kinds if share < end), ORIGINAL) if number > HOT_TEXT + 100 else ORIGINAL
    if kind in (ORIGINAL, HOT_COPY):
        return Kind(kind, HOT_TEXT if kind == HOT_COPY else number)
    for attempt in range(1000):
        of = int(drawn(number, f"of {attempt}") * number)
        if of != HOT_TEXT and kind_of(of).kind == ORIGINAL:
            return Kind(kind, of)
    raise AssertionError("no original in a thousand draws")


def has_logo(number: int) -> bool:
    """Whether the picture that is on a third of all pages is on this one."""
    return drawn(number, "logo") < 1 / 3


def domain(number: int) -> str:
    """Half of all pages are of one domain."""
    draw = drawn(number, "domain")
    return "large.example" if draw < 0.5 else f"d{int(draw * 1000)}.example"


class Passages:
    """Passages of words, and their signatures."""

    def __init__(self) -> None:
        words = np.array(" ".join(crawls.prose(seed, 60) for seed in range(100)).lower().split())
        draw = np.random.default_rng(0)
        self.texts = [" ".join(passage) for passage in draw.choice(words, (POOL, WORDS)).tolist()]
        signed = b"".join(signature(text) for text in self.texts)
        self.values: NDArray[np.uint32] = np.frombuffer(signed, dtype="<u4").reshape(POOL, PERMUTATIONS)

    def of(self, number: int, kind: Kind) -> NDArray[np.int64]:
        """Which passages a document has; a near copy has another one at one place."""
        text_of = number if kind.kind == SAME_PICTURES else kind.of
        places = np.random.default_rng([1, text_of]).choice(POOL, PARAGRAPHS, replace=False)
        if kind.kind == NEAR:
            place = int(drawn(number, "place") * PARAGRAPHS)
            places[place] = (places[place] + 1 + int(drawn(number, "other") * (POOL - 1))) % POOL
        return places


@cache
def passages() -> Passages:
    """The passages of this process."""
    return Passages()


def document(number: int, pool: Passages) -> dict[str, Any]:
    """A row of the documents table."""
    kind = kind_of(number)
    places = pool.of(number, kind)
    text_of = number if kind.kind == SAME_PICTURES else kind.of
    url_of = kind.of if kind.kind == RECAPTURE else number
    picture_of = kind.of if kind.kind in (RECAPTURE, SAME_PICTURES) else number
    host = domain(text_of)
    url = f"https://{host}/{url_of}.html"
    texts = [f"{text_of}.{place} {pool.texts[passage]}" for place, passage in enumerate(places.tolist())]
    texts.append(f"Welcome to {host}, where you find more of the same")
    pictures = 3 if picture_of == kind.of else 1  # of a text the original has most, so it stays
    names = [f"https://{domain(picture_of)}/{picture_of}-{n}" for n in range(pictures)]
    media = [
        DraftMedium(candidates=[Candidate(url=f"{name}{size}.jpg", source="srcset") for size in ("-large", "")])
        for name in names
    ]
    if has_logo(picture_of):
        media.append(DraftMedium(candidates=[Candidate(url=LOGO, source="src")]))
    values = pool.values[places].min(axis=0)
    if drawn(text_of, "hot band") < 0.05:
        values[: len(HOT_BAND)] = HOT_BAND
    text = "\n\n".join(texts)
    date = datetime.fromtimestamp(1_700_000_000 + number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    key = sample_key(page_key(url))
    nodes: list[Text | DraftMedium] = [Text(text=text) for text in texts]
    for place, medium in enumerate(media):
        nodes.insert(5 * place + 1, medium)
    paragraph_keys = np.array([hash_number(text) for text in texts], dtype="<u8")
    return {
        "key": key,
        "url": url,
        "url_key": bytes.fromhex(key),
        "date": date,
        "title": f"Page {number}",
        "language": "en",
        "licence": "",
        "robots": [],
        "not_judged": [],
        "text_key": key16(text),
        "words": len(texts) * WORDS,
        "paragraphs": len(texts),
        "images": len(media),
        "videos": 0,
        "nodes": encode_draft_nodes(nodes).decode(),
        "media_keys": b"".join(
            place.to_bytes(2, "little") + rank.to_bytes(2, "little") + key16(media_key(candidate.url))
            for place, medium in enumerate(media)
            for rank, candidate in enumerate(medium.candidates)
        ),
        "minhash": values.astype("<u4").tobytes(),
        "paragraph_keys": paragraph_keys.tobytes(),
        "source": f"crawl-{number // PART_DOCUMENTS:05d}.warc.gz",
        "offset": number % PART_DOCUMENTS * 50_000,
        "length": 50_000,
        "digest": "",
    }


def write_part(run_url: str, part: int, documents: int) -> str:
    """One documents part, as extract writes it; its name."""
    pool, name = passages(), f"{part:05d}"
    numbers = range(part * PART_DOCUMENTS, min((part + 1) * PART_DOCUMENTS, documents))
    with RunFolder(run_url).part("extract", name) as writer:
        table = TableWriter(writer.file(f"documents/{name}.parquet"), DOCUMENTS)
        for number in numbers:
            row = document(number, pool)
            table.add(row)
            writer.counts["documents"] += 1
            writer.counts["candidates"] += len(row["media_keys"]) // 20
        table.close()
    return name


def first_parts(whole: Path, out: Path, documents: int) -> None:
    """A run's folder with the first parts of another one's extract."""
    folder = RunFolder(str(out))
    folder.claim()
    names = [f"{part:05d}" for part in range(-(-documents // PART_DOCUMENTS))]
    for name in names:
        for path in (f"documents/{name}.parquet", f"commits/extract/{name}.json"):
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            os.link(whole / path, out / path)
    folder.finish("extract", digest(names), names)


class Measured(NamedTuple):
    """One run: wall and CPU seconds, and the peak in MiB of the process tree and of the process that submits."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    submitter_mb: float


def measured(out: Path, workers: int) -> Measured:
    """Runs m3w select."""
    command = [sys.executable, "-m", "jobs", "select", "--out", str(out), "--workers", str(workers)]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peaks, cpu = [0.0, 0.0], dict[int, float]()

    def watch() -> None:
        while process.poll() is None:
            sizes = {pid: pss_mb(pid) for pid in tree(process.pid)}
            peaks[:] = max(peaks[0], sum(sizes.values())), max(peaks[1], sizes[process.pid])
            cpu.update({pid: seconds for pid in sizes if (seconds := cpu_s(pid))})
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"m3w select ended with {process.returncode}: {errors.decode()[-500:]}")
    return Measured(time.monotonic() - start, sum(cpu.values()), *peaks)


def check(out: Path, documents: int) -> str:
    """Compares what went with what was planted; a line about the near copies, of which a few may be missed."""
    kinds = [kind_of(number) for number in range(documents)]
    planted = Counter(one.kind for one in kinds)
    columns = ["kind", "reason", "url"]
    drops = [row for path in out.glob("drops/select-*") for row in pq.read_table(path, columns=columns).to_pylist()]
    went = Counter((row["kind"], row["reason"]) for row in drops)
    near = {row["url"] for row in drops if row["reason"] == "near_duplicate"}
    wanted = {f"https://{domain(one.of)}/{n}.html": n for n, one in enumerate(kinds) if one.kind == NEAR}
    missed = [n for url, n in wanted.items() if url not in near]
    # Those that were there when repetitions were counted, by whose text and pictures they have.
    there = [(n, one) for n, one in enumerate(kinds) if one.kind in (ORIGINAL, SAME_PICTURES)]
    domains = Counter(domain(n) for n, _ in there) + Counter(domain(kinds[n].of) for n in missed)
    known = {
        ("page", "duplicate_url"): planted[RECAPTURE],
        ("page", "duplicate_text"): planted[EXACT] + planted[HOT_COPY],
        ("page", "near_duplicate"): planted[NEAR] - len(missed),
        ("page", "same_images"): planted[SAME_PICTURES],
        ("paragraph", "domain_boilerplate"): sum(pages for pages in domains.values() if pages >= 3),
        ("image", "frequent_url"): sum(has_logo(one.of) for _, one in there) + sum(map(has_logo, missed)),
    }
    kept = sum(pq.read_metadata(path).num_rows for path in out.glob("selected/*.parquet"))
    known["page", "kept"], went["page", "kept"] = documents - sum(list(known.values())[:4]), kept
    wrong = {what: (went[what], count) for what, count in known.items() if went[what] != count}
    if wrong or len(missed) > planted[NEAR] / 200:
        raise SystemExit(f"{out}: (found, planted) {wrong}; of {planted[NEAR]} near copies missed: {missed[:10]}")
    return f"{kept:,} stay, all as planted, but {len(missed)} of {planted[NEAR]:,} near copies"


def main() -> None:
    """Prints a table: a row a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        RunFolder(str(whole)).claim()
        start = time.monotonic()
        with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
            parts = range(math.ceil(options.documents / PART_DOCUMENTS))
            list(pool.map(write_part, [str(whole)] * len(parts), parts, [options.documents] * len(parts)))
        print(f"{options.documents:,} documents made in {time.monotonic() - start:.0f} s")
        print(f"{'documents':>10}{'wall s':>9}{'CPU s':>9}{'ms/doc':>9}{'peak MB':>9}{'of it submitter':>17}")
        rows: list[tuple[int, Measured]] = []
        for share in SIZES:
            whole_parts = math.ceil(options.documents * share / PART_DOCUMENTS)
            documents, out = min(whole_parts * PART_DOCUMENTS, options.documents), Path(temporary) / str(share)
            first_parts(whole, out, documents)
            rows.append((documents, measured(out, options.workers)))
            size, one = rows[-1]
            times = f"{size:10,}{one.wall_s:9.1f}{one.cpu_s:9.1f}{1e3 * one.cpu_s / size:9.2f}"
            print(f"{times}{one.peak_mb:9.0f}{one.submitter_mb:17.0f}", end="   ", flush=True)
            print(check(out, documents), flush=True)
        for (small, before), (large, after) in itertools.pairwise(rows):
            grown = (after.submitter_mb - before.submitter_mb) * 1024 / (large - small)
            print(
                f"{small:,} to {large:,}: {large / small:.1f}x documents, {after.cpu_s / before.cpu_s:.2f}x CPU, {grown:.2f} KB a document"
            )


if __name__ == "__main__":
    main()
