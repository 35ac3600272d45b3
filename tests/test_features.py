"""Features of the frozen encoder, kept on the disk: the same numbers as without, within a limit, safe among processes."""

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.streams import PAIRS, TOKENS, document, pair, png, write
from tests.tiny_models import flamingo
from trainer.data.batch import Batch
from trainer.data.features import FeatureCache
from trainer.data.media import MediaConfig
from trainer.data.pieces import pieces
from trainer.data.stream import SetConfig, Stream
from trainer.loop import nll_of

MEDIA = MediaConfig(side=16, flip=0.5)
NEVER = np.ones(4)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this test's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "m3w" / "features"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pairs and six pages of none to two pictures."""
    for name, samples in (
        ("pairs", [pair(number) for number in range(10)]),
        ("pages", [document(number, number % 3) for number in range(6)]),
    ):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "0", samples)
    return tmp_path


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    """Bytes to about what an encoder takes."""
    return pixels.double() / 127.5 - 1


def batches(folder: Path, features: FeatureCache | None, media: MediaConfig = MEDIA, **options: Any) -> Any:
    """Steps of pairs and pages."""
    sets = {
        "pairs": SetConfig(shards=[str(folder / "pairs")], batch=4, example=PAIRS),
        "pages": SetConfig(shards=[str(folder / "pages")], batch=3),
    }
    return iter(Stream(sets, TOKENS, media, seed=7, features=features, **options))


def size(kept: Path) -> int:
    """Of all features that are there, in bytes."""
    return sum(one.stat().st_size for one in kept.rglob("*.safetensors"))


def media_of(batch: Batch) -> tuple[int, int]:
    """How many come as pixels that somebody looks at, and as features."""
    return sum(map(len, batch.pixels)) if batch.phi_BL.any() else 0, sum(map(len, batch.features))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_same_losses(folder: Path, kept: Path, workers: int) -> None:
    """Losses and gradients are those of a run without, whole or in pieces; from the second epoch on only coins that fell otherwise are decoded and encoded."""
    model = flamingo(alpha=0.5, vocabulary=1000).double()
    results: list[list[torch.Tensor]] = []
    shares = []
    for features in (None, FeatureCache("tiny", MEDIA, 1 << 30)):
        losses = []
        for _, step in zip(range(12), batches(folder, features, workers=workers), strict=False):
            for batch in step:
                for piece in pieces(batch, 2):
                    nll = nll_of(model, piece, scaled, kept=features)
                    nll.sum().backward()
                    losses.append(nll.detach())
            if features:
                shares.append(np.sum([media_of(batch) for batch in step], axis=0))
        results.append([*losses, *(one.grad for one in model.parameters() if one.grad is not None)])
        model.zero_grad()

    for alone, with_features in zip(*results, strict=True):
        torch.testing.assert_close(with_features, alone, rtol=1e-12, atol=1e-12)
    assert 0 == shares[0][1]
    assert sum(shares[6:])[0] < sum(shares[6:])[1]
    assert list(kept.rglob("*.part")) == []


def test_a_name_is_all_that_decides(folder: Path) -> None:
    """Other bytes, another side, another padding or another coin have another name, another encoder another folder; changed colours have none."""
    data = png((1, 2, 3))
    cache = FeatureCache("a", MEDIA, 1 << 20)
    same = cache.name(data, NEVER)
    others = [
        cache.name(png((1, 2, 4)), NEVER),
        cache.name(data, np.zeros(4)),
        FeatureCache("a", MediaConfig(side=17, flip=0.5), 1).name(data, NEVER),
        FeatureCache("a", MediaConfig(side=16, mean=(0, 0, 0)), 1).name(data, NEVER),
    ]
    assert 5 == len({same, *others})
    assert same == FeatureCache("b", MEDIA, 1).name(data, np.full(4, 0.7))
    assert FeatureCache("a", MediaConfig(side=16, colour=0.1), 1).name(data, NEVER) == ""
    cache.keep([same, ""], [torch.ones(2, 1, 3, 4)])

    assert FeatureCache("b", MEDIA, 1).read(same) is None
    again = FeatureCache("a", MEDIA, 1).read(same)
    assert again is not None
    assert torch.equal(torch.ones(1, 3, 4), again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_stay(dtype: torch.dtype) -> None:
    """Features come back as they were, in bfloat16 too."""
    cache, features = FeatureCache("a", MEDIA, 1 << 20), torch.randn(3, 2, 5, 4).to(dtype)
    cache.keep(["a" * 40, "b" * 40, "c" * 40], [features[:2], features[2:]])

    for name, expected in zip("abc", features, strict=True):
        found = cache.read(name * 40)
        assert found is not None
        assert found.dtype == dtype
        assert torch.equal(expected, found)


def test_the_limit(kept: Path) -> None:
    """The first that come stay; another encoder's make room, so all together are never more than the limit."""
    one, limit = torch.ones(1, 1, 3, 4), 1000
    for encoder in ("a", "b"):
        cache = FeatureCache(encoder, MEDIA, limit)
        for number in range(20):
            cache.keep([f"{number:040d}"], [one * number])
            assert size(kept) <= limit
        assert cache.read(f"{0:040d}") is not None
        assert cache.read(f"{19:040d}") is None
        assert size(kept) > limit - 200
        assert size(kept) == sum(int(counted.read_text()) for counted in kept.glob("*/bytes"))
    assert FeatureCache("a", MEDIA, limit).read(f"{0:040d}") is None


def test_what_is_damaged_is_made_anew(kept: Path) -> None:
    """A file that is cut, empty or foreign is not there."""
    cache, name = FeatureCache("a", MEDIA, 1 << 20), "f" * 40
    cache.keep([name], [torch.ones(1, 1, 3, 4)])
    (file,) = kept.rglob("*.safetensors")
    whole = file.read_bytes()
    for damaged in (b"", whole[:-1], whole[:20], b"\xff" * 200):
        file.write_bytes(damaged)
        assert cache.read(name) is None


def test_a_full_disk_stops_no_run(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is said once; nothing is left of it."""
    cache = FeatureCache("a", MEDIA, 1 << 20)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("trainer.data.features.os.replace", full)
        with pytest.warns(UserWarning, match="No space left"):
            cache.keep(["a" * 40, "b" * 40], [torch.ones(2, 1, 3, 4)])
    cache.keep(["c" * 40], [torch.ones(1, 1, 3, 4)])

    assert [] == [one for one in kept.rglob("*") if one.suffix in (".part", ".safetensors")]


def _keep(names: range, limit: int) -> None:
    cache = FeatureCache("a", MEDIA, limit)
    for number in names:
        cache.keep([f"{number:040d}"], [torch.full((1, 1, 3, 4), float(number))])
        found = cache.read(f"{number:040d}")
        assert found is None or (found == number).all()


def test_processes_share_the_cache(kept: Path) -> None:
    """Processes that keep the same and other pictures at once never keep more than the limit, and each is whole."""
    fork, limit = multiprocessing.get_context("fork"), 6000
    others = [fork.Process(target=_keep, args=(range(first, first + 40), limit)) for first in (0, 20)]
    for one in others:
        one.start()
    for one in others:
        one.join()

    assert [0, 0] == [one.exitcode for one in others]
    assert limit / 2 < size(kept) <= limit  # what both wrote is counted twice
    assert [] == list(kept.rglob("*.part"))
