"""Real captures, whole and broken: every file goes through, each record has its one value."""

import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.read.inputs import find_inputs
from pipeline.read.page import MediaRecord, OtherRecord, Page, Record
from pipeline.read.records import read
from pipeline.read.reference import read_reference
from pipeline.read.slices import slices
from schemas.drops import Drop
from schemas.errors import InputError

CRAWLS = Path(__file__).parents[2] / "shared" / "data" / "warc"
CAPTURES = CRAWLS / "real_captures"

pytestmark = pytest.mark.skipif(not CAPTURES.is_dir(), reason="the captures are not part of the package")

# Cut files and a length of 6000 that is none: truncated. A revisit whose original shares a gzip member with everything: revisit_unresolved.
COUNTS = {
    "N0taN3rd+node-warc/books.toscrape.warc": "css=3 font=1 image=20 javascript=5 page=1 request=30",
    "chatnoir-eu+chatnoir-resiliparse/clipped.warc.gz": "truncated=1",
    "chatnoir-eu+chatnoir-resiliparse/warcfile.warc.gz": "metadata=16 page=16 request=17 warcinfo=1",
    "chfoo+warcat/at.warc": "page=1 redirect=1 request=2 text=3 warcinfo=1",
    "chfoo+warcat/at.warc.gz": "page=1 redirect=1 request=2 text=3 warcinfo=1",
    "chfoo+warcat/bad_http_chunked_content.warc": "other=1",
    "chfoo+warcat/c1_warcinfo.warc": "warcinfo=1",
    "chfoo+warcat/long_url.warc": "other=1",
    "chfoo+warcat/not_utf8_http_header.warc": "other=1",
    "commoncrawl+whirlwind-python/whirlwind.warc": "metadata=1 page=1 request=1 warcinfo=1",
    "commoncrawl+whirlwind-python/whirlwind.warc.gz": "metadata=1 page=1 request=1 warcinfo=1",
    "commoncrawl+whirlwind-python/whirlwind.warc.wat": "metadata=1 warcinfo=1",
    "commoncrawl+whirlwind-python/whirlwind.warc.wat.gz": "metadata=1 warcinfo=1",
    "commoncrawl+whirlwind-python/whirlwind.warc.wet": "conversion=1 warcinfo=1",
    "commoncrawl+whirlwind-python/whirlwind.warc.wet.gz": "conversion=1 warcinfo=1",
    "iipc+webarchive-commons/IAH-urls-wget.warc": "image=3 page=2 policy=1 redirect=9 request=16 text=3 warcinfo=1 xml=1",
    "iipc+webarchive-commons/IAH-urls-wget.warc.gz": "image=3 page=2 policy=1 redirect=9 request=16 text=3 warcinfo=1 xml=1",
    "netarchivesuite+solrwayback/Evil-Warc-Headers.warc": "truncated=1",
    "netarchivesuite+solrwayback/transfer_compression_brotli.warc": "metadata=1 page=1 request=1 text=1 warcinfo=1",
    "netarchivesuite+solrwayback/transfer_compression_brotli.warc.gz": "metadata=1 page=1 request=1 text=1 warcinfo=1",
    "netarchivesuite+solrwayback/transfer_compression_gzip.warc": "metadata=1 page=1 request=1 text=1 warcinfo=1",
    "netarchivesuite+solrwayback/transfer_compression_gzip.warc.gz": "metadata=1 page=1 request=1 text=1 warcinfo=1",
    "netarchivesuite+solrwayback/transfer_compression_gzip_chunked.warc.gz": "page=1 request=1 warcinfo=1",
    "netarchivesuite+solrwayback/transfer_compression_none.warc": "metadata=1 page=1 request=1 text=1 warcinfo=1",
    "netarchivesuite+solrwayback/transfer_compression_none.warc.gz": "metadata=1 page=1 request=1 text=1 warcinfo=1",
    "netarchivesuite+solrwayback/transfer_compression_none_truncated.warc.gz": "request=1 truncated=1 warcinfo=1",
    "oduwsdl+ipwb/frogTest.warc": "image=1 metadata=1 page=1 request=2 warcinfo=1",
    "openzim+warc2zim/single-page-test.warc": "css=5 font=3 image=19 javascript=18 json=2 page=3 redirect=1 request=53 revisit=1 text=1 warcinfo=2",
    "ukwa+webarchive-test-suite/sopa-wikipedia-homepage.warc.gz": "css=2 image=58 javascript=11 page=1 policy=2 request=86 text=3 warcinfo=1",
    "webrecorder+py-wacz/example-collection.warc": "page=1 request=1 warcinfo=2",
    "webrecorder+py-wacz/invalid_signed_example_1.wacz": "http_status=1 page=1 request=2",
    "webrecorder+py-wacz/invalid_signed_example_1.wacz.unpacked/rec-20220118045432650779-crawl-now-20220118045335-afee9a31-ab52-4cc8-b281-4a0886c56p567j.warc.gz": "http_status=1 page=1 request=2",
    "webrecorder+py-wacz/valid_example_1.wacz": "page=1 request=1 warcinfo=2",
    "webrecorder+py-wacz/valid_example_1.wacz.unpacked/example-collection.warc": "page=1 request=1 warcinfo=2",
    "webrecorder+py-wacz/valid_example_2.wacz": "page=1 request=1 warcinfo=2",
    "webrecorder+py-wacz/valid_example_2.wacz.unpacked/example-collection.warc": "page=1 request=1 warcinfo=2",
    "webrecorder+py-wacz/valid_signed_example_1.wacz": "http_status=1 page=1 request=2",
    "webrecorder+py-wacz/valid_signed_example_1.wacz.unpacked/rec-20220118190009690949-crawl-scheduled-a78c5705-3aec-46be-9eec-66ac994f1f4a-273757mtjt.warc.gz": "http_status=1 page=1 request=2",
    "webrecorder+warcio/example-bad-non-chunked.warc.gz": "page=1 request=2 revisit_unresolved=1 warcinfo=2",
    "webrecorder+warcio/example-digest.warc": "request=4",
    "webrecorder+warcio/example-iana.org-chunked.warc": "page=1 request=1 warcinfo=1",
    "webrecorder+warcio/example-resource.warc.gz": "page=1 warcinfo=2",
    "webrecorder+warcio/example-space-in-target-uri.warc.gz": "image=1 warcinfo=1",
    "webrecorder+warcio/example-trunc.warc": "page=1 request=1 warcinfo=2",
    "webrecorder+warcio/example-wget-bad-target-uri.warc.gz": "metadata=1 page=1 request=1 text=2 warcinfo=1",
    "webrecorder+warcio/example-wrong-chunks.warc.gz": "page=1 request=1",
    "webrecorder+warcio/example.warc": "page=2 request=2 warcinfo=2",
    "webrecorder+warcio/example.warc.gz": "page=2 request=2 warcinfo=2",
    "webrecorder+warcio.js/example-bad-length.warc": "page=2 request=2 warcinfo=2",
    "webrecorder+warcio.js/example-resource.warc.gz": "text=1",
    "webrecorder+warcio.js/example.warc": "metadata=1 page=2 request=2 warcinfo=2",
    "webrecorder+warcio.js/post-test-more.warc": "json=3 request=3",
    "webrecorder+warcio.js/redirect.warc": "redirect=1 request=1",
}
ERRORS = {
    "commoncrawl+whirlwind-python/CC-MAIN-2024-22.warc.paths.gz": "give a list of paths as @",
    "webrecorder+py-wacz/invalid_example_1.wacz": "a zip file without archive/*.warc, so no WACZ",
    "webrecorder+warcio/example-space-in-url.arc": "an ARC file, not a WARC; convert it first",
}


