"""A store that fails on purpose: the same bytes, or one clear line and a command that can be sent again; nothing hangs."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from s3fs import S3FileSystem
from s3fs.errors import translate_boto_error

from jobs.cli import main
from pipeline import retry, store
from pipeline.lists.files import content
from pipeline.lock import LOCK, locked
from pipeline.read.files import opened
from pipeline.runfolder import FOLDERS, RunFolder
from pipeline.store import Store
from pipeline.transforms.spread import stop_children
from schemas.errors import SurroundingsError
from tests import crawls
from tests.failing_proxy import FailingProxy, Fault

pytestmark = pytest.mark.filterwarnings("ignore")  # of boto and of the server
BUCKET = "s3://failing-bucket"
OURS = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "FSSPEC_S3")


@pytest.fixture(scope="module")
def proxy() -> Iterator[FailingProxy]:
    """A bucket behind the proxy, a client that gives up after half a second, and children that find both."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    client = '{"config_kwargs": {"read_timeout": 0.5, "retries": {"total_max_attempts": 1}}}'
    with FailingProxy(server.get_host_and_port()[1]).running() as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in zip(OURS, (f"http://127.0.0.1:{proxy.port}", "x", "x", "us-east-1", client), strict=True):
            patch.setenv(name, value)
        patch.setitem(fsspec.config.conf, "s3", {})
        fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_S3": client})
        patch.setattr(retry, "WAITS_S", (0.01, 0.02, 0.04, 0.08))
        patch.setattr(S3FileSystem, "retries", 2)
        stop_children()  # those of other tests do not know this environment
        fsspec.filesystem("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir("failing-bucket")
        yield proxy
        proxy.fail({})
        fsspec.filesystem("s3").clear_instance_cache()
        stop_children()
    server.stop()


@pytest.fixture(autouse=True)
def well(proxy: FailingProxy) -> Iterator[None]:
    """Each test begins and ends with a store that is well."""
    proxy.fail({})
    yield
    proxy.fail({})


DATA = bytes(range(256)) * 4000


def _stream(folder: Store) -> bytes:
    with folder.open("data") as file:
        return file.read()


def _input(folder: Store) -> bytes:
    with opened(f"{folder.url}/data") as handle:
        return handle.at(1000).read(5000)


READS: dict[str, Callable[[Store], object]] = {
    "read": lambda folder: folder.read("data"),
    "ranges": lambda folder: folder.read_ranges([("data", 512, 1000), ("data", 0, 7)]),
    "open": _stream,
    "input": _input,
    "list": lambda folder: content(f"{folder.url}/data"),
    "files": lambda folder: folder.files(),
    "exists": lambda folder: folder.exists("data"),
}


@pytest.mark.parametrize("read", READS)
def test_reads_through_faults_are_whole(proxy: FailingProxy, read: str) -> None:
    """Up to half of the requests fails in one of all ways; what is read is what is there."""
    folder = Store(f"{BUCKET}/reads")
    folder.write("data", DATA)
    expected = READS[read](folder)
    proxy.fail(dict.fromkeys((Fault.BROKEN, Fault.BUSY, Fault.STALL, Fault.CUT, Fault.SHORT), 0.1))

    for _ in range(5):
        assert READS[read](folder) == expected
    assert proxy.met


@pytest.mark.parametrize("read", READS)
def test_a_store_that_stays_silent_is_one_line(proxy: FailingProxy, read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stalls each time ends as the surroundings' fault that names the file, whoever read it."""
    monkeypatch.setattr(retry, "WAITS_S", ())
    folder = Store(f"{BUCKET}/silent")
    folder.write("data", DATA)
    proxy.fail({Fault.STALL: 1.0, Fault.BROKEN: 1.0})  # a HEAD has no body that could stall

    with pytest.raises(SurroundingsError, match=f"{BUCKET}/silent"):
        READS[read](folder)


def test_a_range_that_comes_short_is_no_range(proxy: FailingProxy) -> None:
    """Fewer bytes than asked for, with a length that says so, are an error and not data."""
    folder = Store(f"{BUCKET}/short")
    folder.write("data", DATA)
    proxy.fail({Fault.SHORT: 1.0})

    with pytest.raises(SurroundingsError, match="only 500 of 1,000 bytes came"):
        folder.read_ranges([("data", 0, 1000)])


@pytest.mark.parametrize("size", [100_000, 12 << 20])
def test_uploads_through_resets_are_whole(
    proxy: FailingProxy, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PUT that breaks after half of its body is made again; of the broken ones nothing is there."""
    monkeypatch.setattr("s3fs.core.calculate_chunksize", lambda size, chunksize=None: 5 << 20)  # parts from 10 MiB on
    folder, data = Store(f"{BUCKET}/uploads-{size}"), os.urandom(size)
    proxy.fail({Fault.RESET: 0.3, Fault.BUSY: 0.1})
    for number in range(5):
        folder.write(f"{number}", data)
    assert proxy.met[Fault.RESET]
    proxy.fail({})

    assert {f"{number}": size for number in range(5)} == folder.files()
    assert all(data == folder.read(f"{number}") for number in range(5))


def test_an_upload_that_is_not_taken_ends(proxy: FailingProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that stops taking a body, for which clients have no time limit, ends as an error, and leaves no object."""
    monkeypatch.setattr(store, "UPLOAD_S", 0.5)
    monkeypatch.setattr(store, "UPLOAD_BYTES_PER_S", 1 << 30)
    monkeypatch.setattr(retry, "WAITS_S", (0.01,))
    folder = Store(f"{BUCKET}/stalled")
    proxy.fail({Fault.HOLD: 1.0})
    with pytest.raises(SurroundingsError, match=f"{BUCKET}/stalled/data"):
        folder.write("data", bytes(32 << 20))
    proxy.fail({})

    assert {} == folder.files()


@pytest.mark.parametrize("read", READS)
def test_a_refusal_is_told_at_once(proxy: FailingProxy, read: str) -> None:
    """403 is asked for once."""
    folder = Store(f"{BUCKET}/refused")
    folder.write("data", DATA)
    proxy.fail({Fault.FORBIDDEN: 1.0})

    with pytest.raises(SurroundingsError, match=f"{BUCKET}/refused"):
        READS[read](folder)
    assert proxy.requests <= 2  # two ranges


@pytest.mark.parametrize(
    ("code", "status", "passes"),
    [
        ("SlowDown", 503, True),
        ("IncompleteBody", 400, True),
        ("InvalidArgument", 400, False),
        ("NoSuchBucket", 404, False),
    ],
)
def test_answers_that_may_pass(code: str, status: int, passes: bool) -> None:
    """5xx and what S3 says to a body that came in part pass, as s3fs translates them; all else of 4xx does not."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = translate_boto_error(ClientError(answer, "PutObject"))

    assert retry.may_pass(error) is passes


def test_a_lease_is_gone_after_a_failure(proxy: FailingProxy) -> None:
    """What stopped the job is told, not that the lease could not be taken away; a lease that can is."""
    folder = Store(f"{BUCKET}/lease")
    with pytest.raises(SurroundingsError, match="told"), locked(folder):
        proxy.fail({Fault.FORBIDDEN: 1.0})
        raise SurroundingsError("told")
    proxy.fail({})
    assert folder.exists(LOCK)
    folder.remove([LOCK])
    with pytest.raises(KeyError), locked(folder):
        raise KeyError
    assert not folder.exists(LOCK)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A crawl of two files and the digests of its undisturbed run on disk."""
    folder = tmp_path_factory.mktemp("crawl")
    for name in ("a", "b"):
        crawls.write_warc(folder / f"{name}.warc.gz", crawls.site(f"{name}.example", 4, first=ord(name)))
    assert main(["crawl", f"{folder}/*.warc.gz", "--out", str(folder / "run"), "--workers", "2"]) == 0
    return folder, _digests(Store(str(folder / "run")))


def _digests(folder: Store) -> dict[str, str]:
    names = [name for name in folder.files() if name.startswith(("shards/", "manifest", "card"))]
    return {name: hashlib.sha256(folder.read(name)).hexdigest() for name in names}


def _leftovers(run: RunFolder) -> set[str]:
    """Files in the stages' folders that no current record names."""
    named = {file.path for stage in FOLDERS for commit in run.commits(stage) for file in commit.files}
    prefixes = tuple(prefix for each in FOLDERS.values() for prefix in each)
    return {name for name in run.store.files() if name.startswith(prefixes)} - named


def _crawl(source: Path, run: str) -> int:
    for path in source.glob("*.warc.gz"):
        if not Store(f"{BUCKET}/crawl").exists(path.name):
            Store(f"{BUCKET}/crawl").write(path.name, path.read_bytes())
    return main(["crawl", f"{BUCKET}/crawl/*.warc.gz", "--out", f"{BUCKET}/{run}", "--workers", "2"])


@pytest.mark.slow
def test_a_crawl_through_faults_gives_the_same_bytes(
    proxy: FailingProxy, expected: tuple[Path, dict[str, str]]
) -> None:
    """A tenth of the requests fails with 5xx, further ones stall, are cut, come short or break an upload."""
    source, digests = expected
    faults = {Fault.BROKEN: 0.05, Fault.BUSY: 0.05, Fault.STALL: 0.02, Fault.CUT: 0.02, Fault.SHORT: 0.05}
    proxy.fail(faults | {Fault.RESET: 0.05})
    assert _crawl(source, "faulty") == 0
    assert set(proxy.faults) - set(proxy.met) <= {Fault.SHORT}  # few requests are of ranges
    proxy.fail({})

    run = RunFolder(f"{BUCKET}/faulty")
    assert digests == _digests(run.store)
    assert not _leftovers(run)
    assert not run.store.exists(LOCK)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "after"), [(Fault.FORBIDDEN, 60), (Fault.FORBIDDEN, 150), (Fault.FORBIDDEN, 250), (Fault.BROKEN, 200)]
)
def test_a_crawl_that_stopped_ends_when_it_is_sent_again(
    proxy: FailingProxy,
    expected: tuple[Path, dict[str, str]],
    fault: Fault,
    after: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A store that fails for good in the middle of a job is one line; the same command on the store that is well again ends with the same bytes."""
    source, digests = expected
    run = RunFolder(f"{BUCKET}/stopped-{fault.name}-{after}")
    proxy.fail({fault: 1.0}, after=after)
    assert _crawl(source, run.store.root.partition("/")[2]) == SurroundingsError.exit_code
    lines = [line for line in capfd.readouterr().err.splitlines() if "s3://" in line]
    assert len(lines) == 1
    proxy.fail({})
    run.store.remove([LOCK])  # its holder, this process, would have ended

    assert _crawl(source, run.store.root.partition("/")[2]) == 0
    assert digests == _digests(run.store)
    assert not _leftovers(run)
    assert not run.store.exists(LOCK)
