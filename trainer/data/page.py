r"""A document as one line of tokens, of which only what is looked at is tokenised: a book does not cost more than a page.

    stretches   BOS │ Cute pics! │ EOC │ <image> │ My puppy. │ \\n\\nHe sleeps. │ EOC │ <image> │ ... │ EOC EOS

A text node is the least that is tokenised, because what a tokenizer makes of a text depends on all of it; nodes are tokenised one by one, so the ids of a run
are those of the same place in the whole line. Where a run begins is drawn evenly from all tokens, although most of them are never counted: a text
has no more tokens than bytes, so a byte is drawn from all, and where its text has a token of that number, this is the one; else another byte is drawn.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.document import Image, Text, Video
from schemas.markup import PARAGRAPH_BREAK
from trainer.data.tokens import Tokens

_DRAWS: Final = 32  # ours: a byte in four or five is a token, so a page that gives none after these is short, and is tokenised whole


class Page:
    """The line of a document, as `schemas.markup.render` writes it: `<EOC>` before each medium and at the end, paragraphs parted by a blank line."""

    def __init__(self, nodes: Sequence[Text | Image | Video], tokens: Tokens) -> None:
        self._encode = tokens.encode
        self._stretches: list[str | list[int]] = [tokens.bos]
        self._tag = [-1]
        number, after_text = 0, False
        for node in nodes:
            if isinstance(node, Text):
                self._add(PARAGRAPH_BREAK + node.text if after_text else node.text)
            else:
                self._add([tokens.eoc])
                self._add(tokens.tag, number)
                number += 1
            after_text = isinstance(node, Text)
        self._add([tokens.eoc, tokens.eos])

    def start(self, rng: np.random.Generator, length: int) -> tuple[int, int]:
        """A stretch and a token of it: drawn evenly from those that at least `length` tokens begin with, or the first where the line has fewer."""
        if not self._holds(0, 0, length + 1):
            return 0, 0
        most = [
            len(one.encode()) + 1 if isinstance(one, str) else len(one) for one in self._stretches
        ]  # SentencePiece adds a space
        ends = np.cumsum(most)
        for drawn in rng.integers(ends[-1], size=_DRAWS):
            stretch, offset = _place(ends, most, int(drawn))
            if len(self._ids(stretch)) > most[stretch]:  # a tokenizer that lengthens texts first
                break
            if offset < len(self._ids(stretch)) and self._holds(stretch, offset, length):
                return stretch, offset
        lengths = [len(self._ids(stretch)) for stretch in range(len(self._stretches))]
        return _place(np.cumsum(lengths), lengths, int(rng.integers(sum(lengths) - length + 1)))

    def run(self, stretch: int, offset: int, length: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The ids of `length` tokens from a place on, fewer where the line ends, and of each which medium's tag it belongs to (-1: none)."""
        ids = self._ids(stretch)[offset:]
        tag = [self._tag[stretch]] * len(ids)
        while len(ids) < length and (stretch := stretch + 1) < len(self._stretches):
            more = self._ids(stretch)
            ids = ids + more
            tag += [self._tag[stretch]] * len(more)
        return np.array(ids[:length], np.int32), np.array(tag[:length], np.int64)

    def _add(self, content: str | list[int], tag: int = -1) -> None:
        self._stretches.append(content)
        self._tag.append(tag)

    def _ids(self, stretch: int) -> list[int]:
        content = self._stretches[stretch]
        if isinstance(content, str):
            content = self._stretches[stretch] = self._encode(content)
        return content

    def _holds(self, stretch: int, offset: int, length: int) -> bool:
        """Whether `length` tokens stand from a place on."""
        length -= len(self._ids(stretch)) - offset
        while length > 0 and (stretch := stretch + 1) < len(self._stretches):
            length -= len(self._ids(stretch))
        return length <= 0


def _place(ends: NDArray[np.int64], lengths: Sequence[int], at: int) -> tuple[int, int]:
    """The stretch of a place among all, and which place of it that is."""
    stretch = int(np.searchsorted(ends, at, "right"))
    return stretch, at - int(ends[stretch]) + lengths[stretch]
