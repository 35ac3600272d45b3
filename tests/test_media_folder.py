"""Media that img2dataset has fetched: its folders are taken like the web's answers, whatever is in them."""

import hashlib
import importlib.util
import io
import itertools
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from jobs.cli import main
from pipeline.images import ImageConfig
from pipeline.read.download_status import failure
from pipeline.read.media_folder import find_shards, read_offers
from pipeline.report import read_manifest
from pipeline.runfolder import RunFolder
from pipeline.stages.fetch_folder import CHOSEN, TAKEN, WANTED, OfferTask, TakeTask, folder_keys, match, take_shard
from pipeline.stages.media_index import key16
from pipeline.stages.packed import key_numbers
from pipeline.urls import media_key
from pipeline.video.config import VideoConfig
from schemas.errors import InputError
from tests import crawls
from tests.img2dataset_folders import failed, success, write_shard
from tests.test_fetch_web import crawled, figure, output, served, settings

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset closes late
SITE = "http://pictures.example"


def fetch(out: Path, *options: str) -> int:
    """Runs m3w fetch."""
    return main(["fetch", "--out", str(out), "--workers", "1", *options])


def rows(out: Path) -> dict[str, dict[str, Any]]:
    """The rows of the media table by the last part of their URL; a URL stands there once."""
    found = [row for path in sorted((out / "media").glob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    by_name = {(row["url"] or "").rpartition("/")[2]: row for row in found}
    assert len(by_name) == len(found)
    return by_name


def statuses(out: Path) -> dict[str, str]:
    """The statuses by the last part of the URL."""
    return {name: row["status"] for name, row in rows(out).items()}


def test_a_folder_of_img2dataset_is_the_media_table(tmp_path: Path) -> None:
    """Its pictures are measured and stored like the web's, under the URL's key however the folder spells it, and end in shards; what it could not get is a row."""
    table = tmp_path / "captions.csv"
    names = ["1.png", "2.png", "gone.png", "slow.png"]
    table.write_text("\n".join(["url,caption", *(f"{SITE}/{name},{crawls.prose(1, 1)}" for name in names)]))
    pictures = {n: crawls.picture(n) for n in (1, 2, 3)}
    spelled = f"http://www.pictures.example:80/{names[0]}#x"
    folder = tmp_path / "folder"
    write_shard(folder, 0, [success(spelled, pictures[1]), failed(f"{SITE}/2.png", "timed out")])
    more = [success(f"{SITE}/2.png", pictures[2]), success(f"{SITE}/not-wanted.png", pictures[3])]
    gone = failed(f"{SITE}/gone.png", "HTTP Error 404: Not Found")
    write_shard(folder, 1, [*more, gone, failed(f"{SITE}/slow.png", "<urlopen error timed out>")])
    out = tmp_path / "run"
    assert main(["pairs", str(table), "--out", str(out), "--media-folder", str(folder), "--workers", "1"]) == 0
    assert statuses(out) == {"1.png#x": "ok", "2.png": "ok", "gone.png": "http_status", "slow.png": "timeout"}
    found = rows(out)
    assert found["gone.png"]["http_status"] == 404
    assert {len(found["2.png"][name]) for name in ("phash", "dhash")} == {8}
    assert found["2.png"]["sharpness"] is not None
    assert found["2.png"]["source_sha256"] == hashlib.sha256(pictures[2]).digest()
    tars = [str(path) for path in (out / "media").glob("*.tar")]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert {json.loads(one["json"])["url"]: one["png"] for one in samples} == {
        spelled: pictures[1],
        f"{SITE}/2.png": pictures[2],
    }
    assert read_manifest(RunFolder(str(out))).pairs.kept == 2
    before = output(out)
    assert fetch(out, "--media-folder", str(folder)) == 0
    assert fetch(out) == 0
    assert output(out) == before


def test_the_crawl_goes_before_the_folder_and_the_folder_before_the_web(tmp_path: Path) -> None:
    """What the crawl holds is not taken from the folder; what the folder has, even as a failure, is not asked of the web until a retry, which asks what passes."""
    with served() as server:
        base = f"http://{server.place}"
        server.answers = {f"/{name}.png": crawls.picture(n) for n, name in enumerate(["a", "b", "c", "d"])}
        in_crawl = crawls.record(f"{base}/a.png", crawls.picture(50), "image/png")
        figures = [figure(f"{base}/{name}.png") for name in "abcd"]
        out = crawled(tmp_path, [figures], in_crawl)
        offered = [success(f"{base}/{name}.png", crawls.picture(60 + n)) for n, name in enumerate("ab")]
        write_shard(
            tmp_path / "folder",
            0,
            [*offered, failed(f"{base}/c.png", "<urlopen error [Errno 111] Connection refused>")],
        )
        assert fetch(out, "--media-folder", str(tmp_path / "folder"), *settings(server)) == 0
        assert statuses(out) == {"": "ok", "b.png": "ok", "c.png": "connection_failed", "d.png": "ok"}
        assert {path for path in server.asked if path != "/robots.txt"} == {"/d.png"}
        assert fetch(out, "--retry", *settings(server)) == 0
        table = [row for path in (out / "media").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        asked_again = [(row["status"], row["generation"]) for row in table if row["url"] == f"{base}/c.png"]
        assert sorted(asked_again) == [("connection_failed", 0), ("ok", 1)]
        assert {path for path in server.asked if path != "/robots.txt"} == {"/c.png", "/d.png"}


def take(tmp_path: Path, folder: Path, number: int = 0) -> dict[str, dict[str, Any]]:
    """The media rows of all rows of a shard, by the last part of their URL."""
    shard = find_shards(str(folder), {})[number]
    offers = read_offers(shard)
    chosen = np.zeros(len(offers), dtype=CHOSEN)
    chosen["hi"], chosen["lo"] = key_numbers(key for _, key, _ in offers).T
    chosen["row"] = [row for row, _, _ in offers]
    images, video = ImageConfig(), VideoConfig()
    out = tmp_path / folder.name / "taken"
    task = TakeTask(
        run_url=str(out),
        shard=shard,
        chosen=chosen.tobytes(),
        folder="a folder",
        generation=0,
        rank=None,
        images=images,
        video=video,
    )
    name = take_shard(task, lambda record: None, frozenset())
    table = pq.read_table(out / "media" / f"{name}.parquet").to_pylist()
    return {row["url"].rpartition("/")[2]: row for row in table}


def test_what_the_folder_says_is_checked(tmp_path: Path) -> None:
    """Bytes of another hash or size, keys that stand twice, bytes that are no picture and members that are not there: rows with the reason."""
    small = io.BytesIO()
    Image.open(io.BytesIO(crawls.picture(7))).resize((60, 50)).save(small, "JPEG")
    sizes = {"width": 60, "height": 50, "original_width": 120, "original_height": 100}
    shard = [
        success(f"{SITE}/good", crawls.picture(1)),
        success(f"{SITE}/hash", crawls.picture(2), sha256="0" * 64),
        success(f"{SITE}/size", crawls.picture(3), width=10, height=10),
        success(f"{SITE}/twice1", crawls.picture(4), key="same"),
        success(f"{SITE}/text", b"this is no picture"),
        success(f"{SITE}/absent", crawls.picture(6), data=None),
        success(f"{SITE}/resized", small.getvalue(), sha256="ab" * 32, **sizes),
        success(f"{SITE}/twice2", crawls.picture(5), key="same", data=None),
    ]
    write_shard(tmp_path / "folder", 0, shard)
    found = take(tmp_path, tmp_path / "folder")
    assert {name: row["status"] for name, row in found.items()} == {
        "good": "ok",
        "hash": "digest_mismatch",
        "size": "digest_mismatch",
        "twice1": "digest_mismatch",
        "twice2": "digest_mismatch",
        "text": "not_an_image",
        "absent": "truncated",
        "resized": "ok",
    }
    resized = found["resized"]
    assert (resized["width"], resized["source_width"], resized["source_sha256"]) == (60, 120, b"\xab" * 32)


@pytest.mark.parametrize("cut", [0, 700, 8_000, 12_000])
def test_a_tar_that_was_cut_gives_what_is_whole(tmp_path: Path, cut: int) -> None:
    """The pictures before the cut are taken, the others may be asked again."""
    shard = [success(f"{SITE}/{n}", crawls.picture(n)) for n in range(8)]
    tar = write_shard(tmp_path / "folder", 0, shard)
    with tarfile.open(tar) as whole:
        ends = [one.offset_data + one.size for one in whole if one.name.endswith("jpg")]
    tar.write_bytes(tar.read_bytes()[:cut])
    found = [row["status"] for _, row in sorted(take(tmp_path, tmp_path / "folder").items())]
    assert found == ["ok" if end <= cut else "truncated" for end in ends]


def test_the_format_files_gives_the_same_media(tmp_path: Path) -> None:
    """A folder of files instead of tars gives the same rows."""
    shard = [success(f"{SITE}/{n}", crawls.picture(n)) for n in (1, 2)]
    write_shard(tmp_path / "tars", 0, shard)
    write_shard(tmp_path / "files", 0, shard, as_files=True)
    found = take(tmp_path, tmp_path / "tars")
    assert found == take(tmp_path, tmp_path / "files")
    assert [row["status"] for row in found.values()] == ["ok", "ok"]


def test_the_media_of_another_run_are_such_a_folder(tmp_path: Path) -> None:
    """Pictures and failures are the same as in that run, also where a picture is not as it came from the web."""
    sizes = {"width": 120, "height": 100, "original_width": 1200, "original_height": 1000}
    shard = [
        success(f"{SITE}/as-it-came", crawls.picture(1)),
        success(f"{SITE}/resized", crawls.picture(2), sha256="ab" * 32, **sizes),
        success(f"{SITE}/text", b"this is no picture"),
        failed(f"{SITE}/gone", "HTTP Error 404: Not Found"),
    ]
    write_shard(tmp_path / "folder", 0, shard)
    first = take(tmp_path, tmp_path / "folder")
    again = take(tmp_path, tmp_path / "folder" / "taken" / "media")
    same = ["media_key", "status", "sha256", "source_sha256", "source_width", "phash", "dhash", "sharpness", "bytes"]
    assert [[row[name] for name in same] for row in again.values()] == [
        [row[name] for name in same] for row in first.values()
    ]
    assert [row["status"] for row in first.values()].count("ok") == 2


def test_of_a_urls_rows_one_that_succeeded_is_taken(tmp_path: Path) -> None:
    """The first success, whatever the order in which shards are looked at; what is taken already is left."""
    folder = tmp_path / "folder"
    write_shard(folder, 0, [failed(f"{SITE}/1", "timed out"), failed(f"{SITE}/2", "timed out")])
    write_shard(folder, 1, [success(f"{SITE}/{n}", crawls.picture(n)) for n in (3, 1)])
    write_shard(folder, 2, [success(f"http://www.pictures.example/{n}#here", crawls.picture(n)) for n in (1, 4)])
    offers = [
        folder_keys(OfferTask(shard=shard, number=n, buckets=1), lambda record: None, frozenset())[0][1]
        for n, shard in enumerate(find_shards(str(folder), {}))
    ]
    wanted = np.zeros(4, dtype=WANTED)
    wanted["hi"], wanted["lo"] = key_numbers(key16(media_key(f"{SITE}/{n}")) for n in (1, 2, 4, 5)).T
    taken = np.zeros(1, dtype=TAKEN)
    taken["hi"], taken["lo"] = wanted["hi"][2], wanted["lo"][2]
    for blobs in itertools.permutations(offers):
        chosen = match([wanted.tobytes()], [taken.tobytes()], blobs)
        assert {file: np.frombuffer(blob, CHOSEN)["row"].tolist() for file, blob in chosen} == {0: [1], 1: [1]}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("HTTP Error 410: Gone", "http_status"),
        ("HTTP Error 429: Too Many Requests", "http_unavailable"),
        ("HTTP Error 503: Service Unavailable", "http_unavailable"),
        (
            "HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite loop.",
            "too_many_redirects",
        ),
        ("<urlopen error [Errno -2] Name or service not known>", "dns_failed"),
        ("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed>", "tls_failed"),
        ("The read operation timed out", "timeout"),
        ("Remote end closed connection without response", "connection_failed"),
        ("IncompleteRead(10 bytes read, 90 more expected)", "truncated"),
        ("Use of image disallowed by X-Robots-Tag directive", "opted_out"),
        ("unknown url type: 'x'", "bad_url"),
        ("what nobody has foreseen", "connection_failed"),
    ],
)
def test_errors_of_img2dataset_are_drop_reasons(message: str, reason: str) -> None:
    """What passes by itself is asked again by a retry, what does not is not."""
    assert failure("failed_to_download", message)[0] == reason


def spoil(folder: Path, how: str) -> None:
    """Makes a good folder a bad one."""
    parquet, tar = folder / "00000.parquet", folder / "00000.tar"
    match how:
        case "absent":
            shutil.rmtree(folder)
        case "empty":
            parquet.unlink()
            tar.unlink()
        case "no table":
            parquet.unlink()
        case "no tar":
            tar.unlink()
        case "cut table":
            parquet.write_bytes(parquet.read_bytes()[:-20])
        case "no status":
            pq.write_table(pq.read_table(parquet).drop_columns(["status"]), parquet)
        case "in the table":
            table = pq.read_table(parquet)
            pq.write_table(table.append_column("jpg", [[b"x"] * table.num_rows]), parquet)
            tar.unlink()
        case "records":
            (folder / "00000.tfrecord").touch()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("absent", "no such folder"),
        ("empty", "nothing that img2dataset has written"),
        ("no table", "has no 00000.parquet beside it"),
        ("no tar", "has no 00000.tar beside it"),
        ("cut table", "no whole Parquet file"),
        ("no status", "no column of strings status"),
        ("in the table", "output formats webdataset and files"),
        ("records", "output formats webdataset and files"),
    ],
)
def test_a_bad_folder_is_refused(tmp_path: Path, how: str, message: str) -> None:
    """The message names what is missing."""
    folder = tmp_path / "folder"
    write_shard(folder, 0, [success(f"{SITE}/1.png", crawls.picture(1))])
    spoil(folder, how)
    with pytest.raises(InputError, match=message):
        find_shards(str(folder), {})


