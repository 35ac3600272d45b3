"""What the batches of a stream hold: texts and media of pairs, pages and videos where they belong, empty places of broken samples, where each row was read."""

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from schemas.document import Document, Provenance, Text, Video
from schemas.document import Image as Picture
from schemas.markup import render
from schemas.shard import Sample, sample_key
from tests.streams import PAIRS, SIDE, TOKENS, document, pair, png, stream, write
from tests.videos import video
from trainer.data.batch import Batch
from trainer.data.example import ExampleConfig
from trainer.data.stream import SetConfig, Stream
from trainer.data.window import IGNORED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five shards of pairs, 103 in all."""
    for shard, size in enumerate([30, 7, 40, 0, 26]):
        write(tmp_path, f"{shard:05d}", [pair(100 * shard + number) for number in range(size)])
    return tmp_path


def test_broken_samples_are_empty_slots(tmp_path: Path) -> None:
    """Bytes that do not decode, members that are missing or empty, a JSON of another form: an empty place in the batch, named, with nothing to learn."""
    whole = {"png": png((1, 2, 3)), "txt": b"text", "json": b"{}"}
    page = document(1, 1)
    samples = {
        "picture": {**whole, "png": b"no picture"},
        "empty": {**whole, "png": b""},
        "clip": {"mp4": b"", "txt": b"text"},
        "mute": {**whole, "txt": b" \n"},
        "latin": {**whole, "txt": b"caf\xe9"},
        "blind": {"txt": b"text", "json": b"{}"},
        "bare": {"png": whole["png"], "json": b"{}"},
        "other": {"json": b'{"what": 1}'},
        "void": {"json": b""},
        "without": {"json": page.members["json"]},
    }
    write(tmp_path, "0", [pair(0), *(Sample(key, members) for key, members in samples.items())])
    (batch,) = next(iter(stream(tmp_path, batch=11)))
    rows = dict(zip(batch.keys, batch.labels_BL, strict=True))

    assert set(samples) == {fault.partition(":")[0] for fault in batch.faults}
    assert all((rows[key] == IGNORED).all() for key in samples)
    assert (rows["000000"] != IGNORED).any()


def test_documents_and_pairs_side_by_side(folder: Path, tmp_path: Path) -> None:
    """A step has a batch of every set; media are packed in order, a picture that stands twice is held once."""
    pages = tmp_path / "pages"
    pages.mkdir()
    write(pages, "0", [document(0, 2), document(1, 0), document(2, 3)])
    sets = {
        "pages": SetConfig(shards=[str(pages)], batch=3, example=ExampleConfig(p_next=0.0)),
        "pairs": SetConfig(shards=[str(folder)], batch=4, example=PAIRS),
    }
    page, pairs = next(iter(Stream(sets, TOKENS, SIDE)))

    assert ("pages", "pairs") == (page.set, pairs.set)
    assert [2] == [len(group) for group in page.pixels]  # three pages, five pictures, two colours
    assert [4] == [len(group) for group in pairs.pixels]
    check(page)
    check(pairs)


def check(batch: Batch) -> None:
    """As many tags as media; each medium of a row is where its slot says."""
    packed = sum(len(group) for group in batch.pixels)
    assert 0 <= batch.slots_BK.min()
    assert batch.slots_BK.max() < packed
    assert batch.phi_BL.max() <= batch.slots_BK.shape[1]
    assert not batch.phi_BL[~batch.mask_BL].any()
    assert (batch.labels_BL[~batch.mask_BL] == IGNORED).all()


def test_the_right_picture_at_every_tag(tmp_path: Path) -> None:
    """Wherever a window begins in a page, and however many media it has room for, the k-th tag looks at the page's own picture there."""
    nodes: list[Any] = []
    members = {}
    for place in range(12):
        members[f"{place:03d}.png"] = png((20 * place, 0, 0))
        fields: dict[str, Any] = {"url": "", "source": "src", "rank": 0, "width": 16, "height": 16, "bytes": 9}
        nodes += [
            Picture(member=f"{place:03d}.png", sha256="0" * 64, source_sha256="0" * 64, **fields),
            Text(f"no {place}"),
        ]
    provenance = Provenance(source="x", offset=0, length=1)
    page = Document(key=sample_key("p"), url="", nodes=nodes, text=render(nodes), provenance=provenance)
    # The order of members in the tar is none of the page's.
    write(
        tmp_path, "0", [Sample(page.key, dict(sorted(members.items(), reverse=True), json=msgspec.json.encode(page)))]
    )
    sets = {"pages": SetConfig(shards=[str(tmp_path)], batch=2, example=ExampleConfig(tokens=60, p_next=0))}
    seen = set()
    for _, (batch,) in zip(range(30), Stream(sets, TOKENS, SIDE), strict=False):
        colours = torch.cat(batch.pixels)[:, 0, 0, 8, 8]
        for ids, phi, slots in zip(batch.ids_BL, batch.phi_BL, batch.slots_BK, strict=True):
            for medium in range(1, int(phi.max()) + 1):
                said = TOKENS.tokenizer.decode([one for one in ids[phi == medium].tolist() if one < TOKENS.eoc])
                place = int(colours[slots[medium - 1]]) // 20
                assert f"<image>no {place}".startswith(said.removesuffix("</s>"))
                seen.add(place)

    assert set(range(10)) <= seen


