"""Near copies: the best stays, whatever parts the documents come in and whatever order the records arrive in."""

import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli import main
from pipeline.dedup.minhash import BANDS, PERMUTATIONS, bands
from pipeline.stages.near import ASK, BEST, LEADER, RANKED, SIGNED, answers, band_records, best_of_part, leaders, verify
from pipeline.stages.packed import Records, by_part, join
from tests import crawls

THRESHOLD = 0.75
Found = dict[int, tuple[int, float]]  # of a document that goes: the better one, the similarity


def texts(seed: int, count: int) -> tuple[Records, np.ndarray]:
    """Documents (RANKED, `tie` is their number) in a few families, with signatures."""
    draw = np.random.default_rng(seed)
    families = draw.integers(0, 1 << 32, (3, PERMUTATIONS), dtype=np.uint32)
    values = families[draw.integers(0, 3, count)]
    changed = draw.random(values.shape) < draw.choice([0.0, 0.05, 0.2, 0.4], (count, 1))
    values[changed] = draw.integers(0, 1 << 32, int(changed.sum()), dtype=np.uint32)
    records = np.zeros(count, dtype=RANKED)
    records["media"], records["date"] = draw.integers(0, 3, count), draw.integers(0, 3, count)
    records["tie"] = records["url"] = np.arange(count)
    return records, values


def best(records: Records, values: np.ndarray) -> Found:
    """What has to come out, pair by pair."""
    order = sorted(range(len(records)), key=lambda n: (-int(records["media"][n]), -int(records["date"][n]), n))
    keys = bands(values)
    found: Found = {}
    for document in order:
        better = order[: order.index(document)]
        compared = set()
        for band in range(BANDS):
            compared.update([n for n in better if keys[n, band] == keys[document, band]][:BEST])
        for other in (n for n in order if n in compared):
            similarity = float((values[other] == values[document]).mean())
            if similarity >= THRESHOLD:
                found[document] = (other, similarity)
                break
    return found


def through_parts(records: Records, values: np.ndarray, parts: list[int], draw: random.Random) -> tuple[Found, int]:
    """The same through the stage's functions, the documents spread over parts; and what the cap cut."""
    own: dict[int, tuple[Records, Records]] = {}
    blobs = []
    for part in set(parts):
        here = np.flatnonzero(np.array(parts) == part)
        ranked, signed = records[here], np.zeros(len(here), dtype=SIGNED)
        ranked["part"], ranked["row"] = part, np.arange(len(here))
        signed["part"], signed["row"], signed["values"] = part, ranked["row"], values[here]
        signed["better_lo"] = here
        own[part] = ranked, signed
        blobs.append(best_of_part(band_records(ranked, values[here])).tobytes())
    draw.shuffle(blobs)
    led, asks = leaders(blobs)
    led_of, asked = dict(by_part(led, "asker")), defaultdict(list)
    for part, blob in by_part(asks):
        for asker, answer in by_part(answers(join([blob], ASK), own[part][1]), "asker"):
            asked[asker].append(answer)
    found, capped = {}, 0
    for part, (ranked, signed) in own.items():
        gone, cut = verify(ranked, signed, join([led_of.get(part, b"")], LEADER), join(asked[part], SIGNED), THRESHOLD)
        capped += cut
        for one in gone:
            number = int(ranked["tie"][one["row"]])
            found[number] = int(one["better_lo"]), round(float(one["similarity"]), 6)
    return found, capped


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 4), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_parts_and_order_do_not_matter(seed: int, parts: list[int], draw: random.Random) -> None:
    """Who goes, for whom, and how many comparisons were cut is the same for any split into parts, and as pair by pair."""
    records, values = texts(seed, len(parts))
    found, capped = through_parts(records, values, parts, draw)
    wanted = {
        document: (better, round(float(np.float32(share)), 6))
        for document, (better, share) in best(records, values).items()
    }

    assert found == wanted
    assert (found, capped) == through_parts(records, values, [0] * len(parts), draw)


def test_a_hot_band_is_cut_and_counted() -> None:
    """A hundred copies in one band: a part sends four records of it, each copy names the best, and the cut comparisons are counted."""
    records, _ = texts(1, 100)
    values = np.full((100, PERMUTATIONS), 7, dtype=np.uint32)
    found, capped = through_parts(records, values, [0] * 60 + [1] * 40, random.Random(1))

    assert len(best_of_part(band_records(records, values))) == BEST * BANDS
    assert len(found) == 99
    assert len({better for better, _ in found.values()}) == 1
    assert capped == (100 - BEST) * BANDS


def words(seed: int, count: int = 200) -> list[str]:
    draw = random.Random(seed)
    return [
        draw.choice(["the", "and", "of", "to", "with"]) if draw.random() < 0.4 else f"word{draw.randrange(3000)}"
        for _ in range(count)
    ]


def page(text: list[str], pictures: list[str]) -> bytes:
    sentences = "".join(f"<p>{' '.join(text[n : n + 20]).capitalize()}.</p>" for n in range(0, len(text), 20))
    shown = "".join(f'<p><img src="{url}" width="300" height="200" alt="a picture"></p>' for url in pictures)
    return f"<html><body><article><h1>A page</h1>{sentences}{shown}</article></body></html>".encode()


def test_a_planted_set_is_found(tmp_path: Path) -> None:
    """An exact copy, a near copy with fewer pictures and a half copy: the first two go, the near one names the better page and says how similar."""
    text = words(1)
    half = text[:100] + words(2, 100)
    near = [*text[:150], "changed", *text[151:]]
    pages = {
        "http://a.example/best": page(text, ["/1.png", "/2.png"]),
        "http://b.example/exact": page(text, ["/3.png"]),
        "http://c.example/near": page(near, ["/4.png"]),
        "http://d.example/half": page(half, ["/5.png"]),
        "http://e.example/other": page(words(3), ["/6.png"]),
    }
    for split_into in (1, 5):
        out = tmp_path / str(split_into)
        warcs = [
            crawls.write_warc(
                tmp_path / f"{split_into}-{n}.warc.gz",
                [crawls.record(url, html, "text/html") for url, html in list(pages.items())[n::split_into]],
            )
            for n in range(split_into)
        ]
        assert main(["extract", *map(str, warcs), "--out", str(out), "--workers", "1"]) == 0
        assert main(["select", "--out", str(out), "--workers", "1"]) == 0
        rows = [row for path in (out / "drops").glob("select-*.parquet") for row in pq.read_table(path).to_pylist()]
        dropped = {row["url"]: row for row in rows if row["kind"] == "page"}

        assert {url: row["reason"] for url, row in dropped.items()} == {
            "http://b.example/exact": "duplicate_text",
            "http://c.example/near": "near_duplicate",
        }
        one = dropped["http://c.example/near"]
        (best_key,) = (
            row["key"]
            for path in (out / "documents").glob("*.parquet")
            for row in pq.read_table(path, columns=["url", "key"]).to_pylist()
            if row["url"] == "http://a.example/best"
        )
        assert best_key in one["detail"]
        assert one["threshold"] == 0.75
        assert 0.85 < one["value"] < 1
