"""What owners and the user's lists say no to, on whole runs: by the rows of the tables, whatever the order of the crawl."""

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipeline.lists.policies import rules_of
from pipeline.stages.packed import split
from pipeline.stages.policies import Held, asked_by, rules_by_part, unpack_rules
from schemas.manifest import Manifest
from tests import crawls

NO_GPT = b"User-agent: GPTBot\nDisallow: /\n"
EARLIER = "2020-01-01T00:00:00Z"


def policy(url: str, body: bytes, date: str = crawls.DATE) -> bytes:
    return crawls.record(url, body, "application/json" if url.endswith("json") else "text/plain", date=date)


def a_crawl() -> list[bytes]:
    """Pages under policies of all kinds; one whose picture has a candidate under another origin's policy, one that has no other."""
    shown = crawls.page(1, ["/own.png"]).replace(b'src="/own.png"', b'src="/own.png" srcset="//cdn.example/l.png 900w"')
    pages = {
        "http://a.example/open": shown,
        "http://a.example/private/x": crawls.page(2, ["/2.png"]),
        "http://art.example/": crawls.page(3, ["/3.png"]),
        "http://paper.example/closed/x": crawls.page(4, ["/4.png"]),
        "http://paper.example/open/x": crawls.page(5, ["/5.png", "http://bad.example/5.png"]),
        "http://c.example/cdn": crawls.page(6, ["http://cdn.example/6.png", "http://img.bad.example/6.png"]),
        "http://c.example/head": crawls.page(7, ["/noai.png", "/7.png"]),
    }
    pictures = ["a.example/own", "a.example/2", "art.example/3", "paper.example/4", "paper.example/5", "c.example/7"]
    pictures += ["cdn.example/l", "cdn.example/6", "bad.example/5", "img.bad.example/6"]
    return [
        policy("http://a.example/robots.txt", b"User-agent: *\nDisallow: /", EARLIER),
        policy("http://a.example/robots.txt", b"User-agent: *\nDisallow: /private/"),
        policy("http://art.example/ai.txt", b"User-Agent: *\nDisallow: *.png\nAllow: /"),
        policy(
            "http://paper.example/.well-known/tdmrep.json",
            json.dumps([{"location": "/closed/", "tdm-reservation": 1}]).encode(),
        ),
        policy("https://cdn.example/robots.txt", NO_GPT),
        *(crawls.record(url, body, "text/html") for url, body in pages.items()),
        *(
            crawls.record(f"http://{name}.png", crawls.picture(number), "image/png")
            for number, name in enumerate(pictures)
        ),
        crawls.record("http://c.example/noai.png", crawls.picture(20), "image/png", headers="X-Robots-Tag: noai\r\n"),
    ]


