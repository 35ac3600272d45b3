"""Markup: nodes to the paper's text and back.

    nodes   Text("Cute pics of my pets!")  Image  Text("My puppy sitting in the grass.")  Image  Text("My cat.")
    text    Cute pics of my pets!<EOC><image>My puppy sitting in the grass.<EOC><image>My cat.<EOC>

`<EOC>` stands before every medium and at the end (Flamingo v1, Fig. 6); `<image>` stands for a video too. `<BOS>` and `<EOS>` belong to a
tokenizer. Two text nodes in a row are parted by a blank line, which no text node holds. A page's own `<image>` or `<EOC>` gets a
backslash after its bracket (and one more, if it had some), so it never becomes markup. Who trains builds token ids from nodes, where nothing is escaped.
"""

import re
from collections.abc import Iterable, Sequence

from schemas.document import Image, Text, Video
from schemas.errors import MarkupError, SchemaError

IMAGE = "<image>"
EOC = "<EOC>"
PARAGRAPH_BREAK = "\n\n"

_LITERAL_TAG = re.compile(r"<(\\*)(image|EOC)>")
_ESCAPED_TAG = re.compile(r"<\\(\\*)(image|EOC)>")


def escape(text: str) -> str:
    r"""Text in which no tag is markup.

    >>> escape("use <image> here")
    'use <\\image> here'
    """
    return _LITERAL_TAG.sub(r"<\\\1\2>", text)


def unescape(text: str) -> str:
    r"""What `escape` was given.

    >>> unescape(escape(r"<image> and <\EOC>")) == r"<image> and <\EOC>"
    True
    """
    return _ESCAPED_TAG.sub(r"<\1\2>", text)


def render(nodes: Iterable[Text | Image | Video]) -> str:
    """The paper's text of a document's nodes."""
    parts: list[str] = []
    after_text = False
    for node in nodes:
        if isinstance(node, Text):
            parts.append(PARAGRAPH_BREAK + escape(node.text) if after_text else escape(node.text))
        else:
            parts.append(EOC + IMAGE)
        after_text = isinstance(node, Text)
    return "".join(parts) + EOC


def parse(text: str, media: Sequence[Image | Video]) -> list[Text | Image | Video]:
    """The nodes of a rendered text; `media` are its media in order. `parse(render(nodes), media of nodes) == nodes`.

    Raises:
        MarkupError: the text does not end with `<EOC>`, has a tag without its partner, an empty paragraph, or another number of `<image>`
            than there are media.
    """
    if not text.endswith(EOC):
        raise MarkupError(f"rendered text must end with {EOC}: ...{text[-40:]!r}")
    runs = text[: -len(EOC)].split(EOC + IMAGE)
    if len(runs) - 1 != len(media):
        raise MarkupError(f"{len(runs) - 1} {EOC}{IMAGE} in the text, but {len(media)} media beside it")
    nodes: list[Text | Image | Video] = []
    for index, run in enumerate(runs):
        if index:
            nodes.append(media[index - 1])
        if run:
            nodes.extend(_paragraphs(run))
    return nodes


def _paragraphs(run: str) -> list[Text]:
    if IMAGE in run or EOC in run:
        raise MarkupError(f"a tag without its partner in {run[:80]!r}; every {IMAGE} needs an {EOC} before it")
    try:
        return [Text(unescape(part)) for part in run.split(PARAGRAPH_BREAK)]
    except SchemaError as error:
        raise MarkupError(f"not a run of paragraphs: {run[:80]!r}") from error
