"""Lists of pictures in a run: what stands on one is no part of the output."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq

from jobs.cli import main
from pipeline.images import ImageConfig, Picture, prepare
from tests import crawls


def dropped(out: Path) -> list[tuple[str, str]]:
    """(reason, URL) of the pictures that shard dropped."""
    rows = [row for path in out.glob("drops/shard-*.parquet") for row in pq.read_table(path).to_pylist()]
    return sorted((row["reason"], row["medium_url"]) for row in rows if row["kind"] == "image")


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
