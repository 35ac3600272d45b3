"""Training sequences: whole tags, the medium of each token, what is learnt; of a long page only what is looked at is tokenised."""

from collections import Counter
from itertools import chain

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Image, Text, Video, paragraph
from tests.tiny_models import tokenizer
from trainer.data.tokens import Tokens, tokens_of
from trainer.data.window import IGNORED, Window, document_window, pair_window

TOKENS = tokens_of(tokenizer(), 1000)
IMAGE = Image(
    member="000.jpg", url="", source="src", rank=0, width=1, height=1, bytes=1, sha256="0" * 64, source_sha256="0" * 64
)
WORDS = st.sampled_from(["heron", "<image>", "<EOC>", "</s>", "<s>", "by the river", "ü"])
TEXTS = st.lists(WORDS, min_size=1, max_size=8).map(lambda words: Text(paragraph(" ".join(words))))
NODES = st.lists(TEXTS | st.just(IMAGE), min_size=1, max_size=20)


def runs(window: Window) -> list[str]:
    """The sequence as text, each tag as <image>: what stands between tags is decoded, EOC and EOS written out."""
    out: list[str] = []
    names = {TOKENS.eoc: "<EOC>", TOKENS.eos: "<EOS>", TOKENS.bos[0]: "<BOS>"}
    for number, label, medium in zip(window.ids.tolist(), window.labels.tolist(), window.phi.tolist(), strict=True):
        tagged = label == IGNORED and number not in TOKENS.bos
        out.append(f"{names.get(number) or TOKENS.tokenizer.decode([number])}{'*' if tagged else ''}:{medium}")
    return out


def shown(window: Window) -> str:
    """Which text looks at which medium: runs of one medium, joined."""
    text, last = "", None
    for one in runs(window):
        piece, _, medium = one.rpartition(":")
        text += (f" [{medium}] " if medium != last else "") + piece.replace("*", "")
        last = medium
    return text.strip()


NODES_OF_THE_PAPER = [Text("pets!"), IMAGE, Text("puppy"), IMAGE, Text("cat")]


@pytest.mark.parametrize(
    ("p_next", "expected"),
    [
        (0.0, "[0] <BOS>pets!<EOC> [1] <image>puppy<EOC> [2] <image>cat<EOC><EOS>"),
        (1.0, "[1] <BOS>pets!<EOC><image> [2] puppy<EOC><image> [0] cat<EOC><EOS>"),
    ],
)
def test_the_papers_page(p_next: float, expected: str) -> None:
    """The markup of the paper; text looks at the medium before it or, where p_next was drawn, at the one after; a tag at its own."""
    window = document_window(NODES_OF_THE_PAPER, TOKENS, np.random.default_rng(0), p_next=p_next)

    assert expected == shown(window)
    assert [0, 1] == window.media


@given(NODES, st.integers(0, 99), st.integers(12, 60), st.integers(1, 3), st.sampled_from([0.0, 1.0]))
def test_any_run_of_any_page(
    nodes: list[Text | Image | Video], seed: int, length: int, media: int, p_next: float
) -> None:
    """No run is longer than asked, has a medium too many or a piece of a tag; tags and media are equally many; no tag is learnt, all else is."""
    window = document_window(nodes, TOKENS, np.random.default_rng(seed), length, media, p_next)
    first = window.ids[0] if len(window.ids) else None
    tagged = (window.labels == IGNORED) & ~((np.arange(len(window.ids)) == 0) & (first == TOKENS.bos[0]))

    assert len(window.ids) <= length
    assert len(window.media) <= media
    assert window.media == list(range(window.media[0], window.media[0] + len(window.media))) if window.media else True
    assert len(window.media) * len(TOKENS.tag) == tagged.sum()
    for place in range(len(window.media)):
        own = np.flatnonzero(tagged & (window.phi == place + 1))
        assert TOKENS.tag == window.ids[own].tolist()
    assert (window.labels[~tagged][1:] == window.ids[~tagged][1:]).all()
    assert 0 <= window.phi.min(initial=0)
    assert window.phi.max(initial=0) <= len(window.media)


@given(NODES)
def test_a_page_that_fits_is_whole(nodes: list[Text | Image | Video]) -> None:
    """A run that is long enough is the document, its literal tags as text."""
    window = document_window(nodes, TOKENS, np.random.default_rng(0), length=10_000, media=100)
    text = TOKENS.tokenizer.decode([number for number in window.ids.tolist() if number != TOKENS.eoc])
    wanted, after_text = "", False
    for node in nodes:
        wanted += ("\n\n" if after_text and isinstance(node, Text) else "") + (
            node.text if isinstance(node, Text) else "<image>"
        )
        after_text = isinstance(node, Text)

    assert f"<s>{wanted}</s>" == text
    assert 1 + sum(not isinstance(node, Text) for node in nodes) == (window.ids == TOKENS.eoc).sum()


def whole_line(nodes: list[Text | Image | Video], tokens: Tokens = TOKENS) -> list[tuple[int, int]]:
    """The id of each token of a page, and which medium's tag it belongs to (-1: none), all nodes tokenised."""
    line, media, after_text = [(one, -1) for one in tokens.bos], 0, False
    for node in nodes:
        if isinstance(node, Text):
            line += [(one, -1) for one in tokens.encode(("\n\n" if after_text else "") + node.text)]
        else:
            line += [(tokens.eoc, -1), *((one, media) for one in tokens.tag)]
            media += 1
        after_text = isinstance(node, Text)
    return [*line, (tokens.eoc, -1), (tokens.eos, -1)]


