"""The data set card: it tells of what the run has, and of nothing else."""

import msgspec
import pytest

from pipeline.card import data_set_card
from schemas.manifest import Flow, Manifest, ShardInfo

NOTHING = Flow(entered=0, kept=0, dropped={})
EMPTY = Manifest(
    inputs=[],
    records={},
    pages=NOTHING,
    paragraphs=NOTHING,
    images=NOTHING,
    videos=NOTHING,
    pairs=NOTHING,
    words=0,
    languages={},
    fields=[],
    shards=[],
    config="",
)


def shard(path: str) -> ShardInfo:
    return ShardInfo(path=path, bytes=1, samples=1, sha256="", index_sha256="")


@pytest.mark.parametrize("kind", ["image_text", "video_text"])
def test_a_card_of_pairs_speaks_of_no_documents(kind: str) -> None:
    """Its title, its counts, and how to read a tar that is there."""
    pairs = Flow(entered=3, kept=2, dropped={"extract": {"no_caption": 1}})
    card = data_set_card(msgspec.structs.replace(EMPTY, pairs=pairs, shards=[shard(f"{kind}/00000.tar")]))
    assert "# Pairs by m3w\n\n2 pairs, in 1 webdataset tars" in card
    assert "| pairs | 3 | 2 | 1 |" in card
    assert f'wds.WebDataset("{kind}/00000.tar"' in card
    assert not any(word in card for word in ("documents", "interleaved", "Languages", "| pages", "web page"))


def test_a_card_of_documents_counts_their_media() -> None:
    """Pictures and videos, each where there are any; documents are read before pairs."""
    flows = {"pages": Flow(entered=1, kept=1, dropped={}), "videos": Flow(entered=2, kept=2, dropped={})}
    shards = [shard("image_text/00000.tar"), shard("interleaved/00000.tar")]
    card = data_set_card(msgspec.structs.replace(EMPTY, **flows, words=5, languages={"en": 1}, shards=shards))
    assert "# Interleaved documents by m3w\n\n1 web pages with 2 videos in place and 5 words, in 2" in card
    assert "Languages: en 1." in card
    assert 'wds.WebDataset("interleaved/00000.tar"' in card


def test_a_run_that_kept_nothing_has_a_card() -> None:
    """It shows no tar that is not there."""
    card = data_set_card(EMPTY)
    assert "0 pairs, in 0 webdataset tars" in card
    assert "WebDataset" not in card
