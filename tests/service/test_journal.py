"""The journal's promises: what fails fails alone, what is retried is answered the same, nothing
that was accepted is dropped."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from service import catalog, db, errors, importing, outage, tabular
from service.domain import Event, Outcome, Reason, Routing, Scan
from service.settings import Settings
from service.spool import Spool
from tests import running
from tests.service import auditing

STORES = {"S1": (121.4737, 31.2304), "S2": (121.4837, 31.2304)}
HERE = auditing.fix_at(*STORES["S1"])


class World:
    """A chain with two stores, and two workers on it."""

    def __init__(self, url: str, pool: asyncpg.Pool, chain_id: uuid.UUID) -> None:
        self.url, self.pool, self.chain_id = url, pool, chain_id
        self.settings = Settings(database_pool=20)
        self.workers = [self.worker(), self.worker()]

    def worker(self, *, spool: Spool | None = None, **settings: float) -> auditing.Worker:
        changed = self.settings.model_copy(update=settings)
        return auditing.Worker(self.pool, changed, "tea", spool=spool)

    async def put_code(self, store: str, capacity: int) -> uuid.UUID:
        async with self.pool.acquire() as connection:
            code_id = await auditing.put_code(connection, self.chain_id, store, capacity)
        await self.all_hear()
        return code_id

    async def change(self, code_id: uuid.UUID, **change: object) -> None:
        async with self.pool.acquire() as connection:
            await catalog.change_code(connection, self.chain_id, code_id, change, self.settings)

    async def put_store(self, store: str, status: str) -> None:
        lon, lat = STORES[store]
        row = {"store": store, "name": store, "lon": lon, "lat": lat, "status": status}
        async with self.pool.acquire() as connection:
            await catalog.put_stores(
                connection, self.chain_id, importing.stores(tabular.one(row)).rows
            )

    async def all_hear(self) -> None:
        for worker in self.workers:
            await worker.hears()

    async def visit(self, worker: int = 0, visitor: uuid.UUID | None = None) -> Routing:
        scanned, _ = await self.workers[worker].opened(visitor)
        return await self.workers[worker].journal.locate(scanned, HERE)

    async def run_out(self) -> None:
        """Every seat's time is up, and they are swept."""
        await self.pool.execute("UPDATE holds SET held_until = now() WHERE state = 'held'")
        await self.workers[0].journal.sweep()

    async def code(self, code_id: uuid.UUID) -> tuple[int, int]:
        """Its members and seats held."""
        row = await self.pool.fetchrow(
            "SELECT members, held FROM codes WHERE code_id = $1", code_id
        )
        return row["members"], row["held"]

    async def check(self) -> None:
        async with self.pool.acquire() as connection:
            assert await auditing.faults(connection, self.chain_id) == {}


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with asyncpg.create_pool(database_url, min_size=2, max_size=20, init=db.prepare) as pool:
        async with pool.acquire() as connection:
            chain_id = await auditing.build(connection, "tea", STORES)
        made = World(database_url, pool, chain_id)
        await made.all_hear()
        yield made
        await made.check()


# ---------------------------------------------------------------- alone


async def together(*asked: Awaitable[object]) -> list[object]:
    """All of it in one turn of the event loop, so in one batch; failures as values."""
    return list(await asyncio.gather(*asked, return_exceptions=True))


async def test_who_picks_a_store_that_is_not_there_fails_alone(world: World) -> None:
    code_id = await world.put_code("S1", 50)
    worker = world.workers[0]
    scans = [(await worker.opened())[0] for _ in range(20)]
    answers = await together(
        *(worker.journal.choose(s, "S1" if i % 4 else "NONE") for i, s in enumerate(scans))
    )
    for i, answer in enumerate(answers):
        if i % 4:
            assert isinstance(answer, Routing)
            assert answer.code_id == code_id
        else:
            assert isinstance(answer, errors.NotFound)
    assert await world.code(code_id) == (0, 15)


@pytest.mark.parametrize("bad", ["po\0ster", "half \ud83d"])
async def test_a_value_that_postgresql_refuses_fails_its_own_request_only(
    world: World, bad: str
) -> None:
    await world.put_code("S1", 50)
    worker = world.workers[0]
    answers = await together(
        *(worker.opened(placement=bad if i % 5 == 0 else f"p{i}") for i in range(20))
    )
    failed = [i for i, answer in enumerate(answers) if isinstance(answer, Exception)]
    assert failed == [0, 5, 10, 15]
    assert all(isinstance(answers[i], asyncpg.DataError | errors.BadInput) for i in failed), (
        "a fault of the input"
    )
    kept = await world.pool.fetch("SELECT unknown_placement FROM scans")
    assert sorted(row["unknown_placement"] for row in kept) == sorted(
        f"p{i}" for i in range(20) if i % 5
    )


