"""Several workers at once send orders, tell of members and look for late joins: nothing is lost,
and every order ends where it belongs. Without the ledger's lock it would not."""

import asyncio
import dataclasses
import random
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from service import db, orders
from tests.service import buying
from tests.service.buying import World

WORKERS = 3  # as many as there are joins to tell of
STEPS = 25
NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=3)
KEYS = ("u1", "u2", "u3")


async def race(conn: db.Connection, database_url: str) -> World:
    """The chain after it."""
    world = await buying.world(conn)
    for number in range(6):
        scan = await world.scan(NOON + timedelta(minutes=number), "poster")
        if number % 2:
            await world.join(scan, "S1" if number % 3 else "S2", scan.scanned_at)
    connections = [await db.connect(database_url) for _ in range(WORKERS)]
    try:
        # Each is the same chain, seen by another worker.
        workers = [dataclasses.replace(world, connection=each) for each in connections]
        async with asyncio.TaskGroup() as tasks:
            for number, worker in enumerate(workers):
                tasks.create_task(work(worker, number))
    finally:
        for each in connections:
            await each.close()
    await world.catch_up()
    return world


async def work(world: World, worker: int) -> None:
    """Orders of its own numbers, of everybody's members and scans."""
    chance = random.Random(worker)
    joins = [join for scan in world.scans for join in scan.joins]
    for step in range(STEPS):
        what = chance.random()
        if what < 0.2:
            # Of one join each, so that what it became last is known.
            await world.tell(joins[worker % len(joins)], unionid=chance.choice(KEYS))
        elif what < 0.3:
            await world.catch_up()
        elif what < 0.4 and worker == 0:
            await world.join(world.scans[chance.choice((0, 2, 4))], "S2", NOON)
        else:
            sent = [_order(chance, world, f"{worker}-{chance.randrange(8)}") for _ in range(3)]
            await world.send(*{each["order"]: each for each in sent}.values())
        await asyncio.sleep(0 if step % 3 else 0.002)


def _order(chance: random.Random, world: World, number: str) -> dict[str, Any]:
    refund = chance.random() < 0.25
    order = {
        "order": number,
        "kind": "refund" if refund else "order",
        "at": (NOON + timedelta(hours=chance.randrange(1, 40))).isoformat(),
        "amount": f"{chance.randrange(1, 10_000) / 100:.2f}",
    }
    if refund and chance.random() < 0.5:
        order["refunds"] = f"{chance.randrange(WORKERS)}-{chance.randrange(8)}"
        if order["refunds"] == number:
            del order["refunds"]
    if chance.random() < 0.5:
        return order | {"member": chance.choice(KEYS)}
    return order | {"scan_id": str(chance.choice(world.scans).scan_id)}


async def test_workers_at_once_lose_nothing_and_match_as_one_would(
    conn: db.Connection, database_url: str
) -> None:
    world = await race(conn, database_url)
    await buying.audit(world)
    rules = {match[1] for match in world.matches().values() if match}
    assert rules >= {"scan_id", "unionid"}


async def test_without_the_lock_they_would_not(
    conn: db.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unlocked(connection: db.Connection, chain_id: uuid.UUID) -> uuid.UUID:
        await orders._sql.by_key(connection)
        return uuid.UUID(int=0)

    monkeypatch.setattr(orders, "take_turn", unlocked)
    went_wrong = False
    for _ in range(5):
        try:
            await buying.audit(await race(conn, database_url))
        except* (AssertionError, asyncpg.PostgresError):
            went_wrong = True
        if went_wrong:
            break
    assert went_wrong, "the lock protects from nothing"
