"""The configuration: one tree of small structs, each defined beside the code that reads it.

`schemas.settings` says how it is written. `jobs/configs/` holds the presets; what they leave out has the default that stands in the struct.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from pipeline.filters import FilterConfig
from pipeline.filters.pii import PiiConfig
from pipeline.images import ImageConfig, ImageFilterConfig
from pipeline.lists.config import ListsConfig
from pipeline.pairs.config import PairsConfig
from pipeline.read.policies import PolicyKind
from pipeline.read.records import ReadLimits
from pipeline.scores.config import ScoresConfig
from pipeline.video.config import VideoConfig
from pipeline.web.config import FetchConfig
from schemas.settings import read_settings, write_settings


class ExtractConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Reading the crawl.

    `slice_bytes` is how much of a big input one worker takes at a time; `sample` the share of pages, chosen by the hash of their URL;
    `base_url` what stands before the names of HTML files to make their URLs (empty: `file:///`, which has no pictures).
    """

    slice_bytes: Annotated[int, msgspec.Meta(ge=1 << 20)] = 64 << 20  # ours: a minute of work, so that progress shows
    sample: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    base_url: str = ""
    read: ReadLimits = ReadLimits()


class SelectConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which documents stay; 0 turns a rule off.

    `policies` are the files of an origin in the crawl that count as opt-outs: robots.txt, ai.txt, tdmrep.json.
    `banned_url_words` are matched as whole words of the page's URL, case folded. `near_duplicates` is the share of common runs of five words
    from which on the worse of two texts goes (0..1, by MinHash). A picture goes whose every URL stands on more than `max_url_pages` pages, a
    paragraph that stands on `max_domain_paragraphs` pages of its domain and more. Of pages with the same set of pictures the latest stays,
    if `same_images`. Rows of a captions table may share a picture: the two rules about pictures are for pages. `against` are folders of
    finished runs (paths or URLs): their pages and copies of these go.
    """

    against: list[str] = []
    policies: tuple[PolicyKind, ...] = ("robots", "ai", "tdmrep")  # ours: whatever an owner can say counts
    banned_url_words: list[str] = []
    near_duplicates: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.75  # FineWeb
    max_url_pages: Annotated[int, msgspec.Meta(ge=0)] = 10  # OBELICS
    max_domain_paragraphs: Annotated[int, msgspec.Meta(ge=0)] = 3  # OBELICS; headings stay with their sections
    same_images: bool = True  # OBELICS


class ShardConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the shards look like: the seed of their order, and the size that a tar should have, in bytes."""

    seed: int = 0
    target_bytes: Annotated[int, msgspec.Meta(ge=1 << 16)] = (
        256 << 20
    )  # ours: some 1,000 documents; webdataset's advice is 100 MB to 1 GB


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what a run puts out."""

    extract: ExtractConfig = ExtractConfig()
    filters: FilterConfig = FilterConfig()
    select: SelectConfig = SelectConfig()
    lists: ListsConfig = ListsConfig()
    fetch: FetchConfig = FetchConfig()
    images: ImageConfig = ImageConfig()
    video: VideoConfig = VideoConfig()
    scores: ScoresConfig = ScoresConfig()
    image_filters: ImageFilterConfig = ImageFilterConfig()
    pii: PiiConfig = PiiConfig()
    pairs: PairsConfig = PairsConfig()
    shard: ShardConfig = ShardConfig()


def load_config(toml: str, name: str, settings: Iterable[str] = ()) -> Config:
    """The configuration of a TOML text (`name` is for messages), with `a.b=value` settings laid over it.

    Raises:
        ConfigError: no TOML, an unknown key, a value of the wrong type or out of range.
    """
    return read_settings(Config, toml, name, settings)


def dump_config(config: Config) -> str:
    """The whole configuration as TOML, defaults included: what a run writes beside its output."""
    return write_settings(config)
