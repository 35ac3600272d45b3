"""What stands on too many pages: counts do not depend on parts, and what goes from a page is written down with its reason."""

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cli import main
from pipeline.config import SelectConfig
from pipeline.stages.frequency import (
    IMAGE_SET,
    PAGES,
    PARAGRAPH,
    STANDS,
    URL,
    count_pages,
    latest_of_images,
    sums,
    weed_nodes,
)
from schemas.document import Candidate, DraftMedium, Text, decode_draft_nodes
from schemas.drops import DropReason
from tests import crawls

CONFIG = SelectConfig(max_url_pages=3, max_domain_paragraphs=2)
pages = st.lists(st.tuples(st.integers(0, 3), st.lists(st.integers(0, 5), max_size=4)), max_size=15)


@given(pages, st.sampled_from([URL, PARAGRAPH]), st.randoms(use_true_random=False))
def test_sums_do_not_depend_on_parts(pages: list[tuple[int, list[int]]], kind: int, draw: random.Random) -> None:
    """Each key that stands on more pages than the limit comes back to each part that holds it, with the sum over all parts."""
    blobs = []
    for part in {part for part, _ in pages}:
        rows = [keys for of, keys in pages if of == part]
        stands = np.array([(key, 7, row, 0) for row, keys in enumerate(rows) for key in keys], dtype=STANDS)
        blobs.append(count_pages(stands, kind, part).tobytes())
    draw.shuffle(blobs)
    found = {(int(one["hi"]), int(one["part"]), int(one["pages"])) for one in sums(blobs, CONFIG)}
    on = Counter(key for _, keys in pages for key in set(keys))
    least = 4 if kind == URL else 2

    assert found == {(key, part, on[key]) for part, keys in pages for key in keys if on[key] >= least}


def test_a_limit_of_zero_is_none() -> None:
    """No records are made for a rule that is off, so a sum that arrives is over the other one's limit only."""
    counts = np.array([(1, 1, PARAGRAPH, 0, 2), (2, 2, URL, 0, 4), (3, 3, URL, 0, 3)], dtype=PAGES)

    assert sums([counts.tobytes()], CONFIG)["hi"].tolist() == [1, 2]


def medium(*urls: str) -> DraftMedium:
    return DraftMedium(candidates=[Candidate(url=url, source="src") for url in urls])


def test_a_medium_goes_with_its_last_candidate() -> None:
    """One good candidate keeps a picture, its frequent one is not to be used; one without any goes, at its place among the nodes."""
    nodes = [Text("a"), medium("x", "y"), Text("b"), medium("x")]
    gone = weed_nodes(nodes, {(0, 0): 9, (1, 0): 9}, {1: 5}, {}, CONFIG)

    assert (gone.nodes, gone.candidates, gone.page) == ([2, 3], [(0, 0), (1, 0)], None)
    assert [(drop.kind, drop.reason, drop.value, drop.threshold) for drop in gone.drops] == [
        ("paragraph", DropReason.DOMAIN_BOILERPLATE, 5, 2),
        ("image", DropReason.FREQUENT_URL, 9, 3),
    ]


def test_a_page_falls_with_its_last_text_or_medium() -> None:
    """Text gone: no_text_left, unless there never was any; media gone: no_image."""
    assert weed_nodes([Text("a"), medium("x")], {}, {0: 5}, {}, CONFIG).page is DropReason.NO_TEXT_LEFT
    assert weed_nodes([medium("x"), medium("y")], {(0, 0): 9}, {}, {}, CONFIG).page is None
    assert weed_nodes([Text("a"), medium("x")], {(0, 0): 9}, {}, {}, CONFIG).page is DropReason.NO_IMAGE


