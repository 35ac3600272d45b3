"""What the name of an attribute says about the URLs in its value.

Lazy loaders are legion, but nearly all name their attributes after `src`, `original`, `image` and the like; so the rules go by the words
of a name, not by a list of loaders. Names come in, a kind or a rank goes out; both are remembered, since pages repeat few names.
"""

import re
from functools import lru_cache
from typing import Literal, TypeAlias

NameKind: TypeAlias = Literal["none", "src", "set", "style", "picture", "other"]

# The names of most attributes of most elements: they never hold a picture's URL.
PLAIN_NAMES = frozenset(
    "alt class id title width height href rel target role tabindex type lang dir hidden itemprop itemscope itemtype sizes loading decoding "
    "fetchpriority crossorigin referrerpolicy onclick onload onerror name value content datetime colspan rowspan align border".split()
)
_PICTURE = re.compile(
    r"src|(?:^|[-_:])(?:orig|original|images?|img|lazy|bg|background|photo|picture|pic|media|poster|thumb|thumbnail|retina|zoom|hi-?res|full|large"
    r"|file|zoomfile)"
)
_ABOUT = re.compile(
    r"(?:^|[-_])(?:alt|title|caption|desc|description|id|ids|width|height|size|sizes|type|position|colou?r|ratio|class|name|index|count|style"
    r"|attr|attrs|meta|tags?|comments?|permalink|credit|copyright|focal|dimensions?|loaded|status|link|page|text|format|effect|options?)$"
)
_SET = re.compile(r"srcset|src-set|bgset|imageset|image-set")
_FULL = re.compile(r"orig|full|large|zoom|hi-?res|retina|big|master|lightbox")
_SMALL = re.compile(
    r"thumb|small|tiny|mini|micro|low-?src|low-?res|lqip|placeholder|preview|blur|mobile|fallback|medium|default|error|loading"
)


@lru_cache(maxsize=4096)
def name_kind(name: str) -> NameKind:
    """What an attribute of this name may hold.

    `src`; `set`, a srcset; `style`, CSS; `picture`, a picture by its words; `other`, perhaps a picture, if it stands on one; `none`.
    """
    if name == "src":
        return "src"
    if name == "style":
        return "style"
    if name in PLAIN_NAMES or name.startswith(("aria-", "on")) or _ABOUT.search(name):
        return "none"
    if _SET.search(name):
        return "set"
    return "picture" if _PICTURE.search(name) else "other"


@lru_cache(maxsize=4096)
def source_rank(source: str) -> int:
    """The place of a candidate's source among those of one picture, 0 best.

    0 what the author calls full-size, 1 sets of renditions, 2 what scripts put in place of `src` and what is meant for readers without
    them, 3 `src`, 4 backgrounds, 5 what only looks like the picture, 6 what its name calls small.
    """
    known = _RANKS.get(source)
    if known is not None:
        return known
    if _SMALL.search(source):
        return 6
    if _SET.search(source):
        return 1
    if _FULL.search(source):
        return 0
    return 2 if _PICTURE.search(source) else 5


_RANKS = {"link": 0, "srcset": 1, "noscript": 2, "itemprop": 2, "src": 3, "poster": 3, "css": 4, "resizer": 5}
