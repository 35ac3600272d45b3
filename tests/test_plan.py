"""The plan: what a sample cost, carried to the whole input; formulas on known numbers, and the command on a small crawl."""

import os
from pathlib import Path

import msgspec
import pytest

from jobs import plan
from jobs.cli import main
from jobs.counted import counted_url, take_counts
from jobs.presets import read_config
from pipeline.plan import (
    JOB_START_S,
    MAX_GRAPH_BYTES,
    REQUEST_CPU_S,
    SHUFFLE_START_S,
    Sample,
    StageSample,
    Whole,
    assembled_reads,
    bucket_bytes,
    engine_cpu_s,
    estimate,
    per_part,
    seconds_on,
    strings_bytes,
)
from pipeline.read.files import BLOCK_BYTES
from pipeline.read.inputs import find_inputs
from pipeline.stages.packed import BUCKET_BYTES, MAX_BUCKETS
from pipeline.store import Store
from schemas.errors import InputError
from tests import crawls

MIB = 1 << 20
PAGES = 6


def stage(name: str, **values: object) -> StageSample:
    """What a stage cost on a sample of two parts: 12 CPU s of which 2 are its start."""
    plain = StageSample(
        stage=name,
        cpu_s=12.0,
        start_cpu_s=2.0,
        shuffled={},
        graph_bytes=30_000,
        start_graph_bytes=20_000,
        requests={},
        start_requests={},
        out_bytes=1000,
        parts=2,
        jobs=1,
        shuffles=3,
    )
    return msgspec.structs.replace(plain, **values)


def sample(**values: object) -> Sample:
    """Two parts of a MiB each with a hundred pages, all pictures in the crawl."""
    plain = Sample(
        bytes=2 * MIB,
        parts=2,
        pages=200,
        documents=100,
        media_urls=300,
        media_ok=300,
        media_bytes=300_000,
        same_text=1,
        samples={"interleaved": 80},
        sample_bytes={"interleaved": MIB},
        process_bytes=300 * MIB,
        stages=[stage("extract"), stage("select"), stage("fetch"), stage("shard")],
    )
    return msgspec.structs.replace(plain, **values)


def whole(times: int, **values: object) -> Whole:
    """So many times the sample."""
    plain = Whole(bytes=2 * MIB * times, parts=2 * times, target_bytes=MIB, chunk_urls=0, workers=4)
    return msgspec.structs.replace(plain, **values)


def test_time_goes_with_pages_and_starts_once() -> None:
    """A stage's work grows with the input, its start and its engine's do not; a request costs CPU time, too."""
    planned = estimate(sample(stages=[stage("select", requests={"GET x": 3}, start_requests={"GET x": 2})]), whole(10))

    (select,) = planned.stages
    assert (planned.pages, planned.documents) == (2000, 1000)
    assert select.requests == 2 + 19 + 20  # the display reads each part's record
    assert select.core_s == pytest.approx(2 + 10 * 10 + 41 * REQUEST_CPU_S + engine_cpu_s(1, 3, 4))


def test_a_slow_store_costs_time_alone() -> None:
    """Requests wait for it, but for those that are sent side by side."""
    stages = [stage("select", requests={"GET x": 3, "GET commits": 2}, start_requests={"GET x": 2, "GET commits": 1})]
    fast, slow = (estimate(sample(stages=stages), whole(10, request_s=wait)).stages[0] for wait in (0.0, 0.1))

    assert slow.core_s == fast.core_s
    assert slow.seconds - fast.seconds == pytest.approx((2 + 19) * 0.1 / 4)


def test_input_is_read_by_the_block() -> None:
    """A file is asked for its size once, and for its bytes some at a time."""
    few, many = (
        estimate(sample(), whole(1, bytes=size)).stages[0].requests for size in (BLOCK_BYTES, 11 * BLOCK_BYTES)
    )

    assert few == 1 + 2 + 2 + 2  # a block, the last of each slice, the sizes, the records
    assert many == few + 10