async def test_who_presses_what_was_not_shown_fails_alone(world: World) -> None:
    code_id = await world.put_code("S1", 50)
    worker = world.workers[0]
    shown = [(await worker.opened())[0] for _ in range(6)]
    await asyncio.gather(*(worker.journal.locate(s, HERE) for s in shown))
    unshown = [(await worker.opened())[0] for _ in range(3)]
    answers = await together(
        *(worker.journal.tell(s, Event.PRESSED) for s in shown + unshown),
        worker.journal.tell(shown[0], Event.PRESSED, uuid.uuid4()),
    )
    kinds = Counter(type(answer) for answer in answers)
    assert kinds == {Routing: 6, errors.Conflict: 4}
    assert await world.code(code_id) == (6, 0)


async def test_a_deadlock_is_waited_out_and_nobody_hears_of_it(world: World) -> None:
    """Somebody locks the codes the other way round, until PostgreSQL breaks the circle."""
    first, second = await world.put_code("S1", 10), await world.put_code("S2", 10)
    worker = world.workers[0]
    scanned = (await worker.opened())[0]
    await worker.journal.choose(scanned, "S1")
    lock = "SELECT FROM codes WHERE code_id = $1 FOR UPDATE"
    async with world.pool.acquire() as other, other.transaction():
        # It is the journal that gives way.
        await other.execute("SET LOCAL deadlock_timeout = '10s'")
        await other.execute(lock, max(first, second))
        moved = asyncio.ensure_future(worker.journal.choose(scanned, "S2"))
        await _waiting(world, 1)
        await other.execute(lock, min(first, second))
    assert (await moved).store == "S2"


async def _waiting(world: World, count: int) -> None:
    """Until so many connections wait for a lock."""
    async with asyncio.timeout(10):
        while True:
            waiting = await world.pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if waiting >= count:
                return
            await asyncio.sleep(0.01)


# ---------------------------------------------------------------- the queue


async def test_a_full_queue_refuses_and_what_was_accepted_is_answered(world: World) -> None:
    await world.put_code("S1", 50)
    worker = world.worker(journal_queue=3, journal_batch=2)
    await worker.hears()
    async with world.pool.acquire() as other:
        async with other.transaction():
            await other.execute("LOCK TABLE visitors IN ACCESS EXCLUSIVE MODE")
            asked = [asyncio.ensure_future(worker.opened()) for _ in range(20)]
            await asyncio.wait(asked, timeout=0.2)
            refused = [task for task in asked if task.done()]
            for task in refused:
                assert isinstance(task.exception(), errors.Unavailable)
        accepted = [task for task in asked if task not in refused]
        # Two lanes with two each, and three that wait, at the most.
        assert 3 <= len(accepted) <= 7
        answers = await asyncio.gather(*accepted)
    scans = await world.pool.fetch("SELECT scan_id FROM scans")
    assert {row["scan_id"] for row in scans} == {scanned.scan_id for scanned, _ in answers}


def test_a_full_queue_is_a_503_that_says_when_to_try_again(database_url: str) -> None:
    settings = Settings(journal_queue=2, journal_batch=2, database_pool=4)
    with running.running(database_url, settings) as service:
        service.put_entry()

        def ask(number: int) -> httpx.Response:
            return service.visitor.post(
                "/api/v1/scans", json={"entry": "tea"}, headers={"X-Visitor": str(number)}
            )

        async def ask_while_nothing_can_be_written() -> list[httpx.Response]:
            connection = await asyncpg.connect(database_url)
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(24) as threads:
                async with connection.transaction():
                    await connection.execute("LOCK TABLE visitors IN ACCESS EXCLUSIVE MODE")
                    asked = [loop.run_in_executor(threads, ask, i) for i in range(24)]
                    # Two lanes with two each, and two that wait: eighteen at the least are refused.
                    for count, answer in enumerate(asyncio.as_completed(asked), 1):
                        await answer
                        if count == 18:
                            break
                answers = await asyncio.gather(*asked)
            await connection.close()
            return answers

        answers = running.run(ask_while_nothing_can_be_written())
        by_status = Counter(answer.status_code for answer in answers)
        assert by_status[503] >= 18
        assert by_status[503] + by_status[201] == 24
        for answer in answers:
            if answer.status_code == 503:
                assert int(answer.headers["Retry-After"]) >= 1
                assert answer.headers["Content-Type"] == "application/problem+json"
        # When it can be written again, all goes on.
        assert ask(99).status_code == 201