def test_a_bad_folder_is_refused_before_anything_is_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A whole crawl is not begun for it."""
    warc = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 1))
    assert main(["crawl", str(warc), "--out", str(tmp_path / "run"), "--media-folder", str(tmp_path / "no")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(importlib.util.find_spec("img2dataset") is not None, reason="img2dataset is there")
def test_without_img2dataset_the_extra_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends before it touches anything."""
    assert main(["fetch", "--out", str(tmp_path / "run"), "--with", "img2dataset"]) == 3
    assert "pip install 'm3w[img2dataset]'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_img2dataset_asks_the_web_in_rounds(tmp_path: Path) -> None:
    """Run as the downloader it gives what our own client gives: the same rows of pictures, the next candidate where one failed, and a retry."""
    pytest.importorskip("img2dataset")
    with served() as server:
        base = f"http://{server.place}"
        server.answers = {"/1.png": crawls.picture(1), "/2b.png": crawls.picture(2), "/3.png": 503}
        figures = [figure(f"{base}/1.png"), figure(f"{base}/2.png", f"{base}/2b.png"), figure(f"{base}/3.png")]
        out = crawled(tmp_path, [figures])
        shutil.copytree(out, tmp_path / "ours")
        assert fetch(out, "--with", "img2dataset", *settings(server, "fetch.retries=0")) == 0
        assert fetch(tmp_path / "ours", *settings(server, "fetch.retries=0")) == 0
        columns = ["media_key", "status", "generation", "rank", "sha256", "source_sha256", "phash", "dhash"]
        asked, ours = (
            {name: [row[column] for column in columns] for name, row in rows(run).items()}
            for run in (out, tmp_path / "ours")
        )
        assert asked == ours
        assert set(statuses(out).values()) == {"ok", "http_status", "http_unavailable"}
        assert not (out / "fetch-scratch").exists()
        server.answers["/3.png"] = crawls.picture(3)
        assert fetch(out, "--with", "img2dataset", "--retry", *settings(server)) == 0
        table = [row for path in (out / "media").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        asked_again = [(row["status"], row["generation"]) for row in table if row["url"] == f"{base}/3.png"]
        assert sorted(asked_again) == [("http_unavailable", 0), ("ok", 1)]
        assert not (out / "fetch-scratch").exists()
