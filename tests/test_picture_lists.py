"""Lists of pictures in a run: what stands on one is no part of the output."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq

from jobs.cli import main
from tests import crawls


def test_a_blocked_picture_is_a_drop(tmp_path: Path) -> None:
    """The picture with a listed SHA-256 goes, the one beside it stays; without the list both are there."""
    warc = crawls.write_warc(tmp_path / "a.warc.gz", crawls.site("a.example", 1))
    (tmp_path / "bad.txt").write_text(hashlib.sha256(crawls.picture(0)).hexdigest())
    out = tmp_path / "out"
    lists = f'lists.block_hashes=["{tmp_path}/bad.txt"]'
    assert main(["crawl", str(warc), "--out", str(out), "--workers", "1", "--set", lists]) == 0
    dropped = [row for path in out.glob("drops/shard-*.parquet") for row in pq.read_table(path).to_pylist()]

    assert [("blocked_image", "http://a.example/0-a.png")] == [
        (row["reason"], row["medium_url"]) for row in dropped if row["kind"] == "image"
    ]
    assert main(["shard", "--out", str(out), "--workers", "1"]) == 0
    dropped = [row for path in out.glob("drops/shard-*.parquet") for row in pq.read_table(path).to_pylist()]
    assert "blocked_image" not in {row["reason"] for row in dropped}