def _word(record: Record) -> str:
    if isinstance(record, Drop):
        return record.reason.value
    if isinstance(record, OtherRecord):
        return record.what
    return record.kind if isinstance(record, MediaRecord) else type(record).__name__.lower()


def _count(path: Path, slice_bytes: int) -> Counter[str]:
    (input,) = find_inputs([str(path)])
    return Counter(_word(record) for each in slices(input, slice_bytes=slice_bytes) for record in read(each))


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_capture_gives_its_whole_table(name: str) -> None:
    """All records and drops, the same in one slice and in many."""
    expected = Counter({word: int(count) for word, _, count in (pair.partition("=") for pair in COUNTS[name].split())})

    assert expected == _count(CAPTURES / name, 1 << 30)
    assert expected == _count(CAPTURES / name, 5_000)


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_what_cannot_be_read_is_an_error_that_names_it(name: str) -> None:
    """One line, with the way out."""
    with pytest.raises(InputError) as error:
        find_inputs([str(CAPTURES / name)])

    assert str(CAPTURES / name) in str(error.value)
    assert ERRORS[name] in str(error.value)


def test_no_capture_is_missing_here() -> None:
    """A new file has to be put into a table."""
    names = {str(path.relative_to(CAPTURES)) for path in CAPTURES.rglob("*") if path.is_file()}

    assert names == {*COUNTS, *ERRORS}


def test_a_list_whose_files_are_not_there_says_so() -> None:
    """Common Crawl's lists are relative to a place that has to be given."""
    with pytest.raises(InputError, match=r"no such file \(line 1 of .*; --root says where"):
        find_inputs([f"@{CAPTURES / 'commoncrawl+whirlwind-python' / 'CC-MAIN-2024-22.warc.paths.gz'}"])


@pytest.mark.parametrize("name", sorted(path.name for path in CRAWLS.glob("*.warc.gz")))
def test_crawls_have_the_counts_of_their_own_statistics(name: str) -> None:
    """Pages, pictures, videos and all records, as another reader counted them; every reference gives its bytes."""
    (stated,) = [
        each["counts"] for each in json.loads((CRAWLS / "stat.json").read_text()) if each["file"].endswith(f"/{name}")
    ]
    (input,) = find_inputs([str(CRAWLS / name)])
    records = [record for each in slices(input, slice_bytes=1 << 20) for record in read(each)]
    kinds = Counter(_word(record) for record in records)

    with (CRAWLS / name).open("rb") as file:
        media = [
            read_reference(file, record.reference.offset, record.reference.length)
            for record in records
            if isinstance(record, MediaRecord) and record.kind == "image"
        ]

    assert (stated["rec"], stated["html"], stated["image"], stated.get("video", 0)) == (
        len(records),
        sum(isinstance(record, Page) for record in records),
        kinds["image"],
        kinds["video"],
    )
    assert stated["image_bytes"] == sum(len(body) for body in media if isinstance(body, bytes))
