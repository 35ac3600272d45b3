"""What an element says of itself: its tag, role, class and id as a set of signs, one bit each.

Authors name their containers, in many words and for few purposes: `nav`, `menu` and `breadcrumb` all say navigation. A sign is such a purpose.
Signs are evidence with a learned weight (`weights.toml`), no verdict: `sidebar` on the body says that there is one.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

# One line a sign; words are compared whole, cut at anything that is no letter and at a change to upper case. Words are of the web's
# vocabulary, which is English on pages in any language, and a few of the most frequent others.
SIGNS: dict[str, str] = {
    "nav": "nav navi navbar navigation menu submenu breadcrumb breadcrumbs crumb crumbs pagination pager paging pagenav skip navlinks",
    "header": "header masthead topbar topnav hdr kopf",
    "footer": "footer foot colophon imprint impressum copyright legal disclaimer bottom",
    "side": "sidebar aside side rail widget widgets secondary complementary sidecolumn rightcol leftcol marginal",
    "comment": "comment comments commentlist commentary respond disqus reply replies discussion discuss kommentar kommentare commentaires",
    "share": "share sharing shares social socials sharedaddy addtoany addthis facebook twitter whatsapp pinterest follow shariff",
    "related": "related recommended recommendation recommendations recirc similar popular trending read outbrain taboola more mehr also readmore "
    "next previous prev latest recent upnext mostread yarpp jp",
    "teaser": "teaser teasers card cards tile tiles promo promoted listing feed item items carousel slider swiper slick",
    "ad": "ad ads adv advert adverts advertisement advertising adsense adslot dfp sponsor sponsored banner banners werbung anzeige gpt",
    "notice": "cookie cookies consent gdpr privacy modal popup overlay dialog lightbox alert notice notification toast noprint warning message",
    "meta": "meta byline date time datetime published timestamp info infos details dateline posted updated categories category cat kicker",
    "tags": "tag tags tagcloud taxonomy topics keywords labels",
    "author": "author authors bio vcard about biography autor",
    "sign_up": "newsletter subscribe subscription signup login register paywall membership donate cta abo",
    "form": "form forms search searchform input field button buttons btn filter toolbar tools tool actions controls rating ratings vote votes",
    "caption": "caption captions figcaption credit credits bildunterschrift legend copyright",
    "hidden": "hidden hide invisible sr screenreader visuallyhidden screen offscreen print tooltip",
    "content": "content contents entry post story article body text articlebody main maincontent inhalt artikel page prose richtext rte bodytext "
    "copy paragraph description",
    "headline": "headline title heading subtitle titles headlines h",
    "summary": "summary lead intro lede excerpt standfirst abstract dek teasertext vorspann",
    "gallery": "gallery galleries slideshow photos album galerie",
    "product": "product products price cart shop basket sku review reviews",
    "reference": "reference references reflist footnote footnotes toc infobox navbox editsection metadata hatnote",
    "embed": "embed iframe video player audio media tweet instagram embedded",
    "list": "list index archive archives",
    "profile": "profile user users avatar member",
    "event": "event events calendar termine agenda",
    "contact": "contact address phone kontakt map",
    "language": "lang language languages locale translate translations",
    "quote": "quote blockquote pullquote quotation",
    "code": "code highlight codehilite syntax sourcecode",
}
TAG_SIGNS = {
    "nav": "tag_nav", "footer": "tag_footer", "header": "tag_header", "aside": "tag_aside", "form": "tag_form", "article": "tag_article",
    "main": "tag_main", "figure": "tag_figure", "figcaption": "tag_figcaption", "table": "tag_table", "ul": "tag_ul", "ol": "tag_ol",
    "dl": "tag_dl", "blockquote": "tag_blockquote", "button": "tag_button", "label": "tag_label", "address": "tag_address",
    "section": "tag_section", "fieldset": "tag_form", "dialog": "tag_dialog", "menu": "tag_nav", "details": "tag_details", "caption": "tag_figcaption",
}  # fmt: skip
ROLE_SIGNS = {
    "navigation": "tag_nav", "menu": "tag_nav", "menubar": "tag_nav", "banner": "tag_header", "contentinfo": "tag_footer",
    "complementary": "tag_aside", "search": "tag_form", "form": "tag_form", "main": "tag_main", "article": "tag_article",
    "dialog": "tag_dialog", "alertdialog": "tag_dialog", "alert": "notice", "toolbar": "form", "figure": "tag_figure",
}  # fmt: skip
NAMES = [*SIGNS, *dict.fromkeys(TAG_SIGNS.values()), "article_body", "aria_hidden"]
BIT = {name: 1 << place for place, name in enumerate(NAMES)}
TAG_BITS = {tag: BIT[name] for tag, name in TAG_SIGNS.items()}
ROLE_BITS = {role: BIT[name] for role, name in ROLE_SIGNS.items()}
ARTICLE_BODY = BIT["article_body"]
ARIA_HIDDEN = BIT["aria_hidden"]
# What marks boilerplate where nothing else is known.
NEGATIVE = sum(
    BIT[name]
    for name in "nav tag_nav footer tag_footer tag_aside side comment share related ad notice sign_up form tag_form".split()
)
CAPTION = BIT["caption"] | BIT["tag_figcaption"]

# What lies between words in a name without upper case.
_TO_SPACES = {code: " " for code in range(128) if not chr(code).islower()}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_BITS_OF_WORDS: dict[str, int] = {}
for _name, _words in SIGNS.items():
    for _word in _words.split():
        _BITS_OF_WORDS[_word] = _BITS_OF_WORDS.get(_word, 0) | BIT[_name]
# A class that starts so tells of a state or a kind, not of a purpose: `has-sidebar`, `category-comments`, `type-post`.
_MODIFIERS = frozenset(
    "has with no not without is category cat tag type status format theme layout skin js css".split()
)
_CONTENT = BIT["content"]


# Attributes that say nothing but what class and id say.
PLAIN_ATTRIBUTES = frozenset(
    "class id href title target rel lang dir align valign width height border cellpadding cellspacing bgcolor colspan rowspan name value type "
    "for datetime alt tabindex itemscope itemtype onclick color size face start nowrap".split()
)


@lru_cache(maxsize=65_536)
def name_bits(tag: str, names: str | None, identity: str | None) -> int:
    """The signs of an element by its tag, class and id.

    >>> name_bits("div", "post-navigation", None) == BIT["nav"] | BIT["content"]
    True
    """
    bits = TAG_BITS.get(tag, 0)
    for attribute in (names, identity):
        if attribute:
            for name in attribute.split():
                bits |= _word_bits(name)
    return bits


@lru_cache(maxsize=65_536)
def _word_bits(name: str) -> int:
    """The signs of one name. `entry-content`, `article_body`: two words of content in one name mean the text itself."""
    words = name.translate(_TO_SPACES).split() if name.islower() else _WORD.findall(name)
    if not words or words[0].lower() in _MODIFIERS:
        return 0
    bits = content_words = 0
    for word in words:
        bit = _BITS_OF_WORDS.get(word if word.islower() else word.lower(), 0)
        bits |= bit
        content_words += bit == _CONTENT
    return bits | ARTICLE_BODY if content_words >= 2 and bits == _CONTENT else bits


def element_bits(attributes: Mapping[str, str | None]) -> int:
    """The signs of an element by its other attributes: role, microdata, aria-hidden."""
    bits = ROLE_BITS.get(attributes.get("role") or "", 0)
    if attributes.get("itemprop") == "articleBody":
        bits |= ARTICLE_BODY
    if attributes.get("aria-hidden") == "true":
        bits |= ARIA_HIDDEN
    return bits
