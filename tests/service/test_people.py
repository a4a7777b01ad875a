"""Links that work once, passwords, and how often they may be tried: on connections of their own."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import argon2
import asyncpg
import pytest

from service import (
    accounts,
    catalog,
    db,
    errors,
    importing,
    invitations,
    passwords,
    people,
    signed_in,
    tabular,
    throttle,
)
from service.domain import Role
from service.settings import Settings

CHEAP = Settings(password_memory_mb=1, password_rounds=1)
SECRET = b"secret of this installation"


@pytest.fixture
async def chain_id(conn: db.Connection) -> uuid.UUID:
    made = await accounts.create_chain(conn, "tea", "茶")
    row = {"store": "S1", "name": "一店", "lon": 121.47, "lat": 31.23}
    await catalog.put_stores(conn, made, importing.stores(tabular.one(row)).rows)
    return made


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[db.Connection]:
    """A second session, as another worker's."""
    connection = await db.connect(database_url)
    yield connection
    await connection.close()


# ---------------------------------------------------------------- once


async def both_use(first: db.Connection, second: db.Connection, token: str) -> list[str]:
    """Two use a link; the second while the first has not committed yet. What each came to."""
    transaction = first.transaction()
    await transaction.start()
    one = await invitations.use(first, token)
    waiting = asyncio.create_task(invitations.use(second, token))
    await asyncio.sleep(0.2)
    await transaction.commit()
    try:
        two = await waiting
    except errors.Gone as error:
        return [one["name"], error.detail]
    return [one["name"], two["name"]]


async def test_of_two_sessions_that_use_a_link_at_once_one_comes_in(
    conn: db.Connection, other: db.Connection, chain_id: uuid.UUID
) -> None:
    made = await invitations.create(conn, chain_id, CHEAP, stores=["S1"], name="王芳")
    assert await both_use(conn, other, made.token) == ["王芳", "This invitation is used"]
    assert len(await people.people(conn, chain_id, most=10)) == 1


class Unguarded:
    """The queries, but for the one that uses a link up: it looks first, and writes then."""

    def __init__(self, queries: Any) -> None:
        self._queries = queries

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queries, name)

    async def use_invitation(self, connection: db.Connection, token_hash: bytes) -> Any:
        found = await connection.fetchrow(
            "SELECT * FROM invitations WHERE token_hash = $1 AND used_at IS NULL", token_hash
        )
        if found is not None:
            await connection.execute(
                "UPDATE invitations SET used_at = now() WHERE token_hash = $1", token_hash
            )
        return found


