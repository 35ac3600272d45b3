"""The manifest: what a run put into its shards, in numbers that add up. It is a function of input, configuration and media alone."""

from typing import Final, Literal

import msgspec

from schemas.errors import SchemaError

MANIFEST_VERSION: Final = 1
FLOWS: Final = ("pages", "paragraphs", "images", "videos", "pairs")


class InputInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input: its name below the input root and its size in bytes."""

    name: str
    bytes: int


class ShardInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One tar: its path below the shards folder, bytes, number of samples, digests of the tar and of its index."""

    path: str
    bytes: int
    samples: int
    sha256: str
    index_sha256: str

    @property
    def kind(self) -> str:
        """What its samples are: `interleaved`, `image_text` or `video_text`."""
        return self.path.partition("/")[0]


class Flow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where things of one kind went: how many came in, how many are in the shards, how many were dropped at each stage for each reason.

    `entered == kept + dropped.total`; the manifest is not written otherwise. `with_page` counts what fell with its page.
    """

    entered: int
    kept: int
    dropped: dict[str, dict[str, int]]  # stage -> reason -> number

    @property
    def lost(self) -> int:
        """The number of all drops."""
        return sum(sum(reasons.values()) for reasons in self.dropped.values())


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of a run's output.

    `records` counts the input's records by what they are. `fields` are the member names that occur in the interleaved shards, sorted: the
    features that a reader with fixed columns has to declare. `config` is the effective configuration as TOML.
    """

    inputs: list[InputInfo]
    records: dict[str, int]
    pages: Flow
    paragraphs: Flow
    images: Flow
    videos: Flow
    pairs: Flow
    words: int
    languages: dict[str, int]
    fields: list[str]
    shards: list[ShardInfo]
    config: str
    version: Literal[1] = MANIFEST_VERSION

    def check(self) -> None:
        """Makes sure that the counts add up.

        Raises:
            SchemaError: something came in that is neither kept nor dropped, or the shards hold another number of samples than pages or pairs were kept.
        """
        for name in FLOWS:
            flow: Flow = getattr(self, name)
            if flow.entered != flow.kept + flow.lost:
                raise SchemaError(f"{name} do not add up: {flow.entered} in, {flow.kept} kept, {flow.lost} dropped")
        for name, kept, kinds in (
            ("pages", self.pages.kept, ("interleaved",)),
            ("pairs", self.pairs.kept, ("image_text", "video_text")),
        ):
            samples = sum(shard.samples for shard in self.shards if shard.kind in kinds)
            if kept != samples:
                raise SchemaError(f"{kept} {name} kept, but the shards hold {samples} samples of {' and '.join(kinds)}")


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`: indented, keys of counts sorted."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=1) + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """Reads `manifest.json`.

    Raises:
        SchemaError: not a manifest of this version.
    """
    try:
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise SchemaError(f"not a manifest of version {MANIFEST_VERSION}: {error}") from error
