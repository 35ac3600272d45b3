"""Block lists, opt-outs and evaluation sets: what they find, what they leave, and how bad lists are refused."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli import main
from pipeline.images import ImageConfig, Picture, prepare
from pipeline.lists.config import ListsConfig
from pipeline.lists.lists import (
    PictureLists,
    TextLists,
    compile_pictures,
    compile_texts,
    picture_lists,
    stored,
    text_lists,
)
from pipeline.lists.pictures import NearHashes
from pipeline.runfolder import RunFolder
from pipeline.store import Store
from schemas.drops import Drop, DropReason
from schemas.errors import ConfigError, InputError
from tests import crawls
from tests.passages import distinct_words
from tests.pictures import encode, photo

WORDS = distinct_words(60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def a_list(folder: Path, text: str | bytes, name: str = "list.txt") -> list[str]:
    """The URL of a file with this content, as a configuration has it."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [str(path)]


def of_texts(folder: Path, **lists: list[str]) -> TextLists:
    """The lists as a worker has them, by way of the run's folder."""
    run = folder / "run"
    return text_lists(str(run), stored(Store(str(run)), compile_texts(ListsConfig(**lists))))


def of_pictures(folder: Path, config: ListsConfig) -> PictureLists:
    """The same for pictures."""
    run = folder / "run"
    return picture_lists(str(run), stored(Store(str(run)), compile_pictures(config, ImageConfig(pdq=True))))


def reason(drop: Drop | None) -> DropReason | None:
    return drop.reason if drop else None


def test_nothing_is_refused_without_lists(folder: Path) -> None:
    """A run without lists pays for none."""
    assert of_texts(folder).refused_place("https://a.org/") is None
    assert of_texts(folder).refused_text("some text") is None
    assert of_pictures(folder, ListsConfig()).refused(bytes(32), bytes(16), bytes(8), bytes(32)) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://www.bad.org/a/?utm_source=x#top", DropReason.BLOCKED_URL),
        ("https://bad.org/other", None),
        ("https://bad.org/a?b=2&a=1", None),
        ("https://bad.org/pic%28large%29.jpg", DropReason.BLOCKED_URL),
    ],
)
def test_urls_are_blocked_in_all_spellings(folder: Path, url: str, expected: DropReason | None) -> None:
    """A listed URL is met as it is met everywhere in the pipeline: normalised, with or without its scheme."""
    urls = a_list(folder, "# ours\n\nhttps://bad.org/a\n  bad.org/pic(large).jpg  \r\n")

    assert expected == reason(of_texts(folder, block_urls=urls).refused_place(url))


@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("https://bad.org/x", "bad.org"),
        ("https://www.deep.bad.org:8080/x", "bad.org"),
        ("https://notbad.org/", None),
        ("https://bad.org.uk/", None),
        ("https://org/", None),
        ("https://köln.example/", "xn--kln-sna.example"),
        ("http://10.1.2.3/x", "10.1.2.3"),
        ("http://2.3/x", None),
    ],
)
def test_a_domain_stands_for_its_subdomains(folder: Path, url: str, detail: str | None) -> None:
    """Domains are compared label by label, never as the end of a string."""
    drop = of_texts(folder, block_domains=a_list(folder, "*.bad.org\nKöln.example\n10.1.2.3\n")).refused_place(url)

    assert detail == (drop and drop.detail)
    assert drop is None or drop == Drop(kind="page", reason=DropReason.BLOCKED_DOMAIN, url=url, detail=detail)


def test_opt_outs_are_urls_and_domains(folder: Path) -> None:
    """One list names both; a medium's drop names the medium."""
    lists = of_texts(folder, opt_out=a_list(folder, "artist.net\nhttps://host.org/me/\n"))

    assert reason(lists.refused_place("https://cdn.artist.net/1.jpg")) == DropReason.OPTED_OUT
    assert reason(lists.refused_place("https://host.org/me")) == DropReason.OPTED_OUT
    assert lists.refused_place("https://host.org/you") is None
    assert lists.refused_place("https://host.org/me", kind="image") == Drop(
        kind="image", reason=DropReason.OPTED_OUT, medium_url="https://host.org/me", detail="opt-out list"
    )


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("A BAD-WORD here.", "bad word"),
        ("«Straße», said he", "strasse"),
        ("This is bad. Word!", "bad word"),
        ("badword", None),
        ("an embad wording", None),
        ("他说坏词语了", "坏词语"),
        ("坏的词语", None),
        ("यह हिन्दी है", "हिन्दी"),
        ("हिन्दीवाला", None),
    ],
)
def test_words_and_phrases_are_blocked_whole(folder: Path, text: str, detail: str | None) -> None:
    """Case, punctuation and script do not matter, borders of words do."""
    drop = of_texts(folder, block_words=a_list(folder, "Bad word\nSTRASSE\n坏词语\nहिन्दी\n")).refused_text(text)

    assert detail == (drop and drop.detail.replace(" ", "" if "坏" in text else " "))
    assert drop is None or drop.reason == DropReason.BLOCKED_WORD


