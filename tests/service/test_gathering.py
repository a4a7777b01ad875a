"""Gathering: what comes while some is under way is done together next, in order, and all of it."""

import asyncio
from collections.abc import Callable

import hypothesis
import pytest
from hypothesis import strategies as st

from service import errors
from service.gathering import Gathering
from tests import running


class Work:
    """Takes what it is given when it is let, and remembers it."""

    def __init__(self) -> None:
        self.done: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.may_go = asyncio.Event()

    async def __call__(self, items: list[int]) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await self.may_go.wait()
        self.done.append(items)
        self.under_way -= 1


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_what_comes_in_one_turn_of_the_event_loop_is_done_at_once() -> None:
    work = Work()
    work.may_go.set()
    gathering = Gathering(work, most=100, lanes=2)
    for item in range(10):
        gathering.put(item)
    await gathering.drained()
    assert work.done == [list(range(10))]


async def test_what_comes_while_all_lanes_are_busy_is_done_together_next() -> None:
    work = Work()
    gathering = Gathering(work, most=100, lanes=1)
    gathering.put(0)
    await until(lambda: work.under_way == 1)
    for item in range(1, 8):
        gathering.put(item)
        await asyncio.sleep(0)
    assert len(gathering) == 7
    work.may_go.set()
    await gathering.drained()
    assert work.done == [[0], [1, 2, 3, 4, 5, 6, 7]]
    assert len(gathering) == 0


async def test_no_more_are_done_at_once_than_were_allowed() -> None:
    work = Work()
    work.may_go.set()
    gathering = Gathering(work, most=3, lanes=1)
    for item in range(8):
        gathering.put(item)
    await gathering.drained()
    assert work.done == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_a_second_lane_works_while_the_first_waits_and_a_third_does_not_exist() -> None:
    work = Work()
    gathering = Gathering(work, most=1, lanes=2)
    for item in range(5):
        gathering.put(item)
    await until(lambda: work.under_way == 2)
    await asyncio.sleep(0)
    assert (work.under_way, len(gathering)) == (2, 3)
    work.may_go.set()
    await gathering.drained()
    assert work.most_under_way == 2
    assert sorted(work.done) == [[item] for item in range(5)]


async def test_who_finds_the_queue_full_is_refused_and_nobody_else() -> None:
    work = Work()
    gathering = Gathering(work, most=1, lanes=1, waiting=2)
    gathering.put(0)
    await until(lambda: work.under_way == 1)
    gathering.put(1)
    gathering.put(2)
    with pytest.raises(errors.Unavailable) as refused:
        gathering.put(3)
    assert refused.value.retry_after_s >= 1
    work.may_go.set()
    await gathering.drained()
    gathering.put(4)
    await gathering.drained()
    assert work.done == [[0], [1], [2], [4]]


async def test_what_was_begun_goes_before_what_waits_even_if_the_queue_is_full() -> None:
    work = Work()
    gathering = Gathering(work, most=10, lanes=1, waiting=2)
    gathering.put(0)
    await until(lambda: work.under_way == 1)
    gathering.put(5)
    gathering.put(6)
    gathering.put_first([1, 2, 3])
    work.may_go.set()
    await gathering.drained()
    assert work.done == [[0], [1, 2, 3, 5, 6]]


async def test_drained_waits_for_what_comes_of_the_work_itself() -> None:
    done: list[int] = []

    async def work(items: list[int]) -> None:
        await asyncio.sleep(0)
        for item in items:
            done.append(item)
            if item < 5:
                gathering.put_first([item + 1])

    gathering = Gathering(work, most=10, lanes=2)
    gathering.put(0)
    await gathering.drained()
    assert done == [0, 1, 2, 3, 4, 5]


async def test_nothing_to_do_is_drained_at_once() -> None:
    work = Work()
    await Gathering(work, most=1, lanes=1).drained()
    assert work.done == []


STEP = st.sampled_from(["turn", "first", "put"])


@hypothesis.settings(max_examples=100, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    steps=st.lists(STEP, max_size=60), most=st.integers(1, 4), lanes=st.integers(1, 3)
)
def test_everything_is_done_once_in_whatever_rhythm_it_comes(
    steps: list[str], most: int, lanes: int
) -> None:
    done: list[int] = []
    under_way = 0

    async def work(items: list[int]) -> None:
        nonlocal under_way
        assert 0 < len(items) <= most
        under_way += 1
        assert under_way <= lanes
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        done.extend(items)
        under_way -= 1

    async def come() -> int:
        gathering = Gathering(work, most=most, lanes=lanes)
        count = 0
        for step in steps:
            if step == "turn":
                await asyncio.sleep(0)
                continue
            if step == "first":
                gathering.put_first([count])
            else:
                gathering.put(count)
            count += 1
        await gathering.drained()
        return count

    count = running.run(come())
    assert sorted(done) == list(range(count))
    if lanes == 1 and "first" not in steps:
        assert done == list(range(count))
