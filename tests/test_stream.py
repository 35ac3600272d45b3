"""The stream: the same sequence whoever reads it, from any step on, in any mode; what ends it."""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import ConfigError, DataError, InputError, ShardError, SurroundingsError
from schemas.shard import Sample
from tests.streams import PAIRS, SIDE, TOKENS, document, pair, rows, stream, take, write
from trainer.data.media import MediaConfig
from trainer.data.stream import WINDOW, Mode, SetConfig, State, Stream

# A machine of one core is told that two workers are many.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five shards of pairs, 103 in all."""
    for shard, size in enumerate([30, 7, 40, 0, 26]):
        write(tmp_path, f"{shard:05d}", [pair(100 * shard + number) for number in range(size)])
    return tmp_path


def test_ranks_and_workers_give_the_same_sequence(folder: Path) -> None:
    """One rank, three ranks, and two worker processes read the same global batches over the end of an epoch."""
    alone = take(stream(folder), 20)
    parts = [take(stream(folder, rank=rank, ranks=3), 20) for rank in range(3)]

    assert alone == [list(chain(*step)) for step in zip(*parts, strict=True)]
    assert alone == take(stream(folder, workers=2), 20)
    steps = stream(folder)
    by_epoch: dict[int, list[str]] = {}
    for _, (batch,) in zip(range(20), steps, strict=False):
        for _, epoch, key in rows(batch):
            by_epoch.setdefault(epoch, []).append(key)
    assert [103, 103, 34] == [len(set(keys)) for keys in by_epoch.values()] == list(map(len, by_epoch.values()))
    assert by_epoch[0] != by_epoch[1]


def test_resume_is_exact(folder: Path) -> None:
    """From the state after any step on, with another number of ranks, comes what would have come."""
    whole = take(stream(folder), 14)
    first = stream(folder, workers=2)
    assert whole[:5] == take(first, 5)
    assert 5 == first.state.step
    halves = [take(stream(folder, state=first.state, rank=rank, ranks=2), 9) for rank in range(2)]

    assert whole[5:] == [a + b for a, b in zip(*halves, strict=True)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(any),
    cut=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    ranks=st.lists(st.sampled_from([1, 2, 3]), min_size=3, max_size=3),
    streams=st.integers(1, 5),
    block=st.integers(1, 3),
    mode=st.sampled_from(["every", "weighted"]),
)
def test_any_resume_is_exact(
    tmp_path: Path, sizes: list[int], cut: list[int], ranks: list[int], streams: int, block: int, mode: Mode
) -> None:
    """Stopped after any steps and resumed on any number of ranks, again and again, a run takes the samples of an undisturbed one, each once an epoch."""
    for path in tmp_path.rglob("*.*"):
        path.unlink()
    for name in ("a", "b"):
        (tmp_path / name).mkdir(exist_ok=True)
        for shard, size in enumerate(sizes):
            write(tmp_path / name, str(shard), [document(99 * shard + number, 0) for number in range(size)])
    share = 1.0 if mode == "weighted" else None
    sets = {
        name: SetConfig(shards=[str(tmp_path / name)], batch=batch, share=share, streams=streams, block=block)
        for name, batch in (("a", 6), ("b", 12))
    }
    whole = iter(Stream(sets, TOKENS, SIDE, seed=3, mode=mode))
    expected = [[row for batch in next(whole) for row in rows(batch)] for _ in range(sum(cut))]
    found, state = [], None
    for steps, number in zip(cut, ranks, strict=False):
        parts = [Stream(sets, TOKENS, SIDE, 3, state, rank, number, mode=mode) for rank in range(number)]
        for _, together in zip(range(steps), zip(*parts, strict=True), strict=False):
            found.append([row for of_set in zip(*together, strict=True) for batch in of_set for row in rows(batch)])
        state = msgspec.json.decode(msgspec.json.encode(parts[0].state), type=State)

    assert expected == found
    times = Counter(row for step in found for row in step)
    assert {1} == set(times.values())
    for name in sets:
        epochs = Counter(epoch for of, epoch, _ in times if of == name)
        assert all(epochs[epoch] == sum(sizes) for epoch in range(len(epochs) - 1))


