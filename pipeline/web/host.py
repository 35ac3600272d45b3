"""Hosts: the name under which all hosts of one owner meet."""

from functools import lru_cache

import tldextract

# The list that the package brings; nothing is fetched or kept on disk. Private suffixes (github.io, cloudfront.net) part the owners behind them.
_SUFFIXES = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


def registered_domain(url: str) -> str:
    """The domain that was registered for a URL's host, or the host itself where it is an address or a bare name.

    >>> registered_domain("https://img.static.example.co.uk:8080/a.jpg")
    'example.co.uk'
    >>> registered_domain("http://127.0.0.1:8000/")
    '127.0.0.1'
    """
    authority = url.partition("://")[2].partition("/")[0].rpartition("@")[2]
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return _domain_of(authority.partition(":")[0].partition("?")[0].partition("#")[0].lower().removesuffix("."))


@lru_cache(maxsize=1 << 16)
def _domain_of(host: str) -> str:
    return _SUFFIXES(host).top_domain_under_public_suffix or host
