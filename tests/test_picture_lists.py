"""Lists of pictures in a run: what stands on one is no part of the output."""

import hashlib
import tarfile
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipeline.images import ImageConfig, Picture, prepare
from schemas.document import Document
from tests import crawls


def dropped(out: Path) -> list[tuple[str, str]]:
    """(reason, URL) of the pictures that shard dropped."""
    rows = [row for path in out.glob("drops/shard-*.parquet") for row in pq.read_table(path).to_pylist()]
    return sorted((row["reason"], row["medium_url"]) for row in rows if row["kind"] == "image")


def documents(out: Path) -> list[Document]:
    """The documents of a run's one shard."""
    with tarfile.open(out / "shards" / "interleaved" / "00000.tar") as tar:
        members = [tar.extractfile(name) for name in tar.getnames() if name.endswith(".json")]
        return [msgspec.json.decode(member.read(), type=Document) for member in members if member is not None]


def test_blocked_pictures_are_drops(tmp_path: Path) -> None:
    """A picture goes whose SHA-256, MD5, pHash or PDQ stands on a list, the ones beside it stay; without the list all are there."""
    warc = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 3))
    listed = [prepare(crawls.picture(seed), ImageConfig(pdq=True)) for seed in (2, 3)]
    assert all(isinstance(picture, Picture) for picture in listed)
    hashes = [hashlib.sha256(crawls.picture(0)).hexdigest(), hashlib.md5(crawls.picture(1)).hexdigest()]
    hashes += [listed[0].phash, f"pdq:{listed[1].pdq}"]
    (tmp_path / "bad.txt").write_text("\n".join(hashes))
    out = tmp_path / "out"
    lists = ["--set", f'lists.block_hashes=["{tmp_path}/bad.txt"]', "--set", "images.pdq=true"]
    assert main(["crawl", str(warc), "--out", str(out), "--workers", "1", *lists]) == 0
    urls = [f"http://a.example/{name}.png" for name in ("0-a", "0-b", "1-a", "1-b")]

    assert [("blocked_image", url) for url in urls] == dropped(out)
    assert main(["shard", "--out", str(out), "--workers", "1", "--set", "images.pdq=true"]) == 0
    assert [] == dropped(out)


def test_pictures_without_the_hash_of_a_list_stop_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that was fetched without PDQ: a list of such would find nothing and say nothing; fetched again, it finds."""
    warc = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 2))
    (tmp_path / "bad.txt").write_text(f"pdq:{prepare(crawls.picture(3), ImageConfig(pdq=True)).pdq}")
    out = tmp_path / "out"
    assert main(["crawl", str(warc), "--out", str(out), "--workers", "1"]) == 0
    lists = ["--set", f'lists.block_hashes=["{tmp_path}/bad.txt"]', "--set", "images.pdq=true"]
    before = {path.name: path.read_bytes() for path in (out / "shards").rglob("*") if path.is_file()}

    assert main(["shard", "--out", str(out), "--workers", "1", *lists]) == 2
    assert "(pdq) that pictures of this run were fetched without: run m3w fetch" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (out / "shards").rglob("*") if path.is_file()} == before
    for stage in ("fetch", "shard"):
        assert main([stage, "--out", str(out), "--workers", "1", *lists]) == 0
    assert dropped(out) == [("blocked_image", "http://a.example/1-b.png")]


def test_a_list_knows_the_digests_that_shards_show(tmp_path: Path) -> None:
    """The SHA-256 of a stored member blocks it like that of the bytes it was made of; pictures without measures show no pHash, and share none."""
    warc = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 2))
    out, quick = (
        tmp_path / "out",
        ["--workers", "1", "--set", "images.measure=false", "--set", "images.short_side_px=64"],
    )
    assert main(["crawl", str(warc), "--out", str(out), *quick]) == 0
    shown = [picture for document in documents(out) for picture in document.media]
    assert len(shown) == 4
    assert {""} == {picture.phash for picture in shown}
    assert all(picture.sha256 != picture.source_sha256 for picture in shown)

    (tmp_path / "bad.txt").write_text(shown[0].sha256)
    listed = f'lists.block_hashes=["{tmp_path}/bad.txt"]'
    assert main(["shard", "--out", str(out), *quick, "--set", listed]) == 0
    assert [("blocked_image", shown[0].url)] == dropped(out)
