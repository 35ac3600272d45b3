"""Client: one URL asked once, politely. `Client.ask` goes through the questions in the order of what they cost.

    address of the host ──robots.txt──▶ may it be asked? ──GET──▶ status, redirect, opt-out ──body──▶ bytes

Every hop and every retry goes back into the turns and comes through here again, so each is checked like the first: no redirect gets past the
addresses, robots.txt or the pace of the host it leads to. A hop to another registered domain is not followed but named, for whoever asks that one.
"""

import asyncio
import functools
import ssl
import time
from collections.abc import Callable, Iterable
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from pipeline.images.picture import ImageConfig
from pipeline.optout import PRODUCT, opt_out
from pipeline.urls import Base
from pipeline.web.addresses import is_address
from pipeline.web.answer import Answer, Request, dropped
from pipeline.web.ask import Ask
from pipeline.web.body import Limits, read_body, spool_body
from pipeline.web.budget import Budget, Hold
from pipeline.web.config import FetchConfig
from pipeline.web.faults import FAULTS, fault_reason
from pipeline.web.host import registered_domain
from pipeline.web.politeness import Turns
from pipeline.web.resolver import AddressRefused, Resolver
from pipeline.web.robots import MAX_BYTES, MAX_REDIRECTS, Robots, read_robots
from schemas.drops import Drop, DropReason
from schemas.errors import ConfigError

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_ALIVE_S = 5.0  # ours: bounds how many sockets of hosts that were asked lie open
# Robots.txt that cannot be had for these reasons: neither can anything else of the host, and they say more.
_NO_HOST = frozenset({DropReason.DNS_FAILED, DropReason.ADDRESS_REFUSED, DropReason.TLS_FAILED})


