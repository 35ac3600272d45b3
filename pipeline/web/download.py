"""Download: requests in, answers out, in the order of their arrival.

    requests ──▶ turns ──▶ tasks that ask, in a thread with an event loop of its own ──queue──▶ the caller's loop

`download` is an ordinary generator; a `Line` asks several lists, one after the other, with the same connections, names and robots.txt. What it
holds is bounded: nothing new is asked while the bodies that wait for the caller take more than half of the budget, so a slow caller slows the
asking. A list ends when every request has its answer; closed early, it takes the thread and all connections down with it. The requests themselves
are held in memory, some 500 bytes each.
"""

import asyncio
import contextlib
import functools
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TypeVar, cast

import uvloop

from pipeline.images.picture import ImageConfig
from pipeline.web.answer import Answer, Request, dropped
from pipeline.web.ask import Ask
from pipeline.web.budget import Budget
from pipeline.web.client import Client, user_agent
from pipeline.web.config import FetchConfig
from pipeline.web.politeness import Turns
from schemas.drops import DropReason

_ANSWER_BYTES = 1024  # what an answer without a body counts
_NO_CONNECTION = frozenset(
    {DropReason.CONNECTION_FAILED, DropReason.TIMEOUT, DropReason.DNS_FAILED, DropReason.TLS_FAILED}
)


Callback = TypeVar("Callback", bound=Callable[..., None])


