"""Bad captions tables, by `m3w pairs` over a folder that holds a run: one line says what is wrong, and nothing in the folder changes."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipeline.runfolder import RunFolder
from tests.test_tables import extracted, lost


def parquet(rows: list[dict[str, object]]) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


GOOD: list[dict[str, object]] = [{"url": "https://a.example/1.jpg", "caption": "boat"}]


@pytest.mark.parametrize(
    ("name", "data", "code", "words"),
    [
        ("t.csv", b"", 1, "the file is empty"),
        ("t.csv", b"url,caption\n", 1, "no rows"),
        ("t.csv", b"url,words\na,b\n", 2, "say --caption COLUMN, one of: url, words"),
        ("t.csv", b"url,caption,caption\na,b,c\n", 1, "'caption' more than once"),
        ("t.csv", "url,caption\na,b\n".encode("utf-16-le"), 1, "without a byte order mark"),
        ("t.csv", b"url,caption\na,b\nc,caf\xe9\n", 1, "line 3: not UTF-8"),
        ("t.csv", b"\0\0\0\0\0\0", 1, "NUL characters"),
        ("t.parquet", parquet(GOOD)[:-5], 1, "not a Parquet file, or a broken one"),
        ("t.parquet", parquet(GOOD)[:20], 1, "not a Parquet file, or a broken one"),
        ("t.parquet", parquet([{"url": "x", "words": "y"}]), 2, "no column named caption"),
        ("t.parquet", parquet([{"image": {"bytes": b"x", "path": "x"}, "caption": "y"}]), 2, "'image' is struct<"),
        ("t.parquet", parquet([{"url": "x", "caption": ["y", "z"]}]), 2, "not texts; say --caption COLUMN"),
        ("t.jsonl", b'{"url": "a"', 1, "none of its first rows can be read"),
    ],
)
def test_a_bad_table_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, code: int, words: str
) -> None:
    """The table and what is wrong with it in one line, the exit code of who is at fault, and a run's folder as it was."""
    out = tmp_path / "run"
    folder = RunFolder(str(out))
    folder.claim()
    folder.store.write("shards/image_text/00000.tar", b"of an earlier run")
    (tmp_path / name).write_bytes(data)

    assert main(["pairs", str(tmp_path / name), "--out", str(out)]) == code
    error = capsys.readouterr().err
    assert f"{tmp_path / name}" in error
    assert words in error
    assert len(error.splitlines()) == 1
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert files == {"m3w.json", "shards/image_text/00000.tar"}
    assert (out / "shards/image_text/00000.tar").read_bytes() == b"of an earlier run"


def test_what_is_no_file_is_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path to nothing, and a folder without tables."""
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "nowhere.csv", tmp_path / "empty"):
        assert main(["pairs", str(path), "--out", str(tmp_path / "run")]) == 1
        assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_odd_cells_of_parquet_are_drops(tmp_path: Path) -> None:
    """Nulls in the place of a medium or a caption; what is nested beside them is JSON text."""
    url = "https://a.example/1.jpg"
    caption: list[object] = [None, "boat"]
    nulls = [{"url": one, "caption": two} for one, two in zip([url, None], caption, strict=True)]
    (tmp_path / "a.parquet").write_bytes(parquet(nulls))
    (tmp_path / "b.parquet").write_bytes(parquet([{**GOOD[0], "size": {"w": 1, "h": [2, 3]}}]))
    _, tables = extracted(tmp_path / "run", *(tmp_path / f"{name}.parquet" for name in "ab"))

    assert lost(tables) == [(0, "no_caption"), (1, "no_candidate")]
    assert [row["columns"] for row in tables["documents"]] == ['{"size":"{\\"w\\":1,\\"h\\":[2,3]}"}']
