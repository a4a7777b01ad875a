"""The outbox: nothing is lost, nothing is told that was rolled back, whoever dies when."""

import asyncio
import contextlib
import functools
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest

from service import accounts, db, outbox, webhooks
from service.directory import Directory
from service.domain import Event as Told
from service.outbox import Event
from service.settings import Settings
from service.steps import hold, join
from service.webhook_delivery import Deliveries
from tests import receiver, running
from tests.receiver import Answer, Receiver
from tests.service import auditing, processes

SECRET = b"s" * 32
STORES = {"S1": (121.4737, 31.2304)}
SETTINGS = Settings(
    webhook_timeout_s=5,
    webhook_retry_s=0.05,
    webhook_private_networks=receiver.PRIVATE,
)


@pytest.fixture
def crm() -> Iterator[Receiver]:
    with receiver.receiving() as made:
        yield made


class World:
    """A chain with one store, a code for 1,000, and an endpoint for everything."""

    def __init__(self, pool: asyncpg.Pool, chain_id: uuid.UUID) -> None:
        self.pool, self.chain_id = pool, chain_id
        self.worker = auditing.Worker(pool, SETTINGS, "tea")

    async def put_webhook(self, crm: Receiver, path: str = "/hook") -> uuid.UUID:
        values = webhooks.Values(crm.url + path, tuple(Event))
        async with db.acquire(self.pool) as connection:
            row, _ = await webhooks.create(connection, self.chain_id, values, SECRET, most=0)
        await self.worker.hears()
        found: uuid.UUID = row["webhook_id"]
        return found

    async def join(self) -> uuid.UUID:
        """A visitor joins; the scan."""
        scanned, _ = await self.worker.opened()
        await self.worker.journal.locate(scanned, auditing.fix_at(*STORES["S1"]))
        await self.worker.journal.tell(scanned, Told.PRESSED)
        return scanned.scan_id

    async def count(self, table: str) -> int:
        return int(await self.pool.fetchval(f"SELECT count(*) FROM {table}"))

    async def states(self) -> Counter[str]:
        rows = await self.pool.fetch("SELECT state FROM deliveries")
        return Counter(row["state"] for row in rows)

    @contextlib.asynccontextmanager
    async def delivering(self, settings: Settings = SETTINGS) -> AsyncIterator[Deliveries]:
        """Another worker's deliveries, for the time of the block."""
        directory = Directory()
        async with db.acquire(self.pool) as connection:
            await directory.refresh(connection)
        made = Deliveries(functools.partial(db.acquire, self.pool), directory, settings, SECRET)
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def until(self, **states: int) -> None:
        deadline = time.monotonic() + 30
        while await self.states() != Counter(states):
            assert time.monotonic() < deadline, await self.states()
            await asyncio.sleep(0.03)

    async def until_attempted(self, attempts: int) -> None:
        deadline = time.monotonic() + 30
        asked = "SELECT attempts FROM deliveries WHERE attempted_at IS NOT NULL"
        while await self.pool.fetchval(asked) != attempts:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=20, init=db.prepare) as pool:
        async with db.acquire(pool) as connection:
            chain_id = await auditing.build(connection, "tea", STORES)
            await auditing.put_code(connection, chain_id, "S1", 500)
        made = World(pool, chain_id)
        await made.worker.hears()
        yield made


async def test_what_is_rolled_back_is_told_to_nobody(world: World, crm: Receiver) -> None:
    await world.put_webhook(crm)

    class ChangedTheirMind(Exception):
        pass

    async with db.acquire(world.pool) as connection:
        for order in ("rolled back", "kept"):
            with contextlib.suppress(ChangedTheirMind):
                async with connection.transaction():
                    await outbox.put(
                        connection, world.chain_id, Event.ORDER_MATCHED, {"order": order}
                    )
                    if order != "kept":
                        raise ChangedTheirMind
    async with world.delivering():
        await world.until(delivered=1)
    assert [each.message["data"] for each in crm.received] == [{"order": "kept"}]


