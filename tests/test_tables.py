"""Captions tables: what is read of them, what is dropped, and what is refused before anything is written."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from jobs.pairs import tasks_of
from pipeline.config import Config, load_config
from pipeline.read import text_tables
from pipeline.read.beside import url_beside
from pipeline.read.tables import find_tables
from pipeline.runfolder import RunFolder
from pipeline.stages.table import cell, extract_table_slice, row_drops
from schemas.document import DraftMedium, MediumKind, decode_draft_nodes
from schemas.drops import Drop, DropReason
from schemas.errors import InputError, UsageError
from tests.pictures import encode, photo

SHARED = Path(__file__).parents[2] / "shared/data"


def extracted(
    out: Path, *tables: Path, kind: MediumKind = "image", config: Config = Config()
) -> tuple[Counter[str], dict[str, list[dict[str, Any]]]]:
    """The counts of all slices of tables, and the rows of what they give, by table and row."""
    counts: Counter[str] = Counter()
    run = RunFolder(str(out))
    for task in tasks_of(run.store.url, config, find_tables([str(table) for table in tables]), kind).values():
        counts.update(extract_table_slice(task, lambda record: None, frozenset()))
    names = ("documents", "drops", "media-index")
    found = {
        name: [row for path in (out / name).glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        for name in names
    }
    for name in ("documents", "drops"):
        found[name].sort(key=lambda row: (row["source"], row["offset"]))
    return counts, found


def lost(tables: dict[str, list[dict[str, Any]]]) -> list[tuple[int, str]]:
    """(row, reason) of all drops."""
    assert {row["kind"] for row in tables["drops"]} <= {"pair"}
    return [(row["offset"], row["reason"]) for row in tables["drops"]]


def medium(row: dict[str, Any]) -> DraftMedium:
    """The one node of a documents row."""
    (node,) = decode_draft_nodes(row["nodes"])
    assert isinstance(node, DraftMedium)
    return node


def captions(tables: dict[str, list[dict[str, Any]]]) -> list[tuple[str, str]]:
    """(URL, caption) of all documents."""
    return [(medium(row).candidates[0].url, medium(row).caption) for row in tables["documents"]]


ROWS: list[dict[str, Any]] = [
    {"id": "7", "Image_URL": "https://a.example/1.jpg", "TEXT": 'a "red" boat,\nmoored'},
    {"id": "8", "Image_URL": "https://a.example/2.jpg", "TEXT": "ein Boot für Öl"},
]


def delimited(rows: list[dict[str, Any]], delimiter: str) -> str:
    """Rows as RFC 4180 writes them, every field in quotes."""
    lines = [list(rows[0]), *[list(row.values()) for row in rows]]
    return (
        "\r\n".join(delimiter.join('"' + value.replace('"', '""') + '"' for value in line) for line in lines) + "\r\n"
    )


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", ["t.csv", "t.TSV", "t.jsonl", "t.csv.gz", "t.ndjson.gz", "t.parquet"])
def test_every_form_gives_the_same_pairs(tmp_path: Path, name: str, encoding: str) -> None:
    """CSV, TSV, JSONL and Parquet, packed or not, in the three encodings: the same media, captions and other columns."""
    path = tmp_path / name
    if "parquet" in name:
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    else:
        text = json_lines(ROWS) if "json" in name else delimited(ROWS, "\t" if "TSV" in name else ",")
        data = text.encode(encoding)
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    counts, tables = extracted(tmp_path / "run", path)

    assert captions(tables) == [(row["Image_URL"], row["TEXT"]) for row in ROWS]
    assert [row["columns"] for row in tables["documents"]] == ['{"id":"7"}', '{"id":"8"}']
    assert [(row["source"], row["offset"], row["length"]) for row in tables["documents"]] == [
        (name, 0, 1),
        (name, 1, 1),
    ]
    assert counts == {"records.row": 2, "pairs.in": 2, "documents": 2, "candidates": 2}


def test_columns_are_found_by_their_usual_names(tmp_path: Path) -> None:
    """Of several that fit, the order of the usual names decides; a name that is given goes before them, in any case."""
    path = tmp_path / "t.jsonl"
    path.write_text(json_lines([{"Alt": "a", "Caption": "b", "Path": "c", "URL": "d", "size": 1}]))

    assert [("URL", "Caption")] == [(t.columns.media, t.columns.caption) for t in find_tables([str(path)])]
    chosen = find_tables([str(path)], media="path", caption="SIZE")
    assert [("Path", "size")] == [(table.columns.media, table.columns.caption) for table in chosen]


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("t.csv", b"link;words\na;b\n", UsageError, "no column named url, image"),
        ("t.csv", b"url,words\na,b\n", UsageError, "say --caption COLUMN, one of: url, words"),
        ("t.csv", b"", InputError, "the file is empty"),
        ("t.csv", b"\n\n", InputError, "no rows"),
        ("t.csv", b"url,caption\n", InputError, "no rows"),
        ("t.csv", b"url,caption,url\na,b,c\n", InputError, "'url' more than once"),
        ("t.csv", b'url,"cap"tion\na,b\n', InputError, "line 1: the header cannot be read"),
        ("t.csv", "url,caption\na,b\n".encode("utf-16-le"), InputError, "without a byte order mark"),
        ("t.csv", b"url,caption\na,b\nc,caf\xe9\n", InputError, "t.csv, line 3: not UTF-8"),
        ("t.jsonl", b'{"url": "a", "caption": "b"}\n{"caption": "caf\xe9"}\n', InputError, "t.jsonl, line 2: not UTF-8"),
        ("t.csv.gz", gzip.compress(b"url,caption\na,b\n", mtime=0)[:-9], InputError, "the gzip stream is broken"),
        ("t.jsonl", b'[\n{"url": "a"}\n]\n', UsageError, "no column named caption"),
        ("t.jsonl", b"[1,\n2]\n", InputError, "none of its first rows can be read: t.jsonl, line 1: no JSON object"),
        ("t.parquet", b"PAR1 and no more", InputError, "not a Parquet file"),
        ("t.json", b"{}", InputError, "no captions table; its name ends neither in"),
        ("t.warc", b"WARC/1.0\r\n", InputError, "no captions table"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_refused(
    tmp_path: Path, name: str, data: bytes, error: type[Exception], words: str
) -> None:
    """A wrong table is an error with its file, and the line where there are lines."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(error) as raised:
        find_tables([str(tmp_path / name)])

    assert words in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)


