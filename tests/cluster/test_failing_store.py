"""A store that fails on purpose, between a cluster and its data: the same bytes, or one clear line, and a command that can be sent again."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import SurroundingsError
from tests.cluster.running import FINE, ROOT, Running, whole
from tests.failing_proxy import FailingProxy, Fault

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]  # of boto and of Beam
CLIENT = '{"config_kwargs": {"read_timeout": 3}}'  # s, so that what stalls costs less


@pytest.fixture
def behind(cluster: Running) -> Iterator[tuple[Running, FailingProxy, int]]:
    """The cluster with a proxy between its store and whoever submits or works; the proxy; the port of workers that know only that."""
    with FailingProxy(cluster.ports.s3).running() as proxy:
        settings = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}", "FSSPEC_S3": CLIENT}
        behind = replace(cluster, environment=cluster.environment | settings)
        with behind.pools(str(ROOT)) as pool:
            yield behind, proxy, pool
            proxy.fail({})


def test_a_store_that_refuses_in_a_job_is_one_line(
    behind: tuple[Running, FailingProxy, int], cluster: Running, crawl: Path, local: dict[str, str]
) -> None:
    """Workers that may no longer read or write end the command; when they may again, the same command ends well."""
    _, proxy, pool = behind
    out = ("--out", "s3://runs/refused", *FINE)
    proxy.fail({Fault.FORBIDDEN: 1.0}, after=20)  # a part is read and written by then
    refused = cluster.run("extract", "s3://crawl/*.warc.gz", *out, pool=pool)
    proxy.fail({})
    again = cluster.run("extract", "s3://crawl/*.warc.gz", *out, pool=pool)
    for stage in ("select", "fetch", "shard"):
        cluster.run_here(stage, *out)

    assert SurroundingsError.exit_code == refused.returncode
    assert refused.stderr.splitlines()[-1].startswith("m3w: s3://"), refused.stderr
    assert 0 == again.returncode, again.stderr
    assert local == whole(cluster, "refused")


@pytest.mark.slow
def test_a_crawl_through_faults_gives_the_same_bytes(
    behind: tuple[Running, FailingProxy, int], cluster: Running, crawl: Path, local: dict[str, str]
) -> None:
    """A tenth of the requests fails with 5xx; further ones stall, are cut, come short, or break after half of an upload."""
    running, proxy, pool = behind
    faults = {Fault.BROKEN: 0.05, Fault.BUSY: 0.05, Fault.STALL: 0.01, Fault.CUT: 0.02, Fault.SHORT: 0.02}
    proxy.fail(faults | {Fault.RESET: 0.05})
    done = running.run("crawl", "s3://crawl/*.warc.gz", "--out", "s3://runs/faulty", *FINE, pool=pool)
    met = set(proxy.met)
    proxy.fail({})

    assert 0 == done.returncode, done.stderr
    assert set(Fault) - {Fault.FORBIDDEN, Fault.HOLD} == met
    assert local == whole(cluster, "faulty")
