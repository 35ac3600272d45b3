"""The command line: bad input gets one clear line and the right exit code, and harms nothing."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import main
from pipeline.extract.page import draft
from pipeline.software import software
from schemas.document import Draft
from tests import crawls

HTML = crawls.page(3, ["/a.png", "/b.png"], title="Houses")


@pytest.fixture(scope="module")
def warc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return crawls.write_warc(tmp_path_factory.mktemp("crawl") / "one.warc.gz", crawls.site("a.example", 2))


def fails(arguments: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs a command that must fail with `code`; returns its one line of error."""
    capsys.readouterr()
    assert main(arguments) == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("m3w: ")
    return lines[0]


def test_version_is_what_a_worker_must_have(capsys: pytest.CaptureFixture[str]) -> None:
    """A line each: m3w with the digest of its code (a tag for an image), Python, and every library that a job compares."""
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    lines = [line.split(" ") for line in capsys.readouterr().out.splitlines()]

    assert 0 == ended.value.code
    assert software() == dict(lines)
    assert ["m3w", "Python"] == [name for name, _ in lines[:2]]
    assert re.fullmatch(r"[0-9A-Za-z_][\w.-]{0,127}", lines[0][1])  # what registries take for a tag


def test_no_such_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The data is at fault; the output folder is not even made."""
    out = tmp_path / "out"

    assert "nowhere.warc.gz" in fails(["crawl", str(tmp_path / "nowhere.warc.gz"), "--out", str(out)], 1, capsys)
    assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"plain text, no archive\n" * 50, b"\x1f\x8b\x08" + b"junk" * 40])
def test_not_a_warc(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty files and files of another kind are named."""
    path = tmp_path / "odd.warc.gz"
    path.write_bytes(content)

    assert "odd.warc.gz" in fails(["crawl", str(path), "--out", str(tmp_path / "out")], 1, capsys)


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with nothing to read is named."""
    (tmp_path / "in").mkdir()

    assert "/in" in fails(["crawl", str(tmp_path / "in"), "--out", str(tmp_path / "out")], 1, capsys)


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("shard.sead=1", "did you mean shard.seed?"),
        ("sharding.seed=1", "did you mean shard?"),
        ("filters.gopher_quality.max_wordz=1", "did you mean filters.gopher_quality.max_words?"),
        ("shard.seed=many", "shard.seed"),
        ("shard.target_bytes=-1", "shard.target_bytes"),
        ("shard", "key=value"),
        ("shard=1", "section"),
    ],
)
def test_a_wrong_setting(
    setting: str, hint: str, warc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown key names the nearest known one, a wrong value its key; the command is at fault."""
    out = tmp_path / "out"

    assert hint in fails(["crawl", str(warc), "--out", str(out), "--set", setting], 2, capsys)
    assert not out.exists()


@pytest.mark.parametrize("text", ["[shard]\nseed = ", "[shard]\nsead = 1", "[shard]\nseed = 'x'"])
def test_a_wrong_configuration(text: str, warc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No TOML, an unknown key, a wrong type: the file is named."""
    config = tmp_path / "mine.toml"
    config.write_text(text)

    assert "mine.toml" in fails(
        ["crawl", str(warc), "--out", str(tmp_path / "out"), "--config", str(config)], 2, capsys
    )


def test_no_such_configuration(warc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The presets are named."""
    assert "m3w, obelics" in fails(
        ["crawl", str(warc), "--out", str(tmp_path / "out"), "--config", "obelisk"], 2, capsys
    )


def test_a_foreign_folder(warc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with other files is not touched."""
    (tmp_path / "thesis.txt").write_text("ten years")

    assert "thesis.txt" in fails(["crawl", str(warc), "--out", str(tmp_path)], 2, capsys)
    assert {"thesis.txt", ".lock"} >= {path.name for path in tmp_path.iterdir()}


def test_an_unwritable_folder(warc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing can be written the surroundings are at fault."""
    assert "/proc/m3w" in fails(["crawl", str(warc), "--out", "/proc/m3w"], 3, capsys)


def test_a_stage_without_its_predecessor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """select needs extract; a folder that is no run's is not made one."""
    assert "no output folder" in fails(["select", "--out", str(tmp_path / "out")], 2, capsys)
    assert not (tmp_path / "out").exists()


def test_no_room(warc: Path, tmp_path: Path) -> None:
    """A file system that takes no more ends the job with one line and code 3; with room, the same command goes on."""
    out = str(tmp_path / "out")
    command = [sys.executable, "-m", "jobs", "crawl", str(warc), "--out", out, "--workers", "1"]
    limited = ["bash", "-c", 'ulimit -f 4; exec "$@"', "bash", *command]  # files of at most 4 KiB
    failed = subprocess.run(limited, capture_output=True, text=True, check=False)

    assert failed.returncode == 3
    assert failed.stderr.strip().splitlines()[-1].startswith(f"m3w: {out}/")
    assert "Traceback" not in failed.stderr
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_inspect_an_html_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints for machines is the draft; `--url` is the page's base."""
    path = tmp_path / "page.html"
    path.write_bytes(HTML)
    assert main(["inspect", str(path), "--url", "http://h.example/dir/page.html", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    made = draft(HTML, "http://h.example/dir/page.html")

    assert isinstance(made, Draft)
    assert made.text == shown["text"]
    assert "http://h.example/a.png" in json.dumps(shown["nodes"])
    assert main(["inspect", str(path)]) == 0
    assert "Houses" in capsys.readouterr().out


def test_inspect_a_warc(warc: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page by its URL; one that is not there is an error."""
    assert main(["inspect", str(warc), "--url", "http://a.example/1.html"]) == 0
    assert "http://a.example/1-b.png" in capsys.readouterr().out
    assert "nothing to show" in fails(["inspect", str(warc), "--url", "http://a.example/none.html"], 1, capsys)


def test_inspect_and_stats_of_a_run(warc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document by its number or URL, drops, and the manifest's counts."""
    out = str(tmp_path / "out")
    assert main(["crawl", str(warc), "--out", out, "--workers", "1"]) == 0
    capsys.readouterr()
    assert main(["inspect", out, "--url", "http://a.example/1.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["url"] == "http://a.example/1.html"
    assert main(["inspect", out, "-n", "2"]) == 0
    assert capsys.readouterr().out.count("<image>") == 4
    assert main(["stats", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pages"] == {"entered": 2, "kept": 2, "dropped": {}}
    assert "no finished run" in fails(["stats", str(tmp_path / "nothing")], 1, capsys)


def test_stats_of_a_run_that_is_not_finished(warc: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What each stage has done so far, wherever it runs; the exit code says that the run is not finished."""
    out = str(tmp_path / "out")
    assert main(["extract", str(warc), "--out", out, "--workers", "1"]) == 0
    assert main(["select", "--out", out, "--workers", "1"]) == 0
    (tmp_path / "out/stages/select.json").unlink()
    capsys.readouterr()

    assert main(["stats", out]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "extract: finished, 1 parts, 2 pages, 2 kept, 0 dropped",
        "select: so far, 1 parts, 2 documents, 2 kept, 0 dropped",
    ]
    assert "no finished run" in said.err


def test_help_is_quick_and_light() -> None:
    """`m3w --help` imports nothing heavy."""
    code = "import sys; from jobs.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    ).stdout

    assert not any(
        f"'{heavy}'" in modules for heavy in ("apache_beam", "pyarrow", "numpy", "torch", "PIL", "fsspec", "rich")
    )