def test_a_resumed_example_has_the_same_chance(folder: Path) -> None:
    """Windows, flips and colours do not depend on who reads an example, or when."""
    media = MediaConfig(side=16, flip=0.5, colour=0.5)
    sets = {"pairs": SetConfig(shards=[str(folder)], batch=4, example=PAIRS)}
    one = Stream(sets, TOKENS, media, seed=7)
    batches = [next_[0] for next_, _ in zip(one, range(3), strict=False)]
    state = State(step=2, seed=7, sets={"pairs": msgspec.structs.replace(one.state.sets["pairs"], samples=8)})
    again = next(iter(Stream(sets, TOKENS, media, seed=7, state=state)))[0]

    for a, b in ((batches[2].ids_BL, again.ids_BL), (batches[2].pixels[0], again.pixels[0])):
        assert torch.equal(a, b)


def test_a_state_of_other_shards_is_refused(folder: Path) -> None:
    """The order is a function of the shards: with one more, or another seed, a checkpoint's step means something else."""
    state = stream(folder).state
    write(folder, "00009", [pair(1)])
    with pytest.raises(ConfigError, match="other shards"):
        stream(folder, state=state)


def test_bad_sets(folder: Path, tmp_path: Path) -> None:
    """A batch that ranks cannot share, and a pattern without shards."""
    with pytest.raises(ConfigError, match="does not divide"):
        stream(folder, batch=10, ranks=3)
    with pytest.raises(InputError, match="no shards"):
        stream(tmp_path / "none")


def test_more_workers_than_shards(tmp_path: Path) -> None:
    """One shard of one sample feeds any number of ranks and workers."""
    write(tmp_path, "0", [pair(0)])
    assert [["000000"]] * 3 == take(stream(tmp_path, batch=2, rank=1, ranks=2, workers=2), 3)


def test_a_foreign_tar_is_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tar without an index is scanned, and read by the kept index after that; one that changed is scanned again."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = tmp_path / "data"
    data.mkdir()
    write(data, "0", [pair(0), pair(1)], index=False)
    first = take(stream(data, batch=2), 1)
    monkeypatch.setattr("trainer.data.index.index_tar", lambda _: pytest.fail("scanned twice"))

    assert first == take(stream(data, batch=2), 1)


def test_a_shard_that_changed_is_an_error(folder: Path) -> None:
    """An index of another tar is refused, not read as if it fitted."""
    with (folder / "00002.tar").open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(ShardError, match="its index was made for"):
        stream(folder)


def mixture(folder: Path, pages: Path, **options: Any) -> Stream:
    """Pairs, and pages drawn a third as often, a batch of either a step."""
    pages.mkdir(exist_ok=True)
    write(pages, "0", [document(number, 0) for number in range(50)])
    sets = {
        "pairs": SetConfig(shards=[str(folder)], batch=12, share=3, streams=3, block=2, example=PAIRS),
        "pages": SetConfig(shards=[str(pages)], batch=6, share=1, streams=3, block=2),
    }
    return Stream(sets, TOKENS, SIDE, seed=7, mode="weighted", **options)


def test_sets_drawn_by_weight(folder: Path, tmp_path: Path) -> None:
    """Each step is one batch of one set, drawn by its share; each set goes through its own order, whoever reads it and from wherever."""
    one = mixture(folder, tmp_path / "pages")
    names = [batches[0].set for batches, _ in zip(one, range(200), strict=False)]
    assert 0.65 < names.count("pairs") / 200 < 0.85
    assert names.count("pairs") * 12 == one.state.sets["pairs"].samples
    whole = take(mixture(folder, tmp_path / "pages"), 24)
    first = mixture(folder, tmp_path / "pages", workers=2)
    assert whole[:9] == take(first, 9)
    state = msgspec.json.decode(msgspec.json.encode(first.state), type=State)
    parts = [take(mixture(folder, tmp_path / "pages", state=state, rank=rank, ranks=3), 15) for rank in range(3)]

    assert whole[9:] == [list(chain(*step)) for step in zip(*parts, strict=True)]
    pairs = [key for name, keys in zip(names, whole, strict=False) if name == "pairs" for key in keys]
    assert [key for step in take(stream(folder), 30) for key in step][: len(pairs)] == pairs


