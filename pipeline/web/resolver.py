"""Resolver: names to addresses, each name once, none that is refused.

aiohttp connects to exactly the addresses that `resolve` returns, so what was checked is what is connected to: a name whose answer changes
between a check and the connection has nothing to slip through. Addresses that stand in URLs do not come here; `check` is asked about them first.
"""

import asyncio
import socket
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from aiohttp.abc import AbstractResolver, ResolveResult

from pipeline.web.addresses import refused

_TTL_S = 600.0  # ours: the system's resolver hides the records' own
_FAILED_TTL_S = 60.0  # ours: a dead name on a page with a hundred pictures is asked once
_THREADS = 32  # ours: the system's resolver blocks


class AddressRefused(OSError):
    """Every address of a host is refused."""


def system_lookup(host: str) -> list[str]:
    """The system's addresses of a name, IPv4 first, each once.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(where[0]) for _, _, _, _, where in found)
    return sorted(addresses, key=lambda address: ":" in address)


class Resolver(AbstractResolver):
    """Asks the system in threads; answers and failures are kept for a while."""

    def __init__(self, allow: Collection[str], timeout_s: float) -> None:
        self._allow = frozenset(allow)
        self._timeout_s = timeout_s
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="m3w-dns")
        self._known: dict[str, tuple[float, list[str] | OSError]] = {}
        self._asked: dict[str, asyncio.Task[list[str] | OSError]] = {}

    def check(self, host: str, port: int, addresses: Collection[str]) -> list[str]:
        """Those of the addresses that may be connected to.

        Raises:
            AddressRefused: none may.
        """
        if _pair(host, port) in self._allow:
            return list(addresses)
        good = [address for address in addresses if not refused(address) or _pair(address, port) in self._allow]
        if not good:
            raise AddressRefused(f"{', '.join(addresses)} port {port} is not of the public web")
        return good

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name that may be connected to.

        Raises:
            AddressRefused: none may.
            OSError: it has none, or no answer came in time.
        """
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self.check(host, port, await self._addresses(host))
        ]

    async def _addresses(self, host: str) -> list[str]:
        now = asyncio.get_running_loop().time()
        expires, answer = self._known.get(host, (0.0, []))
        if expires <= now:
            if host not in self._asked:
                self._asked[host] = asyncio.create_task(self._ask(host))
                self._asked[host].add_done_callback(lambda _: self._asked.pop(host))
            # Others wait for the same answer: who gives up must not end it.
            answer = await asyncio.shield(self._asked[host])
        if isinstance(answer, OSError):
            raise OSError(*answer.args)
        return answer

    async def _ask(self, host: str) -> list[str] | OSError:
        loop = asyncio.get_running_loop()
        answer: list[str] | OSError
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await loop.run_in_executor(self._threads, system_lookup, host)
        except TimeoutError:
            answer = OSError("no answer in time")
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
            answer = OSError(str(error))
        ttl = _FAILED_TTL_S if isinstance(answer, OSError) else _TTL_S
        self._known[host] = (loop.time() + ttl, answer)
        return answer

    async def close(self) -> None:
        """Lets go of the threads; those that hang in the system's resolver end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _pair(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
