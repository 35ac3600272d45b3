"""Video-text pairs of pages, from the command line: what is said in which clip, and what comes of tracks and videos that are bad."""

import asyncio
import io
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import av
import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset

from jobs.cli import main
from pipeline.stages.media_records import EXTENSIONS, MATCH, REASONS
from pipeline.stages.packed import Records
from pipeline.stages.tracks import read_tracks, spoken
from pipeline.store import Store
from pipeline.video.webvtt import Cue
from schemas.document import Document, Image, Video
from schemas.drops import DropReason
from schemas.manifest import Manifest, decode_manifest
from schemas.pair import VideoTextPair
from tests import crawls
from tests.hostile_server import Handler, HostileServer, chunked, endless, reply
from tests.videos import sound, video

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset closes late

ENGLISH = b"""WEBVTT

00:00.000 --> 00:02.000
A square sets out along the slope

00:02.000 --> 00:03.000
Write to jane.doe@mail.net about

00:03.000 --> 00:04.000
the square and its slope

00:04.000 --> 00:06.000
Here is a verboten square too
"""
GERMAN = b"WEBVTT\n\n00:00.000 --> 00:06.000\nEin Quadrat macht sich auf den Weg\n"


def page(n: int, shown: str, head: str = "") -> bytes:
    """A page in English with something between its paragraphs."""
    html = f"<html lang=en><head>{head}</head><body><article><h1>Page {n}</h1><p>{crawls.prose(n)}</p>{shown}<p>{crawls.prose(n + 50)}</p></article></body></html>"
    return crawls.record(f"http://v.example/{n}.html", html.encode(), "text/html")


