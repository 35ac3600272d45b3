"""Mentions: elements that show a picture or a video, and which of them show the same one."""

from collections.abc import Mapping
from typing import TypeAlias

from selectolax.lexbor import LexborNode

from pipeline.extract.candidates import images_in_markup
from pipeline.extract.placeholders import url_reason
from pipeline.extract.renditions import picture_name

Attributes: TypeAlias = Mapping[str, str | None]

# Attributes that put a picture into an element that is none, or into an `img` later.
LAZY_NAMES = frozenset("data-bg data-background data-background-image data-bgset data-image data-img data-src data-srcset data-lazy-src "
                        "data-original data-lazy-background data-image-src data-lazy data-bg-url data-img-url".split())  # fmt: skip


class Mention:
    """An element that shows a picture or a video: its tag and attributes, and those of the elements that belong to it."""

    __slots__ = ("attributes", "container", "href", "item", "noscript", "sources", "tag", "tracks")

    def __init__(self, tag: str, attributes: Attributes, container: int, href: str | None) -> None:
        self.tag = tag
        self.attributes = attributes
        self.container = container
        self.href = href
        self.item = -1
        self.sources: list[Attributes] = []
        self.tracks: list[Attributes] = []
        self.noscript: list[Attributes] = []


def is_stand_in(mention: Mention) -> bool:
    """Whether an element only holds the place of a picture that a script loads."""
    if mention.tag not in ("img", "amp-img", "picture", "noscript"):
        return not LAZY_NAMES.isdisjoint(mention.attributes)
    source = mention.attributes.get("src")
    if not source or source.startswith("data:") or not LAZY_NAMES.isdisjoint(mention.attributes):
        return True
    return url_reason(source) is not None or any(
        name.startswith("data-") and "src" in name for name in mention.attributes
    )


def are_twins(mention: Mention, image: Attributes, container: int) -> bool:
    """Whether an image in a `noscript` is the one that the mention right before it shows or holds the place of."""
    shown, source = mention.attributes.get("src"), image.get("src")
    if not shown or (mention.container == container and is_stand_in(mention)):
        return True
    return bool(shown and source) and picture_name(shown or "") == picture_name(source or "")


def noscript_images(node: LexborNode) -> list[Attributes]:
    """The attributes of the images in a `noscript`, whether it was parsed or kept as text."""
    images: list[Attributes] = [image.attributes for image in node.css("img")]
    if not images and "img" in (text := node.text()):
        images += images_in_markup(text)
    return images
