"""A database that a previous version has worked on is brought up, and works."""

import dataclasses
import hashlib
import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service import accounts, db, invitations, signed_in
from service.domain import Event, Reason, uuid7
from service.settings import Settings
from tests import conftest, running
from tests.service import auditing

FIRST = "0001_initial.sql"
STORES = {"S1": (121.4737, 31.2304), "S2": (121.4837, 31.2304)}
_numbers = itertools.count(1)

CHAIN, S1_CODE, S2_CODE = uuid7(), uuid7(), uuid7()
HOLDER, MEMBER, REPORTER, LONG_AGO = (uuid.uuid4() for _ in range(4))


@pytest.fixture
def old_url(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database of the first version, with what happened there."""
    name = f"test_migrations_{next(_numbers)}"
    running.run(conftest.execute(postgres_url, f"CREATE DATABASE {name}"))
    url = conftest.with_database(postgres_url, name)
    of_now = db.migrations()
    assert of_now[0][0] == FIRST
    with monkeypatch.context() as then:
        then.setattr(db, "migrations", lambda: of_now[:1])
        running.run(db.migrate(url))
    running.run(_fill(url))
    yield url
    running.run(conftest.execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def _fill(url: str) -> None:
    """As the program of that version left it, by SQL: its code is not there any more."""
    connection = await asyncpg.connect(url)
    now = datetime.now(UTC)
    await connection.execute("SELECT ensure_month((now() - interval '1 month')::date)")
    await connection.execute(
        "INSERT INTO chains (chain_id, chain, name, version) VALUES ($1, 'tea', '茶', 3)", CHAIN
    )
    for store, (lon, lat) in STORES.items():
        await connection.execute(
            "INSERT INTO stores (chain_id, store, name, lon, lat, given_lon, given_lat, version)"
            " VALUES ($1, $2, $2, $3, $4, $3, $4, 1)",
            CHAIN,
            store,
            lon,
            lat,
        )
    for code_id, store, members, held in ((S1_CODE, "S1", 1, 1), (S2_CODE, "S2", 0, 0)):
        await connection.execute(
            "INSERT INTO codes (chain_id, code_id, store, kind, payload, capacity, members, held,"
            " version, revision) VALUES ($1, $2, $3, 'wecom_group', $4, 3, $5, $6, 2, 7)",
            CHAIN,
            code_id,
            store,
            running.payload(store),
            members,
            held,
        )
    await connection.execute(
        "INSERT INTO entries (chain_id, entry, name, version) VALUES ($1, 'tea', '茶', 3)", CHAIN
    )
    for visitor, state in ((HOLDER, "held"), (MEMBER, "joined")):
        await _visited(connection, visitor, state, now)
    for visitor, kind, at in (
        (REPORTER, "full", now),
        (REPORTER, "denied", now),
        (LONG_AGO, "broken", now - timedelta(days=2)),
    ):
        scan_id = await _scanned(connection, visitor, at)
        await connection.execute(
            "INSERT INTO visitors (chain_id, visitor_id, entry) VALUES ($1, $2, 'tea')"
            " ON CONFLICT DO NOTHING",
            CHAIN,
            visitor,
        )
        await connection.execute(
            "INSERT INTO complaints (chain_id, complaint_id, scan_id, visitor_id, code_id, store,"
            " kind, said_at) VALUES ($1, $2, $3, $4, $5, 'S1', $6, $7)",
            CHAIN,
            uuid7(at),
            scan_id,
            visitor,
            None if kind == "denied" else S1_CODE,
            kind,
            at,
        )
    await connection.close()


async def _scanned(connection: asyncpg.Connection, visitor: uuid.UUID, at: datetime) -> uuid.UUID:
    scan_id = uuid7(at)
    await connection.execute(
        "INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)"
        " VALUES ($1, $2, 'tea', $3, $4, 'page')",
        CHAIN,
        scan_id,
        visitor,
        at,
    )
    await connection.execute(
        "INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, routed_at)"
        " VALUES ($1, $2, $3, 'unserved', 'position_needed', $4)",
        CHAIN,
        uuid7(at),
        scan_id,
        at,
    )
    return scan_id


async def _visited(
    connection: asyncpg.Connection, visitor: uuid.UUID, state: str, at: datetime
) -> None:
    scan_id, hold_id = await _scanned(connection, visitor, at), uuid7(at)
    settled_at = None if state == "held" else at
    until = at + timedelta(hours=1)
    await connection.execute(
        "INSERT INTO holds (chain_id, hold_id, scan_id, visitor_id, entry, code_id, store, state,"
        " held_at, held_until, settled_at)"
        " VALUES ($1, $2, $3, $4, 'tea', $5, 'S1', $6, $7, $8, $9)",
        CHAIN,
        hold_id,
        scan_id,
        visitor,
        S1_CODE,
        state,
        at,
        until,
        settled_at,
    )
    await connection.execute(
        "INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, store, distance_m,"
        " code_id, hold_id, held_until, routed_at)"
        " VALUES ($1, $2, $3, 'code', 'nearest', 'S1', 5, $4, $5, $6, $7)",
        CHAIN,
        uuid7(),
        scan_id,
        S1_CODE,
        hold_id,
        until,
        at,
    )
    await connection.execute(
        "INSERT INTO visitors (chain_id, visitor_id, entry, hold_id, code_id, held_at)"
        " VALUES ($1, $2, 'tea', $3, $4, $5)",
        CHAIN,
        visitor,
        hold_id,
        S1_CODE,
        at,
    )
    if state == "joined":
        await connection.execute(
            "INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, code_id, store, kind,"
            " counts, seen_at) VALUES ($1, $2, $3, $4, $5, 'S1', 'pressed', true, $6)",
            CHAIN,
            uuid7(),
            scan_id,
            hold_id,
            S1_CODE,
            at,
        )
        await connection.execute(
            "INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, code_id,"
            " store, evidence, joined_at)"
            " VALUES ($1, $2, $3, $4, $5, 'tea', $6, 'S1', 'pressed', $7)",
            CHAIN,
            uuid7(),
            scan_id,
            hold_id,
            visitor,
            S1_CODE,
            at,
        )


async def test_a_database_of_the_version_before_keeps_its_seats_and_serves_on(old_url: str) -> None:
    later = [name for name, _ in db.migrations()[1:]]
    assert later
    assert await db.migrate(old_url) == later
    async with asyncpg.create_pool(old_url, min_size=1, max_size=5, init=db.prepare) as pool:
        worker = auditing.Worker(pool, Settings(), "tea")
        await worker.hears()
        here = auditing.fix_at(*STORES["S1"])

        async def come(visitor: uuid.UUID) -> tuple[uuid.UUID | None, Reason]:
            scanned, _ = await worker.opened(visitor)
            routing = await worker.journal.locate(scanned, here)
            return routing.code_id, routing.reason

        # Who had a seat has it; who said that the code is full is not shown it; that is forgotten
        # after a day.
        assert await come(HOLDER) == (S1_CODE, Reason.RETURNING)
        assert await come(MEMBER) == (S1_CODE, Reason.RETURNING)
        assert (await come(REPORTER))[0] == S2_CODE
        assert (await come(LONG_AGO))[0] == S1_CODE
        row = await pool.fetchrow("SELECT members, held FROM codes WHERE code_id = $1", S1_CODE)
        assert tuple(row) == (1, 2)
        # And their presses count.
        scanned, _ = await worker.opened(HOLDER)
        await worker.journal.tell(scanned, Event.PRESSED)
        row = await pool.fetchrow("SELECT members, held FROM codes WHERE code_id = $1", S1_CODE)
        assert tuple(row) == (2, 1)
        # A seat of that time runs out as any other.
        await pool.execute("UPDATE holds SET held_until = now() WHERE state = 'held'")
        await worker.journal.sweep()
        assert await pool.fetchval("SELECT sum(held) FROM codes") == 0
        async with pool.acquire() as connection:
            assert await auditing.faults(connection, CHAIN) == {}


async def test_what_was_said_before_the_migration_pauses_no_code_after_it(old_url: str) -> None:
    """Only what is said from now on counts: nobody was told then that it would."""
    await db.migrate(old_url)
    async with asyncpg.create_pool(old_url, min_size=1, max_size=5, init=db.prepare) as pool:
        worker = auditing.Worker(pool, Settings(complaints_to_pause=2), "tea")
        await worker.hears()
        here = auditing.fix_at(*STORES["S1"])
        scanned, _ = await worker.opened()
        assert (await worker.journal.locate(scanned, here)).code_id == S1_CODE
        await worker.journal.tell(scanned, Event.FULL)
        status = "SELECT status FROM codes WHERE code_id = $1"
        assert await pool.fetchval(status, S1_CODE) == "active"
        scanned, _ = await worker.opened()
        assert (await worker.journal.locate(scanned, here)).code_id == S1_CODE
        await worker.journal.tell(scanned, Event.FULL)
        assert await pool.fetchval(status, S1_CODE) == "paused"


async def test_keys_of_the_version_before_still_open_everything(old_url: str) -> None:
    """And sign in to the consoles, and whoever is invited then is a manager as any other."""
    key = "nck_of_then"
    connection = await asyncpg.connect(old_url)
    await connection.execute(
        "INSERT INTO api_keys (chain_id, key_id, name, role, stores, key_hash)"
        " VALUES ($1, $2, '店长', 'manager', '{S1}', $3)",
        CHAIN,
        uuid7(),
        hashlib.sha256(key.encode()).digest(),
    )
    await connection.close()
    await db.migrate(old_url)
    connection = await db.connect(old_url)
    settings = Settings()
    try:
        caller = await accounts.caller_of(connection, key)
        assert caller is not None
        assert (caller.name, caller.scope) == ("店长", ["S1"])
        token = await signed_in.start(connection, caller, settings, agent="", instead_of="")
        found = await signed_in.find(connection, token, settings)
        assert found is not None
        assert found.caller == dataclasses.replace(caller, session_id=found.caller.session_id)
        made = await invitations.create(connection, CHAIN, settings, stores=["S2"])
        person = await invitations.use(connection, made.token)
        assert (person["role"], person["stores"]) == ("manager", ["S2"])
    finally:
        await connection.close()


async def test_event_tables_of_the_version_before_get_their_partitions(old_url: str) -> None:
    await db.migrate(old_url)
    connection = await asyncpg.connect(old_url)
    try:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'p' ORDER BY relname"
        )
        known = await connection.fetch("SELECT name FROM event_tables ORDER BY name")
        assert {row["relname"] for row in tables} == {row["name"] for row in known}
        made = await connection.fetchval("SELECT ensure_month('2031-05-01')")
        assert made == len(known)
        assert await connection.fetchval("SELECT ensure_month('2031-05-01')") == 0
    finally:
        await connection.close()
