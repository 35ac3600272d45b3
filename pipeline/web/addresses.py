"""Addresses: which of them are no part of the public web.

A page can name any host, and a name can have any address; a worker inside somebody's network must not be led to what is not meant for it.
In: an address as the resolver or a URL gives it. Out: what it is, if it is refused. Python's `is_global` follows IANA's registries of special
addresses (private, loopback, link-local, carrier-grade NAT, reserved, unspecified, documentation); IPv6 forms that carry an IPv4 address are
judged by that one too.
"""

import ipaddress
from collections.abc import Iterator

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: private use
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291 2.5.5.1
_SITE_LOCAL = ipaddress.IPv6Network("fec0::/10")  # RFC 3879


def is_address(host: str) -> bool:
    """Whether a host, as the URL standard spells it (no brackets), is an address and no name."""
    return ":" in host or host.rpartition(".")[2].isdigit()  # what ends in a number is an IPv4 address


def refused(address: str) -> bool:
    """Whether an IPv4 or IPv6 address, as text, is not of the public web; what is no address at all is refused as well.

    >>> [refused(a) for a in ("93.184.215.14", "127.0.0.1", "::ffff:10.0.0.1", "2606:2800:21f:cb07::1")]
    [False, True, True, False]
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    return any(not one.is_global or one.is_multicast or one.is_reserved for one in _forms(parsed))


def _forms(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """What has to be public: the address, or the IPv4 addresses in it."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return
    if address in _COMPATIBLE or address in _NAT64_LOCAL or address in _SITE_LOCAL:
        yield ipaddress.IPv6Address("::")
        return
    if address.sixtofour is not None:
        yield address.sixtofour
        return
    if address.teredo is not None:
        yield from address.teredo
        return
    yield address