async def test_without_the_guard_both_would_come_in(
    conn: db.Connection,
    other: db.Connection,
    chain_id: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the test above proves something."""
    monkeypatch.setattr(invitations, "_sql", Unguarded(invitations._sql))
    made = await invitations.create(conn, chain_id, CHEAP, stores=["S1"], name="王芳")
    assert await both_use(conn, other, made.token) == ["王芳", "王芳"]
    assert len(await people.people(conn, chain_id, most=10)) == 2


async def test_of_two_sessions_that_choose_a_password_by_a_link_one_does(
    conn: db.Connection, other: db.Connection, chain_id: uuid.UUID
) -> None:
    made = await people.create(
        conn, chain_id, Role.HQ, name="李敏", email="a@example.com", settings=CHEAP
    )
    chosen = ["correct horse 1", "correct horse 2"]
    done = await asyncio.gather(
        people.use_password_link(conn, made.token, chosen[0], CHEAP),
        people.use_password_link(other, made.token, chosen[1], CHEAP),
        return_exceptions=True,
    )
    assert sorted(isinstance(each, errors.Gone) for each in done) == [False, True]
    person = await people.by_email(conn, "a@example.com")
    assert person is not None
    winner = chosen[[isinstance(each, errors.Gone) for each in done].index(False)]
    assert await passwords.matches(person["password_hash"], winner, CHEAP)


async def test_what_is_undone_uses_no_link_up(conn: db.Connection, chain_id: uuid.UUID) -> None:
    made = await invitations.create(conn, chain_id, CHEAP, stores=["S1"])
    transaction = conn.transaction()
    await transaction.start()
    await invitations.use(conn, made.token)
    await transaction.rollback()
    assert (await invitations.behind(conn, made.token))["state"] == "open"
    assert await people.people(conn, chain_id, most=10) == []


# ---------------------------------------------------------------- passwords


async def test_a_password_is_kept_as_argon2id_with_the_settings_parameters() -> None:
    kept = await passwords.hashed("correct horse", Settings())
    parameters = argon2.extract_parameters(kept)
    assert parameters.type is argon2.Type.ID
    assert (parameters.memory_cost, parameters.time_cost) == (64 * 1024, 3)
    assert await passwords.matches(kept, "correct horse", Settings())
    assert not await passwords.matches(kept, "correct horse ", Settings())
    assert not passwords.outdated(kept, Settings())
    assert passwords.outdated(kept, Settings(password_rounds=4))


async def test_a_password_is_the_same_however_it_was_typed() -> None:
    kept = await passwords.hashed("Cafe\u0301 123\uff14", CHEAP)
    assert await passwords.matches(kept, "Caf\u00e9 1234", CHEAP)
    assert not await passwords.matches(kept, "\ud800", CHEAP)
    assert not await passwords.matches("no hash at all", "Caf\u00e9 1234", CHEAP)


@pytest.mark.parametrize("password_hash", [None, "own"])
async def test_an_unknown_address_costs_as_much_work_as_a_wrong_password(
    password_hash: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await passwords.hashed("correct horse", CHEAP) if password_hash else None
    await passwords.matches(None, "warm", CHEAP)
    verify, done = argon2.PasswordHasher.verify, []

    def counted(self: argon2.PasswordHasher, wanted: str, given: bytes) -> bool:
        done.append(argon2.extract_parameters(wanted))
        return bool(verify(self, wanted, given))

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    assert not await passwords.matches(kept, "wrong horse", CHEAP)
    (parameters,) = done
    assert (parameters.memory_cost, parameters.time_cost) == (1024, 1)


async def test_nobodys_password_is_nobodys() -> None:
    assert not await passwords.matches(None, "nobody's", CHEAP)


async def test_a_password_moves_to_new_parameters_when_it_is_next_used(
    conn: db.Connection, chain_id: uuid.UUID
) -> None:
    made = await people.create(
        conn, chain_id, Role.HQ, name="李敏", email="a@example.com", settings=CHEAP
    )
    await people.use_password_link(conn, made.token, "correct horse", CHEAP)
    stronger = Settings(password_memory_mb=2, password_rounds=2)
    person = await people.by_email(conn, "a@example.com")
    assert person is not None
    await people.rehash(conn, person, "correct horse", stronger)
    person = await people.by_email(conn, "a@example.com")
    assert person is not None
    assert not passwords.outdated(person["password_hash"], stronger)
    assert await passwords.matches(person["password_hash"], "correct horse", stronger)


# ---------------------------------------------------------------- throttling


async def tries(connection: db.Connection, settings: Settings, email: str = "a@b.c") -> bool:
    try:
        await throttle.Attempt(SECRET, email, "198.51.100.1").count(connection, settings)
    except errors.TooManyAttempts:
        return False
    return True


async def test_attempts_count_over_all_workers(conn: db.Connection, other: db.Connection) -> None:
    settings = Settings(sign_in_attempts_per_account=4)
    allowed = [await tries(each, settings) for each in (conn, other, conn, other, conn, other)]
    assert allowed == [True] * 4 + [False] * 2


async def test_attempts_that_come_together_count_each(
    conn: db.Connection, other: db.Connection
) -> None:
    settings = Settings(sign_in_attempts_per_account=10)

    async def many(connection: db.Connection) -> int:
        return sum([await tries(connection, settings) for _ in range(12)])

    assert sum(await asyncio.gather(many(conn), many(other))) == 10


async def test_no_address_is_kept_of_whoever_tried(conn: db.Connection) -> None:
    await tries(conn, Settings())
    rows = await conn.fetch("SELECT * FROM sign_in_attempts")
    assert len(rows) == 2
    assert all(len(row["subject"]) == 32 for row in rows)
    assert b"a@b.c" not in b"".join(row["subject"] for row in rows)


async def test_old_attempts_sessions_and_links_are_forgotten(
    conn: db.Connection, chain_id: uuid.UUID
) -> None:
    settings = Settings()
    await tries(conn, settings)
    made = await people.create(
        conn, chain_id, Role.HQ, name="李敏", email="a@example.com", settings=settings
    )
    await signed_in.start(conn, people.caller(made.person), settings, agent="", instead_of="")
    await invitations.create(conn, chain_id, settings, stores=["S1"])
    tables = ("sign_in_attempts", "sessions", "password_links", "invitations")

    async def tidied() -> list[int]:
        await throttle.tidy(conn, settings)
        for kept in (signed_in, people, invitations):
            await kept.tidy(conn)
        return [await conn.fetchval(f"SELECT count(*) FROM {table}") for table in tables]

    assert await tidied() == [2, 1, 1, 1]
    await conn.execute("UPDATE sign_in_attempts SET since = since - interval '1 hour'")
    for table in tables[1:]:
        await conn.execute(f"UPDATE {table} SET expires_at = now() - interval '400 days'")
    assert await tidied() == [0, 0, 0, 0]


# ---------------------------------------------------------------- what the database itself refuses


@pytest.mark.parametrize(
    "values",
    [
        "'manager', 'a@b.c', NULL",
        "'manager', NULL, 'hash'",
        "'hq', NULL, NULL",
        "'king', 'a@b.c', NULL",
    ],
)
async def test_no_manager_has_a_password_and_nobody_else_lacks_an_address(
    conn: db.Connection, chain_id: uuid.UUID, values: str
) -> None:
    with pytest.raises(asyncpg.CheckViolationError):
        await conn.execute(
            "INSERT INTO people (chain_id, person_id, name, role, email, password_hash)"
            f" VALUES ($1, gen_random_uuid(), 'x', {values})",
            chain_id,
        )


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
         "Gecko) Mobile/15E148 MicroMessenger/8.0.54", "iPhone, WeChat"),
        ("Mozilla/5.0 (Linux; Android 14; HarmonyOS) wxwork/4.1", "HarmonyOS, WeCom"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 "
         "Edg/130.0", "Windows, Edge"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Safari/605.1", "Mac, Safari"),
        ("curl/8.5", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_a_browser_is_named_as_its_owner_would(agent: str, device: str) -> None:
    assert signed_in.device(agent) == device
