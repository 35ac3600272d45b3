"""The Beam job beside a plain process pool over the same functions, and what of its memory grows with the input.

    python -m tests.bench.bench_crawl [--pages 20000] [--workers 2]

Pages are made here: articles of some 24 KB with a long navigation, fourteen paragraphs and three pictures, a tenth of which the crawl holds. Time is that of
extract, where nearly all of a job's work is. Memory is that of the whole process tree (proportional set size, sampled), over the whole
job, with a tenth, half and all of `--pages`; from a tenth to half the workers' caches and allocators fill up, from half to all what is left is what grows.
"""

import argparse
import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from jobs.extract import tasks_of
from jobs.presets import read_config
from pipeline.read.inputs import find_inputs
from pipeline.runfolder import RunFolder
from pipeline.stages.extract import ExtractTask, extract_slice
from tests import crawls
from tests.bench.processes import pss_mb, tree

PAGES_PER_WARC = 1250
PARAGRAPHS = 14


def write_crawl(folder: Path, pages: int, pages_per_warc: int = PAGES_PER_WARC) -> None:
    """WARCs of distinct pages of some 24 KB."""
    folder.mkdir(parents=True)
    paragraphs = [crawls.prose(n, 4) for n in range(2000)]
    draw = random.Random(0)
    numbers = iter(range(pages))
    for warc in range(-(-pages // pages_per_warc)):
        records = []
        for n in itertools.islice(numbers, pages_per_warc):
            texts = draw.sample(paragraphs, PARAGRAPHS)
            shown = "".join(
                f'<p>{text}</p><img src="/p{n}-{i}.png" alt="x" width="300">' if i < 3 else f"<p>{text}</p>"
                for i, text in enumerate(texts)
            )
            menu = "".join(f'<li class="menu-item"><a href="/m{i}">{crawls.NOUNS[i % 40]}</a></li>' for i in range(300))
            html = f"<html><head><title>{n}</title></head><body><nav><ul>{menu}</ul></nav><article><h1>Page {n}</h1>{shown}</article></body></html>"
            records.append(crawls.record(f"http://h{n % 97}.example/{n}.html", html.encode(), "text/html"))
            if n % 10 == 0:
                records += [
                    crawls.record(f"http://h{n % 97}.example/p{n}-{i}.png", crawls.picture(n + i), "image/png")
                    for i in range(3)
                ]
        crawls.write_warc(folder / f"{warc:04d}.warc.gz", records)


def run_slice(task: ExtractTask) -> None:
    """What the pool runs: the stage's own function."""
    extract_slice(task, lambda record: None, frozenset())


def pool_seconds(crawl: Path, out: Path, workers: int) -> float:
    """Wall time of a process pool over all slices."""
    folder = RunFolder(str(out))
    folder.claim()
    tasks = tasks_of(str(out), read_config("m3w"), find_inputs([str(crawl)]), None)
    start = time.monotonic()
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(run_slice, tasks.values()))
    return time.monotonic() - start


def job(crawl: Path, out: Path, workers: int, command: str) -> tuple[float, float]:
    """(wall seconds, peak MB of the process tree) of a command."""
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs", command, str(crawl), "--out", str(out), "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    start = time.monotonic()
    watcher.start()
    code = process.wait()
    seconds = time.monotonic() - start
    watcher.join()
    if code:
        raise SystemExit(f"m3w {command} ended with {code}")
    return seconds, peak[0]


def _watch(process: subprocess.Popen[bytes], peak: list[float]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(map(pss_mb, tree(process.pid))))
        time.sleep(0.2)


def main() -> None:
    """Prints two tables."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pages", type=int, default=20_000)
    arguments.add_argument("--workers", type=int, default=2)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sizes = {"small": options.pages // 10, "half": options.pages // 2, "large": options.pages}
        for name, pages in sizes.items():
            write_crawl(folder / name, pages)
        pool = pool_seconds(folder / "large", folder / "pool", options.workers)
        shutil.rmtree(folder / "pool")
        beam, _ = job(folder / "large", folder / "beam", options.workers, "extract")
        shutil.rmtree(folder / "beam")
        print(f"extract of {options.pages:,} pages, {options.workers} workers")
        print(f"  process pool  {pool:6.1f} s  {options.pages / pool:6.0f} pages/s")
        print(f"  Beam job      {beam:6.1f} s  {options.pages / beam:6.0f} pages/s  {beam / pool:.2f}x the pool's time")
        print("whole job")
        peaks = {}
        for name, pages in sizes.items():
            seconds, peaks[name] = job(folder / name, folder / f"{name}-run", options.workers, "crawl")
            print(f"  {pages:7,} pages  {seconds:6.1f} s  peak {peaks[name]:6.0f} MB")
        grown = (peaks["large"] - peaks["half"]) * 1024 / (sizes["large"] - sizes["half"])
        print(f"  from half of the pages to all of them it grows by {grown:.2f} KB a page")


if __name__ == "__main__":
    main()
