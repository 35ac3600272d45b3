"""What the arguments of a command stand for."""

import gzip
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from pipeline.read.inputs import FILES_PER_BATCH, Input, find_inputs
from pipeline.read.records import MediaRecord, Page, read
from pipeline.read.reference import read_reference
from pipeline.read.slices import slices
from schemas.errors import InputError
from tests.warcs import HTML, PNG, members, put, response, with_dictionary

WARC = b"".join(
    members(
        [
            response("http://a.org/", HTML),
            response("http://a.org/p.png", PNG, "image/png"),
            response("http://a.org/2", HTML),
        ],
        "gzip",
    )
)


def _write(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def _names(*arguments: str, root: str = "") -> list[str]:
    return [input.name for input in find_inputs(arguments, root=root)]


def test_names_are_those_below_the_root(tmp_path: Path) -> None:
    """A file's base name; below a folder or the plain part of a glob the path; the order of arguments does not matter."""
    one = _write(tmp_path / "x" / "b.warc.gz", WARC)
    _write(tmp_path / "crawl" / "deep" / "a.warc.gz", WARC)
    _write(tmp_path / "crawl" / "notes.txt", b"no input")

    assert ["b.warc.gz", "deep/a.warc.gz"] == _names(one, str(tmp_path / "crawl"))
    assert ["b.warc.gz", "deep/a.warc.gz"] == _names(f"{tmp_path}/crawl/*/*.warc.gz", one)
    assert ["b.warc.gz"] == _names(one, one)


def test_equal_names_get_their_folders(tmp_path: Path) -> None:
    """As many parents as it takes, whatever the order."""
    paths = [_write(tmp_path / folder / "a.warc.gz", WARC) for folder in ("x/1", "y/1", "z")]

    assert (
        ["x/1/a.warc.gz", "y/1/a.warc.gz", "z/a.warc.gz"] == sorted(_names(*paths)) == sorted(_names(*reversed(paths)))
    )


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    """The identity is the sha256; the name of a file does not decide what it is."""
    plain = _write(tmp_path / "plain.warc.gz", response("http://a.org/", HTML))
    page = _write(tmp_path / "page.dat", HTML)

    kinds = {input.name: (input.kind, input.size, len(input.identity)) for input in find_inputs([plain, page])}

    assert {
        "plain.warc.gz": ("warc", len(response("http://a.org/", HTML)), 64),
        "page.dat": ("html", len(HTML), 64),
    } == kinds


def test_known_digests_are_not_computed_again(tmp_path: Path) -> None:
    """They are taken and put by path, size and time of change."""
    path = _write(tmp_path / "a.warc.gz", WARC)
    digests: dict[tuple[str, int, int], str] = {}

    (first,) = find_inputs([path], digests=digests)
    (again,) = find_inputs([path], digests=dict.fromkeys(digests, "known"))

    assert [first.identity] == list(digests.values())
    assert "known" == again.identity


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("gone.warc.gz", None, "no such file or folder"),
        ("empty.warc.gz", b"", "the file is empty"),
        ("x.warc.gz", b"not at all", "not a WARC, WACZ, HTML or Parquet file; it begins with b'not at all'"),
        (
            "x.warc.gz",
            gzip.compress(b"hello", mtime=0),
            "not a WARC, WACZ, HTML or Parquet file; it begins with b'hello'",
        ),
        ("x.arc", b"filedesc://x.arc 0.0.0.0 20050614 text/plain 200 -\n", "an ARC file, not a WARC; convert it"),
        ("x.arc.gz", gzip.compress(b"filedesc://x.arc 0.0.0.0", mtime=0), "an ARC file, not a WARC; convert it"),
        ("x.wacz", b"PK\x03\x04 broken", "a broken zip file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    """One line: the file, what it is, what to do."""
    path = str(tmp_path / name)
    if data is not None:
        _write(tmp_path / name, data)

    with pytest.raises(InputError) as error:
        find_inputs([path])

    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_a_folder_without_anything_to_read(tmp_path: Path) -> None:
    """Is an error; ARC files in it are named."""
    _write(tmp_path / "a.txt", b"x")
    with pytest.raises(InputError, match=r"holds no \.warc"):
        find_inputs([str(tmp_path)])
    _write(tmp_path / "a.arc.gz", b"x")
    with pytest.raises(InputError, match="ARC files only"):
        find_inputs([str(tmp_path)])


def test_lists_of_paths(tmp_path: Path) -> None:
    """Entries are below the list's folder or the root; comments and blank lines are none; gzip or not."""
    _write(tmp_path / "lists" / "in" / "a.warc.gz", WARC)
    _write(tmp_path / "root" / "in" / "b.warc.gz", WARC)
    here = _write(tmp_path / "lists" / "here.txt", b"# ours\n\nin/a.warc.gz\n")
    below = _write(tmp_path / "lists" / "below.txt.gz", gzip.compress(b"in/b.warc.gz\r\n", mtime=0))
    gone = _write(tmp_path / "lists" / "gone.txt", b"in/a.warc.gz\nin/gone.warc.gz\n")

    assert ["in/a.warc.gz"] == _names(f"@{here}")
    assert ["in/b.warc.gz"] == _names(f"@{below}", root=str(tmp_path / "root"))
    with pytest.raises(InputError, match=r"gone\.warc\.gz: no such file \(line 2 of "):
        find_inputs([f"@{gone}"])
    with pytest.raises(InputError, match="the list is empty"):
        find_inputs([f"@{_write(tmp_path / 'none.txt', b'# nothing')}"])


def test_html_files_are_batches(tmp_path: Path) -> None:
    """Many files are one input; each page keeps its own name, and a URL below the base."""
    for number in range(FILES_PER_BATCH + 2):
        _write(tmp_path / "site" / f"{number:04} x.html", HTML)

    first, second = find_inputs([str(tmp_path / "site")])
    pages = [page for input in (first, second) for page in read(slices(input)[0]) if isinstance(page, Page)]
    (based,) = [page for page in read(slices(second)[0], base_url="http://a.org/docs") if isinstance(page, Page)][:1]

    assert [FILES_PER_BATCH, 2] == [len(first.files), len(second.files)]
    assert ("0000 x.html", "file:///0000%20x.html") == (pages[0].provenance.source, pages[0].url)
    assert "http://a.org/docs/0500%20x.html" == based.url
    assert FILES_PER_BATCH + 2 == len({page.url for page in pages})


def test_memory_is_a_store_like_any() -> None:
    """Files, folders and globs by fsspec URL, and references into them."""
    url = put("store/in/a.warc.gz", WARC)

    for argument in (url, "memory://read/store/in", "memory://read/store/*/a.warc.gz"):
        (input,) = find_inputs([argument])
        assert WARC == _bytes(input)
    assert 3 == sum(1 for _ in read(slices(input)[0]))


def _bytes(input: Input) -> bytes:
    import fsspec

    with fsspec.open(input.url, "rb") as file:
        data = file.read()
    assert isinstance(data, bytes)
    return data


class _Ranges(SimpleHTTPRequestHandler):
    """Serves files, by ranges if `ranges`; quietly."""

    ranges = True

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        if not asked or not self.ranges:
            super().do_GET()
            return
        data = Path(self.translate_path(self.path)).read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)


class _NoRanges(_Ranges):
    ranges = False


@contextmanager
def _served(folder: Path, handler: type[_Ranges]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("handler", "slice_count", "copied"), [(_Ranges, 3, False), (_NoRanges, 1, True)])
def test_servers_with_and_without_ranges(
    tmp_path: Path, handler: type[_Ranges], slice_count: int, copied: bool
) -> None:
    """Without ranges there is one slice, and media are copied; the records are the same. Lists may name URLs."""
    _write(tmp_path / "a.warc.gz", WARC)
    with _served(tmp_path, handler) as url:
        listed = _write(tmp_path / "list.txt", f"{url}/a.warc.gz".encode())
        (input,) = find_inputs([f"@{listed}"])
        cuts = slices(input, slice_bytes=len(WARC) // 3 + 1)
        records = [record for each in cuts for record in read(each)]

        with pytest.raises(InputError, match="no such file"):
            find_inputs([f"{url}/gone.warc.gz"])

    assert ("a.warc.gz", slice_count) == (input.name, len(cuts))
    assert "Last-Modified" in input.identity
    assert [Page, MediaRecord, Page] == [type(record) for record in records]
    assert [copied] == [record.copy == PNG for record in records if isinstance(record, MediaRecord)]


def test_a_wacz_with_a_zstandard_dictionary(tmp_path: Path) -> None:
    """Who reads by offset would not find the dictionary: media are copied."""
    records = [response("http://a.org/", HTML), response("http://a.org/p.png", PNG, "image/png")]
    with zipfile.ZipFile(tmp_path / "a.wacz", "w") as archive:
        archive.writestr("archive/data.warc.zst", with_dictionary(records))
    (input,) = find_inputs([str(tmp_path / "a.wacz")])

    page, medium = read(slices(input)[0])

    assert isinstance(page, Page)
    assert isinstance(medium, MediaRecord)
    assert PNG == medium.copy


def test_wacz_files(tmp_path: Path) -> None:
    """A stored WARC is read in place, a deflated one is copied from; both give the same records."""
    found = {}
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = tmp_path / f"{packing}.wacz"
        with zipfile.ZipFile(path, "w", packing) as archive:
            archive.writestr("datapackage.json", "{}")
            archive.writestr("archive/data.warc.gz", WARC)
        (input,) = find_inputs([str(path)])
        cuts = slices(input, slice_bytes=100)
        records = [record for each in cuts for record in read(each)]
        (medium,) = [record for record in records if isinstance(record, MediaRecord)]
        if medium.copy is None:
            with path.open("rb") as file:
                body = read_reference(file, medium.reference.offset, medium.reference.length)
        else:
            body = medium.copy
        found[packing] = (input.kind, len(cuts) > 1, medium.copy is None, [type(record) for record in records], body)

    assert ("wacz", True, True, [Page, MediaRecord, Page], PNG) == found[zipfile.ZIP_STORED]
    assert ("wacz", False, False, [Page, MediaRecord, Page], PNG) == found[zipfile.ZIP_DEFLATED]
