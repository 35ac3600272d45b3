"""A crawl as skewed as the web: half of all pages of one domain, one picture on a quarter of them. How much longer is the longest unit of work than the median?

    python -m tests.bench.bench_skew [--pages 200000]

A unit of work is what one worker does at a time: a task of a stage (a part, a shard), or the join of one bucket of a shuffle. All run in this process, one
after the other, and each is timed in CPU seconds (but for those of extract, which sees one slice
at a time and no keys: it runs before, as users run it). Limits on how often a picture may stand are off, so that
the picture goes the whole way, into 50,000 samples; then the run is sharded again with the limit of documents, which is the search for it by its looks.

Pages are short (two paragraphs), each with a refrain of its domain and one picture of its own, of which the crawl holds a tenth.
"""

import argparse
import gc
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial, wraps
from multiprocessing import get_context
from pathlib import Path
from types import GeneratorType, ModuleType
from typing import Any

from jobs.cli import run_command
from jobs.engine import Engine
from pipeline.isolate import Workers
from pipeline.stages import fetch, frequency, near, picks, policies, repeats, selection
from pipeline.transforms import assemble
from tests import crawls

WARC_PAGES = 4000
SHARED = "http://pictures.example/shared.png"
JOINS: dict[ModuleType, tuple[str, ...]] = {
    selection: ("latest_by_url", "first_by_text", "first_owners"),
    near: ("leaders",),
    frequency: ("sums", "latest_of_images"),
    policies: ("rules_by_part",),
    fetch: ("look_up",),
    picks: ("found",),
    repeats: ("better_copies", "sightings", "clusters", "too_frequent"),
    assemble: ("too_frequent",),
}
NO_LIMITS = ("--set", "select.max_url_pages=0", "--set", "image_filters.max_documents=0")
SMALL_SHARDS = ("--set", "shard.target_bytes=8388608")  # some twenty of them
LEAST_S = 0.05  # what takes less than that keeps nobody waiting


def domain(number: int) -> str:
    """Half of all pages are of one domain, the others of some thousand."""
    return "large.example" if number % 2 else f"d{number % 1009}.example"


def html(number: int) -> bytes:
    """A page: its own two paragraphs and picture, its domain's refrain, and on every fourth page the one picture."""
    host, shared = domain(number), f'<img src="{SHARED}" alt="A river in fog">' if number % 4 == 0 else ""
    first, second = (crawls.prose(2 * number + n, 5) for n in range(2))
    own = f'<figure><img src="/{number}.png" alt="picture"></figure>'
    refrain = f"Welcome to {host}, the place where you find more of what you have found before."
    return f"<html><head><title>{number}</title></head><body><article><h1>Page {number}</h1><p>{first}</p>{shared}{own}<p>{second}</p><p>{refrain}</p></article></body></html>".encode()


def write_warc(folder: Path, first: int, pages: int) -> None:
    """The pages from `first` on, up to a WARC full of them, and a tenth of their own pictures; the shared one stands in the first."""
    numbers = range(first, min(first + WARC_PAGES, pages))
    records = [crawls.record(f"http://{domain(n)}/{n}.html", html(n), "text/html") for n in numbers]
    pictures = {f"http://{domain(n)}/{n}.png": n for n in numbers if n % 20 < 2}
    if not first:
        pictures[SHARED] = pages
    records += [crawls.record(url, crawls.picture(seed), "image/png") for url, seed in pictures.items()]
    crawls.write_warc(folder / f"{first // WARC_PAGES:04d}.warc.gz", records)


class Timed:
    """CPU seconds of each call, by the name of what was called."""

    def __init__(self) -> None:
        self.calls: dict[str, list[float]] = {}

    def call(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls, and takes the time; what a generator gives is made at once."""
        start = time.thread_time()
        result = function(*arguments)
        if isinstance(result, GeneratorType):
            result = list(result)
        self.calls.setdefault(name, []).append(time.thread_time() - start)
        return result

    def install(self) -> None:
        """From now on tasks and joins of this process are timed; garbage is not collected, which would fall on whoever comes by."""
        gc.disable()
        for module, names in JOINS.items():
            for name in names:
                function = getattr(module, name)
                setattr(module, name, wraps(function)(partial(self.call, f"{_short(module)}.{name}", function)))
        Engine.processes = 0  # type: ignore[assignment,method-assign]
        Workers.run = lambda workers, work, task: self.call(  # type: ignore[method-assign]
            f"{_short(work.args[-1])}: a task", work, task, lambda record: None, frozenset()
        )

    def table(self) -> Iterator[str]:
        """A line for what has units that take long enough, the worst first."""
        yield f"{'unit of work':42}{'units':>7}{'median ms':>11}{'longest ms':>12}{'ratio':>7}"
        rows = [
            (max(times) / statistics.median(times), name, times)
            for name, times in self.calls.items()
            if max(times) >= LEAST_S
        ]
        for ratio, name, times in sorted(rows, reverse=True):
            yield f"{name:42}{len(times):7,}{1e3 * statistics.median(times):11.1f}{1e3 * max(times):12.1f}{ratio:7.2f}"


def _short(of: Any) -> str:
    path = of.__name__ if isinstance(of, ModuleType) else f"{of.__module__}.{of.__name__}"
    return path.removeprefix("pipeline.").removeprefix("stages.")


def made(folder: Path, pages: int) -> str:
    """A run's folder with pages extracted."""
    folder.mkdir()
    firsts = range(0, pages, WARC_PAGES)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(write_warc, itertools.repeat(folder), firsts, itertools.repeat(pages)))
    subprocess.run([sys.executable, "-m", "jobs", "extract", str(folder), "--out", f"{folder}/run"], check=True)
    return f"{folder}/run"


def main() -> None:
    """Prints a table a stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, default=200_000)
    pages = parser.parse_args().pages
    timed = Timed()
    timed.install()
    with tempfile.TemporaryDirectory() as temporary:
        small, large = made(Path(temporary) / "small", 500), made(Path(temporary) / "large", pages)
        stages = (("select", NO_LIMITS), ("fetch", NO_LIMITS), ("shard", NO_LIMITS), ("shard", NO_LIMITS[:2]))
        for stage, options in stages:
            run_command([stage, "--out", small, *options])  # libraries are loaded by whoever comes first
        for stage, options in stages:
            timed.calls.clear()
            run_command([stage, "--out", large, *SMALL_SHARDS, *options])
            print(f"{stage} {' '.join(options)}", *timed.table(), sep="\n", flush=True)


if __name__ == "__main__":
    main()