@pytest.mark.parametrize(
    ("texts", "repeated", "gone"),
    [
        (["# Objective", "one"], [0], []),
        (["# Objective", "notice"], [0, 1], [0, 1]),
        (["# Objective", "## Part", "one"], [0, 1], []),
        (["## Part", "# Next", "one"], [0], [0]),
        (["one", "## Share"], [1], [1]),
        (["#hashtag notice", "one"], [0], [0]),
        (["####### no heading", "one"], [0], [0]),
    ],
)
def test_a_repeated_heading_stays_with_its_section(texts: list[str], repeated: list[int], gone: list[int]) -> None:
    """As long as something of its section is left: a paragraph, a deeper heading with one; the end or its equal end the section."""
    nodes: list[Text | DraftMedium] = [medium("x"), *map(Text, texts)]

    assert [place + 1 for place in gone] == weed_nodes(nodes, {}, dict.fromkeys(repeated, 3), {}, CONFIG).nodes


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), max_size=10), st.randoms(use_true_random=False))
def test_of_pages_with_the_same_pictures_the_latest_stays(rows: list[tuple[int, int]], draw: random.Random) -> None:
    """In whatever order they arrive; the URL's key decides between pages of one date."""
    sets = np.zeros(len(rows), dtype=IMAGE_SET)
    for number, (key, date) in enumerate(rows):
        sets[number]["hi"], sets[number]["date"], sets[number]["url"], sets[number]["row"] = key, date, number, number
    order = list(range(len(rows)))
    draw.shuffle(order)
    survivors, verdicts = latest_of_images([sets[order[:4]].tobytes(), sets[order[4:]].tobytes()])
    best = {key: min((-date, number) for number, (k, date) in enumerate(rows) if k == key)[1] for key, _ in rows}

    assert set(survivors["row"].tolist()) == set(best.values())
    assert len(survivors) + len(verdicts) == len(rows)


def page(seed: int, notice: str, pictures: list[str]) -> bytes:
    text = "".join(f"<p>{crawls.prose(100 * seed + n, 2)}</p>" for n in range(4))
    shown = "".join(f'<p><img src="{url}" width="300" height="200" alt="a picture"></p>' for url in pictures)
    return f"<html><body><article><h1>Page {seed}</h1>{text}<p>{notice}</p>{shown}</article></body></html>".encode()


def test_a_site_with_a_refrain(tmp_path: Path) -> None:
    """A paragraph on all pages of a site, a picture on all pages of two sites, two pages with one picture: by the rows of the tables."""
    notice = crawls.prose(9999, 2)
    html = {f"http://www.a.example/{n}": page(n, notice, ["http://ads.example/x.png", f"/{n}.png"]) for n in range(3)}
    html |= {f"http://b.example/{n}": page(10 + n, "", ["http://ads.example/x.png"]) for n in range(1)}
    html["http://b.example/once"] = page(20, notice, ["/once.png"])
    html["http://b.example/again"] = page(21, "", ["/once.png"])
    records = [
        crawls.record(url, body, "text/html", date=f"2026-01-0{n + 1}T00:00:00Z")
        for n, (url, body) in enumerate(html.items())
    ]
    warcs = [crawls.write_warc(tmp_path / f"{n}.warc.gz", records[n::2]) for n in range(2)]
    out = tmp_path / "out"
    assert main(["extract", *map(str, warcs), "--out", str(out), "--workers", "1"]) == 0
    assert main(["select", "--out", str(out), "--workers", "1", "--set", "select.max_url_pages=3"]) == 0

    def table(folder: str) -> list[dict[str, object]]:
        return [row for path in sorted(out.glob(folder)) for row in pq.read_table(path).to_pylist()]

    dropped = Counter((row["url"], row["kind"], row["reason"]) for row in table("drops/select-*.parquet"))
    fallen = {url: reason for (url, kind, reason) in dropped if kind == "page"}
    repeated = {url for (url, kind, reason) in dropped if reason == "domain_boilerplate"}
    assert fallen == {"http://b.example/0": "no_image", "http://b.example/once": "same_images"}
    assert repeated == {f"http://www.a.example/{n}" for n in range(3)}
    assert {url for (url, kind, reason) in dropped if reason == "frequent_url"} == {*repeated, "http://b.example/0"}
    assert {row["url"] for row in table("media-urls/*.parquet")} == {
        *(f"http://www.a.example/{n}.png" for n in range(3)),
        "http://b.example/once.png",
    }
    for path in out.glob("selected/*.parquet"):
        documents = pq.read_table(next(out.glob(f"documents/{path.stem.rpartition('-')[0]}.parquet"))).to_pylist()
        for row in pq.read_table(path).to_pylist():
            document = documents[row["row"]]
            gone = np.frombuffer(row["gone_nodes"] or b"", dtype="<u2").tolist()
            nodes = decode_draft_nodes(document["nodes"])
            texts = [nodes[place].text for place in gone if isinstance(nodes[place], Text)]
            assert texts == ([notice] if document["url"] in repeated else [])