def test_per_part() -> None:
    """What one part costs is the difference that further parts make; a sample of one part is all that is known of a part; no part costs more than the mean."""
    assert per_part(10, 4, 3, 101) == 4 + 3 * 100
    assert per_part(10, 4, 1, 5) == 10 * 5
    assert per_part(3, 4, 2, 5) == 3
    assert per_part(96, 15, 2, 20) == 48 * 20


def test_the_last_round_of_workers_counts_whole() -> None:
    """Nine equal units on four workers take three rounds."""
    assert seconds_on(4, 9, 90.0) == 30.0
    assert seconds_on(100, 9, 90.0) == 10.0
    assert seconds_on(4, 0, 0.0) == 0.0


def test_shards_read_every_part() -> None:
    """Each shard reads each part's index, and a range of those that have a sample for it."""
    assert assembled_reads(10, 2, 0) == 20
    assert assembled_reads(10, 2, 1e6) == pytest.approx(40)
    assert assembled_reads(1000, 1000, 500) == pytest.approx(1_000_500, rel=1e-3)
    assert assembled_reads(10, 0, 0) == 0


def test_reads_of_parts_grow_with_the_square() -> None:
    """Ten times the input gives a hundred times the reads of assembled parts."""
    shard = [stage("shard", requests={"GET assembled": 4})]
    small, large = (estimate(sample(stages=shard), whole(times)).stages[0].requests for times in (100, 1000))

    assert 60 < large / small < 100  # an index each, and a range where there is a sample


def test_buckets_are_capped() -> None:
    """A bucket is two MiB until there are as many as there may be; then it grows, and so does what a worker joins."""
    assert bucket_bytes(100) == 100
    assert bucket_bytes(50 * BUCKET_BYTES) == BUCKET_BYTES
    assert bucket_bytes(3 * BUCKET_BYTES * MAX_BUCKETS) == 3 * BUCKET_BYTES

    hot = sample(stages=[stage("select", shuffled={"GroupByUrl": 100 * MIB})])
    assert estimate(hot, whole(1000)).worker_bytes > estimate(hot, whole(10)).worker_bytes


def test_strings_are_no_more_than_records() -> None:
    """Many parts send short strings, at most one a record."""
    assert strings_bytes(10, 280) == 21 * 10
    assert strings_bytes(10**9, 28e6) == 21 * 10**6


def test_the_widest_key_is_one_text_on_many_pages() -> None:
    """A text that is on a tenth of all pages is more in one place than anything else."""
    name, size = estimate(sample(same_text=20), whole(1000)).key

    assert (name, size) == ("pages with one text", 20 * 1000 * 55)


def test_the_web_is_a_stage_where_it_is_asked() -> None:
    """URLs that the crawl does not hold are asked for by a stage of its own, and what they bring goes into shards."""
    given = sample(media_ok=100, media_bytes=100_000)
    asked, silent = (estimate(given, whole(10, chunk_urls=urls)) for urls in (100, 0))

    assert [one.stage for one in asked.stages] == ["extract", "select", "fetch", "web", "shard"]
    assert [one.stage for one in silent.stages] == ["extract", "select", "fetch", "shard"]
    assert (asked.web_urls, silent.web_urls) == (2000, 0)
    assert asked.stages[3].units == 20
    assert asked.shards > silent.shards


def test_what_breaks_first_is_named_first() -> None:
    """Of a hundred thousand slices the graph of the job and a shard's reads are too much, and what to turn is said."""
    limits = estimate(sample(), whole(50_000)).limits

    assert [limit.name for limit in limits[:2]] == ["a shard's reads of all parts", "the job's graph in extract"]
    assert limits[0].value > limits[0].most
    assert limits[1].value == pytest.approx(20_000 + 10_000 * 99_999)
    assert limits[1].most == MAX_GRAPH_BYTES
    assert "slice_bytes" in limits[0].turn


