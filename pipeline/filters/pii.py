"""Personal data in text: e-mail addresses, phone numbers and IP addresses become fixed placeholders that belong to nobody.

In: the text of a node, an alt text, a caption. Out: the text and how many things were replaced. FineWeb replaces e-mail and public IP addresses;
phone numbers are ours. A form counts only where nothing else is written so: a number without a `+` or a bracket has to have the groups of a
national plan, or the word "phone" before it. Every pattern is bounded and starts at a border, so the time is linear in the text.
"""

import ipaddress
import re

import msgspec

# Reserved for documentation: RFC 2606, 5737, 3849; for numbers the 555-01xx of the North American plan.
EMAIL = "email@example.com"
IPV4 = "192.0.2.1"
IPV6 = "2001:db8::1"
PHONE = "+1-202-555-0100"


class PiiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is replaced in texts."""

    emails: bool = True
    phones: bool = True
    ips: bool = True


_LETTER = "a-zA-Z0-9\u00c0-\u024f"  # Latin: in scripts without spaces an address may touch the words around it
_AT = r"(?:@|[ ]?[\[(]at[\])][ ]?)"
_DOT = r"(?:\.|[ ]?[\[(]dot[\])][ ]?)"
_EMAIL = re.compile(
    rf"(?<![{_LETTER}.+%_-])[a-zA-Z0-9_%+](?:[.'&-]?[{_LETTER}_%+-]){{0,63}}{_AT}"
    rf"(?:[{_LETTER}](?:[{_LETTER}-]{{0,62}}){_DOT}){{1,8}}(?P<top>[a-zA-Z]{{2,24}})(?![{_LETTER}_@-]|:[^\s/]*/)",
    re.IGNORECASE,
)
_FILES = frozenset("png jpg jpeg gif webp svg ico bmp avif css js mjs ts json html htm php py zip gz pdf mp4".split())

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w-]|\.\d)", re.ASCII)
# Global unicast is 2000::/3 (RFC 4291); what else has colons is a time, a MAC address or C++.
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9a-f]{3}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", re.ASCII | re.IGNORECASE)
_MIN_IPV4_DIGITS = 7  # ours: 1.2.3.4 and 3.10.0.12 number sections and releases

_GAP = "[ .\u00a0\u2010-\u2013/-]"  # between groups
_PHONE = re.compile(
    rf"""(?<![\w./=\#$€£¥,+-])(?:
      (?P<plus>(?:\+|00(?=[1-9])){_GAP}?\(?[1-9]\d{{0,3}}\)?(?:(?:[ ]/[ ]|{_GAP}{{0,2}})(?:\(\d{{1,5}}\)|\d{{1,12}})){{1,6}})
    | (?P<area>(?:1{_GAP})?\([2-9]\d\d\)[ ]?[2-9]\d\d[ .-]\d{{4}})              # (202) 555-0100
    | (?P<dashed>(?:1[.-])?[2-9]\d\d(?P<dash>[.-])[2-9]\d\d(?P=dash)\d{{4}})      # 202-555-0100
    | (?P<brackets>\(\d\d\)[ ]?9?\d{{4}}[ -]\d{{4}})                              # (11) 98765-4321, (02) 9876 5432
    | (?P<trunk>(?:\(0[1-9]\d{{0,4}}\)|0[1-9]\d{{0,4}})                             # 020 7946 0958, 01 23 45 67 89,
        (?:(?:[ ]/[ ]|{_GAP}{{1,2}})\d{{2,8}}){{1,4}}(?:-0)?)                       # (030) 1234567, 030/123456-0
    | (?P<eight>8[ -]?\(?\d{{3}}\)?[ -]\d{{3}}[ -]\d\d[ -]\d\d)                   # 8 (495) 123-45-67
    | (?P<mobile>1[3-9]\d[ -]\d{{4}}[ -]\d{{4}})                                  # 138 1234 5678
    | (?P<named>\d(?:[ .()-]{{0,2}}\d){{6,14}})                                # any, after the word
    )(?![\w%€]|[-./,:]\d)""",
    re.VERBOSE | re.ASCII,
)
_DIGIT_RUN = re.compile(r"\d(?:[^\w\n]{0,2}\d){6}")  # what has none of these holds no number to replace
_NAMED = re.compile(
    r"(?<!\w)(?:phone|tele?phone|tel|fax|mobile|cell|whatsapp|telefon|telefax|téléphone|tél|teléfono|telefono|telefone|móvil|handy|mobil"
    r"|тел|телефон|факс|電話|电话|手机|전화)(?: (?:no|number|nr))?[\s.:]{1,3}$|[☎☏📞]\ufe0f?\s?$|(?:電話|电话|手机|전화)[:：]?$",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?<!\w)(?:isbn|issn|ean|doi|pmid|asin|oclc|version|release|section|chapter|firmware|build|ver|v|rev)(?:-1[03])?[\s.:]{0,3}$",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:\d{1,2}[./ -]\d{1,2}[./ -])?(?:19|20)\d\d(?:[./ -]|$)")
_WORD_BEFORE = 20  # characters before a number that are looked at


def scrub(text: str, config: PiiConfig) -> tuple[str, int]:
    """The text with placeholders, and how many things they stand for; text that was scrubbed stays as it is.

    Addresses and numbers that are reserved for examples, and private IP addresses, stay.

    >>> scrub("Write to jane.doe@mail.net or call +44 20 7946 0958.", PiiConfig())
    ('Write to email@example.com or call +1-202-555-0100.', 2)
    """
    replaced = 0

    def replace(pattern: re.Pattern[str], text: str) -> str:
        nonlocal replaced
        pieces, end = [], 0
        for match in pattern.finditer(text):
            placeholder = _PLACEHOLDERS[pattern](match)
            if placeholder is not None:
                pieces += [text[end : match.start()], placeholder]
                end = match.end()
                replaced += 1
        return "".join([*pieces, text[end:]]) if pieces else text

    if config.emails and ("@" in text or "at)" in text or "at]" in text):
        text = replace(_EMAIL, text)
    if config.ips:
        text = replace(_IPV6, text) if text.count(":") > 1 else text
        text = replace(_IPV4, text) if text.count(".") > 2 else text
    if config.phones and _DIGIT_RUN.search(text):
        text = replace(_PHONE, text)
    return text, replaced


def _email(match: re.Match[str]) -> str | None:
    domain = match[0].rpartition("@")[2].lower()
    if match["top"].lower() in _FILES or domain in ("example.com", "example.org", "example.net"):
        return None
    return EMAIL


def _ip(match: re.Match[str]) -> str | None:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return None
    if not address.is_global:
        return None
    if address.version == 6:
        return IPV6
    return None if len(match[0]) - 3 < _MIN_IPV4_DIGITS or _NUMBERED.search(_before(match)) else IPV4


def _phone(match: re.Match[str]) -> str | None:
    form, number = match.lastgroup, match[0]
    form = "dashed" if form == "dash" else form
    groups = re.findall(r"\d+", number)
    digits = sum(map(len, groups))
    if number == PHONE or _NUMBERED.search(_before(match)) or _DATE.match(number.strip("(")):
        return None
    is_named = _NAMED.search(_before(match)) is not None
    match form:
        case "plus":  # E.164: up to 15 digits; eight, since +100 000 is a number
            good = 8 <= digits - 2 * number.startswith("00") <= 15 and (number[0] == "+" or len(groups) > 1)
        case "trunk":  # groups of a fraction or of two years are no phone's
            good = (
                9 <= digits <= 11
                and not all(re.fullmatch(r"(?:19|20)\d\d", group) for group in groups[1:])
                and not ("." in number and max(map(len, groups)) > 4)
            )
        case "named":
            good = False
        case _:
            good = True
    return PHONE if good or (is_named and 7 <= digits <= 15) else None


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - _WORD_BEFORE) : match.start()]


_PLACEHOLDERS = {_EMAIL: _email, _IPV4: _ip, _IPV6: _ip, _PHONE: _phone}
