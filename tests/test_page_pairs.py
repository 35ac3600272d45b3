"""Pairs from pages, from the command line: shards of pairs beside the documents', counts that add up, one sample for copies."""

from pathlib import Path

import datasets
import msgspec
import pytest
import webdataset

from jobs.cli import main
from schemas.manifest import decode_manifest
from schemas.pair import ImageTextPair
from tests import crawls

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset closes late
SIZED = ["--set", "shard.target_bytes=65536"]


def page(host: str, n: int, shown: list[tuple[str, str]]) -> bytes:
    """A page with pictures (path, alt text) between its paragraphs."""
    figures = "".join(
        f'<p>{crawls.prose(n * 10 + place)}</p><figure><img src="{path}" alt="{alt}"></figure>'
        for place, (path, alt) in enumerate(shown)
    )
    html = f"<html><body><article><h1>Page {n}</h1>{figures}<p>{crawls.prose(n * 10 + 9)}</p></article></body></html>"
    return crawls.record(f"http://{host}/{n}.html", html.encode(), "text/html")


def pictures(host: str, names: list[tuple[str, int]]) -> list[bytes]:
    return [crawls.record(f"http://{host}{name}", crawls.picture(seed, 320, 240), "image/png") for name, seed in names]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two hosts that show one picture with one text on ten pages, and a text that stands beside twelve pictures of both."""
    folder = tmp_path_factory.mktemp("crawl")
    paths = []
    for host, first in (("a.example", 0), ("b.example", 50)):
        names = [(f"/{first + n}.png", first + n) for n in range(6)]
        pages = [
            page(host, first + n, [(name, "Click here to enlarge"), ("/same.png", "A heron on one leg")][: 1 + (n < 5)])
            for n, (name, _) in enumerate(names)
        ]
        own = page(host, first + 9, [("/own.png", f"The mill of {host} at dusk"), ("/heron.png", "mill.png")])
        media = pictures(host, [*names, ("/same.png", 7), ("/own.png", first + 8), ("/heron.png", first + 9)])
        paths.append(crawls.write_warc(folder / f"{host}.warc.gz", [*pages, own, *media]))
    return paths


@pytest.fixture(scope="module")
def run(crawl: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["crawl", *map(str, crawl), "--out", str(out), "--workers", "1", *SIZED]) == 0
    return out


def test_each_picture_and_text_is_one_sample(run: Path) -> None:
    """Copies of a pair on many pages are one; a text beside too many pictures and a file's name are none; all is counted."""
    tars = sorted(map(str, (run / "shards/image_text").glob("*.tar")))
    samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    pairs = [msgspec.json.decode(sample["json"], type=ImageTextPair) for sample in samples]
    flow = decode_manifest((run / "shards/manifest.json").read_bytes()).pairs

    assert sorted(pair.caption for pair in pairs) == [
        "A heron on one leg",
        "The mill of a.example at dusk",
        "The mill of b.example at dusk",
    ]
    assert all(sample["txt"].decode() == pair.caption for sample, pair in zip(samples, pairs, strict=True))
    assert all(sample["png"].startswith(b"\x89PNG") for sample in samples)
    assert (flow.entered, flow.kept) == (26, 3)
    assert flow.dropped == {"shard": {"duplicate_pair": 9, "file_name": 2, "frequent_caption": 12}}


def test_workers_and_order_change_no_pair(crawl: list[Path], run: Path, tmp_path: Path) -> None:
    """Two workers and inputs the other way round give the same shards of pairs."""
    out = tmp_path / "other"
    assert main(["crawl", *map(str, reversed(crawl)), "--out", str(out), "--workers", "2", *SIZED]) == 0
    digests = [
        [(s.path, s.sha256) for s in decode_manifest((o / "shards/manifest.json").read_bytes()).shards]
        for o in (run, out)
    ]

    assert digests[0] == digests[1]


@pytest.mark.filterwarnings("ignore")  # of datasets
def test_hugging_face_datasets_read_the_pairs(run: Path, tmp_path: Path) -> None:
    """With the features that the card declares: picture, text and JSON; formats that do not occur are null."""
    rows = datasets.load_dataset(str(run / "shards"), "image_text", split="train", cache_dir=str(tmp_path))

    assert {row["txt"] for row in rows} == {row["json"]["caption"] for row in rows}
    assert (rows[0]["png"].size, rows[0]["jpg"]) == ((320, 240), None)


def test_inspect_shows_a_pair(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text, the page and the size of the picture; of a run documents come before pairs."""
    tar = next((run / "shards/image_text").glob("*.tar"))
    assert main(["inspect", str(tar)]) == 0
    shown = capsys.readouterr().out
    assert "320 x 240" in shown
    assert "http://" in shown
    assert "<image>" not in shown

    assert main(["inspect", str(run)]) == 0
    assert "<image>" in capsys.readouterr().out


def test_pairs_can_be_left_out(run: Path) -> None:
    """Without pairs there is no shard of them, and none came in."""
    assert main(["shard", "--out", str(run), *SIZED, "--set", "pairs.from_pages=false"]) == 0
    manifest = decode_manifest((run / "shards/manifest.json").read_bytes())

    assert {shard.kind for shard in manifest.shards} == {"interleaved"}
    assert manifest.pairs.entered == 0
