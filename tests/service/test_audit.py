"""The log of changes stands and falls with the change."""

import asyncpg
import pytest

from service import accounts, audit, db
from service.domain import Role


async def of_chain(connection: db.Connection) -> list[asyncpg.Record]:
    return list(await connection.fetch("SELECT * FROM audit ORDER BY audit_id"))


async def test_a_change_that_is_undone_leaves_no_record(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    before = len(await of_chain(conn))

    async def change_and_fail() -> None:
        async with conn.transaction():
            await accounts.create_key(conn, chain_id, Role.HQ, name="x")
            assert len(await of_chain(conn)) == before + 1
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        await change_and_fail()
    assert len(await of_chain(conn)) == before


async def test_who_acts_is_whoever_said_so_last(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    somebody = audit.Actor(audit.ActorKind.CLI, "root")
    with audit.acting(somebody):
        await audit.record(conn, chain_id, "thing.do", "one")
    await audit.record(conn, chain_id, "thing.do", "two")
    rows = await audit.records(conn, chain_id, action="thing.do", most=10)
    assert [(row["subject"], row["actor_kind"], row["actor_name"]) for row in rows] == [
        ("two", "system", "nearcode"),
        ("one", "cli", "root"),
    ]


async def test_no_secret_gets_into_the_log(conn: db.Connection) -> None:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    after = {
        "name": "n",
        "key_id": "k",
        "key": "nck_1",
        "password_hash": "$argon2",
        "signing_secret": "whsec_1",
        "token": "t",
    }
    await audit.record(conn, chain_id, "thing.do", "one", after=after)
    (row,) = await audit.records(conn, chain_id, action="thing", most=10)
    assert row["after"] == {"name": "n", "key_id": "k"}


async def test_the_log_forgets_what_is_older_than_it_is_kept_and_nothing_else(
    conn: db.Connection,
) -> None:
    for chain in ("tea", "coffee"):
        chain_id = await accounts.create_chain(conn, chain, chain)
        for days in (1, 29, 31, 900):
            await conn.execute(
                "INSERT INTO audit"
                " (chain_id, audit_id, at, actor_kind, actor_name, action, subject)"
                " SELECT $1, uuid7_floor(at), at, 'system', 'nearcode', 'thing.do', $2"
                " FROM (SELECT now() - make_interval(days => $3)) AS old (at)",
                chain_id, str(days), days,
            )  # fmt: skip
    before = len(await of_chain(conn))
    await audit.forget(conn, 0)
    assert len(await of_chain(conn)) == before, "0: for ever"
    await audit.forget(conn, 30)
    left = [row for row in await of_chain(conn) if row["action"] == "thing.do"]
    assert sorted(row["subject"] for row in left) == ["1", "1", "29", "29"]
    assert before - len(await of_chain(conn)) == 4
