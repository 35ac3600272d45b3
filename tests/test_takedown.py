"""Takedown: what is listed goes from shards, tables and stores, is counted, and does not come back."""

import gzip
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from jobs import takedown
from jobs.cli import main
from jobs.job import Job
from pipeline.store import Store
from pipeline.takedown.entries import Entries, read_entries
from pipeline.takedown.tombstones import read_tombstones
from schemas.errors import InputError
from schemas.manifest import Manifest, decode_manifest
from schemas.shard import decode_index, index_tar, read_shard
from tests import crawls

PAGES = 5


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over two sites; b.example shows a copy of a picture of a.example."""
    folder = tmp_path_factory.mktemp("takedown")
    copy = [
        crawls.record("http://b.example/copy.html", crawls.page(90, ["/same.png", "/90-b.png"]), "text/html"),
        crawls.record("http://b.example/same.png", crawls.picture(0), "image/png"),
        crawls.record("http://b.example/90-b.png", crawls.picture(777), "image/png"),
    ]
    warc = crawls.write_warc(
        folder / "c.warc.gz", [*crawls.site("a.example", PAGES), *crawls.site("b.example", PAGES, first=50), *copy]
    )
    out = folder / "run"
    assert main(["crawl", str(warc), "--out", str(out), "--workers", "1"]) == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def take_down(run: Path, *lines: str, options: tuple[str, ...] = ()) -> None:
    listed = run.parent / "list.txt"
    listed.write_text("\n".join(lines))
    assert main(["takedown", str(run), "--urls", str(listed), "--workers", "1", *options]) == 0


def documents(run: Path) -> dict[str, dict]:
    found = {}
    for tar in sorted((run / "shards/interleaved").glob("*.tar")):
        with tar.open("rb") as file:
            for sample in read_shard(file):
                document = json.loads(sample.members["json"])
                assert [m["member"] for m in document["nodes"] if m["kind"] != "text"] == [
                    n for n in sample.members if n != "json"
                ]
                found[document["url"]] = document
    return found


def media(document: dict) -> list[str]:
    return [node["url"] for node in document["nodes"] if node["kind"] != "text"]


def manifest(run: Path) -> Manifest:
    made = decode_manifest((run / "shards/manifest.json").read_bytes())
    made.check()
    return made


def test_a_page_goes_by_its_url_and_is_counted(run: Path) -> None:
    """The sample is gone, the manifest adds up, its digests are those of the files, and the drop has its row."""
    before = manifest(run)
    take_down(run, "http://A.example/1.html#top")
    assert "http://a.example/1.html" not in documents(run)
    after = manifest(run)
    assert after.pages.kept == before.pages.kept - 1
    assert after.pages.dropped["shard"]["taken_down"] == 1
    assert after.images.kept == before.images.kept - 2
    for shard in after.shards:
        tar = run / "shards" / shard.path
        assert hashlib.sha256(tar.read_bytes()).hexdigest() == shard.sha256
        with tar.open("rb") as file:
            index = decode_index(tar.with_suffix("").with_suffix(".index.jsonl").read_bytes())
            assert index[1] == index_tar(file)
    rows = [row for path in (run / "drops").glob("shard-*.parquet") for row in pq.read_table(path).to_pylist()]
    assert [row["url"] for row in rows if row["reason"] == "taken_down"] == ["http://a.example/1.html"]


def test_a_medium_goes_with_its_copies_and_the_rest_moves_up(run: Path) -> None:
    """Found by its URL, it goes from the page that shows the same bytes under another URL, too; members are numbered anew."""
    take_down(run, "http://a.example/0-a.png")
    left = documents(run)
    assert media(left["http://a.example/0.html"]) == ["http://a.example/0-b.png"]
    assert media(left["http://b.example/copy.html"]) == ["http://b.example/90-b.png"]
    assert left["http://a.example/0.html"]["text"].count("<image>") == 1
    assert manifest(run).images.dropped["shard"]["taken_down"] == 2


def test_a_page_without_media_left_goes(run: Path) -> None:
    """Both pictures of a page are taken down: the page has no picture."""
    take_down(run, "http://a.example/2-a.png", "http://a.example/2-b.png")
    assert "http://a.example/2.html" not in documents(run)
    assert manifest(run).pages.dropped["shard"]["no_image"] == 1


def test_a_domain_goes_whole(run: Path) -> None:
    """All pages of the domain and of what is below it go; another domain stays."""
    take_down(run, "b.example")
    assert {url.split("/")[2] for url in documents(run)} == {"a.example"}


def test_a_digest_names_a_medium(run: Path) -> None:
    """The SHA-256 of a picture's bytes takes it out wherever it stands."""
    digest = hashlib.sha256(crawls.picture(0)).hexdigest()
    take_down(run, f"sha256:{digest}")
    shown = [url for document in documents(run).values() for url in media(document)]
    assert "http://a.example/0-a.png" not in shown
    assert "http://b.example/same.png" not in shown


def test_nothing_of_it_is_left_in_the_folder(run: Path) -> None:
    """Neither the text of a page nor the bytes of a picture stand in any file of the run."""
    words = documents(run)["http://a.example/1.html"]["nodes"][1]["text"][:40].encode()
    picture = crawls.picture(6)[-200:]
    everything = lambda: [path.read_bytes() for path in run.rglob("*") if path.is_file()]  # noqa: E731
    assert any(words in data for data in everything())
    assert any(picture in data for data in everything())
    take_down(run, "http://a.example/1.html", "http://a.example/3-a.png")
    assert not any(words in data for data in everything())
    assert not any(picture in data for data in everything())
    for path in (run / "documents").glob("*.parquet"):
        rows = {row["url"]: row["nodes"] for row in pq.read_table(path).to_pylist()}
        assert set(re.findall(r'"([^"]*)"', rows["http://a.example/1.html"])) <= {
            "candidates",
            "url",
            "source",
            "",
            "taken down",
        }


