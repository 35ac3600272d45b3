"""Markup: nodes to the paper's text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.document import Image, Text, paragraph
from schemas.errors import MarkupError
from schemas.markup import escape, parse, render, unescape


def image(index: int = 0) -> Image:
    return Image(
        member=f"{index:03d}.jpg",
        url=f"http://a/{index}",
        source="src",
        rank=0,
        width=1,
        height=1,
        bytes=1,
        sha256="0" * 64,
        source_sha256="0" * 64,
    )


# Text in which tags and what looks like them are frequent.
texts = st.lists(
    st.one_of(
        st.sampled_from(["<image>", "<EOC>", "<\\image>", "<\\\\EOC>", "<", "\\", "image>", "\n", " "]),
        st.text(max_size=8),
    )
).map(lambda parts: paragraph("".join(parts)))
nodes = st.lists(st.one_of(texts.filter(bool).map(Text), st.just(None))).map(
    lambda items: [item or image(sum(other is None for other in items[:n])) for n, item in enumerate(items)]
)


def test_the_papers_example() -> None:
    """The example of the paper's figure comes out as printed there, without the tokenizer's <BOS> and <EOS>."""
    pets = [
        Text("Cute pics of my pets!"),
        image(0),
        Text("My puppy sitting in the grass."),
        image(1),
        Text("My cat looking very dignified."),
    ]

    assert render(pets) == (
        "Cute pics of my pets!<EOC><image>My puppy sitting in the grass.<EOC><image>My cat looking very dignified.<EOC>"
    )


@given(nodes)
def test_parse_undoes_render(items: list[Text | Image]) -> None:
    """Whatever the text, also with tags in it, rendering and parsing gives the same nodes."""
    assert parse(render(items), [item for item in items if isinstance(item, Image)]) == items


@given(nodes)
def test_as_many_tags_as_media(items: list[Text | Image]) -> None:
    """A page's own tags never count: there are as many <image> as media, and one <EOC> more."""
    rendered, media = render(items), sum(isinstance(item, Image) for item in items)

    assert (media, media + 1) == (rendered.count("<image>"), rendered.count("<EOC>"))


@given(texts)
def test_escaping_is_undone(text: str) -> None:
    """Escaped text holds no tag, and unescaping gives it back."""
    assert unescape(escape(text)) == text
    assert "<image>" not in escape(text)
    assert "<EOC>" not in escape(text)


@pytest.mark.parametrize(
    ("text", "media"),
    [
        ("no end", 0),
        ("a<EOC><image>b<EOC>", 0),
        ("a<EOC>", 1),
        ("a<image>b<EOC>", 1),
        ("a<EOC>b<EOC>", 0),
        ("a\n\n\n\nb<EOC>", 0),
        (" a<EOC>", 0),
    ],
)
def test_what_is_no_markup_is_refused(text: str, media: int) -> None:
    """A missing end, a wrong number of media, a lone tag, an empty paragraph: each is an error."""
    with pytest.raises(MarkupError):
        parse(text, [image(n) for n in range(media)])
