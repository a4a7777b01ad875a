"""The index under change: for how long visitors wait while stores open, close and move.

A visitor's request waits for whatever else is on the event loop. A clock that ticks every
millisecond beside the work tells the longest wait; the same clock with nothing beside it is the
machine's own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

from service.domain import StoreStatus
from tests.benchmarks import measuring, worlds
from tests.benchmarks.options import Options
from tests.benchmarks.worlds import World

_SIZES = {30_000: 0.020, 1_000_000: 0.500}  # stores: the longest wait to reach, in seconds
_EDITS = 500


def run(options: Options) -> Iterator[str]:
    rows = []
    for size, most_s in _SIZES.items():
        stores = options.stores(size)
        world = worlds.chain(stores, [True] * len(stores))
        idle_s, _ = asyncio.run(_watched(_idle))
        for what, work in (
            (f"{_EDITS} stores, one after the other", lambda world=world: _edits(world)),
            ("every store at once", lambda world=world: _everything(world)),
        ):
            wait_s, took_s = asyncio.run(_watched(work))
            rows.append(
                [
                    f"{len(stores):,}",
                    what,
                    measuring.duration(took_s),
                    measuring.duration(wait_s),
                    measuring.duration(idle_s),
                    measuring.duration(most_s),
                    measuring.verdict(wait_s, at_most=most_s),
                ]
            )
    yield measuring.table(
        ["stores", "changed", "took", "longest wait", "idle machine", "at most", ""], rows
    )


async def _watched(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """The longest wait of the event loop while the work was done, and how long it took; seconds."""
    longest_s = 0.0

    async def clock() -> None:
        nonlocal longest_s
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest_s = max(longest_s, time.perf_counter() - before - 0.001)

    ticking = asyncio.ensure_future(clock())
    await asyncio.sleep(0.01)
    start = time.perf_counter()
    await work()
    took_s = time.perf_counter() - start
    ticking.cancel()
    return longest_s, took_s


async def _idle() -> None:
    await asyncio.sleep(1)


async def _edits(world: World) -> None:
    """Closed, opened and moved in turns, each a change of its own."""
    for number in range(_EDITS):
        store = world.chain.stores[worlds.number_of(number)]
        closing = number % 2 == 0
        store.status = StoreStatus.CLOSED if closing else StoreStatus.OPEN
        world.chain.settle(store.store, datetime.now(UTC))
        await asyncio.sleep(0)


async def _everything(world: World) -> None:
    """As after an import that touches every store."""
    await world.chain.settle_all(list(world.chain.stores))