def test_a_second_time_changes_nothing(run: Path) -> None:
    """The same list again leaves every shard as it is."""
    take_down(run, "http://a.example/1.html", "http://a.example/0-a.png")
    first = {path: path.read_bytes() for path in (run / "shards").rglob("*") if path.is_file()}
    take_down(run, "http://a.example/1.html", "http://a.example/0-a.png")
    assert {path: path.read_bytes() for path in (run / "shards").rglob("*") if path.is_file()} == first


def test_tombstones_name_what_went(run: Path) -> None:
    """A page with the signature of its text, a medium with its digests, and what was listed though it was not there."""
    take_down(run, "http://a.example/1.html", "http://a.example/0-a.png", "http://elsewhere.example/x")
    rows = read_tombstones(Store(str(run)))
    page = next(row for row in rows if row["kind"] == "page" and row["text_key"])
    medium = next(row for row in rows if row["kind"] == "medium" and row["phash"])
    assert page["url"] == "http://a.example/1.html"
    assert page["minhash"]
    assert medium["source_sha256"] == hashlib.sha256(crawls.picture(0)).digest()
    assert any(row["url"] == "http://elsewhere.example/x" for row in rows)


@pytest.mark.parametrize("done", [0, 2])
def test_ended_in_the_middle_of_its_tables_it_goes_on(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], done: int
) -> None:
    """Some tables no longer say what stood in them: the same command again, or one with another list, leaves every file as an undisturbed one does."""
    entries = ("http://a.example/1.html", "http://a.example/0-a.png")
    other = Path(shutil.copytree(run, tmp_path / "other"))
    take_down(other, *entries)
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == "takedown: 2 entries; 1 pages and 2 media were in the shards and are gone"

    def cut_short(job: Job, work: Callable[..., Any], entries: Entries, parts: list[takedown.Part]) -> Any:
        tasks = spread(job, work, entries, parts[:done] if work is takedown.purge else parts)
        if work is takedown.purge:
            raise InputError("cut short")
        return tasks

    spread = takedown._spread
    with monkeypatch.context() as patched:
        patched.setattr(takedown, "_spread", cut_short)
        listed = tmp_path / "cut.txt"
        listed.write_text("\n".join(entries))
        assert main(["takedown", str(run), "--urls", str(listed), "--workers", "1"]) == 1
    lists = [entries] if done else [("http://nowhere.example/x",), entries]
    for lines in lists:
        take_down(run, *lines)
    if done:
        assert capsys.readouterr().err.splitlines()[-1] == told
        assert contents(run) == contents(other)
    else:
        assert contents(run / "shards") == contents(other / "shards")


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder, without lock files."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("signals", [1, 2, 3])
def test_killed_and_run_again_it_ends_the_same(run: Path, tmp_path: Path, signals: int) -> None:
    """SIGKILL in the middle, then the same command: the bytes of an undisturbed one."""
    other = Path(shutil.copytree(run, tmp_path / "other"))
    take_down(other, "a.example")
    listed = tmp_path / "kill.txt"
    listed.write_text("a.example\n")
    command = [sys.executable, "-m", "jobs", "takedown", str(run), "--urls", str(listed), "--workers", "1"]
    for turn in range(signals):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=1.2 + 0.6 * turn)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    for path in (other / "shards").rglob("*"):
        if path.is_file():
            assert (run / path.relative_to(other)).read_bytes() == path.read_bytes(), path


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"# nothing\n\n", "empty"),
        (b"http://a.example/\nnot a url\n", "line 2"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"http://\n", "line 1"),
        (b"deadbeef\n", "line 1"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    """The message names the file and the line."""
    listed = tmp_path / "list.txt"
    listed.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_entries(str(listed))


def test_what_came_from_a_folder_is_known_by_its_url(tmp_path: Path) -> None:
    """Pages of HTML folders and media beside a table have URLs without a host; another file of that name is not meant."""
    url = f"file:///pictures/a%20b.png#sha256={'0' * 64}"
    listed = tmp_path / "list.txt"
    listed.write_text(f"{url}\nfile:///page.html\n")
    entries = read_entries(str(listed))
    assert entries.means_medium(url, "", "", "")
    assert not entries.means_medium(url.replace("=0", "=1"), "", "", "")
    assert entries.means_page("file:///page.html")


def test_a_bad_list_harms_nothing(run: Path) -> None:
    """One line of error, code 1, and every file as it was."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    listed = run.parent / "bad.txt"
    listed.write_text("what is this\n")
    assert main(["takedown", str(run), "--urls", str(listed)]) == 1
    assert main(["takedown", str(run), "--urls", str(run / "absent.txt")]) == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    """An empty folder, or one of something else, is not touched."""
    listed = tmp_path / "list.txt"
    listed.write_text("a.example\n")
    assert main(["takedown", str(tmp_path), "--urls", str(listed)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


def test_domains_cover_what_is_below_them(tmp_path: Path) -> None:
    """Labels are compared, not characters; case and international names do not matter; a list may be gzipped."""
    listed = tmp_path / "list.gz"
    listed.write_bytes(gzip.compress("Example.org\nbücher.example\n".encode()))
    entries = read_entries(str(listed))
    assert entries.means_page("https://sub.example.org/x")
    assert not entries.means_page("https://notexample.org/x")
    assert entries.means_page("https://xn--bcher-kva.example/")
    assert msgspec.structs.replace(entries, domains=frozenset()).means_page("https://example.org/") is False