def test_a_batch_says_where_it_comes_from(folder: Path) -> None:
    """Set, epoch, shard and key of each row."""
    batches = [next_[0] for next_, _ in zip(stream(folder), range(10), strict=False)]
    counted = Counter(epoch for batch in batches for epoch in batch.epochs)

    assert {0: 103, 1: 17} == counted
    for batch in batches:
        assert [int(key) // 100 for key in batch.keys] == [int(shard[-9:-4]) for shard in batch.shards]
        assert batch.origins()[0] == f"pairs epoch {batch.epochs[0]} {batch.shards[0]} {batch.keys[0]}"


def test_a_batch_is_pinned_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor, and nothing else, is another."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    (batch,) = next(iter(stream(folder)))
    pinned = batch.pin_memory()

    for name in batch.__struct_fields__:
        one, other = (
            value if isinstance(value, list) else [value] for value in (getattr(batch, name), getattr(pinned, name))
        )
        for a, b in zip(one, other, strict=True):
            assert (a is b) != isinstance(a, torch.Tensor)
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def test_videos_in_pairs_and_documents(tmp_path: Path) -> None:
    """Clips stand beside pictures in groups of their own, by numbers of frames; a broken one costs its sample."""
    url: dict[str, Any] = {"url": "", "source": "src", "rank": 0, "width": 96, "height": 64, "sha256": "0" * 64}
    url |= {"source_sha256": "0" * 64}
    data = video(2.5)
    nodes = [
        Picture(member="000.png", bytes=9, **url),
        Video(member="001.mp4", bytes=len(data), duration_s=2.5, fps=10.0, **url),
        Text("both"),
    ]
    page = Document(
        key=sample_key("p"),
        url="",
        nodes=nodes,
        text=render(nodes),
        provenance=Provenance(source="x", offset=0, length=1),
    )
    members = {"json": msgspec.json.encode(page), "000.png": png((1, 2, 3)), "001.mp4": data}
    pairs = [
        Sample(name, {"mp4": clip, "txt": b"a square", "json": b"{}"})
        for name, clip in (("long", video(9.5, fps=4)), ("cut", video(3.0)[:900]))
    ]
    write(tmp_path, "0", [Sample(page.key, members), *pairs])
    (batch,) = next(iter(stream(tmp_path, batch=3)))

    assert [(1, 1), (1, 3), (1, 8)] == [tuple(group.shape[:2]) for group in batch.pixels]
    assert ["cut"] == [fault.partition(":")[0] for fault in batch.faults]
    assert {page.key: [0, 1], "long": [2, 0], "cut": [0, 0]} == dict(
        zip(batch.keys, batch.slots_BK.tolist(), strict=True)
    )
    check(batch)


def test_a_batch_without_media(tmp_path: Path) -> None:
    """Text alone comes with one medium of zeros that nothing looks at."""
    write(tmp_path, "0", [document(0, 0)])
    (batch,) = next(iter(stream(tmp_path, batch=1)))

    assert [(1, 1, 3, 16, 16)] == [tuple(group.shape) for group in batch.pixels]
    assert not batch.phi_BL.any()