@pytest.fixture(scope="module")
def crawl(served: HostileServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A crawl of pages with videos, their tracks and posters, in the crawl and on the web."""
    gone, lost, film, said = map(served.url, ("/gone.mp4", "/gone.vtt", "/film.mp4", "/film.vtt"))
    tracks = (
        '<track kind="subtitles" srclang="de" src="/de.vtt" default><track kind="captions" srclang="en" src="/en.vtt">'
    )
    records = [
        page(1, f'<figure><video><source src="/six.mp4">{tracks}</video></figure>'),
        page(2, '<p><a href="/link.webm">The square goes home slowly, and the slope is left alone at last.</a></p>'),
        page(3, '<figure><video src="/two.mp4"><track src="/page.vtt"></video><figcaption>A square in its youth</figcaption></figure>'),
        page(4, f'<figure><video src="{gone}" poster="/poster.png" title="gone"></video></figure>'),
        page(5, f'<figure><video src="/three.mp4"><track src="{lost}"></video></figure>'),
        page(6, "", '<meta property="og:video" content="/stated.mp4"><meta property="og:image" content="/poster.png">'),
        page(7, f'<figure><video src="{film}"><track src="{said}"></video></figure>'),
        crawls.record("http://v.example/six.mp4", video(6), "video/mp4"),
        crawls.record("http://v.example/link.webm", video(2, format="webm", codec="libvpx-vp9", seed=1), "video/webm"),
        crawls.record("http://v.example/two.mp4", video(2, seed=2), "video/mp4"),
        crawls.record("http://v.example/three.mp4", video(2, seed=3), "video/mp4"),
        crawls.record("http://v.example/stated.mp4", video(2, seed=4), "video/mp4"),
        crawls.record("http://v.example/poster.png", crawls.picture(1, 300, 300), "image/png"),
        crawls.record("http://v.example/en.vtt", ENGLISH, "text/vtt"),
        crawls.record("http://v.example/de.vtt", GERMAN, "text/vtt"),
        crawls.record("http://v.example/page.vtt", b"<html>00:01 --> 00:02</html>", "text/vtt"),
    ]  # fmt: skip
    return crawls.write_warc(tmp_path_factory.mktemp("crawl") / "v.warc.gz", records)


@pytest.fixture(scope="module")
def run(crawl: Path, served: HostileServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The crawl's shards, of clips of two seconds, without texts that hold a word of a list."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "words.txt").write_text("verboten\n")
    settings = ["video.clip_s=2", f'lists.block_words=["{folder}/words.txt"]', *asking(served)]
    sets = [word for one in settings for word in ("--set", one)]
    assert main(["crawl", str(crawl), "--out", str(folder / "out"), "--workers", "1", *sets]) == 0
    return folder / "out"


def samples(run: Path, kind: str) -> list[dict[str, bytes]]:
    tars = sorted(map(str, (run / "shards" / kind).glob("*.tar")))
    return list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))


def manifest(run: Path) -> Manifest:
    return decode_manifest((run / "shards/manifest.json").read_bytes())


def test_each_clip_goes_with_what_is_said_in_it(run: Path) -> None:
    """The track in the page's language, cut like the video; personal data is replaced; every clip decodes."""
    found = {}
    for sample in samples(run, "video_text"):
        pair = msgspec.json.decode(sample["json"], type=VideoTextPair)
        assert sample["txt"].decode() == pair.caption
        extension = "webm" if "webm" in sample else "mp4"
        with av.open(io.BytesIO(sample[extension])) as container:
            frames = list(container.decode(video=0))
        assert (len(frames), frames[0].pts, frames[0].key_frame) == (20, 0, True)
        found[pair.url.rpartition("/")[2], pair.start_s, pair.caption_source] = pair.caption

    assert found == {
        ("six.mp4", 0.0, "track"): "A square sets out along the slope",
        ("six.mp4", 2.0, "track"): "Write to email@example.com about the square and its slope",
        ("link.webm", 0.0, "title"): "The square goes home slowly, and the slope is left alone at last.",
        ("two.mp4", 0.0, "caption"): "A square in its youth",
        ("film.mp4", 0.0, "track"): "Ein Quadrat macht sich auf den Weg",
    }


def test_what_makes_no_pair_is_a_drop(run: Path) -> None:
    """A word of a list, a track that is a page, one that is not in the crawl; all texts are counted."""
    flow = manifest(run).pairs
    rows = [row for path in (run / "drops").glob("shard-*.parquet") for row in pq.read_table(path).to_pylist()]
    drops = {
        (row["reason"], row["medium_url"].rpartition("/")[2], row["detail"]) for row in rows if row["kind"] == "pair"
    }

    assert drops == {
        ("blocked_word", "six.mp4", "track: Here is a verboten square too"),
        ("no_caption", "two.mp4", "track: not_a_track"),
        ("no_caption", "three.mp4", "track: http_status"),
        ("too_few_words", "gone.mp4", "title: gone"),
    }  # fmt: skip
    assert (flow.entered, flow.kept) == (9, 5)


def test_documents_hold_videos_or_their_posters(run: Path) -> None:
    """The first clip stands where the video stood; a poster that stands in came in as a picture, and its video is a drop."""
    documents = [msgspec.json.decode(sample["json"], type=Document) for sample in samples(run, "interleaved")]
    media = {medium.url.rpartition("/")[2]: medium for document in documents for medium in document.media}
    images, videos = manifest(run).images, manifest(run).videos

    assert {name for name, medium in media.items() if isinstance(medium, Video)} == {
        "six.mp4",
        "link.webm",
        "two.mp4",
        "three.mp4",
        "stated.mp4",
        "film.mp4",
    }
    assert isinstance(media["poster.png"], Image)
    assert (videos.entered, videos.kept, videos.dropped) == (7, 6, {"shard": {"http_status": 1}})
    assert (images.entered, images.kept, images.dropped) == (2, 1, {"shard": {"fallback_not_needed": 1}})


def test_of_a_videos_tracks_the_first_good_one_counts(tmp_path: Path) -> None:
    """By rank; where none is there the first one's reason stands in its stead, and a clip has no text."""
    store = Store(str(tmp_path))
    store.write("media/p.tar", GERMAN)
    keys = np_keys([(0, 0), (0, 1 << 15), (0, (1 << 15) + 1), (1, 1 << 15), (2, 0)])
    matches = found_tracks(
        {"rank": 1 << 15, "ok": False, "reason": REASONS.index(DropReason.TIMEOUT)},
        {"rank": (1 << 15) + 1, "ok": True, "bytes": len(GERMAN), "extension": EXTENSIONS.index("vtt")},
        {"rank": 1 << 15, "ok": True, "medium": 1, "extension": EXTENSIONS.index("mp4")},
    )
    tracks = read_tracks(store, ["p"], keys, matches)
    clip = found_tracks({"start_s": 5.5, "duration_s": 2.0})[0]

    assert tracks == {0: [Cue(0.0, 6.0, "Ein Quadrat macht sich auf den Weg")], 1: "not_a_track"}
    assert [spoken(track, clip) for track in tracks.values()] == ["Ein Quadrat macht sich auf den Weg", ""]
    assert read_tracks(store, ["p"], keys, matches[:1]) == {0: "timeout", 1: "not_in_crawl"}


def np_keys(pairs: list[tuple[int, int]]) -> bytes:
    return b"".join(medium.to_bytes(2, "little") + rank.to_bytes(2, "little") + bytes(16) for medium, rank in pairs)


def found_tracks(*rows: dict[str, object]) -> Records:
    matches = np.zeros(len(rows), dtype=MATCH)
    for one, fields in zip(matches, rows, strict=True):
        for name, value in fields.items():
            one[name] = value
    return matches


WHOLE = ("good.mp4", "passed.webm", "high.mp4", "moved.mp4")
STATUS = {
    **dict.fromkeys(WHOLE, "ok"),
    "short.mp4": "too_short",
    "empty.mp4": "not_a_video",
    "page.mp4": "not_a_video",
    "sound.mp4": "not_a_video",
    "list.mp4": "not_a_video",
    "cut.mp4": "broken_video",
    "noise.mp4": "broken_video",
    "locked.mp4": "unsupported_format",
    "endless.mp4": "too_many_bytes",
    "stated.mp4": "too_many_bytes",
    "broken-off.mp4": "truncated",
    "gone.mp4": "http_status",
}


def breaks_off(body: bytes) -> Handler:
    """Half of what it says that it will send."""

    async def handle(writer: asyncio.StreamWriter, _: dict[str, str]) -> None:
        writer.write(reply(body)[: -len(body) // 2])
        writer.close()

    return handle


def web() -> dict[str, bytes | Handler]:
    """Videos that are whole, and what else may stand behind a URL that names one."""
    good = video(4)
    bodies = {
        "good.mp4": good,
        "passed.webm": video(2, format="webm", codec="libvpx-vp9", seed=1),
        "high.mp4": video(2, height=128, seed=2),
        "short.mp4": video(0.5),
        "empty.mp4": b"",
        "page.mp4": b"<!doctype html><html><title>Not found</title>",
        "sound.mp4": sound(),
        "list.mp4": b"#EXTM3U\n#EXTINF:4,\ngood.mp4\n",
        "cut.mp4": good[: len(good) // 2],
        "noise.mp4": good[:40] + random.Random(1).randbytes(9000),
        "locked.mp4": good.replace(b"avc1", b"encv"),
    }
    return {
        **{f"/{name}": reply(body, Content_Type="video/mp4") for name, body in bodies.items()},
        "/film.mp4": reply(video(2, seed=5), Content_Type="video/mp4"),
        "/film.vtt": reply(GERMAN, Content_Type="text/vtt"),
        "/moved.mp4": reply(status="302 Found", Location="/there.mp4"),
        "/there.mp4": chunked(video(2, seed=3), Content_Type="video/mp4"),
        "/endless.mp4": endless(good[:40] + bytes(1 << 16), 0),
        "/stated.mp4": reply(b"", length=1 << 40),
        "/broken-off.mp4": breaks_off(good),
    }


def asking(server: HostileServer) -> list[str]:
    """What lets a run ask the server, without waiting."""
    allow = f'fetch.allow=["127.0.0.1:{server.port}"]'
    return ["fetch.contact=me@example.org", allow, "fetch.delay_s=0", "fetch.backoff_s=0.01"]


def made_of_table(table: Path, server: HostileServer, out: Path, *options: str) -> list[tuple[str, str]]:
    """(name, digest) of all shards."""
    values = [*asking(server), "fetch.max_video_bytes=1000000", "video.clip_s=2", "video.max_height_px=64"]
    sets = [word for value in values for word in ("--set", value)]
    assert main(["pairs", str(table), "--kind", "video", "--out", str(out), *sets, *options]) == 0
    return [(shard.path, shard.sha256) for shard in manifest(out).shards]


@pytest.fixture(scope="module")
def served() -> Iterator[HostileServer]:
    with HostileServer(web()) as server:
        yield server


@pytest.fixture(scope="module")
def table(served: HostileServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of all URLs of the server, with a column more."""
    lines = [f"{served.url('/' + name)},film {number},{number}" for number, name in enumerate(STATUS)]
    path = tmp_path_factory.mktemp("table") / "table.csv"
    path.write_text("\n".join(["url,caption,start", *lines, ""]))
    return path


@pytest.fixture(scope="module")
def of_table(table: Path, served: HostileServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    made_of_table(table, served, out, "--workers", "1")
    return out


def test_a_table_of_urls(of_table: Path, served: HostileServer) -> None:
    """Every URL is asked once and ends in a row with its status; what is whole makes a pair a clip, with the table's other columns."""
    rows = [row for path in (of_table / "media").glob("web-*.parquet") for row in pq.read_table(path).to_pylist()]
    found = [msgspec.json.decode(sample["json"], type=VideoTextPair) for sample in samples(of_table, "video_text")]
    pairs = sorted((pair.url.rpartition("/")[2], pair.start_s, pair.width, pair.height) for pair in found)
    flow = manifest(of_table).pairs

    assert {row["url"].rpartition("/")[2]: row["status"] for row in rows} == STATUS
    assert pairs == [
        ("good.mp4", 0.0, 96, 64),
        ("good.mp4", 2.0, 96, 64),
        ("high.mp4", 0.0, 48, 64),
        ("moved.mp4", 0.0, 96, 64),
        ("passed.webm", 0.0, 96, 64),
    ]
    assert {pair.columns["start"] for pair in found} == {"0", "1", "2", "3"}
    assert (flow.entered, flow.kept) == (len(STATUS) + 1, 5)
    assert flow.dropped == {"shard": dict(Counter(status for status in STATUS.values() if status != "ok"))}
    assert set(served.asked) >= {"/robots.txt", *(f"/{name}" for name in STATUS), "/there.mp4"}


@pytest.mark.slow
def test_another_run_gives_the_same_bytes(of_table: Path, table: Path, served: HostileServer, tmp_path: Path) -> None:
    """In another folder, with more workers."""
    before = [(shard.path, shard.sha256) for shard in manifest(of_table).shards]
    assert before == made_of_table(table, served, tmp_path / "again", "--workers", "2")