def test_thirteen_words_of_an_evaluation_text_contaminate(folder: Path) -> None:
    """A run of 13 words is found wherever it stands, one of 12 is not; short evaluation texts are found whole, from 8 words on."""
    texts = [" ".join(WORDS[:30]), " ".join(WORDS[30:39]), " ".join(WORDS[40:47])]
    lists = of_texts(folder, evaluation_texts=a_list(folder, "\n".join(texts)))

    found = lists.refused_text("Before: " + ", ".join(WORDS[5:19]).upper() + " after.")
    assert found == Drop(kind="page", reason=DropReason.CONTAMINATED, value=2, detail=" ".join(WORDS[5:18]))
    assert lists.refused_text(" ".join([*WORDS[5:17], "x", *WORDS[17:29]])) is None
    assert reason(lists.refused_text(" ".join(["x", *WORDS[30:39], "y"]))) == DropReason.CONTAMINATED
    assert lists.refused_text(" ".join(WORDS[30:38])) is None
    assert lists.refused_text(texts[2]) is None


@pytest.mark.parametrize("name", ["e.txt", "e.jsonl", "e.jsonl.gz", "e.csv", "e.tsv", "e.parquet"])
def test_evaluation_texts_come_in_many_forms(folder: Path, name: str) -> None:
    """Every string of a table or of nested JSON is looked for."""
    text = " ".join(WORDS[:13])
    path = folder / name
    if name.endswith("parquet"):
        pq.write_table(pa.table({"id": [1], "choices": [["no", text]]}), path)
    else:
        form = {"txt": f"other\n{text}\n", "csv": f'1,"{text}"\n', "tsv": f"1\t{text}\n"}
        line = form.get(name.partition(".")[2], json.dumps({"id": 1, "choices": [{"label": text}]}) + "\n").encode()
        path.write_bytes(gzip.compress(line, mtime=0) if name.endswith("gz") else line)

    lists = of_texts(folder, evaluation_texts=[str(path)])

    assert reason(lists.refused_text(f"a {text} b")) == DropReason.CONTAMINATED


BAD_LISTS = [
    ("block_urls", b"https://a.org/\nftp://a.org/\n", "line 2: 'ftp://a.org/' is no http"),
    ("block_urls", b"not a url", "line 1: 'not a url' is no http"),
    ("block_domains", b"a.org\nhttp://b.org/\n", "line 2"),
    ("block_domains", b"word\n", "line 1: 'word' is no domain"),
    ("block_domains", b"# ours\r\n\r\na.org\r\n0.0.0.0 b.org\r\n", "line 4: '0.0.0.0 b.org' is no domain"),
    ("block_domains", b"(bad|worse)\\.org\n", "is no domain"),
    ("block_domains", b"a.org # mine\n", "is no domain"),
    ("block_urls", b".*\\.exe$\n", "is no http"),
    ("block_urls", b"http://a.org:99999/\n", "is no http"),
    ("opt_out", b"a.org\n??\n", "line 2"),
    ("block_words", b"...\n", "line 1: '...' has 0 words"),
    ("block_words", b"a.org\nna\xefve\n", "not UTF-8"),
    ("block_words", "word".encode("utf-16"), "not UTF-8"),
    ("block_words", b"PK\x00\x01", "line 1: binary"),
    ("block_words", b"# nothing\n\n", "the list is empty"),
    ("block_words", b"", "the list is empty"),
    ("evaluation_texts", b"too short\n", "no text of 8 words"),
    ("block_hashes", b"12345\n", "line 1: '12345' is no hash"),
    ("block_hashes", b"a" * 63 + b"\n", "is no hash"),
    ("block_hashes", b"a" * 40 + b"\n", "is no hash"),
    ("block_hashes", b"zz" * 32, "is no hash"),
    ("block_hashes", b"pdq:0011", "is no hash"),
    ("evaluation_images", b"not hex", "is no hash"),
]


