"""Seats: never oversold, whoever comes at once. Real connections, and a negative control."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from geo.point import Point
from service import accounts, catalog, db, importing, qr, tabular
from service.directory import Directory
from service.domain import Event, Fix, Outcome, Routing, Scan, Source
from service.journal import Journal
from service.settings import Settings
from service.steps import scan
from tests import running
from tests.service import unguarded

HERE = Fix(point=Point(121.4737, 31.2304), accuracy_m=10, source=Source.GPS)
STORES = {"S1": 121.4737, "S2": 121.4837, "S3": 121.4937}


class World:
    """A chain with three stores in a row, and a journal on it."""

    def __init__(self, url: str, pool: asyncpg.Pool, chain_id: uuid.UUID) -> None:
        self.url, self.pool, self.chain_id = url, pool, chain_id
        self.settings = Settings(database_pool=40)
        self.directory = Directory()
        self.journal = Journal(pool, self.directory, self.settings, b"secret")

    async def put_code(self, store: str, token: str, capacity: int) -> uuid.UUID:
        payload = running.payload(token)
        new = catalog.NewCode(store, payload, qr.classify(payload), capacity)
        async with db.acquire(self.pool) as connection:
            row = await catalog.create_code(
                connection, self.chain_id, new, datetime.now(UTC), self.settings
            )
            await self.directory.refresh(connection)
        code_id: uuid.UUID = row["code_id"]
        return code_id

    async def opened(self, visitor: uuid.UUID | None = None) -> Scan:
        client = scan.Client(visitor_id=visitor or uuid.uuid4(), via="api")
        return (await self.journal.open(self.directory.entries["tea"], None, client))[0]

    async def visit(self, visitor: uuid.UUID | None = None) -> Routing:
        return await self.journal.locate(await self.opened(visitor), HERE)

    async def counters(self) -> dict[str, tuple[int, int, int]]:
        """By store: capacity, members, held."""
        rows = await self.pool.fetch("SELECT store, capacity, members, held FROM codes")
        return {row["store"]: (row["capacity"], row["members"], row["held"]) for row in rows}

    async def check(self) -> None:
        """What must be true at any moment: counters equal the rows, nothing is oversold."""
        wrong = await self.pool.fetch("""
            SELECT c.store, c.capacity, c.members, c.held,
                   count(h.*) FILTER (WHERE h.state = 'held') AS rows_held,
                   count(h.*) FILTER (WHERE h.state = 'joined') AS rows_joined
            FROM codes c LEFT JOIN holds h ON h.chain_id = c.chain_id AND h.code_id = c.code_id
            GROUP BY c.chain_id, c.code_id
            HAVING c.held <> count(h.*) FILTER (WHERE h.state = 'held')
                OR c.members <> count(h.*) FILTER (WHERE h.state = 'joined')
                OR c.members + c.held > c.capacity""")
        assert wrong == []


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with asyncpg.create_pool(database_url, min_size=30, max_size=40, init=db.prepare) as pool:
        async with pool.acquire() as connection:
            chain_id = await accounts.create_chain(connection, "tea", "茶")
            for store, lon in STORES.items():
                row = {"store": store, "name": store, "lon": lon, "lat": 31.2304}
                parsed = importing.stores(tabular.one(row))
                await catalog.put_stores(connection, chain_id, parsed.rows)
            await catalog.create_entry(
                connection,
                chain_id,
                "tea",
                catalog.EntryValues("茶"),
                datetime.now(UTC),
                Settings(),
            )
        yield World(database_url, pool, chain_id)


async def test_fifty_at_once_for_ten_seats_get_ten_and_the_rest_the_next_store(
    world: World,
) -> None:
    first = await world.put_code("S1", "one", 10)
    second = await world.put_code("S2", "two", 100)
    scans = await asyncio.gather(*(world.opened() for _ in range(50)))
    routings = await asyncio.gather(*(world.journal.locate(s, HERE) for s in scans))
    assert Counter(routing.code_id for routing in routings) == {first: 10, second: 40}
    for routing in routings:
        if routing.code_id == second:
            assert routing.reason == "next_store"
            assert [hop.skipped for hop in routing.hops] == ["full"]
    assert await world.counters() == {"S1": (10, 0, 10), "S2": (100, 0, 40)}
    await world.check()


async def test_without_the_condition_the_same_race_oversells(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: it is the update's condition that holds, not luck or the test."""
    await world.put_code("S1", "one", 10)
    await world.pool.execute("ALTER TABLE codes DROP CONSTRAINT never_oversold")
    for module, queries in unguarded.queries():
        monkeypatch.setattr(module, "_sql", queries)
    scans = await asyncio.gather(*(world.opened() for _ in range(30)))
    await asyncio.gather(*(world.journal.locate(s, HERE) for s in scans))
    capacity, _, held = (await world.counters())["S1"]
    assert held > capacity


