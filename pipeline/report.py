"""The manifest of a finished run, from the counts of its parts."""

from collections import Counter
from collections.abc import Iterable

from pipeline.config import Config, dump_config
from pipeline.read.inputs import Input
from pipeline.runfolder import Commit, RunFolder
from schemas.errors import InputError
from schemas.manifest import Flow, InputInfo, Manifest, ShardInfo, decode_manifest
from schemas.shard import INDEX_SUFFIX

MANIFEST = "shards/manifest.json"
CARD = "shards/README.md"


def make_manifest(folder: RunFolder, inputs: Iterable[Input], config: Config) -> Manifest:
    """What the run put into its shards.

    Raises:
        SchemaError: the counts do not add up.
    """
    commits = {stage: folder.commits(stage) for stage in ("extract", "select", "shard")}
    counts = {stage: sum_counts(of) for stage, of in commits.items()}
    kept = counts["shard"]
    manifest = Manifest(
        inputs=[InputInfo(name=one.name, bytes=one.size) for one in inputs],
        records=_below(counts["extract"], "records."),
        pages=_flow("pages", counts, kept["documents"]),
        paragraphs=_flow("paragraphs", counts, kept["paragraphs"]),
        images=_flow("images", counts, kept["images"]),
        videos=_flow("videos", counts, kept["videos"]),
        pairs=_flow("pairs", counts, kept["pairs"]),
        words=kept["words"],
        languages=_below(kept, "languages."),
        fields=sorted(_below(kept, "fields.")),
        shards=[_shard_info(commit) for commit in commits["shard"] if commit.detail != "assembled"],
        config=dump_config(config),
    )
    manifest.check()
    return manifest


def read_manifest(folder: RunFolder) -> Manifest:
    """The manifest of a finished run.

    Raises:
        InputError: there is none.
    """
    if not folder.store.exists(MANIFEST):
        raise InputError(
            f"{folder.store.url}: no finished run here ({MANIFEST} is missing); run m3w crawl, or again if it was interrupted"
        )
    return decode_manifest(folder.store.read(MANIFEST))


def sum_counts(commits: Iterable[Commit]) -> Counter[str]:
    """The counts of many parts together."""
    total: Counter[str] = Counter()
    for commit in commits:
        total.update(commit.counts)
    return total


def _flow(kind: str, counts: dict[str, Counter[str]], kept: int) -> Flow:
    dropped = {stage: _below(of, f"{kind}.dropped.") for stage, of in counts.items()}
    # Pairs of pages come in where their documents are finished, those of tables with their rows.
    entered = sum(of[f"{kind}.in"] for of in counts.values())
    return Flow(entered=entered, kept=kept, dropped={stage: of for stage, of in dropped.items() if of})


def _below(counts: Counter[str], prefix: str) -> dict[str, int]:
    return {name[len(prefix) :]: number for name, number in sorted(counts.items()) if name.startswith(prefix)}


def _shard_info(commit: Commit) -> ShardInfo:
    tar = next(file for file in commit.files if file.path.endswith(".tar"))
    index = next(file for file in commit.files if file.path.endswith(INDEX_SUFFIX))
    return ShardInfo(
        path=tar.path.removeprefix("shards/"),
        bytes=tar.bytes,
        samples=commit.counts.get("samples", 0),
        sha256=tar.sha256,
        index_sha256=index.sha256,
    )
