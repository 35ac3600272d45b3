"""Budget: how many bytes are held at a time, on their way or waiting for the reader.

A body that states its length reserves it before it comes; one that does not grows in steps. Bodies that grow could come to wait for one
another with nothing left to hold, so a single one of them may go beyond the limit: what is held is at most the limit and one body.
"""

import asyncio
from collections import deque


class Budget:
    """Bytes that are held of a limit, and who waits for more: those that grow before those that start, else in order of asking."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self._growing: deque[tuple[Hold, int, asyncio.Future[None]]] = deque()
        self._starting: deque[tuple[Hold, int, asyncio.Future[None]]] = deque()
        self._beyond: Hold | None = None  # the one that may go beyond the limit

    def add(self, count: int) -> None:
        """Holds so many bytes more, room or not."""
        self.held += count

    def release(self, count: int) -> None:
        """Gives so many bytes back."""
        self.held -= count
        for queue in (self._growing, self._starting):
            while queue:
                hold, more, turn = queue[0]
                if not turn.done():  # else it gave up
                    if not self._grant(hold, more):
                        return
                    turn.set_result(None)
                queue.popleft()

    async def _reserve(self, hold: "Hold", more: int) -> None:
        queue = self._growing if hold.count else self._starting
        first = hold is self._beyond or not (queue or self._growing)
        if first and self._grant(hold, more):
            return
        turn = asyncio.get_running_loop().create_future()
        queue.append((hold, more, turn))
        await turn

    def _grant(self, hold: "Hold", more: int) -> bool:
        if self.held + more > self.limit and self.held > 0:
            if not hold.count or self._beyond not in (None, hold):
                return False
            self._beyond = hold
        self.held += more
        hold.count += more
        return True


class Hold:
    """What one body holds of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.count = 0

    async def grow_to(self, count: int) -> None:
        """Waits until it holds so many bytes. Who is cancelled while it waits has to `settle`."""
        if count > self.count:
            await self._budget._reserve(self, count - self.count)

    def settle(self, count: int) -> None:
        """It grows no more, and gives back what is more than that."""
        if self._budget._beyond is self:
            self._budget._beyond = None
        surplus, self.count = max(self.count - count, 0), min(self.count, count)
        self._budget.release(surplus)
