"""The main job from the command line: crawls to shards, whole, repeated, interrupted, changed."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import datasets
import fsspec
import msgspec
import pyarrow.parquet as pq
import pytest
import webdataset

from jobs.cli import main
from schemas.document import Document, Image
from schemas.manifest import decode_manifest
from schemas.markup import parse, render
from tests import crawls

PAGES = 6

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset closes late


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two WARCs: pages, pictures, and of each kind of loss one."""
    folder = tmp_path_factory.mktemp("crawl")
    one, two = crawls.site("a.example", PAGES), crawls.site("b.example", PAGES, first=50)
    again = crawls.record(
        "http://a.example/0.html", crawls.page(0, ["/0-a.png", "/0-b.png"]), "text/html", date="2026-05-01T00:00:00Z"
    )
    copy = crawls.record(
        "http://b.example/copy.html",
        crawls.page(50, ["/50-a.png", "/50-b.png"]),
        "text/html",
        date="2020-01-01T00:00:00Z",
    )
    lost = crawls.record("http://a.example/lost.html", b"<p>gone</p>", "text/html", status=404)
    bare = crawls.record("http://a.example/bare.html", crawls.page(70, ["/nowhere.png"]), "text/html")
    moved = crawls.record("http://a.example/old.png", b"", "text/html", status=301, headers="Location: /0-a.png\r\n")
    moving = crawls.record("http://a.example/moving.html", crawls.page(80, ["/old.png", "/tiny.png"]), "text/html")
    tiny = crawls.record("http://a.example/tiny.png", crawls.picture(5, 40, 40), "image/png")
    return [
        crawls.write_warc(folder / "one.warc.gz", [*one, lost, bare, moved, moving, tiny]),
        crawls.write_warc(folder / "two.warc.gz", [*two, copy, again]),
    ]


