"""Pictures a second from one loopback server through the whole of fetch, ours and img2dataset's, in one run: URLs to tars with a Parquet table beside.

Ours is the stage of `m3w fetch` that asks the web, once as img2dataset works (`images.measure = false`: no perceptual hashes, no measures), once with all that
later stages judge a picture by. img2dataset is its command, with the number of threads that is best here, EXIF and logs off. Each client has two processes and the same URLs, and what it stored is counted. Runs alternate; the median stands,
with the others behind. Seconds go from the first request that the server saw to the last file that was written, so that no client's start counts; CPU
milliseconds are those of all processes of a client, less those of a run over a few URLs. At last ours gets ten times the URLs, to see that its memory
stays.

Run: python -m tests.bench.bench_fetch [--urls N] [--repeats N] [--jobs NAME,NAME] [--sizes NAME,NAME] [--threads N,N] [--memory-urls N]
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from pipeline.images import ImageConfig
from pipeline.isolate import Workers
from pipeline.runfolder import RunFolder
from pipeline.stages.fetch_web import AskTask, ask_bucket
from pipeline.stages.media_index import key16
from pipeline.stages.wanted import Wanted, by_host
from pipeline.urls import media_key
from pipeline.video.config import VideoConfig
from pipeline.web.config import FetchConfig
from tests.bench import img2dataset_peer
from tests.bench.picture_server import ADDRESSES, SIZES_PX, Server, picture, running

PROCESSES = 2
BUCKETS = 16  # as `m3w fetch` has for so few URLs
FEW = 16  # URLs of a run that is nearly all start
Client = Callable[[list[str], Path], None]
AS_IT_COMES: dict[str, object] = {"resize_mode": "no"}
RESIZED: dict[str, object] = {
    "resize_mode": "keep_ratio",
    "resize_only_if_bigger": True,
    "image_size": 256,
    "encode_quality": 90,
}


class Job(msgspec.Struct, frozen=True):
    """What is done with the pictures: by us, measured or not, and by img2dataset with these options."""

    images: ImageConfig
    peers: dict[str, dict[str, object]]
    sizes: tuple[str, ...]


JOBS = {
    "no resizing": Job(
        ImageConfig(resize=False),
        {
            "bytes kept unread": {**AS_IT_COMES, "disable_all_reencoding": True},
            "decoded, bytes kept": {**AS_IT_COMES, "skip_reencode": True},
            "decoded, encoded (default)": AS_IT_COMES,
        },
        ("small", "middle", "large"),
    ),
    "short side 256 px, JPEG quality 90": Job(
        ImageConfig(short_side_px=256, jpeg_quality=90), {"resized": RESIZED}, ("middle", "large")
    ),
}


class Result(msgspec.Struct, frozen=True):
    """One run of one client; pictures a second, CPU milliseconds of all its processes, peak of its largest process."""

    rate: float
    cpu_ms: float
    peak_mib: int


def ours(server: Server, images: ImageConfig) -> Client:
    """Buckets of hosts in child processes, as the engine runs them; the pace of a host is opened."""

    def fetch(urls: list[str], folder: Path) -> None:
        config = FetchConfig(
            contact="bench@example.org",
            allow=[f"{address}:{server.port}" for address in ADDRESSES],
            per_host=16,
            delay_s=0,
        )
        task = AskTask(
            run_url=str(folder), bucket=0, round=0, generation=0, fetch=config, images=images, video=VideoConfig()
        )
        RunFolder(str(folder)).claim()
        wanted = (Wanted(key16(media_key(url)), url, "image") for url in urls)
        tasks = [
            msgspec.structs.replace(task, bucket=bucket, wanted=[packed]) for bucket, packed in by_host(wanted, BUCKETS)
        ]
        workers = Workers(PROCESSES)
        with ThreadPoolExecutor(PROCESSES) as threads:
            list(threads.map(lambda one: workers.run(ask_bucket, one), tasks))
        workers.stop()

    return fetch


def img2dataset(options: dict[str, object], threads: int) -> Client:
    """img2dataset's command."""

    def fetch(urls: list[str], folder: Path) -> None:
        img2dataset_peer.fetch(urls, folder, {"processes_count": PROCESSES, "thread_count": threads, **options})

    return fetch