@pytest.mark.parametrize(("field", "content", "message"), BAD_LISTS)
def test_a_bad_list_is_refused(folder: Path, field: str, content: bytes, message: str) -> None:
    """The error names the file, and the line where there is one; nothing is half read."""
    config = ListsConfig(**{field: a_list(folder, content)})  # type: ignore[arg-type]

    with pytest.raises(InputError, match=r"list\.txt") as caught:
        if field in ("block_hashes", "evaluation_images"):
            compile_pictures(config, ImageConfig(pdq=True))
        else:
            compile_texts(config)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("e.jsonl", b'{"a": 1}\n{"a"\n', "line 2: not JSON"),
        ("e.parquet", b"PAR1", "not a Parquet file"),
        ("e.docx", b"x", "not a file of texts"),
        ("e.txt.gz", gzip.compress(b"x" * 1000, mtime=0)[:-12], "broken gzip"),
        ("e.txt.gz", b"no gzip", "gzip"),
    ],
)
def test_a_bad_evaluation_set_is_refused(folder: Path, name: str, content: bytes, message: str) -> None:
    """So are texts in no known form."""
    with pytest.raises(InputError, match=message):
        compile_texts(ListsConfig(evaluation_texts=a_list(folder, content, name)))


@pytest.mark.parametrize(
    ("name", "message"),
    [("absent.txt", "absent.txt: no such file"), ("", "a folder, not a file"), ("*.txt", "no such file")],
)
def test_a_missing_list_is_refused(folder: Path, name: str, message: str) -> None:
    """A list that is not there is an error, not an empty list; a folder is no list."""
    with pytest.raises(InputError, match=message):
        compile_texts(ListsConfig(block_urls=[str(folder / name)]))


def test_a_list_in_an_unknown_place_is_refused() -> None:
    """A store that does not exist, or for which nothing is installed, is the list's fault, and says so."""
    with pytest.raises(InputError, match=r"nowhere://a/b: cannot be read: Protocol not known"):
        compile_texts(ListsConfig(block_urls=["nowhere://a/b"]))