def _guarded(callback: Callback) -> Callback:
    """A callback of the loop whose faults the caller's thread raises; the loop would log them, and the caller wait for ever."""

    @functools.wraps(callback)
    def called(self: "Line", *arguments: object) -> None:
        try:
            callback(self, *arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody else would hear of it
            self._arrived.put(error)

    return cast("Callback", called)


def download(
    requests: Iterable[Request], config: FetchConfig, until: float | None = None, images: ImageConfig = ImageConfig()
) -> Iterator[Answer]:
    """Asks for each URL and yields one answer for each request.

    `until` is the epoch second after which what was not asked yet is answered with DEADLINE. `images` limits the bytes and pixels of pictures.

    Raises:
        ConfigError: there is no contact; before anything is asked.
    """
    user_agent(config)
    return _answers(list(requests), config, until, images)


def _answers(
    requests: list[Request], config: FetchConfig, until: float | None, images: ImageConfig
) -> Iterator[Answer]:
    if requests:
        with Line(config, until, images) as line:
            yield from line.ask(requests)


class Line(AbstractContextManager["Line"]):
    """A thread that asks, from the first `ask` to the end of the block; arguments as those of `download`."""

    def __init__(self, config: FetchConfig, until: float | None = None, images: ImageConfig = ImageConfig()) -> None:
        # What the two threads share: `_arrived` goes one way, calls of `_tell` the other. Each answer comes with the bytes that it holds of memory and disk.
        self._arrived: queue.SimpleQueue[tuple[Answer, int, int] | BaseException] = queue.SimpleQueue()
        self._config = config
        self._until = until
        self._images = images
        self._loop = uvloop.new_event_loop()
        self._stopped = asyncio.Event()
        self._turns: Turns[Ask] = Turns(config.per_host, config.delay_s)
        self._memory = Budget(config.held_bytes)
        self._disk = Budget(config.spooled_bytes)
        self._tasks: set[asyncio.Task[Answer | None]] = set()
        self._timer: tuple[float, asyncio.Handle] | None = None  # when `_wake` is called, in the loop's seconds
        self._untold = (0, 0)  # bytes of memory and disk that the caller took, and the loop does not know of
        self._ready = threading.Event()  # there is a client, or an error in its place
        self._thread = threading.Thread(target=self._work, name="m3w-fetch", daemon=True)

    def ask(self, requests: Sequence[Request], later: Sequence[Request] = ()) -> Iterator[Answer]:
        """Yields one answer for each request. `later` is what the next call asks: connections to its hosts stay open.

        Raises:
            ConfigError: there is no contact; before anything is asked.
        """
        user_agent(self._config)
        if not self._thread.ident:
            self._thread.start()
            self._ready.wait()
        self._tell(self._take, requests, later)
        for _ in requests:
            arrived = self._arrived.get()
            if isinstance(arrived, BaseException):
                raise arrived
            answer, memory, disk = arrived
            yield answer
            self._taken(memory, disk)

    def __exit__(self, *exception: object) -> None:
        """Ends the asking, wherever it stands, and removes the files of answers that nobody took."""
        if self._thread.ident:
            self._tell(self._stopped.set)
            self._thread.join()
        else:
            self._loop.close()
        while not self._arrived.empty():
            arrived = self._arrived.get()
            if isinstance(arrived, tuple) and arrived[0].path is not None:
                os.unlink(arrived[0].path)

    # Called in the caller's thread.

    def _taken(self, memory: int, disk: int) -> None:
        """The caller is done with an answer. The loop is told now and then, as waking it costs more than all the rest."""
        self._untold = (self._untold[0] + memory, self._untold[1] + disk)
        if self._untold[0] * 16 > self._memory.limit or self._untold[1] or self._arrived.empty():
            self._tell(self._release, *self._untold)
            self._untold = (0, 0)

    def _tell(self, what: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(what, *arguments)

    # Called in the loop's thread.

    def _work(self) -> None:
        """The thread: asks until it is told to stop."""
        try:
            self._loop.run_until_complete(self._run())
        except BaseException as error:  # noqa: BLE001 - a fault of ours: the caller's thread raises it
            self._arrived.put(error)
        finally:
            self._ready.set()
            self._loop.close()

    async def _run(self) -> None:
        self._client = Client(
            self._config, self._images, self._turns, self._memory, self._disk, self._give_up, self._pump
        )
        self._ready.set()
        try:
            if self._until is not None:
                self._loop.call_later(max(self._until - time.time(), 0.0), self._pump)
            await self._stopped.wait()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._client.close()

    @_guarded
    def _take(self, requests: Sequence[Request], later: Sequence[Request]) -> None:
        """Queues requests by host."""
        hosts = set()
        for request in requests:
            ask = Ask(request)
            if ask.go_to(request.url):
                self._turns.add(ask.host, ask)
                hosts.add(ask.host)
            else:
                self._put(dropped(request, DropReason.BAD_URL))
        self._client.expect(hosts, {ask.host for ask in map(Ask, later) if ask.go_to(ask.request.url)})
        self._pump()

    @_guarded
    def _pump(self) -> None:
        """Starts whatever may be asked now, and comes again when more may."""
        if self._stopped.is_set():
            return
        if self._until is not None and time.time() >= self._until:
            self._give_up(None, DropReason.DEADLINE, "")
        now = self._loop.time()
        while self._has_room() and (ask := self._turns.take(now)) is not None:
            task = self._loop.create_task(self._client.ask(ask))
            self._tasks.add(task)
            task.add_done_callback(functools.partial(self._done, ask.host))
        at = self._turns.wake_at() if self._has_room() else None
        if self._timer is not None and self._timer[0] != at:
            self._timer[1].cancel()
            self._timer = None
        if self._timer is None and at is not None:
            self._timer = (at, self._loop.call_at(at, self._wake))

    @_guarded
    def _wake(self) -> None:
        self._timer = None
        self._pump()

    def _has_room(self) -> bool:
        """Whether more may be asked; half of each budget is for what is on its way."""
        full = self._memory.held * 2 > self._memory.limit or self._disk.held * 2 > self._disk.limit
        return len(self._tasks) < self._config.connections and not full

    @_guarded
    def _done(self, host: str, task: asyncio.Task[Answer | None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._arrived.put(error)
            return
        answer = task.result()
        failures = self._turns.done(host, answer is None or answer.status not in _NO_CONNECTION)
        if answer is not None:
            self._put(answer)
            if failures >= self._config.host_failures:
                self._give_up(host, DropReason(answer.status), f"given up after {failures} failures in a row")
        self._pump()

    def _put(self, answer: Answer) -> None:
        """Hands an answer to the caller. Its body is held already."""
        self._memory.add(_ANSWER_BYTES)
        memory = _ANSWER_BYTES + (len(answer.body) if answer.body is not None else 0)
        disk = os.path.getsize(answer.path) if answer.path is not None else 0
        self._arrived.put((answer, memory, disk))

    def _give_up(self, host: str | None, reason: DropReason, detail: str) -> None:
        """Answers what is queued without asking; what waits for a retry gets the answer of its last attempt."""
        for ask in self._turns.drain(host):
            self._put(ask.failed or dropped(ask.request, reason, detail))

    @_guarded
    def _release(self, memory: int, disk: int) -> None:
        self._memory.release(memory)
        self._disk.release(disk)
        self._pump()