class Client:
    """Asks with one session: pooled connections, one TLS context, no cookies.

    `memory` and `disk` bound what is held of bodies; `give_up` answers all that is queued for a host, `wake` looks whether
    more may be asked now.
    """

    def __init__(
        self,
        config: FetchConfig,
        images: ImageConfig,
        turns: Turns[Ask],
        memory: Budget,
        disk: Budget,
        give_up: Callable[[str, DropReason, str], None],
        wake: Callable[[], None],
    ) -> None:
        self._config = config
        self._turns = turns
        self._memory = memory
        self._disk = disk
        self._give_up = give_up
        self._wake = wake
        self._limits = {
            "image": Limits(max_bytes=images.max_bytes, max_pixels=images.max_pixels),
            "video": Limits(max_bytes=config.max_video_bytes, max_pixels=0),
            "track": Limits(max_bytes=config.max_track_bytes, max_pixels=0),
        }
        self._resolver = Resolver(config.allow, config.connect_timeout_s)
        self._robots: dict[str, asyncio.Task[Robots]] = {}
        self._expected: frozenset[str] = frozenset()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # the turns limit already
                resolver=self._resolver,
                use_dns_cache=False,  # the resolver's own holds failures too
                ssl=tls_context(),
                keepalive_timeout=_KEEP_ALIVE_S,
            ),
            headers={
                "User-Agent": user_agent(config),
                "Accept": "*/*",
                "Accept-Encoding": "identity",  # pictures are packed already
            },
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=config.connect_timeout_s, sock_read=config.read_timeout_s
            ),
        )

    def expect(self, now: Iterable[str], later: Iterable[str]) -> None:
        """Which hosts are asked now and in the next list: connections to the latter stay open, robots.txt of others is forgotten."""
        self._expected = frozenset(later)
        kept = self._expected.union(now)
        self._robots = {
            origin: task
            for origin, task in self._robots.items()
            if urlsplit(origin).hostname in kept or not task.done()
        }

    async def close(self) -> None:
        """Closes all connections."""
        for task in self._robots.values():
            task.cancel()
        await self._session.close()
        await self._resolver.close()

    async def ask(self, ask: Ask) -> Answer | None:
        """The answer, or None if the request was queued again: for a hop inside the domain, or for a retry."""
        if is_address(ask.host):
            try:
                self._resolver.check(ask.host, ask.port, [ask.host])
            except AddressRefused as error:
                return dropped(ask.request, DropReason.ADDRESS_REFUSED, str(error))
        if self._config.respect_robots:
            robots = await self._robots_of(ask)
            refusal = robots.refusal(ask.url)
            if refusal is not None:
                return dropped(ask.request, refusal, robots.detail or ask.origin)
        else:
            self._turns.pace(ask.host, None, 0.0)
        loop = asyncio.get_running_loop()
        ask.deadline = ask.deadline or loop.time() + self._config.url_timeout_s
        try:
            async with asyncio.timeout_at(ask.deadline):
                return await self._get(ask)
        except FAULTS as error:
            reason = fault_reason(error)
            answer = dropped(ask.request, reason, f"{type(error).__name__}: {error}")
            return self._again(ask, answer, None) if reason is DropReason.TIMEOUT else answer

    async def _get(self, ask: Ask) -> Answer | None:
        async with self._session.get(URL(ask.url, encoded=True), allow_redirects=False) as response:
            status = response.status
            if status == 200:
                answer = await self._take(ask, response)
                if not self._turns.queued(ask.host) and ask.host not in self._expected:
                    response.close()  # nobody needs the connection any more
                return answer
            head = response.headers
            response.close()  # what the server says about it is not read
        if status in _REDIRECTS and "Location" in head:
            return self._redirect(ask, status, head["Location"])
        answer = dropped(ask.request, DropReason.HTTP_STATUS, http_status=status)
        if status == 429 or status >= 500:
            answer = dropped(ask.request, DropReason.HTTP_UNAVAILABLE, http_status=status)
            return self._again(ask, answer, _retry_after_s(head.get("Retry-After", "")))
        return answer

    async def _take(self, ask: Ask, response: aiohttp.ClientResponse) -> Answer:
        request, head = ask.request, response.headers
        if "X-Robots-Tag" in head or "TDM-Reservation" in head:
            reserved = [f"tdm-reservation: {value}" for value in head.getall("TDM-Reservation", [])]
            if directive := opt_out([*head.getall("X-Robots-Tag", []), *reserved]):
                response.close()
                return dropped(request, DropReason.OPTED_OUT, directive, http_status=200)
        hold = Hold(self._disk if request.kind == "video" else self._memory)
        read = spool_body if request.kind == "video" else read_body
        taken: bytes | str | Drop | None = None
        try:
            taken = await read(response, request.kind, self._limits[request.kind], hold)
        finally:
            if not isinstance(taken, bytes | str):
                hold.settle(0)
        if isinstance(taken, Drop):
            response.close()
            return dropped(
                request, taken.reason, taken.detail, http_status=200, value=taken.value, threshold=taken.threshold
            )
        return Answer(
            number=request.number,
            url=request.url,
            status="ok",
            http_status=200,
            hops=ask.hops,
            body=taken if isinstance(taken, bytes) else None,
            path=taken if isinstance(taken, str) else None,
        )

    def _redirect(self, ask: Ask, status: int, location: str) -> Answer | None:
        """Follows a redirect inside the registered domain, in a turn of its own; names one that leads out."""
        target = Base(ask.url).join(location)
        if target is None or not ask.go_to(target):
            return dropped(ask.request, DropReason.BAD_URL, f"redirect to {location}", http_status=status)
        ask.hops += 1
        if ask.hops > self._config.max_redirects:
            return dropped(
                ask.request,
                DropReason.TOO_MANY_REDIRECTS,
                http_status=status,
                value=ask.hops,
                threshold=self._config.max_redirects,
            )
        if registered_domain(ask.url) != registered_domain(ask.request.url):
            return Answer(
                number=ask.request.number,
                url=ask.request.url,
                status=DropReason.REDIRECTED.value,
                http_status=status,
                target=ask.url,
                hops=ask.hops,
            )
        self._turns.add(ask.host, ask)
        return None

    def _again(self, ask: Ask, answer: Answer, retry_after_s: float | None) -> Answer | None:
        """Queues a request for a retry, if it has one left and time for it; else its answer. A host that asks to wait is left alone."""
        config, now = self._config, asyncio.get_running_loop().time()
        if retry_after_s is not None:
            if retry_after_s > config.max_retry_after_s:
                self._give_up(ask.host, DropReason.HTTP_UNAVAILABLE, f"the host asks to wait {retry_after_s:.0f} s")
                return answer
            self._turns.rest(ask.host, now + retry_after_s)
        at = now + max(retry_after_s or 0.0, config.backoff_s * 2**ask.retries)
        if ask.retries >= config.retries or at >= ask.deadline:
            return answer
        ask.retries += 1
        ask.failed = answer
        self._turns.add(ask.host, ask, at)
        return None

    async def _robots_of(self, ask: Ask) -> Robots:
        """robots.txt of the origin, asked for once; the host gets its pace by it."""
        task = self._robots.get(ask.origin)
        if task is None:
            task = self._robots[ask.origin] = asyncio.create_task(self._ask_robots(ask.origin, ask.host))
        elif task.done():
            return task.result()
        return await asyncio.shield(task)

    async def _ask_robots(self, origin: str, host: str) -> Robots:
        try:
            async with asyncio.timeout(self._config.url_timeout_s):
                robots = await self._get_robots(f"{origin}/robots.txt")
        except FAULTS as error:
            reason = fault_reason(error)
            robots = Robots(
                failure=reason if reason in _NO_HOST else DropReason.ROBOTS_UNREACHABLE,
                detail=f"robots.txt: {type(error).__name__}: {error}",
            )
        delay_s = robots.crawl_delay_s
        if delay_s is not None:
            delay_s = min(delay_s, self._config.max_crawl_delay_s)
        self._turns.pace(host, delay_s, asyncio.get_running_loop().time())
        self._wake()
        return robots

    async def _get_robots(self, url: str) -> Robots:
        place = Ask(Request(number=0, url=url, kind="track"))
        place.go_to(url)
        for _ in range(MAX_REDIRECTS + 1):
            if is_address(place.host):
                self._resolver.check(place.host, place.port, [place.host])
            async with self._session.get(URL(place.url, encoded=True), allow_redirects=False) as response:
                if response.status not in _REDIRECTS or "Location" not in response.headers:
                    body = b""
                    if response.status == 200:
                        body = await _first_bytes(response, MAX_BYTES)
                    return read_robots(response.status, body, response.headers.get("Content-Encoding", ""))
                response.close()
                target = Base(place.url).join(response.headers["Location"])
            if target is None or not place.go_to(target):
                break
        return Robots()  # RFC 9309 2.3.1.2: what leads on for ever counts as no file


async def _first_bytes(response: aiohttp.ClientResponse, count: int) -> bytes:
    """The body up to so many bytes; if there are more, the connection goes."""
    body = bytearray()
    while len(body) < count and (chunk := await response.content.readany()):
        body += chunk
    if len(body) >= count:
        response.close()
    return bytes(body[:count])


def _retry_after_s(value: str) -> float | None:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110 10.2.3)."""
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, OverflowError):
        return None


def user_agent(config: FetchConfig) -> str:
    """How we name ourselves: product, version, and whom to write to.

    Raises:
        ConfigError: there is no contact.
    """
    contact = config.contact.strip()
    if not contact:
        raise ConfigError("fetch.contact has to say who asks, such as you@example.org")
    return f"{PRODUCT}/{version('m3w')} (+{contact})"


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The one TLS context of the process, with the system's authorities; making it takes 25 ms."""
    return ssl.create_default_context()
