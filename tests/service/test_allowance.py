"""One address cannot take all seats, and a shop's customers are all served."""

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
from service.domain import Event, Fix, Reason, Routing, Source
from service.journal import Journal
from service.settings import Settings
from service.steps import scan
from tests import running

HERE = Fix(point=Point(121.4737, 31.2304), accuracy_m=10, source=Source.GPS)


class Worker:
    def __init__(self, pool: asyncpg.Pool, settings: Settings) -> None:
        self.directory = Directory()
        self.journal = Journal(pool, self.directory, settings, b"secret")

    async def visit(self, address: str, visitor: uuid.UUID | None = None) -> Routing:
        client = scan.Client(visitor or uuid.uuid4(), via="api", address=address)
        entry = self.directory.entries["tea"]
        opened, _ = await self.journal.open(entry, None, client)
        return await self.journal.locate(opened, HERE)


class Shop:
    """One store with a code of a thousand seats, and workers with the settings that are asked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def worker(self, **settings: object) -> Worker:
        worker = Worker(self.pool, Settings(**settings))  # type: ignore[arg-type]
        async with db.acquire(self.pool) as connection:
            await worker.directory.refresh(connection)
        return worker

    async def held(self) -> int:
        held: int = await self.pool.fetchval("SELECT sum(held) FROM codes")
        return held


@pytest.fixture
async def shop(database_url: str) -> AsyncIterator[Shop]:
    async with asyncpg.create_pool(database_url, min_size=2, max_size=10, init=db.prepare) as pool:
        async with pool.acquire() as connection:
            chain_id = await accounts.create_chain(connection, "tea", "茶")
            row = {"store": "S1", "name": "S1", "lon": 121.4737, "lat": 31.2304}
            await catalog.put_stores(connection, chain_id, importing.stores(tabular.one(row)).rows)
            now = datetime.now(UTC)
            await catalog.create_entry(
                connection, chain_id, "tea", catalog.EntryValues("茶"), now, Settings()
            )
            payload = running.payload("one")
            new = catalog.NewCode("S1", payload, qr.classify(payload), 400)
            await catalog.create_code(connection, chain_id, new, now, Settings())
        yield Shop(pool)


async def test_the_two_hundred_customers_behind_one_shops_wifi_are_all_served(shop: Shop) -> None:
    worker = await shop.worker()
    routings = await asyncio.gather(*(worker.visit("203.0.113.7") for _ in range(200)))
    assert Counter(routing.reason for routing in routings) == {Reason.NEAREST: 200}


async def test_one_address_holds_no_more_than_the_limit_and_another_is_served(shop: Shop) -> None:
    worker = await shop.worker(max_holds_per_address=40)
    routings = await asyncio.gather(*(worker.visit("203.0.113.7") for _ in range(60)))
    reasons = Counter(routing.reason for routing in routings)
    assert reasons == {Reason.NEAREST: 40, Reason.ADDRESS_LIMIT: 20}
    assert (await worker.visit("203.0.113.8")).reason is Reason.NEAREST
    assert await shop.held() == 41


async def test_one_network_holds_no_more_than_the_limit(shop: Shop) -> None:
    worker = await shop.worker(max_holds_per_subnet=30)
    for number in range(50):
        await worker.visit(f"2001:db8:0:{number:x}::1")
    assert await shop.held() == 30
    assert (await worker.visit("2001:db8:0:100::1")).reason is Reason.NEAREST


async def test_several_workers_share_the_limit(shop: Shop) -> None:
    workers = [await shop.worker(max_holds_per_address=40) for _ in range(3)]
    await asyncio.gather(*(worker.visit("203.0.113.7") for worker in workers for _ in range(30)))
    assert await shop.held() == 40


async def test_who_has_a_seat_keeps_it_and_may_move(shop: Shop) -> None:
    worker = await shop.worker(max_holds_per_address=1)
    visitor = uuid.uuid4()
    first = await worker.visit("203.0.113.7", visitor)
    assert (await worker.visit("203.0.113.7")).reason is Reason.ADDRESS_LIMIT
    again = await worker.visit("203.0.113.7", visitor)
    assert (again.reason, again.hold_id) == (Reason.RETURNING, first.hold_id)


async def test_a_seat_that_is_joined_or_runs_out_counts_no_more(shop: Shop) -> None:
    worker = await shop.worker(max_holds_per_address=2)
    client = scan.Client(uuid.uuid4(), via="api", address="203.0.113.7")
    opened, _ = await worker.journal.open(worker.directory.entries["tea"], None, client)
    await worker.journal.locate(opened, HERE)
    await worker.visit("203.0.113.7")
    assert (await worker.visit("203.0.113.7")).reason is Reason.ADDRESS_LIMIT
    await worker.journal.tell(opened, Event.PRESSED)
    assert (await worker.visit("203.0.113.7")).reason is Reason.NEAREST
    await shop.pool.execute("UPDATE holds SET held_until = now() WHERE state = 'held'")
    await worker.journal.sweep()
    assert (await worker.visit("203.0.113.7")).reason is Reason.NEAREST


async def test_zero_is_no_limit(shop: Shop) -> None:
    worker = await shop.worker(max_holds_per_address=0, max_holds_per_subnet=0)
    await asyncio.gather(*(worker.visit("203.0.113.7") for _ in range(120)))
    assert await shop.held() == 120
