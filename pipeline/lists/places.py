"""Lists of URLs and domains, as sorted numbers.

In: entries of a list. Out: a table that says whether a URL, or the domain that it is on, stands in it. URLs are compared as the rest of the pipeline does
(`page_key`, `media_key`); a domain stands for its subdomains, label by label, and `www.` says nothing.
"""

import functools
import re
from collections.abc import Iterable, Iterator

import numpy as np
import xxhash
from numpy.typing import NDArray

from pipeline.lists.files import Entry
from pipeline.lists.ngrams import Hashes
from pipeline.urls import media_key, page_key
from schemas.errors import InputError

_HOST = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])|\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:.]+\]"
)


def host_of(key: str) -> str:
    """The host of a normalised URL, without its port."""
    host = key.partition("/")[0].partition("?")[0]
    return host if host.endswith("]") else host.partition(":")[0]


def domain(entry: Entry) -> str:
    """The domain of an entry, normalised; a leading `*.` or dot says the same as none.

    Raises:
        InputError: it is no domain, nor an IP address.
    """
    bare = entry.text.removeprefix("*").removeprefix(".")
    host = media_key(f"http://{bare}/").removesuffix("/")
    if not _HOST.fullmatch(host):
        raise InputError(f"{entry.where}: {entry.text[:80]!r} is no domain")
    return host


def url_keys(entry: Entry) -> set[str]:
    """The normalised forms of an entry, as a page's URL and as a medium's; a scheme may be absent.

    Raises:
        InputError: it is no http(s) URL.
    """
    url = entry.text if "://" in entry.text else f"http://{entry.text}"
    key = media_key(url)
    if key == url or not (_HOST.fullmatch(host_of(key)) or host_of(key) == "localhost"):
        raise InputError(f"{entry.where}: {entry.text[:80]!r} is no http(s) URL")
    return {key, page_key(url)}


class Places:
    """URLs and domains."""

    def __init__(self, urls: Hashes, domains: Hashes) -> None:
        self._urls, self._domains = urls, domains
        self._domain_of = functools.lru_cache(maxsize=1 << 14)(self._find_domain)  # most media of a page share a host

    def __bool__(self) -> bool:
        return bool(len(self._urls) or len(self._domains))

    @classmethod
    def made_of(cls, urls: Iterable[Entry], domains: Iterable[Entry]) -> "Places":
        """The table of two lists' entries.

        Raises:
            InputError: an entry is not what its list holds.
        """
        return cls(_table(key for entry in urls for key in url_keys(entry)), _table(domain(entry) for entry in domains))

    def arrays(self) -> Iterator[NDArray[np.generic]]:
        """What the constructor takes."""
        yield from (self._urls, self._domains)

    def url(self, url: str) -> bool:
        """Whether a page or medium with this URL is listed."""
        return bool(len(self._urls)) and any(_holds(self._urls, number) for number in _spelled(url)[1])

    def domain(self, url: str) -> str | None:
        """The listed domain that a URL is on, the longest first."""
        return self._domain_of(_spelled(url)[0]) if len(self._domains) else None

    def _find_domain(self, host: str) -> str | None:
        labels = host.split(".")
        names = [host] if labels[-1].isdecimal() else [".".join(labels[place:]) for place in range(len(labels))]
        return next((name for name in names if _holds(self._domains, _number(name))), None)


@functools.lru_cache(maxsize=16)  # a URL is asked for in several lists, one after the other
def _spelled(url: str) -> tuple[str, frozenset[int]]:
    """A URL's host, and the numbers of its forms as a medium's and as a page's."""
    key = media_key(url)
    return host_of(key), frozenset((_number(key), _number(page_key(url))))


def _holds(table: Hashes, number: int) -> bool:
    """Whether a number stands in a sorted table."""
    place = int(table.searchsorted(np.uint64(number)))
    return place < len(table) and int(table[place]) == number


def _table(keys: Iterable[str]) -> Hashes:
    return np.unique(np.fromiter(map(_number, keys), dtype=np.uint64))


def _number(key: str) -> int:
    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"))