def test_nothing_is_written_for_a_wrong_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One table of two lacks a column: the command names it, ends with 2, and the output folder is not made."""
    (tmp_path / "one.csv").write_text("url,caption\nhttps://a.example/1.jpg,boat\n")
    (tmp_path / "two.csv").write_text("url,words\nhttps://a.example/1.jpg,boat\n")
    code = main(["pairs", str(tmp_path / "*.csv"), "--out", str(tmp_path / "run")])

    assert code == 2
    assert "two.csv: no column named caption, text, alt" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_broken_rows_are_drops_with_their_line(tmp_path: Path) -> None:
    """Too many fields, a quote in the wrong place, a line that is no JSON object: each a drop, and the rows around it stay."""
    table = tmp_path / "t.csv"
    good = "https://a.example/{}.jpg,boat\n"
    table.write_text("url,caption\n" + good.format(1) + "x,y,z\n\n" + good.format(2) + '"x"y,z\n' + good.format(3))
    lines = tmp_path / "t.jsonl"
    deep = "[" * 100_000
    lines.write_text('{"url":"https://a.example/4.jpg","caption":"boat"}\n{"url"\n\n[1]\n"\\ud800"\n' + deep + "\n")
    _, tables = extracted(tmp_path / "run", table, lines)

    assert [url for url, _ in captions(tables)] == [f"https://a.example/{n}.jpg" for n in (1, 2, 3, 4)]
    assert lost(tables) == [(n, "bad_record") for n in (1, 3, 1, 2, 3, 4)]
    details = [row["detail"] for row in tables["drops"]]
    assert details[0] == "t.csv, line 3: 3 fields, but the header has 2"
    assert [detail.split(":")[0] for detail in details[1:]] == [
        "t.csv, line 6",
        *[f"t.jsonl, line {n}" for n in (2, 4, 5, 6)],
    ]


def test_cells_that_make_no_pair_are_drops(tmp_path: Path) -> None:
    """Empty, absent, oversized and odd cells: the whole table of reasons."""
    url = "https://a.example/1.jpg"
    rows: list[tuple[dict[str, Any], str]] = [
        ({"url": url, "caption": ""}, "no_caption"),
        ({"url": url, "caption": " \u00a0\n"}, "no_caption"),
        ({"url": url}, "no_caption"),
        ({"url": url, "caption": None}, "no_caption"),
        ({"url": url, "caption": ["a", "b"]}, "bad_record"),
        ({"url": url, "caption": "a\0b"}, "bad_record"),
        ({"url": url + "\0", "caption": "boat"}, "bad_record"),
        ({"url": url, "caption": "x" * 1_000_000}, "caption_too_long"),
        ({"url": "", "caption": "boat"}, "no_candidate"),
        ({"caption": "boat"}, "no_candidate"),
        ({"url": "https://", "caption": "boat"}, "bad_url"),
        ({"url": url, "caption": "boat", "other": "x" * (1 << 19)}, "body_too_large"),
    ]
    path = tmp_path / "t.jsonl"
    path.write_text(json_lines([row for row, _ in rows] + [{"url": url, "caption": 17}]))
    counts, tables = extracted(tmp_path / "run", path)

    assert lost(tables) == list(enumerate(reason for _, reason in rows))
    assert captions(tables) == [(url, "17")]
    assert counts["pairs.in"] == len(rows) + 1 == counts["documents"] + len(tables["drops"])
    assert (1_000_000, 10_000) == next(
        (row["value"], row["threshold"]) for row in tables["drops"] if row["reason"] == "caption_too_long"
    )


def test_a_long_line_costs_no_more_than_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line, a quoted field or a row longer than the budget is bad records; the rows behind are read."""
    monkeypatch.setattr(text_tables, "MAX_LINE_CHARS", 1000)
    good = "https://a.example/1.jpg,boat\n"
    (tmp_path / "a.csv").write_text("url,caption\n" + "x" * 5000 + "\n" + good)
    (tmp_path / "b.csv").write_text("url,caption\n" + good + '"' + "x\n" * 2500 + good)
    quoted = '"' + "x\n" * 100 + '",'
    (tmp_path / "c.csv").write_text("url,caption\n" + good + quoted * 50 + "y\n")
    _, tables = extracted(tmp_path / "run", *(tmp_path / f"{name}.csv" for name in "abc"))

    assert {"bad_record"} == {reason for _, reason in lost(tables)}
    assert captions(tables) == [("https://a.example/1.jpg", "boat")] * 4