@pytest.fixture(scope="module")
def run(crawl: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over both, with one worker."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["crawl", *map(str, crawl), "--out", str(out), "--workers", "1"]) == 0
    return out


def output(out: Path) -> dict[str, str]:
    """Digests of everything that a run promises to be the same."""
    return {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted((out / "shards").rglob("*"))
        if p.is_file()
    }


def documents(out: Path) -> Iterator[tuple[Document, dict[str, bytes]]]:
    """All samples, read by webdataset."""
    tars = sorted(map(str, (out / "shards/interleaved").glob("*.tar")))
    for sample in webdataset.WebDataset(tars, shardshuffle=False, empty_check=False):
        yield msgspec.json.decode(sample["json"], type=Document), sample


def test_documents_hold_text_and_pictures_in_order(run: Path) -> None:
    """Each sample's nodes are the page's, its members the pictures that the nodes name, its text the markup of its nodes."""
    found = list(documents(run))

    assert len(found) == 2 * PAGES + 1
    for document, sample in found:
        media = [node for node in document.nodes if isinstance(node, Image)]
        assert document.text == render(document.nodes)
        assert parse(document.text, media) == document.nodes
        assert [name for name in sample if name.endswith(".png")] == [medium.member for medium in media]
        assert all(hashlib.sha256(sample[medium.member]).hexdigest() == medium.sha256 for medium in media)
        assert [medium.alt for medium in media] == [f"picture {n}" for n in range(len(media))]


def test_every_loss_has_its_reason(run: Path) -> None:
    """The whole table of drops, by stage, kind and reason, and the counts of the manifest beside it."""
    manifest = decode_manifest((run / "shards/manifest.json").read_bytes())
    rows = [row for path in (run / "drops").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    counted = Counter((row["stage"], row["kind"], row["reason"]) for row in rows if row["kind"] in ("page", "image"))

    assert counted == {
        ("extract", "page", "http_status"): 1,
        ("select", "page", "duplicate_url"): 1,
        ("select", "page", "duplicate_text"): 1,
        ("select", "image", "with_page"): 4,
        ("shard", "page", "no_image"): 1,
        ("shard", "image", "not_in_crawl"): 1,
        ("shard", "image", "side_too_small"): 1,
    }
    assert (2 * PAGES + 5, 2 * PAGES + 1) == (manifest.pages.entered, manifest.pages.kept)
    assert manifest.images.kept == 4 * PAGES + 1
    small = next(row for row in rows if (row["kind"], row["reason"]) == ("image", "side_too_small"))
    assert (40.0, 64.0, "http://a.example/tiny.png") == (small["value"], small["threshold"], small["medium_url"])


def test_of_two_captures_the_later_stays(run: Path) -> None:
    """The page captured in January and in May is the one of May; the copy of a page is gone, the page is not."""
    by_url = {document.url: document for document, _ in documents(run)}

    assert by_url["http://a.example/0.html"].date.startswith("2026-05-01")
    assert "http://b.example/50.html" in by_url
    assert "http://b.example/copy.html" not in by_url


def test_redirects_are_followed_inside_the_crawl(run: Path) -> None:
    """A picture that moved is found where it went."""
    moving = next(document for document, _ in documents(run) if document.url.endswith("moving.html"))

    assert ["http://a.example/old.png"] == [medium.url for medium in moving.media]


def test_workers_and_order_change_nothing(crawl: list[Path], run: Path, tmp_path: Path) -> None:
    """Two workers, inputs the other way round, another folder: the same bytes."""
    out = tmp_path / "other"
    assert main(["crawl", *map(str, reversed(crawl)), "--out", str(out), "--workers", "2"]) == 0

    assert output(out) == output(run)


def test_a_finished_run_does_nothing(crawl: list[Path], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again changes no file and says that there is nothing to do."""
    before = {
        path: path.stat().st_mtime_ns
        for path in run.rglob("*")
        if path.is_file() and path.name not in ("config.toml", ".lock")
    }
    assert main(["crawl", *map(str, crawl), "--out", str(run)]) == 0

    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert capsys.readouterr().err.count("nothing to do") == 4


def test_a_change_redoes_what_depends_on_it(
    crawl: list[Path], run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another seed writes shards only; another input extracts only what is new; going back gives the old bytes."""
    out = tmp_path / "changed"
    shutil.copytree(run, out)
    first = output(out)

    def crawled(*arguments: str) -> list[str]:
        capsys.readouterr()
        assert main(["crawl", *arguments, "--out", str(out)]) == 0
        return [line.split(":")[0] for line in capsys.readouterr().err.splitlines() if "nothing to do" in line]

    assert crawled(*map(str, crawl), "--set", "shard.seed=7") == ["extract", "select", "fetch"]
    assert output(out) != first
    extracted = {path.name: path.stat().st_mtime_ns for path in (out / "documents").iterdir()}
    assert crawled(str(crawl[0])) == []
    assert {path.name: path.stat().st_mtime_ns for path in (out / "documents").iterdir()}.items() < extracted.items()
    crawled(*map(str, crawl))
    assert output(out) == first


def test_shards_have_the_size_asked_for(crawl: list[Path], run: Path, tmp_path: Path) -> None:
    """A small target gives several tars of about that size, with the same samples."""
    out = tmp_path / "small"
    shutil.copytree(run, out)
    assert main(["shard", "--out", str(out), "--set", "shard.target_bytes=65536"]) == 0
    shards = decode_manifest((out / "shards/manifest.json").read_bytes()).shards

    assert len(shards) > 1
    assert {document.key for document, _ in documents(out)} == {document.key for document, _ in documents(run)}


def test_an_index_lies_beside_each_tar(run: Path) -> None:
    """Each sample can be cut out of its tar by the index alone."""
    for tar in (run / "shards/interleaved").glob("*.tar"):
        head, *entries = map(json.loads, tar.with_name(f"{tar.stem}.index.jsonl").read_text().splitlines())
        data = tar.read_bytes()
        assert head == {"tar_bytes": len(data), "samples": len(entries), "version": 1}
        for entry in entries:
            (name, offset, size), *_ = entry["members"]
            assert name == "json"
            assert json.loads(data[offset : offset + size])["key"] == entry["key"]


@pytest.mark.filterwarnings("ignore")  # of datasets
def test_hugging_face_datasets_read_the_shards(run: Path, tmp_path: Path) -> None:
    """With the features that the card declares, by folder and by tar; absent pictures are null."""
    shards = run / "shards"
    by_card = datasets.load_dataset(str(shards), "interleaved", split="train", cache_dir=str(tmp_path))
    by_tar = datasets.load_dataset(
        "webdataset",
        data_files=str(shards / "interleaved/*.tar"),
        features=by_card.features,
        split="train",
        cache_dir=str(tmp_path),
    )

    assert len(by_card) == len(by_tar) == 2 * PAGES + 1
    assert {row["__key__"] for row in by_card} == {document.key for document, _ in documents(run)}
    assert by_tar[0]["000.png"].size == (120, 100)


def test_memory_in_and_out(crawl: list[Path], run: Path) -> None:
    """Any fsspec URL, as input and as output, gives the bytes that disks give."""
    memory = fsspec.filesystem("memory")
    for path in crawl:
        memory.pipe(f"/crawl/{path.name}", path.read_bytes())
    assert main(["crawl", "memory://crawl/*.warc.gz", "--out", "memory://runs/m"]) == 0

    found = {
        name.removeprefix("/runs/m/"): hashlib.sha256(memory.cat(name)).hexdigest()
        for name in memory.find("/runs/m/shards")
    }
    assert found == output(run)


def test_limit_and_sample(crawl: list[Path], tmp_path: Path) -> None:
    """--limit takes the first pages, --sample a share of them that does not depend on the rest."""
    assert main(["extract", *map(str, crawl), "--out", str(tmp_path / "l"), "--limit", "3"]) == 0
    assert main(["extract", *map(str, crawl), "--out", str(tmp_path / "s"), "--sample", "0.5"]) == 0
    rows = [pq.read_table(path).num_rows for path in (tmp_path / "l/documents").iterdir()]
    sampled = sum(pq.read_table(path).num_rows for path in (tmp_path / "s/documents").iterdir())

    assert sum(rows) == 3
    assert 0 < sampled < 2 * PAGES


@pytest.mark.slow
def test_a_killed_run_goes_on(crawl: list[Path], run: Path, tmp_path: Path) -> None:
    """Killed with SIGKILL at random moments and run again, a job ends with the same bytes and leaves nothing half-written."""
    out, draw = tmp_path / "killed", random.Random(0)
    command = [sys.executable, "-m", "jobs", "crawl", *map(str, crawl), "--out", str(out), "--workers", "2"]
    for _ in range(12):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(draw.uniform(2, 12))
        killed = process.poll() is None
        process.kill()
        process.wait()
        if not killed:
            shutil.rmtree(out)  # it was quicker: another try from the beginning
    assert subprocess.run(command, check=False).returncode == 0

    assert output(out) == output(run)
    assert {str(p.relative_to(out)) for p in out.rglob("*")} == {str(p.relative_to(run)) for p in run.rglob("*")}


def test_a_part_of_which_nothing_is_left(tmp_path: Path) -> None:
    """A file of which no page is a document, and one whose pages all stand in another one, too: the rest is what it would be alone."""
    pages = crawls.site("a.example", 2)
    later = [
        crawls.record("http://a.example/0.html", crawls.page(0, ["/0-a.png"]), "text/html", date="2025-01-01T00:00:00Z")
    ]
    crawls.write_warc(tmp_path / "1.warc.gz", pages)
    crawls.write_warc(tmp_path / "2.warc.gz", later)
    crawls.write_warc(tmp_path / "3.warc.gz", [crawls.record("http://a.example/x", b"gone", "text/html", status=404)])
    for name, inputs in (("alone", ["1.warc.gz"]), ("all", ["1.warc.gz", "2.warc.gz", "3.warc.gz"])):
        command = ["crawl", *(str(tmp_path / one) for one in inputs), "--out", str(tmp_path / name), "--workers", "1"]
        assert main(command) == 0

    tar = "shards/interleaved/00000.tar"
    assert output(tmp_path / "alone")[tar] == output(tmp_path / "all")[tar]


def test_one_writer(crawl: list[Path], run: Path) -> None:
    """While one process writes, a second command on the same folder is refused with exit code 2."""
    from pipeline.lock import locked
    from pipeline.store import Store

    with locked(Store(str(run))):
        assert main(["crawl", *map(str, crawl), "--out", str(run)]) == 2
