"""Many visitors, few seats, two worker processes: exactly the seats that there are are granted.

And the negative control: with the guard switched off the same race must oversell, or it would prove
nothing.

The race is made, not hoped for: while the visitors ask, the code's row is locked, so that every
worker has decided to ask for a seat before the first one is granted.
"""

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from service import db
from tests import running
from tests.service import auditing, processes

STORES = {"S1": (121.4737, 31.2304)}
POSITION = {"lon": 121.4737, "lat": 31.2304, "accuracy_m": 10}
VISITORS = 40
SEATS = 3
# Each worker writes two batches at a time: so many wait for the row that is locked.
BATCHES = 4


@contextlib.contextmanager
def two_workers(url: str, folder: Path, *program: str) -> Iterator[list[processes.Server]]:
    run = program or processes.NEARCODE
    servers = [processes.Server(url, folder, program=run) for _ in range(2)]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_until_ready()
        yield servers
    finally:
        codes = [server.stop() for server in servers]
    assert codes == [0, 0]


async def prepare(url: str, *, guarded: bool) -> tuple[uuid.UUID, uuid.UUID]:
    connection = await db.connect(url)
    try:
        chain_id = await auditing.build(connection, "tea", STORES)
        code_id = await auditing.put_code(connection, chain_id, "S1", SEATS)
        if not guarded:
            await connection.execute("ALTER TABLE codes DROP CONSTRAINT never_oversold")
        return chain_id, code_id
    finally:
        await connection.close()


async def race(url: str, base_urls: list[str], code_id: uuid.UUID) -> list[dict[str, Any]]:
    """What each visitor was answered."""
    watcher = await asyncpg.connect(url)
    holder = await asyncpg.connect(url)
    limits = httpx.Limits(max_connections=None)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=base, timeout=60, trust_env=False, limits=limits)
            )
            for base in base_urls
        ]

        async def post(number: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
            client = clients[number % len(clients)]
            headers = {"X-Visitor": f"visitor {number}"}
            return running.answered(await client.post(path, json=body, headers=headers))

        opened = await asyncio.gather(
            *(post(number, "/api/v1/scans", {"entry": "tea"}) for number in range(VISITORS))
        )
        paths = [f"/api/v1/scans/{scan['scan_id']}/position" for scan in opened]
        async with holder.transaction():
            await holder.execute("SELECT FROM codes WHERE code_id = $1 FOR UPDATE", code_id)
            asked = [
                asyncio.ensure_future(post(number, path, POSITION))
                for number, path in enumerate(paths)
            ]
            async with asyncio.timeout(30):
                while await _batches_that_wait(watcher) < BATCHES:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        answers = await asyncio.gather(*asked)
    await watcher.close()
    await holder.close()
    return answers


async def _batches_that_wait(connection: asyncpg.Connection) -> int:
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return count


async def counted(url: str, chain_id: uuid.UUID) -> tuple[int, int, dict[str, list[str]]]:
    """The code's seats that are held, its hold rows, and what is wrong."""
    connection = await db.connect(url)
    try:
        held = await connection.fetchval("SELECT held FROM codes WHERE chain_id = $1", chain_id)
        rows = await connection.fetchval("SELECT count(*) FROM holds WHERE state = 'held'")
        return held, rows, await auditing.faults(connection, chain_id)
    finally:
        await connection.close()


def test_of_many_visitors_at_two_workers_exactly_as_many_have_a_seat_as_there_are(
    database_url: str, tmp_path: Path
) -> None:
    chain_id, code_id = running.run(prepare(database_url, guarded=True))
    with two_workers(database_url, tmp_path) as servers:
        urls = [server.base_url for server in servers]
        answers = running.run(race(database_url, urls, code_id))
    assert Counter(answer["outcome"] for answer in answers) == {
        "code": SEATS,
        "unserved": VISITORS - SEATS,
    }
    assert {answer["reason"] for answer in answers} == {"nearest", "all_full"}
    held, rows, faults = running.run(counted(database_url, chain_id))
    assert (held, rows) == (SEATS, SEATS)
    assert faults == {}


def test_with_the_guard_switched_off_the_same_race_oversells(
    database_url: str, tmp_path: Path
) -> None:
    chain_id, code_id = running.run(prepare(database_url, guarded=False))
    with two_workers(database_url, tmp_path, "-m", "tests.service.unguarded") as servers:
        urls = [server.base_url for server in servers]
        answers = running.run(race(database_url, urls, code_id))
    granted = sum(answer["outcome"] == "code" for answer in answers)
    assert granted > SEATS
    held, rows, faults = running.run(counted(database_url, chain_id))
    assert (held, rows) == (granted, granted)
    assert "a code is oversold" in faults, "and the audit would see it"


def test_the_database_itself_refuses_what_a_worker_without_a_guard_would_do(
    database_url: str,
) -> None:
    async def oversell() -> None:
        connection = await db.connect(database_url)
        try:
            chain_id = await auditing.build(connection, "tea", STORES)
            code_id = await auditing.put_code(connection, chain_id, "S1", SEATS)
            with pytest.raises(asyncpg.CheckViolationError, match="never_oversold"):
                await connection.execute(
                    "UPDATE codes SET held = $2 WHERE code_id = $1", code_id, SEATS + 1
                )
        finally:
            await connection.close()

    running.run(oversell())