def test_a_job_takes_time_to_begin() -> None:
    """However many workers there are, a stage's jobs begin one after the other."""
    planned = estimate(sample(stages=[stage("shard", jobs=2, shuffles=12)]), whole(1, workers=1000))

    assert planned.stages[0].seconds > 2 * JOB_START_S + 12 * SHUFFLE_START_S


def test_requests_are_counted_as_a_store_sees_them(tmp_path: Path) -> None:
    """Each call of our store is a request of its kind, on the folder that it is about."""
    (tmp_path / "run").mkdir()
    store = Store(counted_url(f"{tmp_path}/run"))
    take_counts()
    store.write("commits/a.json", b"12345")

    assert store.read("commits/a.json") == b"12345"
    assert store.read_ranges([("commits/a.json", 1, 2), ("commits/a.json", 3, 2)]) == [b"23", b"45"]
    assert store.open("commits/a.json").read() == b"12345"
    assert store.files() == {"commits/a.json": 5}
    store.remove(["commits/a.json", "commits/none.json"])

    expected = {"PUT commits": 1, "GET commits": 4, "HEAD commits": 1, "LIST .": 1, "DELETE commits": 2}
    assert expected == dict(take_counts())


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two WARCs of six pages with two pictures each."""
    folder = tmp_path_factory.mktemp("crawl")
    for first, name in ((0, "a"), (50, "b")):
        crawls.write_warc(folder / f"{name}.warc.gz", crawls.site(f"{name}.example", PAGES, first=first))
    return folder


def test_a_sample_of_all_is_exact(crawl: Path) -> None:
    """Where all slices are measured, the counts are the run's own."""
    inputs = find_inputs([str(crawl)])
    stages, counted = plan.measured(inputs, read_config("m3w"), 4)

    assert (counted.parts, counted.bytes) == (2, sum(one.size for one in inputs))
    assert (counted.pages, counted.documents, counted.media_urls) == (2 * PAGES, 2 * PAGES, 4 * PAGES)
    assert (counted.media_ok, counted.samples["interleaved"], counted.same_text) == (4 * PAGES, 2 * PAGES, 1)
    assert {name: one.parts for name, one in stages.items()} == {"extract": 2, "select": 2, "fetch": 2, "shard": 3}
    assert any(label.endswith("GroupByUrl") for label in stages["select"].shuffled)
    assert stages["select"].requests["PUT selected"] == 2
    assert all(one.cpu_s > 0 and one.graph_bytes > 0 for one in stages.values())


def test_the_command_prints_an_estimate(
    crawl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """m3w plan prints a line for each stage and what breaks first, asks no web, and leaves nothing behind."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    code = main(["plan", str(crawl), "--sample", "1", "--set", "fetch.contact=me@example.org"])

    out = capsys.readouterr().out
    assert code == 0
    assert "2 of 2 slices" in out
    assert [line.split()[0] for line in out.splitlines()[4:9]] == ["extract", "select", "fetch", "web", "shard"]
    assert "first to break" in out
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_read_is_said_as_by_crawl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong input or configuration ends plan with crawl's line and exit code."""
    (tmp_path / "empty.warc.gz").write_bytes(b"")
    for given in ([f"{tmp_path}/none.warc.gz"], [f"{tmp_path}/empty.warc.gz"], [str(tmp_path)]):
        codes = [main(["plan", *given]), main(["crawl", *given, "--out", str(tmp_path / "run")])]
        lines = capsys.readouterr().err.splitlines()
        assert codes == [1, 1]
        assert len(set(lines)) == 1 == len(lines) - 1


def test_an_input_without_pages_is_said(tmp_path: Path) -> None:
    """Nothing can be said of a sample that holds no page."""
    picture = crawls.record("http://a.example/a.png", crawls.picture(1), "image/png")
    crawls.write_warc(tmp_path / "a.warc.gz", [picture])

    with pytest.raises(InputError, match="no page in the 1 slices"):
        plan.measured(find_inputs([str(tmp_path)]), read_config("m3w"), None)
