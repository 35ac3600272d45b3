"""The extract stage on one slice: what kills a worker, what is copied, what is counted."""

import base64
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.extract import tasks_of
from pipeline.config import Config
from pipeline.read.inputs import find_inputs
from pipeline.runfolder import RunFolder
from pipeline.stages import extract
from pipeline.stages.extract import MAX_MEDIA, extract_slice
from schemas.document import Draft
from tests import crawls
from tests.pictures import encode, photo


def extracted(
    folder: Path, records: list[bytes], skip: frozenset[int] = frozenset()
) -> tuple[dict[str, int], dict[str, list[dict[str, object]]]]:
    """The counts of one slice, and the rows of its tables."""
    warc = crawls.write_warc(folder / "one.warc.gz", records)
    run = RunFolder(str(folder / "run"))
    (task,) = tasks_of(run.store.url, Config(), find_inputs([str(warc)]), None).values()
    counts = extract_slice(task, lambda record: None, skip)
    paths = {name: next((folder / "run" / name).glob("*.parquet")) for name in ("documents", "drops", "media-index")}
    return counts, {name: pq.read_table(path).to_pylist() for name, path in paths.items()}


def test_a_record_that_kills_is_a_row(tmp_path: Path) -> None:
    """A page that ended its worker twice is a drop; the pages beside it are documents."""
    pages = [crawls.record(f"http://a.example/{n}", crawls.page(n, ["/x.png"]), "text/html") for n in range(3)]
    counts, tables = extracted(tmp_path, pages, skip=frozenset({1}))

    assert [row["url"] for row in tables["documents"]] == ["http://a.example/0", "http://a.example/2"]
    assert [(row["reason"], row["url"]) for row in tables["drops"] if row["kind"] == "page"] == [
        ("worker_killed", "http://a.example/1")
    ]
    assert (3, 2, 1) == (counts["pages.in"], counts["documents"], counts["pages.dropped.worker_killed"])


def test_a_fault_of_ours_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception out of the extraction costs its page alone, and its name is in the row."""

    def faulty(html: bytes, url: str, *, charset: str | None = None) -> Draft:
        raise IndexError("list index out of range")

    monkeypatch.setattr(extract, "draft", faulty)
    counts, tables = extracted(tmp_path, [crawls.record("http://a.example/", b"<p>x</p>", "text/html")])

    assert counts["pages.dropped.extractor_fault"] == 1
    assert tables["drops"][0]["detail"] == "IndexError: list index out of range"


def test_pictures_inside_the_page_are_copied(tmp_path: Path) -> None:
    """The bytes of a `data:` picture go into the copies; the document names them by their digest."""
    data = encode(photo(200, 160), "PNG")
    inline = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    _, tables = extracted(tmp_path, [crawls.record("http://a.example/", crawls.page(1, [inline]), "text/html")])
    (row,) = tables["media-index"]

    assert row["copied"]
    assert (tmp_path / "run" / str(row["ref_name"])).read_bytes()[: len(data)] == data
    assert str(row["url"]) in str(tables["documents"][0]["nodes"])
    assert "base64" not in str(tables["documents"][0]["nodes"])


def test_counts_are_those_of_the_rows(tmp_path: Path) -> None:
    """What is counted as dropped has a row, and what came in is in a document or dropped."""
    pages = [
        crawls.record("http://a.example/1", crawls.page(1, ["/x.png", "/y.png"]), "text/html"),
        crawls.record("http://a.example/2", crawls.page(2, []), "text/html"),
        crawls.record("http://a.example/3", b"<p>short</p><img src=/a.png>", "text/html"),
    ]
    counts, tables = extracted(tmp_path, pages)
    for kind in ("page", "paragraph", "image"):
        dropped = sum(number for name, number in counts.items() if name.startswith(f"{kind}s.dropped."))
        kept = sum(row[f"{kind}s"] if kind != "page" else 1 for row in tables["documents"])
        assert dropped == sum(row["kind"] == kind for row in tables["drops"])
        assert counts.get(f"{kind}s.in", 0) == dropped + kept


def test_a_page_of_very_many_pictures_is_a_drop(tmp_path: Path) -> None:
    """Past the budget a page goes with all its pictures; its neighbours stay."""
    shown = "".join(f'<img src="/{n}.png" alt="x" width="300" height="200">' for n in range(MAX_MEDIA + 1))
    many = f"<article><h1>All</h1><p>{crawls.prose(1)}</p>{shown}<p>{crawls.prose(2)}</p></article>"
    counts, tables = extracted(
        tmp_path,
        [
            crawls.record("http://a.example/many", many.encode(), "text/html"),
            crawls.record("http://a.example/one", crawls.page(1, ["/x.png"]), "text/html"),
        ],
    )

    assert [row["url"] for row in tables["documents"]] == ["http://a.example/one"]
    assert counts["pages.dropped.too_many_media"] == 1
    assert counts["images.dropped.with_page"] == MAX_MEDIA + 1


def test_policies_are_rows(tmp_path: Path) -> None:
    """A robots.txt of the crawl stands in a table of its own, which is there only if there is one."""
    pages = [crawls.record("http://a.example/", crawls.page(1, ["/x.png"]), "text/html")]
    robots = crawls.record("http://a.example/robots.txt", b"User-agent: *\nDisallow: /x\n", "text/plain")
    counts, _ = extracted(tmp_path, [*pages, robots])

    (path,) = (tmp_path / "run/policies").glob("*.parquet")
    assert counts["records.policy"] == 1
    assert pq.read_table(path).to_pylist() == [
        {"origin": "http://a.example", "kind": "robots", "date": crawls.DATE, "text": "User-agent: *\nDisallow: /x\n"}
    ]
    (tmp_path / "other").mkdir()
    extracted(tmp_path / "other", pages)
    assert not (tmp_path / "other/run/policies").exists()
