"""Training sequences: a run of a document's tokens, or a pair, with the medium that each token looks at and with what is learnt of it.

    document   BOS  Cute pics!  EOC <image> My puppy.  EOC <image> My cat.  EOC EOS
    medium     0    0 ...     0     1 1 ...          1     2 2 ...        2   2       p_next not drawn: the last medium before
    medium     0    1 ...     1     1 2 ...          2     2 0 ...        0   0       p_next drawn: the next one
    pair       BOS  <image> caption EOC EOS

A document gives a random run of tokens (Flamingo v1 3.2.1: 256, at most 5 media). A run neither begins nor ends within a tag, and ends before the tag of
a medium too many. The tag's own tokens look at the tag's own medium, whatever p_next says (ours; the paper does not say). A medium that stands before the
run is not in it: text up to the run's first tag looks at nothing, or at the medium of that tag.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.document import Image, Text, Video
from trainer.data.page import Page
from trainer.data.tokens import Tokens

IGNORED: Final = -100  # what cross entropy passes over


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence of L tokens: ids, the medium of each (1 for the first of `media`, 0 for none), labels; all [L], int32.

    `labels[l]` is the id that token l is to be predicted as, from the tokens before it, or IGNORED. `media` are the document's media in the run, by number.
    """

    ids: NDArray[np.int32]
    phi: NDArray[np.int32]
    labels: NDArray[np.int32]
    media: list[int]


def document_window(
    nodes: Sequence[Text | Image | Video],
    tokens: Tokens,
    rng: np.random.Generator,
    length: int = 256,
    media: int = 5,
    p_next: float = 0.5,
) -> Window:
    """A random run of at most `length` tokens and `media` media of a document."""
    page = Page(nodes, tokens)
    stretch, offset = page.start(rng, length)
    ids, tag = page.run(stretch, offset, length + 1)
    start, end = _whole_tags(tag, offset > 0, min(len(tag), length))
    end = _before_medium(tag, start, end, media)
    looks_ahead = bool(rng.random() < p_next)
    return _window(ids[start:end], tag[start:end], tokens, looks_ahead)


def pair_window(caption: str, tokens: Tokens, length: int = 32) -> Window:
    """The sequence of a picture or clip and its text, cut to `length` tokens; a cut text has no end."""
    parts = [tokens.bos, tokens.tag, [*tokens.encode(caption), tokens.eoc, tokens.eos]]
    ids = np.concatenate([np.array(one, np.int32) for one in parts])[:length]
    tag = np.repeat([-1, 0, -1], [len(one) for one in parts])[:length]
    return _window(ids, tag, tokens, looks_ahead=False)


def _whole_tags(tag: NDArray[np.int64], is_inside: bool, end: int) -> tuple[int, int]:
    """Where the run that ends before `end` has no pieces of tags at its ends; `is_inside` says that it may begin inside one."""
    start = int(np.argmax(tag != tag[0])) if is_inside and tag[0] >= 0 else 0
    if end < len(tag) and tag[end] >= 0 and tag[end - 1] == tag[end]:
        end -= int(np.argmax(tag[:end][::-1] != tag[end]))
    return start, max(start, end)


def _before_medium(tag: NDArray[np.int64], start: int, end: int, media: int) -> int:
    """Where the tag of the first medium too many begins, or `end`."""
    run = tag[start:end]
    first = run[run >= 0]
    if not len(first):
        return end
    beyond = np.flatnonzero(run >= first[0] + media)
    return start + int(beyond[0]) if len(beyond) else end


def _window(ids: NDArray[np.int32], tag: NDArray[np.int64], tokens: Tokens, looks_ahead: bool) -> Window:
    is_tag = tag >= 0
    first = int(tag[is_tag][0]) if is_tag.any() else 0
    own = np.where(is_tag, tag - first + 1, 0)
    count = int(own.max(initial=0))
    phi = np.maximum.accumulate(own) if len(own) else own
    if looks_ahead:
        phi = np.where(is_tag, own, np.where(phi < count, phi + 1, 0))
    media = list(range(first, first + count))
    return Window(ids=ids, phi=phi.astype(np.int32), labels=labels(ids, is_tag, tokens), media=media)


def labels(ids: NDArray[np.int32], is_tag: NDArray[np.bool_], tokens: Tokens) -> NDArray[np.int32]:
    """What is learnt: each token is its own label, but for BOS and the tags.

    Nobody predicts BOS or the tokens of `<image>`: where a picture stands is the page's doing, and a model that writes tags would see nothing by
    them. EOC and EOS are learnt where they truly stand, in documents and pairs alike; a text that was cut ends without them, so nothing teaches to stop
    there. Padding is added later, with IGNORED. The first token has no token before it and is passed over by the loss.
    """
    learnt = np.where(is_tag, IGNORED, ids).astype(np.int32)
    if len(ids) and ids[0] in tokens.bos:
        learnt[0] = IGNORED
    return learnt