def rows(out: Path, pattern: str) -> list[dict[str, object]]:
    return [row for path in sorted(out.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def run(folder: Path, records: list[bytes], parts: int) -> Path:
    """The folder of a run over the records, spread over some WARCs, with one blocked domain."""
    folder.mkdir()
    warcs = [crawls.write_warc(folder / f"{n}.warc.gz", records[n::parts]) for n in range(parts)]
    (folder / "domains.txt").write_text("bad.example\n")
    arguments = ["--out", str(folder / "out"), "--workers", "1"]
    arguments += ["--set", f'lists.block_domains=["{folder}/domains.txt"]']
    assert main(["extract", *map(str, warcs), *arguments]) == 0
    assert main(["select", *arguments]) == 0
    return folder / "out"


def drops_of(out: Path) -> list[tuple[str, ...]]:
    names = ("stage", "kind", "reason", "url", "medium_url", "detail")
    return sorted(tuple(str(row[name]) for name in names) for row in rows(out, "drops/*.parquet"))


@pytest.fixture(scope="module")
def selected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over the crawl in its own order, as far as select."""
    return run(tmp_path_factory.mktemp("judged") / "run", a_crawl(), 1)


def test_policies_are_heard_whatever_the_order_and_not_at_all_where_the_user_says_so(
    tmp_path: Path, selected: Path
) -> None:
    """Parts and their order change nothing in what falls; which kinds count is the user's choice."""
    shuffled = a_crawl()
    random.Random(3).shuffle(shuffled)
    other = run(tmp_path / "other", shuffled, 3)
    assert drops_of(selected) == drops_of(other)

    assert main(["select", "--out", str(other), "--workers", "1", "--set", 'select.policies=["ai"]']) == 0
    reasons = Counter(detail for stage, *_, detail in drops_of(other) if stage == "select")
    assert reasons["ai.txt: *"] == 1
    assert not any(detail.startswith(("robots.txt", "tdmrep")) for detail in reasons)


def test_what_origins_and_lists_say_no_to(selected: Path) -> None:
    """Pages fall, candidates give way to the next ones, media without any fall with the reason of their best, and all is counted."""
    out = selected
    for stage in ("fetch", "shard"):
        assert main([stage, "--out", str(out), "--workers", "1"]) == 0

    fallen = {
        (row["url"], row["kind"], row["medium_url"]): (row["reason"], row["detail"])
        for row in rows(out, "drops/*.parquet")
        if row["kind"] in ("page", "image") and row["reason"] != "with_page"
    }
    assert fallen == {
        ("http://a.example/private/x", "page", ""): ("opted_out", "robots.txt: *"),
        ("http://art.example/", "page", ""): ("no_image", ""),
        ("http://art.example/", "image", "http://art.example/3.png"): ("opted_out", "ai.txt: *"),
        ("http://paper.example/closed/x", "page", ""): ("opted_out", "tdmrep.json"),
        ("http://paper.example/open/x", "image", "http://bad.example/5.png"): ("blocked_domain", "bad.example"),
        ("http://c.example/cdn", "page", ""): ("no_image", ""),
        ("http://c.example/cdn", "image", "http://cdn.example/6.png"): ("opted_out", "robots.txt: GPTBot"),
        ("http://c.example/cdn", "image", "http://img.bad.example/6.png"): ("blocked_domain", "bad.example"),
        ("http://c.example/head", "image", "http://c.example/noai.png"): ("opted_out", ""),
    }
    assert {row["url"] for row in rows(out, "media-urls/*.parquet")} == {
        *(f"http://{name}.png" for name in ("a.example/own", "paper.example/5", "c.example/7", "c.example/noai"))
    }
    manifest = msgspec.json.decode((out / "shards/manifest.json").read_bytes(), type=Manifest)
    manifest.check()
    assert (manifest.pages.entered, manifest.pages.kept) == (7, 3)
    assert manifest.pages.dropped["select"] == {"no_image": 2, "opted_out": 2}
    assert manifest.images.dropped["select"] == {"blocked_domain": 2, "opted_out": 2, "with_page": 2}


@pytest.mark.parametrize("as_one_member", [False, True])
def test_who_opted_out_in_the_crawl_is_not_asked_again(tmp_path: Path, as_one_member: bool) -> None:
    """What the crawl holds with a header that opts out has that reason, and the web is not asked for it, also where records have no place of their own."""
    records = [
        crawls.record("http://c.example/", crawls.page(7, ["/noai.png", "/7.png", "/no.png"]), "text/html"),
        crawls.record("http://c.example/7.png", crawls.picture(7), "image/png"),
        crawls.record("http://c.example/noai.png", crawls.picture(20), "image/png", headers="X-Robots-Tag: noai\r\n"),
        crawls.record("http://c.example/no.png", crawls.picture(21), "image/png", headers="TDM-Reservation: 1\r\n"),
    ]
    warc = tmp_path / "c.warc.gz"
    warc.write_bytes(gzip.compress(b"".join(records), mtime=0)) if as_one_member else crawls.write_warc(warc, records)
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--workers", "1", "--set", 'fetch.contact="mailto:a@b.example"']
    assert main(["crawl", str(warc), *arguments]) == 0
    media = rows(out, "media/*.parquet")
    assert sorted((str(row["status"]), row["rank"], row["detail"]) for row in media) == [
        ("ok", None, None),
        *[("opted_out", None, "by the header of its answer")] * 2,
    ]
    manifest = msgspec.json.decode((out / "shards/manifest.json").read_bytes(), type=Manifest)
    assert manifest.images.dropped == {"shard": {"opted_out": 2}}


@pytest.mark.parametrize("seed", range(3))
def test_the_latest_policy_of_an_origin_counts_in_each_part_that_names_it(seed: int) -> None:
    """Whatever arrives first; an origin that says no to nothing, or that nobody names, sends nothing."""
    no, yes = rules_of("robots", "User-agent: *\nDisallow: /"), ""
    held = [
        Held("a.org", "robots", "2020", no),
        Held("a.org", "robots", "2021", yes),
        Held("b.org", "robots", "2020", yes),
        Held("b.org", "robots", "2021", no),
        Held("b.org", "ai", "2019", no),
        Held("c.org", "robots", "2021", no),
    ]
    random.Random(seed).shuffle(held)
    asked = []
    for part, places in enumerate((["a.org", "b.org"], ["a.org"], ["b.org", "d.org"])):
        asked += [blob for _, blob in split(asked_by(places, part), 1)]
    random.Random(seed).shuffle(asked)
    blobs = [msgspec.msgpack.encode(held[:2]), msgspec.msgpack.encode(held[2:])]

    found = {part: unpack_rules([blob]) for part, blob in rules_by_part(asked, blobs)}

    assert {0, 2} == found.keys()
    assert found[0].refusal("https://b.org/x") == found[2].refusal("http://b.org/x") == "ai.txt: *"
    assert found[0].refusal("https://a.org/x") == ""
