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
from schemas.markup import PARAGRAPH_BREAK
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


class _Line(msgspec.Struct):
    """A whole sequence before it is cut: the id of each token, which medium's tag it belongs to (-1: none), and whether it is learnt."""

    ids: list[int] = []
    tag: list[int] = []

    def add(self, ids: Sequence[int], tag: int = -1) -> None:
        self.ids += ids
        self.tag += [tag] * len(ids)


def document_window(
    nodes: Sequence[Text | Image | Video],
    tokens: Tokens,
    rng: np.random.Generator,
    length: int = 256,
    media: int = 5,
    p_next: float = 0.5,
) -> Window:
    """A random run of at most `length` tokens and `media` media of a document."""
    line = _document_line(nodes, tokens)
    tag = np.array(line.tag)
    start = int(rng.integers(max(1, len(tag) - length + 1)))
    start, end = _whole_tags(tag, start, min(len(tag), start + length))
    end = _before_medium(tag, start, end, media)
    looks_ahead = bool(rng.random() < p_next)
    return _window(np.array(line.ids[start:end], dtype=np.int32), tag[start:end], tokens, looks_ahead)


def pair_window(caption: str, tokens: Tokens, length: int = 32) -> Window:
    """The sequence of a picture or clip and its text, cut to `length` tokens; a cut text has no end."""
    line = _Line()
    line.add(tokens.bos)
    line.add(tokens.tag, tag=0)
    line.add([*tokens.encode(caption), tokens.eoc, tokens.eos])
    ids = np.array(line.ids[:length], dtype=np.int32)
    return _window(ids, np.array(line.tag[:length]), tokens, looks_ahead=False)


def _document_line(nodes: Sequence[Text | Image | Video], tokens: Tokens) -> _Line:
    """As `schemas.markup.render` writes it: `<EOC>` before each medium and at the end, paragraphs parted by a blank line."""
    line, number, after_text = _Line(), 0, False
    line.add(tokens.bos)
    for node in nodes:
        if isinstance(node, Text):
            line.add(tokens.encode(PARAGRAPH_BREAK + node.text if after_text else node.text))
        else:
            line.add([tokens.eoc])
            line.add(tokens.tag, tag=number)
            number += 1
        after_text = isinstance(node, Text)
    line.add([tokens.eoc, tokens.eos])
    return line


def _whole_tags(tag: NDArray[np.int64], start: int, end: int) -> tuple[int, int]:
    """The run without the pieces of tags at its ends."""
    if start and tag[start] >= 0 and tag[start - 1] == tag[start]:
        start += int(np.argmax(tag[start:] != tag[start]))
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