def test_sets_in_turns(folder: Path, tmp_path: Path) -> None:
    """A step is one batch of the next set, each in its own order, and a resumed stream knows whose turn it is."""
    pages = tmp_path / "pages"
    pages.mkdir()
    write(pages, "0", [document(number, 0) for number in range(5)])
    sets = {
        "pairs": SetConfig(shards=[str(folder)], batch=12, streams=3, block=2, example=PAIRS),
        "pages": SetConfig(shards=[str(pages)], batch=6, weight=0.5),
    }
    one = Stream(sets, TOKENS, SIDE, seed=7, mode="round_robin")
    steps = take(one, 3)
    again = Stream(sets, TOKENS, SIDE, seed=7, mode="round_robin", state=one.state)
    more = [(batches[0].set, batches[0].keys) for batches, _ in zip(again, range(3), strict=False)]

    assert [36, 18] == [len(steps[0] + steps[2] + more[1][1]), len(steps[1] + more[0][1] + more[2][1])]
    assert ["pages", "pairs", "pages"] == [name for name, _ in more]
    assert take(stream(folder), 3) == [steps[0], steps[2], more[1][1]]


def test_modes_are_told_apart(folder: Path) -> None:
    """Lambda and share are of one mode each; what is of the other is an error, and so is a share that is missing."""
    for mode, fields, message in (
        ("every", {"share": 1.0}, "is for mode = weighted"),
        ("round_robin", {"share": 1.0}, "is for mode = weighted"),
        ("weighted", {"share": 1.0, "weight": 0.5}, "is for other modes"),
        ("weighted", {}, "share is not set"),
    ):
        sets = {"pairs": SetConfig(shards=[str(folder)], batch=4, **fields)}
        with pytest.raises(ConfigError, match=message):
            Stream(sets, TOKENS, SIDE, mode=mode)  # type: ignore[arg-type]


def broken_folder(tmp_path: Path) -> Path:
    """Ten pairs, every fifth without a picture that decodes."""
    spoilt = [
        Sample(one.key, {**one.members, "png": b"none"}) if number % 5 == 0 else one
        for number, one in enumerate(map(pair, range(10)))
    ]
    write(tmp_path, "0", spoilt)
    return tmp_path


def test_too_many_broken_samples_stop_the_run(tmp_path: Path) -> None:
    """The run stops at the step that goes over the budget, at the same one after a resume, with the samples named; counts are those of all ranks."""
    sets = {"pairs": SetConfig(shards=[str(broken_folder(tmp_path))], batch=10, max_broken=9 / WINDOW, example=PAIRS)}
    one = Stream(sets, TOKENS, SIDE)
    with pytest.raises(DataError, match=r"10 samples of sets.pairs broke within 10,000 .*000005: MediumError"):
        take(one, 5)
    assert (4, 40, 8) == (one.state.step, one.state.sets["pairs"].samples, one.state.sets["pairs"].broken)
    with pytest.raises(DataError, match="10 samples"):
        take(Stream(sets, TOKENS, SIDE, state=one.state), 1)
    half = Stream(sets, TOKENS, SIDE, rank=1, ranks=2, total=lambda _: [0, 2])
    with pytest.raises(DataError, match="10 samples"):
        take(half, 5)
    assert 4 == half.state.step


def test_broken_samples_are_counted_by_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share that lasts is allowed for ever; the count begins anew with each window."""
    monkeypatch.setattr("trainer.data.stream.WINDOW", 50)
    sets = {"pairs": SetConfig(shards=[str(broken_folder(tmp_path))], batch=10, max_broken=0.2, example=PAIRS)}
    one = Stream(sets, TOKENS, SIDE)
    counts = [one.state.sets["pairs"].broken for _ in zip(one, range(12), strict=False)]

    assert [2, 4, 6, 8, 0, 2, 4, 6, 8, 0, 2, 4] == counts


def test_waiting_is_measured(folder: Path) -> None:
    """Seconds are added up over steps."""
    one = stream(folder)
    batches = iter(one)
    next(batches)
    first = one.wait_s
    next(batches)

    assert 0 < first < one.wait_s


def test_a_workers_error_is_the_error(folder: Path) -> None:
    """What a worker finds wrong is raised as it is."""
    one = stream(folder, workers=1)
    with (folder / "00002.tar").open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(ShardError, match=r"00002.tar changed under the run"):
        take(one, 9)


def test_a_killed_worker_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that the system kills is no fault of the program: the error says what to do."""

    def killed(*_: Any, **__: Any) -> Iterator[Any]:
        # In torch's words. A real one would be told of once more, whenever its next child ends.
        raise RuntimeError("DataLoader worker (pid 9) is killed by signal: Killed. ")
        yield

    monkeypatch.setattr("trainer.data.stream.DataLoader", killed)
    with pytest.raises(SurroundingsError, match="fewer workers"):
        take(stream(folder), 1)