def measure(client: Client, server: Server, size: str, count: int) -> Result:
    """Runs a client in a process of its own, and looks at what it wrote."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        urls = server.urls(size, count)
        server.first_request()
        child = os.fork()
        if child == 0:
            done = False
            try:
                client(urls, folder)
                done = True
            finally:
                os._exit(0 if done else 1)
        _, status, usage = os.wait4(child, 0)
        stored = sum(
            value in ("ok", "success")
            for table in folder.glob("*/*.parquet")
            for value in pq.read_table(table, columns=["status"])["status"].to_pylist()
        )
        if status or stored != count:
            sys.exit(f"{stored} of {count} pictures stored, exit status {status}")
        last = max(path.stat().st_mtime for path in folder.rglob("*") if path.is_file())
    return Result(
        rate=count / (last - server.first_request()),
        cpu_ms=(usage.ru_utime + usage.ru_stime) * 1e3,
        peak_mib=usage.ru_maxrss >> 10,
    )


def compare(
    server: Server, name: str, size: str, count: int, repeats: int, threads: int, starts: dict[str, float]
) -> None:
    """A table: ours and the peers, in turn."""
    job = JOBS[name]
    width, height = SIZES_PX[size]
    print(
        f"\n{name}: {width} x {height} px, {len(picture(width, height)):,} bytes, {count:,} URLs; "
        f"the server could give {server.ceiling(size):,.0f} /s"
    )
    clients = {
        "m3w": ours(server, msgspec.structs.replace(job.images, measure=False)),
        "m3w, measured": ours(server, job.images),
    }
    for how, options in job.peers.items():
        clients[f"img2dataset, {how}"] = img2dataset(options, threads)
    results: dict[str, list[Result]] = {who: [] for who in clients}
    for _ in range(repeats):
        for who, client in clients.items():
            results[who].append(measure(client, server, size, count))
    for who, found in results.items():
        rate, cpu_ms = _median([one.rate for one in found]), _median([one.cpu_ms for one in found])
        each_ms = (cpu_ms - starts[who.partition(",")[0]]) / (count - FEW)
        ratios = ""
        if not who.startswith("m3w"):
            mine = [_median([one.rate for one in results[ours]]) / rate for ours in ("m3w", "m3w, measured")]
            ratios = f"  m3w: {mine[0]:4.1f}x, measured {mine[1]:4.1f}x"
        rates = " ".join(f"{one.rate:.0f}" for one in found)
        print(
            f"  {who:39} {rate:6.0f} /s  {each_ms:6.2f} ms CPU  {max(one.peak_mib for one in found):4} MiB{ratios}  ({rates})",
            flush=True,
        )


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def best_threads(server: Server, tried: list[int], count: int) -> int:
    """The number of threads with which img2dataset is fastest here, when it does nothing but download."""
    options = JOBS["no resizing"].peers["bytes kept unread"]
    rates = {threads: measure(img2dataset(options, threads), server, "small", count).rate for threads in tried}
    print("img2dataset's threads: " + ", ".join(f"{threads}: {rate:.0f} /s" for threads, rate in rates.items()))
    return max(rates, key=lambda threads: rates[threads])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--urls", type=int, default=8_000, help="a quarter of them where pictures are large")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", default=",".join(job.partition(",")[0] for job in JOBS))
    parser.add_argument("--sizes", default=",".join(SIZES_PX))
    parser.add_argument("--threads", default="4,8,16,32")
    parser.add_argument("--memory-urls", type=int, default=3_000)
    options = parser.parse_args()
    img2dataset_peer.installed()
    with running() as server:
        threads = best_threads(server, [int(number) for number in options.threads.split(",")], options.urls)
        keep = JOBS["no resizing"]
        starts = {
            "m3w": measure(ours(server, keep.images), server, "small", FEW).cpu_ms,
            "img2dataset": measure(img2dataset(AS_IT_COMES, threads), server, "small", FEW).cpu_ms,
        }
        print("CPU of a start: " + ", ".join(f"{who} {cpu_ms / 1e3:.1f} s" for who, cpu_ms in starts.items()))
        for name, job in JOBS.items():
            if name.partition(",")[0] in options.jobs.split(","):
                for size in job.sizes:
                    if size in options.sizes.split(","):
                        count = options.urls // 4 if size == "large" else options.urls
                        compare(server, name, size, count, options.repeats, threads, starts)
        width, height = SIZES_PX["middle"]
        print(f"\nmemory of m3w, {width} x {height} px, its largest process")
        for count in (options.memory_urls, options.memory_urls * 10):
            result = measure(ours(server, keep.images), server, "middle", count)
            print(f"  {count:7,} URLs  {result.peak_mib:4} MiB  {result.rate:6.0f} /s", flush=True)


if __name__ == "__main__":
    main()