async def test_a_flush_that_fails_tells_of_none_of_its_joins(
    world: World, crm: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails after the outbox was written, in the transaction of the joins."""
    await world.put_webhook(crm)
    original, failed = outbox.write, 0

    async def written_and_failed(connection: db.Connection, rows: str) -> None:
        nonlocal failed
        await original(connection, rows)
        failed += 1
        if failed == 1:
            raise RuntimeError("after it was written")

    monkeypatch.setattr(outbox, "write", written_and_failed)
    with pytest.raises(RuntimeError):
        await world.join()
    assert (await world.count("joins"), await world.count("outbox")) == (0, 0)
    await world.join()
    assert (await world.count("joins"), await world.count("outbox")) == (1, 1)


async def test_a_join_that_left_is_told_with_the_change_or_not_at_all(
    world: World, crm: Receiver
) -> None:
    await world.put_webhook(crm)
    await world.join()
    join_id = await world.pool.fetchval("SELECT join_id FROM joins")
    async with db.acquire(world.pool) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await join.leave(connection, world.chain_id, join_id)
        await transaction.rollback()
    assert await world.count("outbox") == 1
    for _ in range(2):
        await world.worker.journal.leave(world.chain_id, join_id)
    assert await world.count("outbox") == 2


async def test_where_nobody_listens_a_join_costs_no_statement_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(connection: db.Connection, rows: str) -> None:
        pytest.fail("something was written")

    monkeypatch.setattr(outbox, "write", never)
    await world.join()
    assert await world.count("joins") == 1


async def test_of_four_workers_each_message_is_sent_once(world: World, crm: Receiver) -> None:
    await world.put_webhook(crm)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(world.delivering())
        await asyncio.gather(*(world.join() for _ in range(60)))
        await world.until(delivered=60)
    counts = Counter(each.message_id for each in crm.received)
    assert len(counts) == 60
    assert set(counts.values()) == {1}


async def test_one_that_fails_is_tried_with_one_message_alone_until_it_takes_it(
    world: World, crm: Receiver
) -> None:
    under_way, most, mended = 0, 0, False
    lock = threading.Lock()

    def answer(received: receiver.Received, number: int) -> Answer:
        nonlocal under_way, most
        with lock:
            under_way += 1
            if number > 12:
                most = max(most, under_way)
        time.sleep(0.02)
        with lock:
            under_way -= 1
        return Answer(200 if mended else 500)

    crm.answer = answer
    await world.put_webhook(crm)
    await asyncio.gather(*(world.join() for _ in range(30)))
    async with world.delivering():
        await asyncio.to_thread(crm.wait_for, 40)
        assert most == 1
        mended = True
        await world.until(delivered=30)


async def test_deliveries_go_on_when_the_database_has_cut_every_connection(
    world: World, crm: Receiver
) -> None:
    await world.put_webhook(crm)
    async with world.delivering():
        for _ in range(5):
            await asyncio.gather(*(world.join() for _ in range(4)))
            async with db.acquire(world.pool) as connection:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        await world.until(delivered=20)
    assert len({each.message_id for each in crm.received}) == 20


async def test_what_a_dead_worker_had_taken_is_sent_by_another_with_the_same_id(
    world: World, crm: Receiver
) -> None:
    await world.put_webhook(crm)
    await world.join()
    # A worker takes it, and is no more.
    claim = db.load("webhooks").claim
    async with db.acquire(world.pool) as connection:
        taken = await db.rows(claim(connection, each=5, busy_webhooks=[], busy=[], lease_s=1))
        assert len(taken) == 1
        none = await db.rows(claim(connection, each=5, busy_webhooks=[], busy=[], lease_s=1))
        assert none == []
    async with world.delivering():
        await world.until(delivered=1)
    assert [each.message_id for each in crm.received] == [str(taken[0]["event_id"])]


async def test_an_answer_that_comes_after_the_lease_says_nothing_any_more(
    world: World, crm: Receiver
) -> None:
    await world.put_webhook(crm)
    await world.join()
    claim = db.load("webhooks").claim
    async with db.acquire(world.pool) as connection:
        (late,) = await db.rows(claim(connection, each=5, busy_webhooks=[], busy=[], lease_s=0))
        (newer,) = await db.rows(claim(connection, each=5, busy_webhooks=[], busy=[], lease_s=60))
    crm.answer = lambda received, number: Answer(500 if number == 1 else 200)
    async with world.delivering() as deliveries:
        await deliveries.deliver(late)
        assert await world.states() == Counter(pending=1)
        await deliveries.deliver(newer)
        assert await world.states() == Counter(delivered=1)
    assert len(crm.received) == 2


async def test_pauses_grow_fourfold_with_jitter_until_it_is_dead_after_three_days(
    world: World, crm: Receiver
) -> None:
    """The schedule, by a clock of ours: what is due is made due at once, and each pause read."""
    settings = Settings(webhook_private_networks=receiver.PRIVATE)
    crm.answer = lambda received, number: Answer(500)
    await world.put_webhook(crm)
    await world.join()
    pauses: list[float] = []
    async with world.delivering(settings) as deliveries:
        while True:
            await world.until_attempted(len(pauses) + 1)
            row = await world.pool.fetchrow(
                "SELECT state, extract(epoch FROM due_at - attempted_at)::float8 AS pause_s"
                " FROM deliveries"
            )
            if row["state"] == "dead":
                break
            pauses.append(row["pause_s"])
            await world.pool.execute(
                "UPDATE deliveries SET due_at = now(), attempted_at = NULL,"
                " since = since - $1::interval",
                timedelta(seconds=row["pause_s"]),
            )
        assert deliveries is not None
    expected = [5, 20, 80, 320, 1280, 5120, 20480, *[43200] * 9]
    for pause, about in zip(pauses, expected, strict=False):
        assert 0.79 * about <= pause <= 1.21 * about
    assert 11 <= len(pauses) <= 15
    assert 58 * 3600 < sum(pauses) <= 72 * 3600
    assert len({round(p / e, 3) for p, e in zip(pauses, expected, strict=False)}) > 3, "jitter"


async def test_what_happened_long_ago_is_forgotten(world: World, crm: Receiver) -> None:
    await world.put_webhook(crm)
    async with db.acquire(world.pool) as connection:
        for days in (31, 29):
            row = outbox.row(world.chain_id, Event.ORDER_MATCHED, {"days": days})
            at = datetime.now(UTC) - timedelta(days=days)
            row["event_id"] = uuid.UUID(int=int(at.timestamp() * 1000) << 80)
            await outbox.put_rows(connection, [row])
        await webhooks.forget(connection, 0)
        assert await world.count("deliveries") == 2
        await webhooks.forget(connection, SETTINGS.webhook_days)
    assert (await world.count("deliveries"), await world.count("outbox")) == (1, 1)


# ---------------------------------------------------------------- processes that are killed


class Crowd:
    """Visitors who come to workers that are processes of their own, and join."""

    def __init__(self, bases: list[str]) -> None:
        self._clients = [httpx.Client(base_url=base, trust_env=False, timeout=5) for base in bases]

    def join(self, at: int = 0) -> bool:
        """Whether somebody was told that they have joined."""
        client = self._clients[at]
        lon, lat = STORES["S1"]
        try:
            headers = {"X-Visitor": uuid.uuid4().hex}
            answer = client.post("/api/v1/scans", json={"entry": "tea"}, headers=headers)
            path = f"/api/v1/scans/{answer.json()['scan_id']}"
            where = {"lon": lon, "lat": lat, "accuracy_m": 10}
            client.post(f"{path}/position", json=where).raise_for_status()
            client.post(f"{path}/events", json={"event": "joined"}).raise_for_status()
        except (httpx.HTTPError, KeyError, ValueError):
            return False
        return True

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def workers(database_url: str, tmp_path: Path, crm: Receiver) -> Iterator[list[processes.Server]]:
    """Two, on one database, with an endpoint for joins."""
    running.run(_prepare(database_url, crm))
    settings = {
        "webhook_timeout_s": "2",
        "webhook_retry_s": "0.1",
        "webhook_private_networks": receiver.PRIVATE,
        "database_pool": "4",
        "log_level": "WARNING",
        "max_holds_per_address": "0",
        "max_holds_per_subnet": "0",
    }
    servers = [processes.Server(database_url, tmp_path, settings=settings) for _ in range(2)]
    for server in servers:
        server.start()
    for server in servers:
        server.wait_until_ready()
    yield servers
    for server in servers:
        server.stop()


async def _prepare(database_url: str, crm: Receiver) -> None:
    connection = await db.connect(database_url)
    try:
        chain_id = await auditing.build(connection, "tea", STORES)
        await auditing.put_code(connection, chain_id, "S1", 500)
        values = webhooks.Values(crm.url + "/hook", (Event.JOIN_CREATED,))
        secret = await accounts.installation_secret(connection)
        await webhooks.create(connection, chain_id, values, secret, most=0)
    finally:
        await connection.close()


async def _joins(database_url: str) -> set[str]:
    connection = await db.connect(database_url)
    try:
        return {str(row["join_id"]) for row in await connection.fetch("SELECT join_id FROM joins")}
    finally:
        await connection.close()


def _told(crm: Receiver) -> set[str]:
    return {str(each.message["data"]["join_id"]) for each in list(crm.received)}


def test_a_worker_that_is_killed_between_commit_and_sending_loses_nothing(
    workers: list[processes.Server], database_url: str, crm: Receiver
) -> None:
    alone, other = workers
    other.kill()
    crowd = Crowd([alone.base_url])
    try:
        assert crowd.join()
        alone.kill()  # at once: what it has committed, it had hardly time to send
        joined = running.run(_joins(database_url))
        assert len(joined) == 1
        other.start()
        crm.wait_for(1)
        assert _told(crm) == joined
    finally:
        crowd.close()
        alone.start()


def test_a_worker_that_is_killed_while_it_sends_leaves_it_to_another(
    workers: list[processes.Server], crm: Receiver
) -> None:
    crm.answer = lambda received, number: Answer(after_s=1.5 if number == 1 else 0)
    crowd = Crowd([server.base_url for server in workers])
    try:
        assert crowd.join()
        crm.wait_for(1)
        for server in workers:
            server.kill()  # one of them was sending
        workers[0].start()
        first, second = crm.wait_for(2)
        assert first.message_id == second.message_id
        assert first.body == second.body
    finally:
        crowd.close()
        workers[1].start()


def test_workers_that_die_again_and_again_lose_no_join_and_invent_none(
    workers: list[processes.Server], database_url: str, crm: Receiver
) -> None:
    rng = random.Random(5)
    crm.answer = lambda received, number: Answer(500 if number % 5 == 0 else 200)
    crowd = Crowd([server.base_url for server in workers])
    answered = 0
    try:
        for _ in range(4):
            for _ in range(rng.randrange(3, 15)):
                answered += crowd.join(rng.randrange(2))
            victim = rng.choice(workers)
            victim.kill()
            victim.start()
            victim.wait_until_ready()
        deadline = time.monotonic() + 60
        joined = running.run(_joins(database_url))
        while _told(crm) != joined:
            assert time.monotonic() < deadline, f"{len(_told(crm))} of {len(joined)}"
            time.sleep(0.1)
    finally:
        crowd.close()
    assert len(joined) >= answered > 10
    # The same event always has the same id.
    ids = {(each.message["data"]["join_id"], each.message_id) for each in crm.received}
    assert len(ids) == len(joined)


# ---------------------------------------------------------------- holds that come late


async def test_a_join_by_late_evidence_is_told_of_once(world: World, crm: Receiver) -> None:
    await world.put_webhook(crm)
    scanned, _ = await world.worker.opened()
    await world.worker.journal.locate(scanned, auditing.fix_at(*STORES["S1"]))
    await world.pool.execute("UPDATE holds SET held_until = now() - interval '1 s'")
    async with db.acquire(world.pool) as connection:
        await hold.expire(connection)
    await world.worker.journal.tell(scanned, Told.PRESSED)
    await world.worker.journal.tell(scanned, Told.JOINED)
    assert (await world.count("joins"), await world.count("outbox")) == (1, 1)
