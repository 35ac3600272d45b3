"""URLs: joining as browsers do, and the keys under which two spellings of one URL meet.

Raw attribute values come in; absolute http(s) or `data:` URLs come out (`Base.join`), or keys (`page_key`, `media_key`), which are compared
and never fetched.

Parsing is Ada's, by `can_ada`: the WHATWG parser that Node.js runs, in 0.5 us a URL. From Python it has no join, so `Base` tells by the first
characters of a reference which prefix of the base it continues, and Ada parses the whole, dot segments and all. That takes 0.9 to 1.4 us;
`ada-url`, which joins by itself, takes 1.9 to join and 3.4 to take a URL apart. The tests compare every join with it.
"""

import re

import can_ada

MAX_URL_CHARS = 8190  # Apache httpd's LimitRequestLine: longer URLs are refused by servers anyway
MAX_DATA_URL_CHARS = 1 << 20  # ours: 768 KiB of base64; an inlined photograph is seldom larger

# What the URL standard strips from both ends (C0 controls and space) and removes anywhere (tab and newlines).
_ENDS = "".join(map(chr, range(0x21)))
_NEWLINES = {ord(c): None for c in "\t\n\r"}
_RELATIVE = ("/", ".", "?", "#", "\\")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")

_ESCAPE = re.compile("%([0-9a-fA-F]{2})")
# Escapes that stay: of bytes that are not printable ASCII, and of these, which parse differently when bare (RFC 3986 2.2, 2.4).
_STAY_ESCAPED = frozenset('"#%&+/;<=>?\\')

# Query parameters that name the visit, not the page: those that Firefox strips (services/settings, "query-stripping"), and the prefixes of
# Google Analytics, Matomo (pk_, mtm_) and HubSpot (hsa_).
_TRACKING = re.compile(
    r"(?:utm_|pk_|mtm_|hsa_)[^=]*|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|ysclid|twclid|ttclid|igshid|igsh|li_fat_id|mc_cid"
    r"|mc_eid|mkt_tok|oly_anon_id|oly_enc_id|vero_conv|vero_id|wickedid|rb_clickid|s_cid|ml_subscriber|ml_subscriber_hash|__hsfp|__hssc"
    r"|__hstc|_hsenc|_hsmi|__s|_openstat|_ga|_gl",
    re.IGNORECASE,
)
# Session ids, by name and the form of their values: the Internet Archive's `surt` canonicaliser strips these, in query and path.
_SESSION = re.compile(
    r"(?:jsessionid|phpsessid|sid)=[0-9a-z.!-]{16,}|aspsessionid[a-z]{8}=[a-z]{16,}|cfid=[^&]+|cftoken=[^&]+",
    re.IGNORECASE,
)
_PATH_SESSION = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/;]*|/\([a-z]\([0-9a-z]{24}\)\)(?=/)", re.IGNORECASE)


class Base:
    """The URL that a page's references are joined to: that of the page, or what its `<base href>` makes of it.

    A page that has no http(s) URL (a file, a URN) resolves absolute references only. `url` is the effective base, or "".
    """

    __slots__ = ("_directory", "_origin", "_path", "_scheme", "url")

    def __init__(self, url: str, base_href: str | None = None) -> None:
        self._set(_href(url.strip(_ENDS).translate(_NEWLINES)) or "")
        if base_href is not None:
            # HTML 2.4.3: a base that cannot be parsed, or a data: one, is no base.
            joined = self.join(base_href)
            if joined is not None and not joined.startswith("data:"):
                self._set(joined)

    def _set(self, href: str) -> None:
        self.url = href.partition("#")[0] if href.startswith("http") else ""
        self._path = self.url.partition("?")[0]
        self._scheme = self.url.partition(":")[0]
        self._origin = self._path[: self._path.find("/", len(self._scheme) + 3)]
        self._directory = self._path[: self._path.rfind("/") + 1]

    def join(self, raw: str) -> str | None:
        """The absolute URL of a reference by the WHATWG URL standard; None where it is neither http(s) nor `data:`, or too long."""
        raw = raw.strip(_ENDS)
        if "\n" in raw or "\t" in raw or "\r" in raw:
            raw = raw.translate(_NEWLINES)
        if raw.startswith(("https://", "http://")):
            return _href(raw)
        scheme = None if raw.startswith(_RELATIVE) else _SCHEME.match(raw)
        if scheme is not None:
            name = scheme[1].lower()
            if name != self._scheme or raw.startswith("//", scheme.end()):
                return _href(raw) if name in ("http", "https", "data") else None
            raw = raw[scheme.end() :]  # `https:pic.jpg` on an https page is a relative reference
        if not self.url:
            return None
        match raw[:1]:
            case "/" | "\\":
                prefix = f"{self._scheme}:" if raw[1:2] in ("/", "\\") else self._origin
            case "" | "#":
                prefix = self.url
            case "?":
                prefix = self._path
            case _:
                prefix = self._directory
        return _href(prefix + raw)


def _href(url: str) -> str | None:
    """The serialised form of an absolute http(s) or `data:` URL, else None."""
    if len(url) > MAX_URL_CHARS and (len(url) > MAX_DATA_URL_CHARS or url[:5].lower() != "data:"):
        return None
    try:
        href: str = can_ada.parse(url).href
    except (ValueError, TypeError):  # TypeError: a lone surrogate, which has no UTF-8
        return None
    return href if href.startswith(("http://", "https://", "data:")) else None


def page_key(url: str) -> str:
    """The normalised URL for finding two captures of one page: `media_key` without what names the visit.

    Goes: tracking parameters, session ids, the order of parameters, a slash at the path's end (all but the first as in the Internet
    Archive's `surt`, by which its captures are found). Case stays, since paths of many sites differ by it.

    >>> page_key("https://www.example.com:443/a/?utm_source=x&b=2&a=1#top")
    'example.com/a?a=1&b=2'
    """
    key = media_key(url)
    host_path, _, query = key.partition("?")
    if ";" in host_path or "(" in host_path:
        host_path = _PATH_SESSION.sub("", host_path)
    kept = [
        p for p in query.split("&") if p and not _TRACKING.fullmatch(p.partition("=")[0]) and not _SESSION.fullmatch(p)
    ]
    return "?".join([host_path.rstrip("/"), *(["&".join(sorted(kept))] if kept else [])])


def media_key(url: str) -> str:
    """The normalised URL for joining a medium's candidates with the crawl's records and for counting its repetitions.

    Goes: the scheme (http or https), credentials, `www.`, the dot at a host's end, default ports, the fragment, dot segments, an empty
    query, and escapes of printable characters that mean the same bare (RFC 3986 6.2.2; `surt` for `www.`). What is no http(s) URL is
    its own key.

    >>> media_key("HTTP://www.Example.com./a/../pic%28large%29.jpg?#x")
    'example.com/pic(large).jpg'
    """
    try:
        parsed = can_ada.parse(url.strip(_ENDS).translate(_NEWLINES))
    except (ValueError, TypeError):
        return url
    if parsed.protocol not in ("https:", "http:"):
        return url
    host = parsed.hostname.removesuffix(".") or "."
    if host.startswith("www.") and host.count(".") > 1:
        host = host[4:]
    port = f":{parsed.port}" if parsed.port else ""
    search = parsed.search
    rest = parsed.pathname + (search if len(search) > 1 else "")
    if "%" in rest:
        rest = _ESCAPE.sub(_unescape, rest)
    return host + port + rest


def _unescape(escape: re.Match[str]) -> str:
    char = chr(int(escape[1], 16))
    return char if "!" <= char <= "~" and char not in _STAY_ESCAPED else escape[0].upper()
