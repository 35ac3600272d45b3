"""Faults: the exceptions of aiohttp and of the system, as drop reasons."""

import ssl

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from pipeline.web.resolver import AddressRefused
from schemas.drops import DropReason

# What a server, a network or a URL can make the client raise.
FAULTS = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError, EOFError)


def fault_reason(error: BaseException) -> DropReason:
    """What went wrong; the first that fits, as the classes overlap."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, AddressRefused):
        return DropReason.ADDRESS_REFUSED
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason
    return DropReason.CONNECTION_FAILED


_REASONS: tuple[tuple[tuple[type[BaseException], ...], DropReason], ...] = (
    ((AddressRefused,), DropReason.ADDRESS_REFUSED),
    ((TimeoutError,), DropReason.TIMEOUT),
    ((aiohttp.ClientConnectorDNSError,), DropReason.DNS_FAILED),
    ((aiohttp.ClientSSLError, ssl.SSLError, ssl.CertificateError), DropReason.TLS_FAILED),
    ((aiohttp.ClientPayloadError,), DropReason.TRUNCATED),
    ((aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError), DropReason.BAD_URL),
)