def cut(line: list[tuple[int, int]], start: int, length: int, media: int) -> tuple[list[int], list[int]]:
    """The ids and media of the run that is drawn at a start, by the rules one after the other."""
    end = min(start + length, len(line))
    while start and line[start][1] >= 0 and line[start][1] == line[start - 1][1]:
        start += 1
    while end < len(line) and line[end][1] >= 0 and line[end][1] == line[end - 1][1]:
        end -= 1
    seen = [tag for _, tag in line[start:end] if tag >= 0]
    if seen and seen[-1] >= seen[0] + media:
        end = next(place for place in range(start, end) if line[place][1] == seen[0] + media)
    shown = sorted({tag for _, tag in line[start:end] if tag >= 0})
    return [one for one, _ in line[start:end]], shown


@given(NODES, st.integers(0, 99), st.integers(8, 40), st.integers(1, 3))
def test_a_run_is_a_slice_of_the_whole(nodes: list[Text | Image | Video], seed: int, length: int, media: int) -> None:
    """The ids of a run are those that stand in its place when the whole page is tokenised."""
    window = document_window(nodes, TOKENS, np.random.default_rng(seed), length, media)
    line = whole_line(nodes)
    runs = [cut(line, start, length, media) for start in range(max(1, len(line) - length + 1))]

    assert (window.ids.tolist(), window.media) in runs


@pytest.mark.parametrize("copies", [1, 12])
def test_every_run_is_as_likely(copies: int) -> None:
    """Runs begin at every token alike, in pages of long and of short nodes, of many bytes a token and of one, past media and at them."""
    page = [
        Text("heron"),
        Text(" ".join(["the image of a heron by the river"] * 2)),
        IMAGE,
        Text("üü by"),
        Text("of"),
        IMAGE,
        Text("x y z"),
    ]
    nodes = [node for copy in range(copies) for node in [*page, Text(f"{copy} river")]]
    line, length, draws = whole_line(nodes), 20, 400 * copies
    starts = len(line) - length + 1
    expected = Counter(tuple(cut(line, start, length, 2)[0]) for start in range(starts))
    rng = np.random.default_rng(5)
    found = Counter(tuple(document_window(nodes, TOKENS, rng, length, 2).ids.tolist()) for _ in range(draws))

    assert found.keys() <= expected.keys()
    squares = ((found[run] - draws * share / starts) ** 2 / (draws * share / starts) for run, share in expected.items())
    free = len(expected) - 1
    assert abs(sum(squares) - free) < 4 * (2 * free) ** 0.5  # chi squared, within four deviations


def test_a_book_costs_what_a_page_does() -> None:
    """Of ten thousand paragraphs a few dozen are tokenised, by whichever tokens the window is made."""
    nodes = [Text(f"paragraph {number} of the book, by the river") for number in range(10_000)]
    looked_at: list[str] = []

    class Counting(Tokens, frozen=True, kw_only=True):
        def encode(self, text: str) -> list[int]:
            looked_at.append(text)
            return super().encode(text)

    tokens = Counting(**msgspec.structs.asdict(TOKENS))
    firsts = {document_window(nodes, tokens, np.random.default_rng(seed)).ids.tobytes() for seed in range(20)}
    assert 20 == len(firsts)
    assert len(looked_at) < 20 * 60


def test_a_tokenizer_that_lengthens_texts() -> None:
    """Where a text has more tokens than bytes the page is tokenised whole, and nothing is out of reach."""

    class Stammering(Tokens, frozen=True, kw_only=True):
        def encode(self, text: str) -> list[int]:
            return list(chain.from_iterable([one, one, one] for one in text.encode()))

    tokens = Stammering(**msgspec.structs.asdict(TOKENS))
    nodes = [Text("abcdefghij")] * 3
    line = whole_line(nodes, tokens)
    starts = {document_window(nodes, tokens, np.random.default_rng(seed), 90).ids.tobytes() for seed in range(200)}

    assert {
        np.array([one for one, _ in line[at : at + 90]], np.int32).tobytes() for at in range(len(line) - 89)
    } == starts


def test_every_start_is_drawn() -> None:
    """Runs begin anywhere in the page, also past its first media."""
    nodes = [Text("a b c d e f g h")] * 40
    rng = np.random.default_rng(0)
    firsts = {tuple(document_window(nodes, TOKENS, rng, length=20).ids[:3].tolist()) for _ in range(300)}

    assert len(firsts) > 10


def test_pairs() -> None:
    """A pair is its tag and its text, all of which looks at the medium; a text that was cut has no end."""
    window = pair_window("heron", TOKENS, 64)
    assert "[0] <BOS> [1] <image>heron<EOC><EOS>" == shown(window)
    assert [0] == window.media

    cut = pair_window("heron " * 40, TOKENS, 32)
    assert len(cut.ids) == 32
    assert not np.isin(cut.ids, [TOKENS.eoc, TOKENS.eos]).any()


def test_what_is_learnt() -> None:
    """Neither BOS nor tags; EOC and EOS, and a literal tag of the text."""
    window = pair_window("<image>", TOKENS, 64)
    learnt = window.labels[window.labels != IGNORED].tolist()

    assert [*TOKENS.encode("<image>"), TOKENS.eoc, TOKENS.eos] == learnt
    assert TOKENS.eos not in TOKENS.encode("</s>")


def test_tokens_are_those_of_the_model() -> None:
    """A tokenizer with more ids than the model is refused."""
    with pytest.raises(Exception, match="not of one kind"):
        tokens_of(tokenizer(), 100)
    assert isinstance(TOKENS, Tokens)
