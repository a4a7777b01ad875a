"""Work done for many at once: what is asked for while some is under way is done together next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service import errors

Item = TypeVar("Item")


class Gathering(Generic[Item]):
    """A queue that is emptied by `lanes` workers, each taking up to `most` items at a time.

    `work` is given the items in the order in which they came, never none, and must not raise:
    whoever waits for an item is told by it. Up to `waiting` items wait (0: any number).
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Awaitable[None]],
        *,
        most: int,
        lanes: int,
        waiting: int = 0,
    ) -> None:
        self._work = work
        self._most = most
        self._idle = lanes
        self._room = waiting
        self._waiting: deque[Item] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._starting = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, item: Item) -> None:
        """Raises `errors.Unavailable` if too many wait already."""
        if self._room and len(self._waiting) >= self._room:
            raise errors.Unavailable("Too many visitors at once")
        self._waiting.append(item)
        self._start_soon()

    def put_first(self, items: list[Item]) -> None:
        """What was begun and could not be finished goes on before the others."""
        self._waiting.extendleft(reversed(items))
        self._start_soon()

    async def drained(self) -> None:
        """Until nothing waits and nothing is under way."""
        while self._waiting or self._running or self._starting:
            if self._running:
                await asyncio.wait(self._running)
            else:
                await asyncio.sleep(0)

    def _start_soon(self) -> None:
        # Not at once: what else arrives in this turn of the event loop comes along.
        if self._idle and not self._starting:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._starting = False
        while self._idle and self._waiting:
            self._idle -= 1
            task = asyncio.ensure_future(self._lane())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _lane(self) -> None:
        try:
            while self._waiting:
                count = min(self._most, len(self._waiting))
                await self._work([self._waiting.popleft() for _ in range(count)])
        finally:
            self._idle += 1