async def test_what_was_accepted_is_written_before_the_worker_ends(world: World) -> None:
    await world.put_code("S1", 100)
    worker = world.worker(journal_batch=4)
    await worker.hears()
    asked = [asyncio.ensure_future(worker.opened()) for _ in range(60)]
    await asyncio.sleep(0)
    await worker.journal.drained()
    assert len(worker.journal) == 0
    assert await world.pool.fetchval("SELECT count(*) FROM scans") == 60
    assert len(await asyncio.gather(*asked)) == 60


def test_a_stop_in_the_middle_of_the_rush_leaves_nobody_without_an_answer(
    database_url: str,
) -> None:
    """Whoever was let in is answered; whoever was answered is in the database."""
    settings = Settings(journal_batch=4, database_pool=4)
    with running.running(database_url, settings) as service:
        service.put_entry()
    with running.served(database_url, settings) as base_url:
        threads = ThreadPoolExecutor(16)

        def scan_after_scan(number: int) -> tuple[list[str], list[int]]:
            made: list[str] = []
            failed: list[int] = []
            with httpx.Client(base_url=base_url, timeout=30, trust_env=False) as client:
                while True:
                    try:
                        answer = client.post(
                            "/api/v1/scans",
                            json={"entry": "tea"},
                            headers={"X-Visitor": f"{number}"},
                        )
                    except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
                        return made, failed  # not let in any more
                    if answer.status_code == 201:
                        made.append(answer.json()["scan_id"])
                    else:
                        failed.append(answer.status_code)

        visitors = [threads.submit(scan_after_scan, number) for number in range(16)]

        async def until_busy() -> None:
            connection = await asyncpg.connect(database_url)
            count = "SELECT count(*) FROM scans"
            while await connection.fetchval(count) < 50:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await connection.close()

        running.run(until_busy())
    answered = [visitor.result(30) for visitor in visitors]
    threads.shutdown()

    async def scans() -> set[str]:
        connection = await asyncpg.connect(database_url)
        try:
            return {str(row[0]) for row in await connection.fetch("SELECT scan_id FROM scans")}
        finally:
            await connection.close()

    made = [scan_id for one, _ in answered for scan_id in one]
    assert not [status for _, failed in answered for status in failed]
    assert len(made) >= 50 - 16
    assert set(made) == running.run(scans()), "and nothing was written that was not answered"


async def test_who_has_gone_away_keeps_nobody_waiting(world: World) -> None:
    code_id = await world.put_code("S1", 50)
    worker = world.workers[0]
    scans = [(await worker.opened())[0] for _ in range(10)]
    asked = [asyncio.ensure_future(worker.journal.locate(s, HERE)) for s in scans]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(a) for a in answers[1::2]] == [Routing] * 5
    await worker.journal.drained()
    assert await world.code(code_id) in {(0, held) for held in range(5, 11)}


# ---------------------------------------------------------------- the same visitor, the same seat


async def test_a_scan_that_is_asked_again_is_answered_the_same(world: World) -> None:
    code_id = await world.put_code("S1", 10)
    scanned, _ = await world.workers[0].opened()
    first = await world.workers[0].journal.locate(scanned, HERE)
    again = [
        await world.workers[0].journal.locate(scanned, HERE),
        await world.workers[1].journal.locate(scanned, HERE),
        await world.workers[1].journal.choose(scanned, "S1"),
        await world.workers[0].journal.current(scanned),
    ]
    assert {(r.code_id, r.hold_id, r.held_until, r.reason) for r in again} == {
        (first.code_id, first.hold_id, first.held_until, first.reason)
    }
    assert await world.code(code_id) == (0, 1)
    assert await world.pool.fetchval("SELECT count(*) FROM routings") == 2


@pytest.mark.parametrize("attempt", range(5))
async def test_a_scan_that_is_asked_many_times_at_once_is_answered_the_same(
    world: World, attempt: int
) -> None:
    """By both workers: locks are waited for, and what was seen before the wait is old."""
    await world.put_code("S1", 5)
    await world.put_code("S2", 5)
    scanned, _ = await world.workers[0].opened()
    answers = await asyncio.gather(
        *(world.workers[i % 2].journal.locate(scanned, HERE) for i in range(12))
    )
    assert len({(r.code_id, r.hold_id, r.held_until) for r in answers}) == 1
    assert await world.pool.fetchval("SELECT count(*) FROM holds") == 1


