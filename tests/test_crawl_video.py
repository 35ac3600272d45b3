"""A crawl with a video in it, from the command line."""

import io
from pathlib import Path

import av
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from tests import crawls
from tests.videos import video

VTT = b"WEBVTT\n\n00:00.000 --> 00:01.000\nA square sets out\n"


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    """A WARC of a page with a video and its text track, both in the crawl, and a video that is broken."""
    page = crawls.page(3, ["/a.png"]).decode()
    shown = '<figure><video controls><source src="/square.mp4" type="video/mp4"><track kind="captions" src="/square.vtt"></video></figure>'
    shown += f'<p>{crawls.prose(90)}</p><figure><video src="/broken.mp4"></video></figure></article>'
    records = [
        crawls.record("http://v.example/1.html", page.replace("</article>", shown).encode(), "text/html"),
        crawls.record("http://v.example/a.png", crawls.picture(4), "image/png"),
        crawls.record("http://v.example/square.mp4", video(4), "video/mp4"),
        crawls.record("http://v.example/broken.mp4", video(4)[:2000], "video/mp4"),
        crawls.record("http://v.example/square.vtt", VTT, "text/plain"),
    ]
    return crawls.write_warc(tmp_path / "one.warc.gz", records)


def fetched(crawl: Path, out: Path, setting: str) -> None:
    """Runs the stages up to fetch."""
    assert main(["extract", str(crawl), "--out", str(out), "--workers", "1", "--set", setting]) == 0
    for stage in ("select", "fetch"):
        assert main([stage, "--out", str(out), "--workers", "1", "--set", setting]) == 0


def media(out: Path) -> dict[tuple[str, int | None], dict[str, object]]:
    """The rows of the media table by kind and clip; a row that is not ok by kind and -1."""
    rows = [row for path in (out / "media").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return {(row["kind"], row["clip"] if row["status"] == "ok" else -1): row for row in rows}


def test_clips_and_tracks_come_from_the_crawl(crawl: Path, tmp_path: Path) -> None:
    """A video of the crawl becomes clips in the media table, its track a text beside them; a broken one is a row with its reason."""
    out = tmp_path / "run"
    fetched(crawl, out, "video.clip_s=2")
    rows = media(out)
    assert {("image", None), ("video", 0), ("video", 1), ("video", -1), ("track", None)} == set(rows)
    assert "broken_video" == rows["video", -1]["status"]
    tar = next((out / "media").glob("*.tar")).read_bytes()
    for clip in (0, 1):
        row = rows["video", clip]
        assert (2.0 * clip, 2.0, 96, 64, "mp4") == tuple(
            row[name] for name in ("start_s", "duration_s", "width", "height", "extension")
        )
        with av.open(io.BytesIO(tar[row["offset"] : row["offset"] + row["bytes"]])) as container:  # type: ignore[operator]
            assert 20 == len(list(container.decode(video=0)))
    track = rows["track", None]
    assert VTT == tar[track["offset"] : track["offset"] + track["bytes"]]  # type: ignore[operator]


def test_videos_can_be_left_out(crawl: Path, tmp_path: Path) -> None:
    """With `video.take = false` videos are not decoded."""
    out = tmp_path / "run"
    fetched(crawl, out, "video.take=false")
    assert {"video_not_taken"} == {row["status"] for key, row in media(out).items() if key[0] == "video"}
