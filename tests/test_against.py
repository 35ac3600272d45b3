"""What an earlier run holds, and what was taken down, does not come back: by URL, by text, by nearly the same text."""

import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jobs.cli import main
from pipeline.stages.media_index import key16
from pipeline.stages.selection import DOCUMENT_KEY, VERDICTS, first_by_text, latest_by_url, rekey_by_text
from pipeline.store import Store
from pipeline.takedown.taken import Taken
from pipeline.takedown.tombstones import read_tombstones
from pipeline.urls import page_key
from schemas.shard import read_shard
from schemas.tables import TOMBSTONES
from tests import crawls

EARLIER = "http://first.example"


def html(seed: int, text: str, pictures: int = 2) -> bytes:
    """A page of paragraphs with pictures of its own."""
    paragraphs = "".join(f"<p>{sentence}.</p>" for sentence in text.split(". "))
    shown = "".join(f'<figure><img src="/{seed}-{n}.png" alt="picture {n}"></figure>' for n in range(pictures))
    return f"<html><body><article><h1>A page</h1>{paragraphs}{shown}</article></body></html>".encode()


def records(host: str, pages: dict[str, tuple[int, str]], date: str = crawls.DATE) -> list[bytes]:
    """Pages by path, each with a seed for its pictures and a text; and the pictures."""
    made = [
        crawls.record(f"{host}/{path}", html(seed, text), "text/html", date=date)
        for path, (seed, text) in pages.items()
    ]
    pictures = [(seed, n) for seed, _ in pages.values() for n in range(2)]
    return made + [
        crawls.record(f"{host}/{seed}-{n}.png", crawls.picture(seed * 2 + n), "image/png") for seed, n in pictures
    ]


TEXTS = {
    name: crawls.prose(number, 24) for number, name in enumerate(("one", "two", "three", "four", "five", "six"), 700)
}
NEAR = TEXTS["two"].replace(" river ", " lake ").replace(" fog ", " mist ")


