"""Which documents stay: banned words, the total orders, and which candidate of a medium is taken."""

import re
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cli import main
from pipeline.stages.selection import DOCUMENT_KEY, banned_word, first_by_text, latest_by_url, rekey_by_text
from schemas.document import Document
from schemas.shard import read_shard
from tests import crawls


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://a.example/porn/1.html", "porn"),
        ("http://a.example/PORN_7", "porn"),
        ("http://porn.example/", "porn"),
        ("http://a.example/popcorn", None),
        ("http://a.example/porno", None),
        ("http://straße.example/x", "strasse"),
        ("http://a.example/Straße", "strasse"),
    ],
)
def test_banned_words_are_whole_words(url: str, word: str | None) -> None:
    """A word inside another word is none; case does not matter."""
    assert banned_word(url, ["strasse", "porn"]) == word


# (url, text, date, media, tie): few values each, so that captures of one URL and copies of one text are frequent.
captures = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=12
).map(lambda rows: [(*row, tie) for tie, row in enumerate(rows)])


def keys(rows: list[tuple[int, int, int, int, int]]) -> np.ndarray:
    records = np.zeros(len(rows), dtype=DOCUMENT_KEY)
    for record, (url, text, date, media, tie) in zip(records, rows, strict=True):
        record["hi"], record["text_hi"], record["date"], record["media"], record["tie"] = url, text, date, media, tie
        record["row"] = tie
    return records


@given(captures, st.randoms())
def test_the_orders_do_not_depend_on_the_order(rows: list[tuple[int, int, int, int, int]], draw: object) -> None:
    """Of each URL the latest stays, of each text the one with most media; in whatever pieces and order the keys arrive."""
    shuffled = list(rows)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    by_url, _ = latest_by_url([keys(shuffled[:3]).tobytes(), keys(shuffled[3:]).tobytes()])
    by_text, verdicts = first_by_text([rekey_by_text(by_url).tobytes()])
    latest = {url: max((row for row in rows if row[0] == url), key=lambda r: (r[2], -r[4])) for url, *_ in rows}
    best: dict[int, tuple[int, int, int, int, int]] = {}
    for row in latest.values():
        best[row[1]] = max(best.get(row[1], row), row, key=lambda r: (r[3], r[2], -r[0], -r[4]))

    assert {row[4] for row in latest.values()} == set(by_url["row"].tolist())
    assert {row[4] for row in best.values()} == set(by_text["row"].tolist())
    assert len(verdicts) == len(latest) - len(best)


def test_the_best_candidate_that_is_there_is_taken(tmp_path: Path) -> None:
    """The largest rendition is not in the crawl, the next is broken, the third is a picture: it is taken, with its rank."""
    html = crawls.page(1, ["/small.png"]).replace(
        b'src="/small.png"', b'src="/small.png" srcset="/large.png 900w, /middle.png 600w"'
    )
    warc = crawls.write_warc(
        tmp_path / "a.warc.gz",
        [
            crawls.record("http://a.example/", html, "text/html"),
            crawls.record("http://a.example/porn.html", crawls.page(2, ["/small.png"]), "text/html"),
            crawls.record("http://a.example/middle.png", crawls.picture(1)[:150], "image/png"),
            crawls.record("http://a.example/small.png", crawls.picture(1), "image/png"),
        ],
    )
    out = tmp_path / "out"
    settings = ["--set", 'select.banned_url_words=["porn"]', "--workers", "1"]
    assert main(["crawl", str(warc), "--out", str(out), *settings]) == 0
    with (out / "shards/interleaved/00000.tar").open("rb") as file:
        (sample,) = read_shard(file)
    (medium,) = msgspec.json.decode(sample.members["json"], type=Document).media

    assert (medium.url, medium.source, medium.rank) == ("http://a.example/small.png", "src", 2)
    assert re.search(r'"banned_url": 1\b', (out / "shards/manifest.json").read_text())


def test_what_may_not_be_used_is_nobodys_better_copy(tmp_path: Path) -> None:
    """A page of a blocked domain and one whose meta says noai go; their copy, which is older and has fewer pictures, stays."""
    best = crawls.page(1, ["/a.png", "/b.png"])
    warc = crawls.write_warc(
        tmp_path / "a.warc.gz",
        [
            crawls.record("http://sub.blocked.example/", best, "text/html"),
            crawls.record("http://b.example/", b'<meta name="robots" content="noai">' + best, "text/html"),
            crawls.record("http://c.example/", crawls.page(1, ["/c.png"]), "text/html", date="2020-01-01T00:00:00Z"),
        ],
    )
    (tmp_path / "domains.txt").write_text("blocked.example\n")
    out = tmp_path / "out"
    assert main(["extract", str(warc), "--out", str(out), "--workers", "1"]) == 0
    lists = f'lists.block_domains=["{tmp_path}/domains.txt"]'
    assert main(["select", "--out", str(out), "--workers", "1", "--set", lists]) == 0
    (drops,) = out.glob("drops/select-*.parquet")
    fallen = {row["url"]: row["reason"] for row in pq.read_table(drops).to_pylist() if row["kind"] == "page"}

    assert fallen == {"http://sub.blocked.example/": "blocked_domain", "http://b.example/": "opted_out"}