@pytest.mark.parametrize("attempt", range(5))
async def test_first_scans_of_one_visitor_at_two_workers_take_one_seat(
    world: World, attempt: int
) -> None:
    code_id = await world.put_code("S1", 10)
    visitor = uuid.uuid4()
    answers = await asyncio.gather(*(world.visit(i % 2, visitor) for i in range(8)))
    assert {answer.code_id for answer in answers} == {code_id}
    assert len({answer.hold_id for answer in answers}) == 1
    assert await world.code(code_id) == (0, 1)


async def test_many_visitors_at_many_workers_fill_a_code_and_hear_of_no_trouble(
    world: World,
) -> None:
    """Seats come and go in the rows that others wait for: nobody's answer is an error."""
    await world.put_code("S1", 3)
    await world.put_code("S2", 3)

    async def come_and_go(number: int) -> None:
        worker = world.workers[number % 2]
        scanned, _ = await worker.opened()
        for turn in range(6):
            await worker.journal.choose(scanned, "S1" if (number + turn) % 2 else "S2")
            await worker.hears()

    await asyncio.gather(*(come_and_go(number) for number in range(16)))


@pytest.mark.parametrize("change", [{"status": "paused"}, {"status": "retired"}, {"capacity": 1}])
async def test_a_worker_that_has_not_heard_of_a_change_sends_visitors_on(
    world: World, change: dict[str, object]
) -> None:
    first, second = await world.put_code("S1", 10), await world.put_code("S2", 10)
    await world.visit()
    await world.change(first, **change)
    routing = await world.visit()  # a worker that knows of the code, and not of the change
    assert routing.code_id == second


# ---------------------------------------------------------------- a seat that is no good any more


Ending = Callable[[World, uuid.UUID], Awaitable[None]]


async def _paused(world: World, code_id: uuid.UUID) -> None:
    await world.change(code_id, status="paused")


async def _retired(world: World, code_id: uuid.UUID) -> None:
    await world.change(code_id, status="retired")


async def _expired(world: World, code_id: uuid.UUID) -> None:
    await world.change(code_id, expires_at=datetime(2026, 1, 1, tzinfo=UTC))


async def _closed(world: World, code_id: uuid.UUID) -> None:
    await world.put_store("S1", "closed")


async def _counted_full(world: World, code_id: uuid.UUID) -> None:
    await world.change(code_id, members=10)


@pytest.mark.parametrize("ending", [_paused, _retired, _expired, _closed, _counted_full])
@pytest.mark.parametrize("by", ["the same scan", "a new scan"])
async def test_a_code_that_cannot_serve_any_more_is_replaced_at_once_and_its_seat_settled(
    world: World, ending: Ending, by: str
) -> None:
    first, second = await world.put_code("S1", 10), await world.put_code("S2", 10)
    visitor = uuid.uuid4()
    scanned, _ = await world.workers[0].opened(visitor)
    assert (await world.workers[0].journal.locate(scanned, HERE)).code_id == first
    await ending(world, first)
    await world.all_hear()
    if by == "a new scan":
        scanned, _ = await world.workers[1].opened(visitor)
    routing = await world.workers[1].journal.locate(scanned, HERE)
    assert routing.code_id == second
    assert (await world.code(first))[1] == 0
    assert await world.code(second) == (0, 1)
    states = await world.pool.fetch("SELECT state FROM holds ORDER BY hold_id")
    assert [row["state"] for row in states] == ["released", "held"]


async def test_when_nothing_else_can_serve_the_seat_is_settled_all_the_same(world: World) -> None:
    only = await world.put_code("S1", 10)
    visitor = uuid.uuid4()
    await world.visit(0, visitor)
    await world.change(only, status="paused")
    await world.all_hear()
    assert (await world.visit(0, visitor)).outcome is Outcome.UNSERVED
    assert await world.code(only) == (0, 0)