def shown(run: Path) -> set[str]:
    """The URLs of the media in the finished documents."""
    found = set()
    for tar in (run / "shards/interleaved").glob("*.tar"):
        with tar.open("rb") as file:
            documents = [json.loads(sample.members["json"]) for sample in read_shard(file)]
        found |= {node["url"] for document in documents for node in document["nodes"] if node["kind"] != "text"}
    return found


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of four pages, and of copies of two that did not get into it."""
    folder = tmp_path_factory.mktemp("first")
    pages = {f"{name}.html": (number, TEXTS[name]) for number, name in enumerate(("one", "two", "three", "four"))}
    copies = {"one": (10, TEXTS["one"]), "two": (11, NEAR)}
    made = [*records(EARLIER, pages), *records("http://mirror.example", copies, "2020-01-02T03:04:05Z")]
    warc = crawls.write_warc(folder / "first.warc.gz", made)
    assert main(["crawl", str(warc), "--out", str(folder / "run"), "--workers", "1"]) == 0
    return folder / "run"


def second(folder: Path, split_into: int = 1) -> list[str]:
    """A crawl with a page at an old address, an exact copy, a near one, and two that are new; its files."""
    folder.mkdir(exist_ok=True)
    made = [
        *records(EARLIER, {"three.html": (20, TEXTS["five"])}),
        *records("http://second.example", {"copy": (21, TEXTS["one"]), "near": (22, NEAR), "new": (23, TEXTS["six"])}),
        *records(
            "http://second.example", {"half": (24, ". ".join([*TEXTS["four"].split(". ")[:6], crawls.prose(9, 18)]))}
        ),
    ]
    return [str(crawls.write_warc(folder / f"{n}.warc.gz", made[n::split_into])) for n in range(split_into)]


def take_down(run: Path, *lines: str, similar: int | None = None) -> None:
    listed = run.parent / "list.txt"
    listed.write_text("\n".join(lines))
    options = [] if similar is None else ["--similar", str(similar)]
    assert main(["takedown", str(run), "--urls", str(listed), "--workers", "1", *options]) == 0


def kept(run: Path) -> set[str]:
    rows = {}
    for path in (run / "selected").glob("*.parquet"):
        documents = pq.read_table(
            next((run / "documents").glob(f"{path.stem.rpartition('-')[0]}.parquet")), columns=["url"]
        )
        rows.update({documents["url"][row].as_py(): row for row in pq.read_table(path)["row"].to_pylist()})
    return set(rows)


def dropped(run: Path) -> dict[str, dict]:
    """The pages that select has dropped."""
    rows = [row for path in (run / "drops").glob("select-*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["url"]: row for row in rows if row["kind"] == "page"}


def test_what_an_earlier_run_holds_goes(first: Path, tmp_path: Path) -> None:
    """By URL, though the text is new; by text and by nearly the same text, though the URL is; half a copy and new pages stay."""
    out = tmp_path / "run"
    assert main(["extract", *second(tmp_path / "in", 4), "--out", str(out), "--workers", "1"]) == 0
    assert main(["select", "--out", str(out), "--workers", "1", "--against", str(first)]) == 0

    assert kept(out) == {"http://second.example/new", "http://second.example/half"}
    drops = dropped(out)
    of = {
        "http://first.example/three.html": "three",
        "http://second.example/copy": "one",
        "http://second.example/near": "two",
    }
    assert {url: row["reason"] for url, row in drops.items()} == dict.fromkeys(of, "in_earlier_run")
    for url, name in of.items():
        assert key16(page_key(f"{EARLIER}/{name}.html")).hex() in drops[url]["detail"]
    assert 0.75 <= drops["http://second.example/near"]["value"] < 1


@pytest.mark.parametrize("near_duplicates", [0.99, 0])
def test_the_same_folder_does_not_take_back_what_was_taken_down(
    first: Path, tmp_path: Path, near_duplicates: float
) -> None:
    """Two pages go; without a look at near copies of its own neither they nor the copies that they kept out come in their stead, and a third run does nothing."""
    run = Path(shutil.copytree(first, tmp_path / "run"))
    warc = str(first.parent / "first.warc.gz")
    assert {url: row["reason"] for url, row in dropped(run).items()} == {
        "http://mirror.example/one": "duplicate_text",
        "http://mirror.example/two": "near_duplicate",
    }
    take_down(run, f"{EARLIER}/one.html", f"{EARLIER}/two.html", f"{EARLIER}/absent.html", f"{EARLIER}/3-0.png")
    command = ["crawl", warc, "--out", str(run), "--workers", "1", "--set", f"select.near_duplicates={near_duplicates}"]
    assert main(command) == 0

    gone = {f"{EARLIER}/one.html", f"{EARLIER}/two.html", "http://mirror.example/one", "http://mirror.example/two"}
    assert {url: row["reason"] for url, row in dropped(run).items()} == dict.fromkeys(gone, "taken_down")
    assert dropped(run)["http://mirror.example/two"]["threshold"] == 0.75
    assert kept(run) == {f"{EARLIER}/three.html", f"{EARLIER}/four.html"}
    assert shown(run) == {f"{EARLIER}/2-0.png", f"{EARLIER}/2-1.png", f"{EARLIER}/3-1.png"}
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.suffix in (".parquet", ".tar")}
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.suffix in (".parquet", ".tar")} == before


def test_a_picture_that_was_taken_down_stays_out_of_later_runs(first: Path, tmp_path: Path) -> None:
    """By its URL, as one of several candidates, by its bytes under another URL, and, since it was asked for, by what looks the same."""
    earlier = Path(shutil.copytree(first, tmp_path / "earlier"))
    taken, other = f"{EARLIER}/2-0.png", f"{EARLIER}/2-1.png"
    take_down(earlier, taken, other, "http://mirror.example/one", similar=6)
    (page,) = [row for row in read_tombstones(Store(str(earlier))) if row["text_key"]]
    assert (
        page["url"] == "http://mirror.example/one"
    )  # it was in no shard, as a copy, and is known by its text all the same
    with Image.open(io.BytesIO(crawls.picture(4))) as picture:
        picture.save(alike := io.BytesIO(), "JPEG")
    pictures = {
        taken: crawls.picture(900),
        "http://second.example/rendition.png": crawls.picture(901),
        "http://second.example/same.png": crawls.picture(4),
        "http://second.example/alike.png": alike.getvalue(),
        "http://second.example/new.png": crawls.picture(902),
    }
    images = [
        *(f'<img src="{url}" alt="a picture">' for url in pictures if "rendition" not in url),
        f'<img src="/rendition.png" srcset="{other} 2x" alt="a picture">',
    ]
    body = "".join(f"<p>{crawls.prose(number)}</p>{image}" for number, image in enumerate(images))
    html = f"<html><body><article><h1>A page</h1>{body}</article></body></html>".encode()
    records = [crawls.record(url, data, "image/png") for url, data in pictures.items()]
    warc = crawls.write_warc(
        tmp_path / "second.warc.gz", [crawls.record("http://second.example/page", html, "text/html"), *records]
    )
    out = tmp_path / "run"
    assert main(["crawl", str(warc), "--out", str(out), "--workers", "1", "--against", str(earlier)]) == 0

    assert shown(out) == {"http://second.example/new.png"}
    dropped = json.loads((out / "shards/manifest.json").read_bytes())["images"]["dropped"]
    assert {stage: reasons.get("taken_down") for stage, reasons in dropped.items()} == {"select": 2, "shard": 2}
    asked = [url for path in (out / "media-urls").glob("*.parquet") for url in pq.read_table(path)["url"].to_pylist()]
    assert sorted(asked) == [f"http://second.example/{name}.png" for name in ("alike", "new", "same")]


def test_a_look_alike_goes_only_where_it_was_asked_for() -> None:
    """Tombstones say by how many bits; without them only bytes and URLs count; pictures without a perceptual hash are like none."""
    phash = bytes.fromhex("f0f0f0f0f0f0f0f0")
    near = bytes.fromhex("f0f0f0f0f0f0f0f3")
    row = {"media_key": bytes(16), "sha256": bytes(32), "source_sha256": None, "phash": near}

    def taken(**tombstone: object) -> Taken:
        return Taken(pa.Table.from_pylist([{"kind": "medium"} | tombstone], schema=TOMBSTONES))

    assert not taken(phash=phash).medium(row)
    assert not taken(phash=phash, max_distance=1).medium(row)
    assert taken(phash=phash, max_distance=2).medium(row)
    assert not taken(phash=bytes(8), max_distance=0).medium(row | {"phash": bytes(8)})
    assert taken(sha256=bytes(32)).medium(row)
    assert taken(key=bytes(16)).medium(row)
    assert not Taken(TOMBSTONES.empty_table()).medium(row)


def test_a_domain_binds_as_far_as_it_was_taken_down() -> None:
    """Pages and media on it and below it, nothing beside it; `www.` is a name like others."""
    rows = [{"kind": "domain", "url": "www.a.example"}, {"kind": "domain", "url": "b.example"}]
    taken = Taken(pa.Table.from_pylist(rows, schema=TOMBSTONES))
    urls = ["http://www.a.example/x", "http://a.example/x", "http://c.b.example/x", "http://ab.example/x"]
    assert [taken.medium_url(url) for url in urls] == [True, False, True, False]
    assert [taken.page(url) is not None for url in urls] == [True, False, True, False]


def test_bad_folders_are_refused_before_anything_is_done(first: Path, tmp_path: Path) -> None:
    """No folder, no run's folder, an unfinished run, another version, the run's own folder."""
    (tmp_path / "other").mkdir()
    unfinished, old = (Path(shutil.copytree(first, tmp_path / name)) for name in ("unfinished", "old"))
    (unfinished / "stages/shard.json").unlink()
    for path in (old / "fingerprints").glob("*.parquet"):
        pq.write_table(
            pq.read_table(path).replace_schema_metadata({"m3w.table": "fingerprints", "m3w.version": "1"}), path
        )
    out = tmp_path / "new"
    warc = str(first.parent / "first.warc.gz")
    for folder, code in [("absent", 2), ("other", 2), ("unfinished", 2), ("old", 1), ("new", 2)]:
        assert main(["crawl", warc, "--out", str(out), "--against", str(tmp_path / folder)]) == code, folder
        assert not out.exists()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.randoms(use_true_random=False))
def test_pages_of_before_win_in_any_split_and_order(seed: int, parts: int, draw: random.Random) -> None:
    """Who goes, and why, is what a look at all pages at once says: a tombstone before an earlier run before this run."""
    pages = np.zeros(draw.randint(1, 30), dtype=DOCUMENT_KEY)
    numbers = np.random.default_rng(seed)
    for field, values in {"hi": 6, "text_hi": 6, "date": 3, "media": 3, "earlier": 3}.items():
        pages[field] = numbers.integers(0, values, len(pages))
    pages["tie"] = pages["row"] = np.arange(len(pages))

    def judged(blobs: list[bytes]) -> dict[int, str]:
        survivors, by_url = latest_by_url(blobs)
        rekeyed = rekey_by_text(survivors)
        draw.shuffle(halves := [rekeyed[0::2].tobytes(), rekeyed[1::2].tobytes()])
        verdicts = np.concatenate([by_url, first_by_text(halves)[1]])
        return {int(one["row"]): VERDICTS[one["reason"]].value for one in verdicts}

    blobs = [pages[part::parts].tobytes() for part in range(parts)]
    draw.shuffle(blobs)
    found = judged(blobs)
    assert found == judged([pages.tobytes()])
    before = {
        field: [set(pages[field][pages["earlier"] == known].tolist()) for known in range(3)]
        for field in ("hi", "text_hi")
    }
    for row, page in enumerate(pages):
        if page["earlier"]:
            assert row not in found
            continue
        known = max(known for known in range(3) if known == 0 or page["hi"] in before["hi"][known]) or max(
            known for known in range(3) if known == 0 or page["text_hi"] in before["text_hi"][known]
        )
        if known:
            assert found[row] in (("in_earlier_run", "taken_down")[known - 1], "duplicate_url")
        else:
            assert found.get(row, "") in ("", "duplicate_url", "duplicate_text")
