"""m3w pairs, stage by stage: rows meet duplicates, lists and the fetch stage like pages of a crawl."""

import json
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs import fetch, pairs, selection
from jobs.cli import main
from jobs.engine import Engine
from jobs.job import Job
from jobs.presets import read_config
from jobs.progress import Progress
from pipeline.read.tables import find_tables
from pipeline.report import read_manifest
from pipeline.runfolder import RunFolder
from schemas.manifest import decode_manifest
from tests import crawls

CAPTIONS = 12  # of one picture: more than the pages on which one may stand in a crawl


def table(folder: Path) -> Path:
    """A table with pictures beside it: one of many captions, one row twice, one picture too small, one that is none."""
    for number in range(3):
        (folder / f"{number}.png").write_bytes(crawls.picture(number * 9, 240, 220))
    (folder / "text.png").write_text("no picture")
    rows = [("0.png", f"a boat, seen for the {n}. time") for n in range(CAPTIONS)]
    rows += [("1.png", "heron"), ("1.png", "heron"), ("2.png", "heron"), ("text.png", "text")]
    lines = [json.dumps({"file": name, "caption": text}) for name, text in rows]
    (folder / "t.jsonl").write_text("\n".join(lines))
    return folder / "t.jsonl"


def rows(out: Path, pattern: str) -> list[dict[str, object]]:
    return [row for path in sorted(out.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def test_rows_go_through_select_and_fetch(tmp_path: Path) -> None:
    """Of equal rows one stays; a picture keeps all its captions; each picture is taken once, from the copies."""
    out = tmp_path / "run"
    folder = RunFolder(str(out))
    folder.claim()
    job = Job(folder, read_config("m3w"), Engine(1, [], [str(out)]), Progress())
    pairs.extract(job, find_tables([str(table(tmp_path))]), "image")
    selection.run(job)
    fetch.run(job)

    assert len(rows(out, "selected/*.parquet")) == CAPTIONS + 3
    assert [(row["kind"], row["reason"]) for row in rows(out, "drops/select-*.parquet")] == [("pair", "duplicate_url")]
    assert job.total("select", "pairs.dropped.duplicate_url") == 1
    assert sorted(str(row["status"]) for row in rows(out, "media/*.parquet")) == ["not_an_image", "ok", "ok", "ok"]


def test_stages_of_a_table_can_be_run_one_by_one(tmp_path: Path) -> None:
    """select, fetch and shard know a table by its rows: after `m3w pairs` there is nothing for them to do, and no other rule to do it by."""
    out = tmp_path / "run"
    options = ["--out", str(out), "--workers", "1"]
    assert main(["pairs", str(table(tmp_path)), *options]) == 0
    before = {path: path.read_bytes() for path in (out / "shards").rglob("*") if path.is_file()}
    stages = {path: path.read_bytes() for path in (out / "stages").iterdir()}
    for stage in ("select", "fetch", "shard"):
        assert main([stage, *options]) == 0

    assert {path: path.read_bytes() for path in (out / "stages").iterdir()} == stages
    assert {path: path.read_bytes() for path in (out / "shards").rglob("*") if path.is_file()} == before
    assert read_manifest(RunFolder(str(out))).pairs.kept == CAPTIONS + 2


def test_a_wrong_table_harms_no_other_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds something else stays as it is, and so does one whose table is broken."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    good = table(tmp_path)
    broken = good.with_name("broken.csv")
    broken.write_bytes(b"file,caption\n0.png,caf\xe9\n")
    codes = [main(["pairs", str(one), "--out", str(tmp_path / "out")]) for one in (broken, good)]

    assert codes == [1, 2]
    assert "broken.csv, line 2: not UTF-8" in capsys.readouterr().err
    assert (tmp_path / "out/mine.txt").read_text() == "mine"
    assert {path.name for path in (tmp_path / "out").iterdir()} <= {"mine.txt", ".lock"}


def test_captions_and_media_of_a_table_are_held_against_the_lists(tmp_path: Path) -> None:
    """Blocked words, evaluation texts, blocked and opted-out places take rows, each with its reason; personal data is replaced in what is left."""
    evaluation = "a heron stands in the shallow water beside an old wooden boat at dawn"
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(crawls.picture(number * 9, 240, 220))
    table = [
        ("0.png", "mail jane.doe@mail.net for the boat"),
        ("1.png", "a Secret boat"),
        ("2.png", f"Seen: {evaluation}!"),
        ("https://img.bad.example/1.png", "a boat of theirs"),
        ("https://artist.example/1.png", "a boat of hers"),
    ]
    (tmp_path / "t.csv").write_text("file,caption\n" + "".join(f'{name},"{text}"\n' for name, text in table))
    lists = {
        "block_words": "# words\r\nsecret\r\n",
        "block_domains": "bad.example\n",
        "opt_out": "artist.example\n",
        "evaluation_texts": evaluation,
    }
    settings = []
    for name, text in lists.items():
        (tmp_path / f"{name}.txt").write_text(text)
        settings += ["--set", f'lists.{name}=["{tmp_path}/{name}.txt"]']
    out = tmp_path / "out"
    assert main(["pairs", str(tmp_path / "t.csv"), "--out", str(out), "--workers", "1", *settings]) == 0

    drops = {(row["kind"], row["reason"], row["detail"]) for row in rows(out, "drops/*.parquet")}
    assert drops == {
        ("pair", "blocked_word", "secret"),
        ("pair", "contaminated", " ".join(evaluation.split()[:13])),
        ("pair", "blocked_domain", "bad.example"),
        ("pair", "opted_out", "opt-out list: artist.example"),
    }
    with tarfile.open(out / "shards/image_text/00000.tar") as tar:
        texts = [tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".txt")]  # type: ignore[union-attr]
    assert texts == [b"mail email@example.com for the boat"]
    manifest = decode_manifest((out / "shards/manifest.json").read_bytes())
    manifest.check()
    assert (manifest.pairs.entered, manifest.pairs.kept) == (5, 1)
    assert len(list(out.glob("lists/*.bin"))) == 1


def test_a_row_whose_medium_was_taken_down_says_so(tmp_path: Path) -> None:
    """By the URL that its sample has: it goes from the shards, and another run over the table drops its rows for that reason."""
    out = tmp_path / "run"
    command = ["pairs", str(table(tmp_path)), "--out", str(out), "--workers", "1"]
    assert main(command) == 0
    kept = read_manifest(RunFolder(str(out))).pairs.kept
    url = next(str(row["url"]) for row in rows(out, "media-urls/*.parquet") if "/2.png#" in str(row["url"]))
    (tmp_path / "list.txt").write_text(url)
    assert main(["takedown", str(out), "--urls", str(tmp_path / "list.txt"), "--workers", "1"]) == 0
    assert main(command) == 0

    pairs = read_manifest(RunFolder(str(out))).pairs
    assert pairs.kept == kept - 1
    assert pairs.dropped["select"]["taken_down"] == 1