async def test_who_comes_back_after_their_seat_ran_out_has_the_same_code_again(
    world: World,
) -> None:
    first = await world.put_code("S2", 10)
    visitor = uuid.uuid4()
    assert (await world.visit(0, visitor)).code_id == first
    await world.run_out()
    nearer = await world.put_code("S1", 10)
    again = await world.visit(1, visitor)
    assert (again.code_id, again.reason) == (first, Reason.RETURNING)
    assert await world.code(first) == (0, 1)
    assert await world.code(nearer) == (0, 0)


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("second", [0, 1])
@pytest.mark.parametrize("wrong_s", [-30, 30])
async def test_the_last_decision_is_the_last_whatever_the_clock_of_whoever_made_it_says(
    world: World, wrong_s: float, second: int
) -> None:
    code_id = await world.put_code("S1", 10)
    first, then = world.workers[0], world.workers[second]
    first.journal.ahead = timedelta(seconds=wrong_s)
    scanned, _ = await first.opened()
    await then.journal.locate(scanned, HERE)
    assert (await world.workers[0].journal.current(scanned)).code_id == code_id
    # Of nobody's memory, either.
    for event in (Event.PRESSED, Event.FULL):
        fresh = world.worker()
        await fresh.hears()
        await fresh.journal.tell(scanned, event)
    assert (await world.workers[0].journal.current(scanned)).outcome is Outcome.UNSERVED


async def test_who_joined_in_an_outage_keeps_the_seat_that_they_were_given_after_it(
    world: World, tmp_path: Path
) -> None:
    """What they pressed was another's code; the seat that came later is none of its business."""
    seen_then, given_after = await world.put_code("S2", 10), await world.put_code("S1", 10)
    visitor = uuid.uuid4()
    scanned, _ = await world.workers[0].opened(visitor)
    before = datetime.now(UTC)
    shown = Routing(
        scanned.scan_id, Outcome.CODE, Reason.NEAREST, HERE, store="S2", code_id=seen_then
    )
    assert (await world.visit(0, visitor)).code_id == given_after
    spool = Spool(tmp_path, 1_000_000)
    pressed = outage.Record(before, scanned, event=Event.PRESSED, shown=shown)
    await spool.keep(scanned.scan_id.hex.encode(), outage.dump(pressed))
    worker = world.worker(spool=spool)
    await worker.hears()
    assert await worker.journal.write_spooled() == 1
    assert await world.code(seen_then) == (1, 0)
    assert await world.code(given_after) == (0, 1)
    await world.check()
    assert (await world.visit(1, visitor)).code_id == given_after


# ---------------------------------------------------------------- late evidence


async def _shown(world: World) -> Scan:
    scanned, _ = await world.workers[0].opened()
    await world.workers[0].journal.locate(scanned, HERE)
    return scanned


async def test_who_joins_after_their_seat_ran_out_is_a_member_if_there_is_room(
    world: World,
) -> None:
    code_id = await world.put_code("S1", 1)
    scanned = await _shown(world)
    await world.run_out()
    assert await world.code(code_id) == (0, 0)
    await world.workers[1].journal.tell(scanned, Event.PRESSED)
    assert await world.code(code_id) == (1, 0)
    assert await world.pool.fetchval("SELECT count(*) FROM joins") == 1


async def test_who_joins_when_their_seat_is_another_s_is_no_member_until_there_is_room(
    world: World,
) -> None:
    code_id = await world.put_code("S1", 1)
    scanned = await _shown(world)
    await world.run_out()
    await _shown(world)  # another visitor has it now
    for _ in range(2):
        await world.workers[0].journal.tell(scanned, Event.PRESSED)
    assert await world.code(code_id) == (0, 1)
    assert await world.pool.fetchval("SELECT count(*) FROM joins") == 0
    assert await world.pool.fetchval("SELECT count(*) FROM evidence") == 1, "kept, and once"
    await world.run_out()
    await world.workers[0].journal.tell(scanned, Event.PRESSED)
    assert await world.code(code_id) == (1, 0)
    assert await world.pool.fetchval("SELECT count(*) FROM evidence") == 1


async def test_of_several_who_join_late_at_once_as_many_are_members_as_there_is_room_for(
    world: World,
) -> None:
    code_id = await world.put_code("S1", 6)
    late = [await _shown(world) for _ in range(6)]
    await world.run_out()
    held = [await _shown(world) for _ in range(3)]
    await asyncio.gather(
        *(world.workers[i % 2].journal.tell(s, Event.JOINED) for i, s in enumerate(late)),
        *(world.workers[i % 2].journal.tell(s, Event.PRESSED) for i, s in enumerate(held)),
    )
    assert await world.code(code_id) == (6, 0)
    assert await world.pool.fetchval("SELECT count(*) FROM joins") == 6
    assert await world.pool.fetchval("SELECT count(*) FROM evidence") == 9