@pytest.mark.parametrize("command", ["crawl", "pairs", "select"])
def test_a_bad_list_stops_a_command_before_it_begins(
    folder: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error comes before hours of reading, names file and line, and what was in the folder stays as it was."""
    crawls.write_warc(folder / "a.warc.gz", crawls.site("a.example", 1))
    (folder / "t.csv").write_text("url,caption\nhttps://a.example/1.jpg,boat\n")
    run = RunFolder(str(folder / "out"))
    run.claim()
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    inputs = {"crawl": [str(folder / "a.warc.gz")], "pairs": [str(folder / "t.csv")], "select": []}[command]
    bad = json.dumps(a_list(folder, "a.org\nnot a domain\n"))

    assert 1 == main([command, *inputs, "--out", str(folder / "out"), "--set", f"lists.block_domains={bad}"])
    assert "list.txt, line 2: 'not a domain' is no domain" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}


def test_the_same_entries_make_the_same_blob(folder: Path) -> None:
    """Order, repetition, comments and compression do not reach the blob, which is what a stage depends on."""
    one = ListsConfig(block_domains=a_list(folder, "a.org\nb.org\n"), block_words=a_list(folder, "x\ny z\n", "w"))
    domains = a_list(folder, gzip.compress(b"# c\nb.org\na.org\nb.org"), "list.gz")
    other = ListsConfig(block_domains=domains, block_words=a_list(folder, "y z\nx\nx", "v"))

    assert compile_texts(one) == compile_texts(other)
    assert compile_texts(one) != compile_texts(ListsConfig(block_domains=domains))


def test_pictures_are_found_by_every_hash(folder: Path) -> None:
    """SHA-256, MD5, pHash and PDQ each find their picture; block lists come before evaluation sets."""
    sha256, md5, phash, pdq = b"s" * 32, b"m" * 16, b"p" * 8, b"q" * 32
    blocked = a_list(folder, f"{sha256.hex()}\n{md5.hex().upper()}\npdq:{pdq.hex()}\n", "blocked")
    lists = of_pictures(folder, ListsConfig(block_hashes=blocked, evaluation_images=a_list(folder, f"{phash.hex()}\n")))

    assert lists.refused(sha256, None, None, None) == Drop(
        kind="image", reason=DropReason.BLOCKED_IMAGE, value=0, detail="sha256"
    )
    assert reason(lists.refused(bytes(32), md5, None, None)) == DropReason.BLOCKED_IMAGE
    assert reason(lists.refused(bytes(32), bytes(16), phash, bytes(32))) == DropReason.CONTAMINATED
    assert reason(lists.refused(bytes(32), bytes(16), phash, pdq)) == DropReason.BLOCKED_IMAGE
    assert lists.refused(pdq, bytes(16), bytes(8), sha256) is None


@pytest.mark.parametrize(("kind", "width", "most"), [("phash", 8, 4), ("pdq", 32, 31)])
def test_near_pictures_are_found_to_the_bit(folder: Path, kind: str, width: int, most: int) -> None:
    """At the greatest distance a picture is found, whichever bits differ; one bit farther it is not."""
    rng = np.random.default_rng(0)
    known = rng.integers(0, 256, (50, width), dtype=np.uint8)
    text = "\n".join(f"{kind}:{row.tobytes().hex()}" for row in known)
    lists = of_pictures(folder, ListsConfig(block_hashes=a_list(folder, text)))

    for row in known:
        for bits, found in ((most, True), (most + 1, False)):
            changed = np.unpackbits(row)
            changed[rng.choice(width * 8, bits, replace=False)] ^= 1
            hashes = {"phash": None, "pdq": None} | {kind: np.packbits(changed).tobytes()}
            drop = lists.refused(None, None, **hashes)
            assert (drop is not None) == found
            assert drop is None or drop.value == bits


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 11), st.randoms(use_true_random=False), st.integers(1, 40))
def test_the_index_misses_nothing(max_distance: int, random: object, entries: int) -> None:
    """What the index answers is what comparing with every entry answers."""
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    known = rng.integers(0, 256, (entries, 8), dtype=np.uint8)
    asked = known[0] ^ np.packbits(rng.random(64) < 0.12)
    best = int(np.bitwise_count(known ^ asked).sum(axis=1).min())

    assert (best if best <= max_distance else None) == NearHashes(known, max_distance).distance(asked.tobytes())


def test_evaluation_pictures_are_found_by_their_files(folder: Path) -> None:
    """A picture of an evaluation set is found by its bytes, and a copy of it by its look."""
    image = photo(200, 160)
    files = a_list(folder, encode(image, "PNG"), "e.PNG")
    lists = of_pictures(folder, ListsConfig(evaluation_images=files))
    original, copy = (prepare(encode(one, "PNG"), ImageConfig()) for one in (image, image.resize((150, 120))))
    assert isinstance(original, Picture)
    assert isinstance(copy, Picture)

    found = lists.refused(bytes.fromhex(original.source_sha256), None, None, None)
    assert (reason(found), found and found.detail) == (DropReason.CONTAMINATED, "sha256")
    found = lists.refused(bytes.fromhex(copy.source_sha256), None, bytes.fromhex(copy.phash), None)
    assert (reason(found), found and found.detail) == (DropReason.CONTAMINATED, "phash")


def test_a_broken_evaluation_picture_is_refused(folder: Path) -> None:
    """What does not decode cannot be looked for."""
    with pytest.raises(InputError, match=r"e\.jpg: not a picture"):
        compile_pictures(ListsConfig(evaluation_images=a_list(folder, b"no picture", "e.jpg")), ImageConfig())


def test_perceptual_hashes_need_measured_pictures(folder: Path) -> None:
    """Without measures a list of pHashes or MD5 could find nothing, and stops the command; SHA-256 finds its own."""
    unmeasured = ImageConfig(measure=False, pdq=True)
    for listed in (b"0f" * 8, b"0f" * 16, b"pdq:" + b"0f" * 32):
        with pytest.raises(ConfigError, match=r"images\.measure = true"):
            compile_pictures(ListsConfig(block_hashes=a_list(folder, listed)), unmeasured)
    assert compile_pictures(ListsConfig(block_hashes=a_list(folder, b"0f" * 32)), unmeasured)


def test_pdq_hashes_need_pictures_that_have_some(folder: Path) -> None:
    """A list that could find nothing stops the command; lists of other hashes do not."""
    lists = [
        ListsConfig(block_hashes=a_list(folder, b"pdq:" + b"0f" * 32)),
        ListsConfig(block_hashes=a_list(folder, b"0f" * 32, "other.txt")),
    ]

    with pytest.raises(ConfigError, match=r"images\.pdq = true"):
        compile_pictures(lists[0], ImageConfig())
    assert compile_pictures(lists[0], ImageConfig(pdq=True))
    assert compile_pictures(lists[1], ImageConfig())