async def test_the_database_itself_refuses_to_oversell(world: World) -> None:
    code_id = await world.put_code("S1", "one", 1)
    with pytest.raises(asyncpg.CheckViolationError, match="never_oversold"):
        await world.pool.execute("UPDATE codes SET held = 2 WHERE code_id = $1", code_id)


async def test_one_visitor_scanning_many_times_at_once_takes_one_seat(world: World) -> None:
    await world.put_code("S1", "one", 10)
    await world.put_code("S2", "two", 10)
    visitor = uuid.uuid4()
    routings = await asyncio.gather(*(world.visit(visitor) for _ in range(20)))
    assert len({routing.code_id for routing in routings}) == 1
    assert len({routing.hold_id for routing in routings}) == 1
    assert (await world.counters())["S1"] == (10, 0, 1)
    await world.check()


async def test_the_same_evidence_at_once_makes_one_member(world: World) -> None:
    await world.put_code("S1", "one", 10)
    opened = await world.opened()
    await world.journal.locate(opened, HERE)
    await asyncio.gather(
        *(world.journal.tell(opened, event) for event in (Event.PRESSED, Event.JOINED) * 10)
    )
    assert (await world.counters())["S1"] == (10, 1, 0)
    assert await world.pool.fetchval("SELECT count(*) FROM joins") == 1
    assert await world.pool.fetchval("SELECT evidence FROM joins") == "reported"
    await world.check()


async def test_visitors_crossing_between_two_codes_neither_block_nor_lose_a_seat(
    world: World,
) -> None:
    """Half move from S1 to S2 while half move from S2 to S1: the locks are taken crosswise."""
    await world.put_code("S1", "one", 60)
    await world.put_code("S2", "two", 60)
    scans = await asyncio.gather(*(world.opened() for _ in range(30)))
    await asyncio.gather(
        *(world.journal.choose(s, "S1" if i % 2 else "S2") for i, s in enumerate(scans))
    )
    await asyncio.gather(
        *(world.journal.choose(s, "S2" if i % 2 else "S1") for i, s in enumerate(scans))
    )
    assert await world.counters() == {"S1": (60, 0, 15), "S2": (60, 0, 15)}
    await world.check()


async def test_expiry_frees_every_seat_once_while_visitors_come_and_join(world: World) -> None:
    await world.put_code("S1", "one", 5)
    await world.put_code("S2", "two", 5)
    world.settings = Settings(hold_s=0.05)
    world.journal = Journal(world.pool, world.directory, world.settings, b"secret")

    async def visitor(number: int) -> None:
        opened = await world.opened()
        routing = await world.journal.locate(opened, HERE)
        if routing.outcome is Outcome.CODE and number % 4 == 0:
            await asyncio.sleep(0.03 * (number % 3))
            await world.journal.tell(opened, Event.PRESSED)

    async def sweeper() -> None:
        while True:
            await world.journal.sweep()
            await asyncio.sleep(0.01)

    sweeping = [asyncio.ensure_future(sweeper()) for _ in range(2)]
    for start in range(0, 60, 15):
        await asyncio.gather(*(visitor(number) for number in range(start, start + 15)))
        await asyncio.sleep(0.05)
    for task in sweeping:
        task.cancel()
    await asyncio.gather(*sweeping, return_exceptions=True)
    await asyncio.sleep(0.1)
    await world.journal.sweep()
    await world.check()
    assert all(held == 0 for _, _, held in (await world.counters()).values())


async def test_what_a_worker_knows_is_what_the_database_says(world: World) -> None:
    await world.put_code("S1", "one", 3)
    await world.put_code("S2", "two", 3)
    for _ in range(5):
        await world.visit()
    fresh = Directory()
    async with world.pool.acquire() as connection:
        await fresh.refresh(connection)
    known, anew = world.directory.chains[world.chain_id], fresh.chains[world.chain_id]
    assert {c.code_id: (c.members, c.held) for c in world.directory.codes.values()} == {
        c.code_id: (c.members, c.held) for c in fresh.codes.values()
    }
    assert [s for s in STORES if s in known.serving] == ["S2"]
    assert [s for s in STORES if s in anew.serving] == ["S2"]