def test_a_document_is_known_by_medium_and_caption(tmp_path: Path) -> None:
    """Equal rows share a key, so that one of them stays; another caption, or another picture, is another document."""
    path = tmp_path / "t.jsonl"
    rows = [("1.jpg", "boat"), ("1.jpg", "boat"), ("1.jpg", "ship"), ("2.jpg", "boat")]
    path.write_text(json_lines([{"url": f"https://a.example/{name}", "caption": text} for name, text in rows]))
    _, tables = extracted(tmp_path / "run", path)
    keys = [row["url_key"] for row in tables["documents"]]

    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert keys == [row["text_key"] for row in tables["documents"]]
    assert keys == [bytes.fromhex(row["key"]) for row in tables["documents"]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with pictures, and what a table in it should not reach."""
    folder = tmp_path / "set"
    (folder / "sub").mkdir(parents=True)
    (folder / "1.png").write_bytes(encode(photo(200, 160), "PNG"))
    (folder / "sub/2.png").write_bytes(encode(photo(220, 160), "PNG"))
    (tmp_path / "secret.png").write_bytes(encode(photo(100, 160), "PNG"))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "inside.png").symlink_to(folder / "1.png")
    return folder


def test_files_beside_the_table_are_copied(folder: Path, tmp_path: Path) -> None:
    """The bytes go into the copies, once for each file; their name says the path and the content, and no folder."""
    (folder / "t.csv").write_text("file,caption\n1.png,a\nsub/2.png,b\n./1.png,c\n1.png,d\n")
    _, tables = extracted(tmp_path / "run", folder / "t.csv")
    index = {row["url"]: row for row in tables["media-index"]}

    assert {url.partition("#")[0] for url in index} == {"file:///1.png", "file:///./1.png", "file:///sub/2.png"}
    assert [url for url, _ in captions(tables) if url not in index] == []
    row = next(row for url, row in index.items() if "sub/2.png" in url)
    copies = (tmp_path / "run" / row["ref_name"]).read_bytes()
    assert copies[row["ref_offset"] :][: row["ref_length"]] == (folder / "sub/2.png").read_bytes()
    assert (row["copied"], row["kind"], row["mime"]) == (True, "image", "image/png")


def test_paths_do_not_leave_the_folder(folder: Path, tmp_path: Path) -> None:
    """Parents, absolute paths, other schemes and links out are drops; so are files that are not there or too large."""
    (folder / "large.png").write_bytes(b"x" * 5000)
    (folder / "sub/up.png").symlink_to("../1.png")
    cells = {
        "../secret.png": "outside_folder",
        "sub/../../secret.png": "outside_folder",
        str(folder / "1.png"): "outside_folder",
        "file:///etc/passwd": "outside_folder",
        "s3://bucket/1.png": "outside_folder",
        "link.png": "outside_folder",
        "nowhere.png": "missing_file",
        "sub": "missing_file",
        "x" * 5000: "missing_file",
        "large.png": "too_many_bytes",
        "inside.png": "",
        "sub/up.png": "",
        "sub/../1.png": "",
    }
    (folder / "t.jsonl").write_text(json_lines([{"file": path, "caption": "boat"} for path in cells]))
    small = load_config("", "none", ["extract.read.max_record_bytes=4000"])
    _, tables = extracted(tmp_path / "run", folder / "t.jsonl", config=small)

    assert lost(tables) == [(n, reason) for n, reason in enumerate(cells.values()) if reason]
    assert len(tables["documents"]) == sum(not reason for reason in cells.values())


def test_two_files_of_one_name_do_not_meet(tmp_path: Path) -> None:
    """Tables in two folders that name their own 1.png: two media."""
    for number, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(encode(photo(200 + number, 160), "PNG"))
        (tmp_path / name / f"{name}.csv").write_text("file,caption\n1.png,boat\n")
    _, tables = extracted(tmp_path / "run", tmp_path / "a/a.csv", tmp_path / "b/b.csv")

    assert len({row["media_key"] for row in tables["media-index"]}) == 2


def test_a_parquet_table_is_read_by_row_groups(tmp_path: Path) -> None:
    """Row groups make slices, rows keep their number in the file, and columns of bytes are left out."""
    rows = [
        {"url": f"https://a.example/{n}.jpg", "caption": f"boat {n}", "embedding": [0.5, n], "data": b"\xff", "image": {"bytes": b"\xff"}}
        for n in range(10)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet", row_group_size=4)
    small = msgspec.structs.replace(Config(), extract=msgspec.structs.replace(Config().extract, slice_bytes=1))
    tasks = tasks_of("run", small, find_tables([str(tmp_path / "t.parquet")]), "image")
    _, tables = extracted(tmp_path / "run", tmp_path / "t.parquet", config=small)

    assert [(task.slice.start, task.slice.end) for task in tasks.values()] == [(0, 1), (1, 2), (2, 3)]
    assert [row["offset"] for row in tables["documents"]] == list(range(10))
    assert captions(tables) == [(row["url"], row["caption"]) for row in rows]
    assert tables["documents"][3]["columns"] == '{"embedding":"[0.5,3.0]"}'


def test_a_row_that_kills_is_a_drop(tmp_path: Path) -> None:
    """A row that ended its worker twice is a drop; the rows around it are documents."""
    path = tmp_path / "t.csv"
    path.write_text("url,caption\n" + "".join(f"https://a.example/{n}.jpg,boat\n" for n in range(3)))
    (task,) = tasks_of(str(tmp_path / "run"), Config(), find_tables([str(path)]), "image").values()
    counts = extract_table_slice(task, lambda record: None, frozenset({1}))

    assert (3, 2, 1) == (counts["pairs.in"], counts["documents"], counts["pairs.dropped.worker_killed"])


def test_a_row_that_falls_later_is_one_pair_with_the_reason_of_its_medium() -> None:
    """A page that has lost its only medium says nothing of why; what is said of the row itself stands."""
    gone = Drop(kind="image", reason=DropReason.BLOCKED_DOMAIN, medium_url="http://a.example/1.jpg", detail="a.example")
    emptied = Drop(kind="page", reason=DropReason.NO_IMAGE, url="http://a.example/1.jpg")
    twice = Drop(kind="page", reason=DropReason.DUPLICATE_URL, url="http://a.example/1.jpg")
    assert [(drop.kind, drop.reason, drop.detail) for drop in row_drops([emptied, gone])] == [
        ("pair", DropReason.BLOCKED_DOMAIN, "a.example")
    ]
    assert [(drop.reason, drop.medium_url) for drop in row_drops([twice, gone])] == [(twice.reason, twice.url)]


def test_cells_are_scalars_of_json() -> None:
    """What JSON has no number for is null, what is nested is JSON text."""
    assert [cell(value) for value in (True, 3, "a", None, 0.5)] == [True, 3, "a", None, 0.5]
    assert [cell(float("nan")), cell({"a": [1]}), cell(1 << 70)] == [None, '{"a":[1]}', 1 << 70]


@pytest.mark.parametrize(
    ("table", "kind", "pairs"), [("pairs/captions.jsonl", "image", 400), ("video/captions.jsonl", "video", 15)]
)
@pytest.mark.skipif(not SHARED.is_dir(), reason="the data sets are not here")
def test_real_tables_give_all_their_pairs(tmp_path: Path, table: str, kind: MediumKind, pairs: int) -> None:
    """Real tables with files beside them: each row with a caption is a document whose bytes are in the copies."""
    counts, tables = extracted(tmp_path / "run", SHARED / table, kind=kind)

    assert len(tables["documents"]) == pairs
    assert {row["kind"] for row in tables["media-index"]} == {kind}
    assert counts["pairs.in"] == pairs + counts["pairs.dropped.no_caption"]


def test_tables_of_stores_find_the_files_beside_them(tmp_path: Path) -> None:
    """A table in a store: files beside it are read from there, and paths do not leave its folder."""
    store = fsspec.filesystem("memory")
    data = encode(photo(200, 160), "PNG")
    cells = ["sub/1.png", "sub/2.png", "sub", "../2.png", "/tables/set/sub/1.png"]
    store.pipe_file("/tables/set/sub/1.png", data)
    store.pipe_file("/tables/2.png", data)
    store.pipe_file("/tables/set/t.csv", ("path,text\n" + "".join(f"{cell},boat\n" for cell in cells)).encode())
    (task,) = tasks_of(str(tmp_path), Config(), find_tables(["memory://tables/set/t.csv"]), "image").values()
    counts = extract_table_slice(task, lambda record: None, frozenset())
    store.rm("/tables", recursive=True)

    assert (1, 1) == (counts["documents"], counts["media_index"])
    assert (2, 2) == (counts["pairs.dropped.missing_file"], counts["pairs.dropped.outside_folder"])


def test_a_path_beside_a_table_on_the_web_is_a_url() -> None:
    """It is a URL below the table's folder, or a drop."""
    table = "https://a.example/set/t.csv"
    asked = [url_beside(table, path) for path in ("a b?.png", "sub/../1.png")]
    outside = [
        url_beside(table, path) for path in ("../1.png", "/1.png", "ftp://a.example/set/1.png", "//b.example/1.png")
    ]

    assert ["https://a.example/set/a%20b%3F.png", "https://a.example/set/1.png"] == asked
    assert {"outside_folder"} == {one.reason for one in outside if isinstance(one, Drop)}
    assert not [one for one in outside if isinstance(one, str)]
