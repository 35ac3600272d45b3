"""What is to be taken down: a list of URLs, domains and SHA-256 digests, and the question whether something is meant.

    https://example.org/a/page.html      a page or a medium, by its normalised URL; file:///... as a sample's JSON has it
    example.org                          all pages and media of a domain and of what is below it
    sha256:9f86d081...                   a medium, by the digest of its bytes (in the shard, or as they came from the web)

A list as any other (`pipeline.lists.files`): UTF-8, gzipped or not; blank lines and lines that begin with # say nothing.
"""

import re

import can_ada
import msgspec

from pipeline.lists.files import entries as list_entries
from pipeline.stages.media_index import key16
from pipeline.urls import media_key, page_key
from schemas.errors import InputError

_LOCAL = "file:///"  # what came from a folder or beside a table is known by such a URL
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-fA-F]{64})")
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_][\w-]*[^\W_]", re.UNICODE)


class Entries(msgspec.Struct, frozen=True, kw_only=True):
    """What is meant. Keys are those of normalised URLs (16 bytes), `sha256s` 32 bytes, `phashes` 8, domains lower case in ASCII.

    `max_distance` is how many bits of 64 two perceptual hashes may differ in; below 0 they are not compared.
    """

    urls: dict[str, tuple[bytes, bytes]] = {}  # as it was written -> its key as a page's and as a medium's
    page_keys: frozenset[bytes] = frozenset()
    media_keys: frozenset[bytes] = frozenset()
    domains: frozenset[str] = frozenset()
    sha256s: frozenset[bytes] = frozenset()
    phashes: frozenset[bytes] = frozenset()
    max_distance: int = -1

    def means_page(self, url: str) -> bool:
        """Whether a page goes."""
        return key16(page_key(url)) in self.page_keys or self.means_host(url)

    def means_medium(self, url: str, sha256: str, source_sha256: str, phash: str) -> bool:
        """Whether a medium goes; digests in hex, empty where there is none."""
        return (
            key16(media_key(url)) in self.media_keys
            or self.means_host(url)
            or bytes.fromhex(sha256) in self.sha256s
            or bytes.fromhex(source_sha256) in self.sha256s
            or self.means_picture(bytes.fromhex(phash))
        )

    def means_host(self, url: str) -> bool:
        """Whether the URL's host stands in or below one of the domains."""
        labels = _host(url).split(".")
        return any(".".join(labels[place:]) in self.domains for place in range(len(labels)))

    def means_picture(self, phash: bytes) -> bool:
        """Whether a picture looks like one of those that go."""
        if self.max_distance < 0 or not phash:
            return False
        number = int.from_bytes(phash, "big")
        return any((number ^ int.from_bytes(other, "big")).bit_count() <= self.max_distance for other in self.phashes)


def read_entries(list_url: str, max_distance: int = -1) -> Entries:
    """The entries of a list file.

    Raises:
        InputError: no such file, not UTF-8, no entry at all, or a line that is none of URL, domain and digest.
        SurroundingsError: the disk or the store refuses.
    """
    urls: dict[str, tuple[bytes, bytes]] = {}
    domains: set[str] = set()
    sha256s: set[bytes] = set()
    for entry, where in list_entries(list_url):
        if digest := _SHA256.fullmatch(entry):
            sha256s.add(bytes.fromhex(digest[1]))
        elif "://" in entry and (_host(entry) or entry.startswith(_LOCAL)):
            urls[entry] = (key16(page_key(entry)), key16(media_key(entry)))
        elif _DOMAIN.fullmatch(entry):
            domains.add(_host(f"http://{entry}/"))
        else:
            raise InputError(f"{where}: {entry[:200]!r} is no URL, no domain and no sha256")
    return Entries(
        urls=urls,
        page_keys=frozenset(page for page, _ in urls.values()),
        media_keys=frozenset(medium for _, medium in urls.values()),
        domains=frozenset(domains),
        sha256s=frozenset(sha256s),
        max_distance=max_distance,
    )


def _host(url: str) -> str:
    """The host in ASCII and lower case, without a dot at its end; "" where there is none."""
    try:
        return can_ada.parse(url).hostname.rstrip(".")
    except ValueError:
        return ""
