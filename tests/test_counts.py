"""The manifest over all four stages, in a crawl that loses something of every kind at every stage that can lose it."""

from collections import Counter
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from schemas.document import Document, Image, Text, Video
from schemas.manifest import FLOWS, Manifest, decode_manifest
from schemas.shard import read_shard
from tests import crawls
from tests.videos import video

PAGES = 8
SETTINGS = ["--set", "select.max_url_pages=3", "--workers", "2"]
REFRAIN = "Subscribe to the letter of the house, which comes once in a month and tells of boats and of bridges."


def page(number: int, more: str = "") -> bytes:
    """Two pictures of its own, a video, a picture that all pages show, the refrain that all pages have."""
    figures = [
        f'<img src="/{number}-a.png" alt="{crawls.prose(number + 500, 1)}">',
        f'<img src="/{number}-b.png" alt="IMG_{number}.png">',
        f'<video src="/{number}.mp4"></video><figcaption>{crawls.prose(number + 700, 1)}</figcaption>',
        '<img src="/shown.png" alt="a boat">',
    ]
    shown = "".join(f"<p>{crawls.prose(number * 10 + n)}</p><figure>{one}</figure>" for n, one in enumerate(figures))
    end = f"<p>{REFRAIN}</p>{more}<p>{crawls.prose(number * 10 + 9)}</p>"
    return f"<html><body><article><h1>Page {number}</h1>{shown}{end}</article></body></html>".encode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counts")
    records = []
    for n in range(PAGES):
        more = '<figure><img src="/nowhere.png"></figure><figure><video src="/broken.mp4"></video></figure>' * (n == 1)
        bodies = {"-a.png": crawls.picture(n * 2, 320, 240), "-b.png": crawls.picture(n * 2 + 1, *((320, 240), (20, 20))[n == 2])}  # fmt: skip
        records.append(crawls.record(f"http://a.example/{n}.html", page(n, more), "text/html"))
        records += [crawls.record(f"http://a.example/{n}{name}", body, "image/png") for name, body in bodies.items()]
        records.append(crawls.record(f"http://a.example/{n}.mp4", video(2, seed=n), "video/mp4"))
    shown = crawls.record("http://a.example/shown.png", crawls.picture(99, 320, 240), "image/png")
    broken = crawls.record("http://a.example/broken.mp4", video(2)[:1500], "video/mp4")
    copy = crawls.record("http://a.example/copy.html", page(3), "text/html", date="2020-01-01T00:00:00Z")
    again = crawls.record("http://a.example/4.html", page(4), "text/html", date="2020-01-01T00:00:00Z")
    lost = crawls.record("http://a.example/lost.html", b"<p>gone</p>", "text/html", status=404)
    bare = crawls.record("http://a.example/bare.html", f"<p>{crawls.prose(1)}</p>".encode(), "text/html")
    short = crawls.record("http://a.example/short.html", b'<p>Hi</p><img src="/x.png"><video src="/y.mp4"></video>', "text/html")  # fmt: skip
    warc = crawls.write_warc(folder / "c.warc.gz", [*records, shown, broken, copy, again, lost, bare, short])
    out = folder / "run"
    assert main(["crawl", str(warc), "--out", str(out), *SETTINGS]) == 0
    return out


@pytest.fixture(scope="module")
def manifest(run: Path) -> Manifest:
    return decode_manifest((run / "shards/manifest.json").read_bytes())


def test_what_came_in_is_kept_or_dropped(manifest: Manifest) -> None:
    """Of every kind something came in, something is kept, and the rest are the drops of all stages."""
    for name in FLOWS:
        flow = getattr(manifest, name)
        assert flow.entered == flow.kept + sum(sum(reasons.values()) for reasons in flow.dropped.values())
        assert flow.kept > 0
        assert flow.lost > 0
    assert manifest.pages.entered == PAGES + 5
    assert set(manifest.pages.dropped) == {"extract", "select"}
    assert set(manifest.images.dropped) == set(manifest.videos.dropped) == {"extract", "select", "shard"}


def test_every_drop_that_is_counted_is_a_row(run: Path, manifest: Manifest) -> None:
    """Stage by stage, kind by kind, reason by reason."""
    rows = [row for path in run.glob("drops/*.parquet") for row in pq.read_table(path).to_pylist()]
    counted = {
        (stage, name.removesuffix("s"), reason): number
        for name in FLOWS
        for stage, reasons in getattr(manifest, name).dropped.items()
        for reason, number in reasons.items()
    }

    assert Counter((row["stage"], row["kind"], row["reason"]) for row in rows) == counted
    assert counted["select", "paragraph", "domain_boilerplate"] == PAGES
    assert counted["select", "image", "frequent_url"] == PAGES
    assert counted["shard", "video", "broken_video"] == 1
    assert counted["shard", "image", "not_in_crawl"] == 1


def test_what_is_kept_is_in_the_shards(run: Path, manifest: Manifest) -> None:
    """Pages, paragraphs, pictures, videos and pairs, counted in the tars themselves."""
    found: Counter[str] = Counter()
    for tar in run.glob("shards/*/*.tar"):
        with tar.open("rb") as file:
            for sample in read_shard(file):
                if tar.parent.name != "interleaved":
                    found["pairs"] += 1
                    continue
                document = msgspec.json.decode(sample.members["json"], type=Document)
                found["pages"] += 1
                for kind, name in ((Text, "paragraphs"), (Image, "images"), (Video, "videos")):
                    found[name] += sum(isinstance(node, kind) for node in document.nodes)

    assert found == {name: getattr(manifest, name).kept for name in FLOWS}
