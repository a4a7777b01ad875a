"""Histories: months of past days, written by the code that serves today."""

import asyncio
import contextlib
import dataclasses
import re
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from service import catalog, db, errors, qr, rollups
from service.domain import Event
from service.settings import Settings
from service.simulate import command, crowd, history
from service.steps import hold, report
from tests import conftest, running
from tests.service import auditing
from tests.service.test_cli import Nearcode, badly, nearcode, well

__all__ = ["nearcode"]

SETTINGS = Settings()
SHANGHAI, NEW_YORK = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York")
STORES = {
    f"S{number}": (121.40 + 0.02 * number, 31.20 + 0.01 * (number % 3)) for number in range(6)
}
# Three days and a morning; a month begins between them.
UNTIL = datetime(2026, 3, 3, 2, 30, tzinfo=UTC)


async def chain_of(
    connection: db.Connection, *, timezone: str = "Asia/Shanghai", capacity: int = 30
) -> uuid.UUID:
    """A chain with six stores, one of which has no code; its placements hang in all channels."""
    chain_id = await auditing.build(connection, "tea", STORES)
    await connection.execute("UPDATE chains SET timezone = $1", timezone)
    for number, store in enumerate(list(STORES)[:-1]):
        payload = running.payload(f"first-{number}")
        new = catalog.NewCode(store, payload, qr.classify(payload), capacity)
        await catalog.create_code(connection, chain_id, new, UNTIL, SETTINGS)
    for placement, channel, variant in (
        ("door-a", "poster", "A"),
        ("door-b", "poster", "B"),
        ("card", "package_card", None),
    ):
        values = {
            "placement": placement, "name": placement, "channel": channel, "store": None,
            "printed": 1000, "cost": None, "variant": variant,
        }  # fmt: skip
        await catalog.put_placement(connection, chain_id, "tea", values)
    return chain_id


def span_of(chain_id: uuid.UUID, **changes: Any) -> history.Span:
    since, until = history.bounds(UNTIL, 3, SHANGHAI, SETTINGS)
    span = history.Span(chain_id, "tea", 3, 100, since, until)
    return dataclasses.replace(span, **changes)


WRITTEN: dict[str, str] = {
    "scans": """
        SELECT scanned_at, visitor_id, placement, unknown_placement, bot, browser, via FROM scans
        ORDER BY 1, 2""",
    "decisions": """
        SELECT s.scanned_at, s.visitor_id, r.routed_at, r.outcome, r.reason, r.store, r.city,
            c.payload
        FROM routings r JOIN scans s USING (chain_id, scan_id)
        LEFT JOIN codes c ON c.code_id = r.code_id ORDER BY 1, 2, 3""",
    "joins": """
        SELECT joined_at, visitor_id, store, channel, evidence, left_at FROM joins ORDER BY 1, 2""",
    "complaints": "SELECT said_at, visitor_id, store, kind FROM complaints ORDER BY 1, 2",
    "orders": """
        SELECT order_no, kind, at, amount, store, member, join_store, rule FROM orders
        ORDER BY 1""",
    "codes": """
        SELECT store, payload, capacity, members, held, status, created_at, expires_at FROM codes
        ORDER BY 1, 2""",
}  # fmt: skip


async def written(connection: db.Connection) -> dict[str, list[tuple[object, ...]]]:
    """All that a history has left, but for the ids."""
    return {
        what: [tuple(row) for row in await connection.fetch(query)]
        for what, query in WRITTEN.items()
    }


@contextlib.asynccontextmanager
async def another(postgres_url: str, template: str, name: str) -> AsyncIterator[str]:
    await conftest.execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield conftest.with_database(postgres_url, name)
    await conftest.execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


# ---------------------------------------------------------------- what it is


async def test_a_history_holds_what_must_be_true_of_seats_and_leaves_none_behind(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn)
    told: list[history.Written] = []
    span = span_of(chain_id)
    done = await history.write(database_url, span, SETTINGS, done=told.append)
    assert await auditing.faults(conn, chain_id) == {}
    for code_id, (members, joined) in (await auditing.members(conn, chain_id)).items():
        assert members == joined, code_id
    assert await conn.fetchval("SELECT count(*) FROM holds WHERE state = 'held'") == 0
    compared = await rollups.check(conn, chain_id, span.since, UNTIL)
    assert compared.equal, compared
    counted = await conn.fetchrow(
        "SELECT count(*) AS scans, count(bot) AS bots, min(scanned_at) AS first,"
        " max(scanned_at) AS last FROM scans"
    )
    assert done.scans == counted["scans"] == sum(slot.scans for slot in told)
    assert 0.5 * 100 * 3 < counted["scans"] < 2 * 100 * 4
    assert counted["bots"] > 0
    assert span.since <= counted["first"] < span.since + timedelta(hours=12)
    assert span.until - timedelta(hours=8) < counted["last"] < span.until
    joins = await conn.fetchrow("SELECT count(*) AS joins, count(left_at) AS gone FROM joins")
    assert (done.joins, done.left) == (joins["joins"], joins["gone"])
    assert done.left > 0


async def test_nothing_of_a_history_is_of_today_or_of_tomorrow(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn)
    span = span_of(chain_id)
    await history.write(database_url, span, SETTINGS)
    moments = {
        "scans": ("scanned_at", "scan_id"),
        "fixes": ("fixed_at", "fix_id"),
        "routings": ("routed_at", "routing_id"),
        "evidence": ("seen_at", "evidence_id"),
        "joins": ("joined_at", "join_id"),
        "complaints": ("said_at", "complaint_id"),
        "holds": ("held_at", "hold_id"),
    }
    for table, (column, key) in moments.items():
        first, last, lowest, highest = await conn.fetchrow(
            f"SELECT min({column}), max({column}), min({key}::text), max({key}::text) FROM {table}"
        )
        assert span.since <= first <= last <= UNTIL, table
        floors = await conn.fetchrow(
            "SELECT uuid7_floor($1)::text, uuid7_floor($2)::text", span.since, UNTIL
        )
        assert floors[0] <= lowest <= highest <= floors[1], table
    for table, column in (("holds", "settled_at"), ("joins", "left_at"), ("codes", "created_at")):
        assert await conn.fetchval(f"SELECT max({column}) FROM {table}") <= UNTIL
    codes = "SELECT count(*) FROM audit WHERE actor_kind = 'manager' AND action = 'code.create'"
    assert await conn.fetchval(f"{codes} AND at <= $1", UNTIL) == await conn.fetchval(codes) > 0


async def test_the_same_seed_gives_the_same_history_and_another_another(
    database_url: str, conn: db.Connection, postgres_url: str, template: str
) -> None:
    await history.write(database_url, span_of(await chain_of(conn)), SETTINGS)
    first = await written(conn)
    for seed, same in ((3, True), (4, False)):
        async with another(postgres_url, template, f"history_{seed}") as url:
            connection = await db.connect(url)
            span = span_of(await chain_of(connection), seed=seed)
            await history.write(url, span, SETTINGS)
            second = await written(connection)
            await connection.close()
        assert {what: second[what] == first[what] for what in WRITTEN} == dict.fromkeys(
            WRITTEN, same
        )


async def test_a_history_that_was_interrupted_goes_on_as_if_nothing_had_been(
    database_url: str, conn: db.Connection, postgres_url: str, template: str
) -> None:
    chain_id = await chain_of(conn)
    span = span_of(chain_id)
    slots = 0

    def stop(slot: history.Written) -> None:
        nonlocal slots
        slots += 1
        if slots % 4 == 0:
            raise KeyboardInterrupt

    runs = 0
    while True:
        runs += 1
        try:
            await history.write(database_url, span, SETTINGS, done=stop)
            break
        except KeyboardInterrupt:
            assert await auditing.faults(conn, chain_id) == {}
    assert runs > 2
    async with another(postgres_url, template, "history_at_once") as url:
        connection = await db.connect(url)
        await history.write(url, span_of(await chain_of(connection)), SETTINGS)
        assert await written(connection) == await written(conn)
        await connection.close()
    again = await history.write(database_url, span, SETTINGS)
    assert again.scans == 0


async def test_a_history_cut_in_the_middle_of_a_slot_leaves_nothing_of_it(
    database_url: str, conn: db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain_id = await chain_of(conn)
    told: list[history.Written] = []
    expire = hold.expire

    async def cut(connection: db.Connection) -> Any:
        if len(told) == 2:
            await connection.fetch("SELECT pg_terminate_backend(pg_backend_pid())")
        return await expire(connection)

    monkeypatch.setattr(hold, "expire", cut)
    with pytest.raises(errors.Unavailable, match="gone away"):
        await history.write(database_url, span_of(chain_id), SETTINGS, done=told.append)
    assert await conn.fetchval("SELECT count(*) FROM scans") == sum(slot.scans for slot in told)
    assert await conn.fetchval("SELECT written_until FROM histories") == told[-1].until
    assert await auditing.faults(conn, chain_id) == {}


async def test_two_at_once_write_one_history(database_url: str, conn: db.Connection) -> None:
    chain_id = await chain_of(conn)
    span = span_of(chain_id)
    both = await asyncio.gather(
        *(history.write(database_url, span, SETTINGS) for _ in range(2)), return_exceptions=True
    )
    refused = [each for each in both if isinstance(each, Exception)]
    assert len(refused) == 1
    assert isinstance(refused[0], errors.Conflict | asyncpg.UniqueViolationError), refused
    assert await auditing.faults(conn, chain_id) == {}
    again = await history.write(database_url, span, SETTINGS)
    twice = "SELECT count(*) - count(DISTINCT (visitor_id, scanned_at)) FROM scans"
    assert await conn.fetchval(twice) == 0
    assert again.until <= span.until


# ---------------------------------------------------------------- what it is not


async def test_a_history_is_not_mixed_with_what_has_really_happened(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn)
    pool = await db.connect_pool(database_url, 2)
    worker = auditing.Worker(pool, SETTINGS, "tea")
    await worker.hears()
    await worker.opened()
    span = span_of(chain_id, until=datetime.now(UTC), since=datetime.now(UTC) - timedelta(days=2))
    with pytest.raises(errors.Conflict, match="scans of its own"):
        await history.write(database_url, span, SETTINGS)
    assert await conn.fetchval("SELECT count(*) FROM histories") == 0
    await history.write(database_url, span_of(chain_id), SETTINGS)
    await pool.close()


@pytest.mark.parametrize(
    "change",
    [{"seed": 4}, {"scans_a_day": 5}, {"since": UNTIL - timedelta(days=40)}],
    ids=["seed", "scans", "since"],
)
async def test_another_history_than_the_one_there_is_is_refused(
    database_url: str, conn: db.Connection, change: dict[str, Any]
) -> None:
    chain_id = await chain_of(conn)
    short = span_of(chain_id, since=UNTIL - timedelta(hours=30))
    await history.write(database_url, short, SETTINGS)
    before = await written(conn)
    with pytest.raises(errors.Conflict, match="history"):
        await history.write(database_url, dataclasses.replace(short, **change), SETTINGS)
    assert await written(conn) == before


# ---------------------------------------------------------------- what is in it


async def test_reports_count_a_history_by_the_days_of_the_chains_time_zone(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn, timezone="America/New_York")
    # Over the night in which clocks are put on: 8 March 2026 has 23 hours there.
    since, until = history.bounds(datetime(2026, 3, 9, 18, tzinfo=UTC), 3, NEW_YORK, SETTINGS)
    span = span_of(chain_id, since=since, until=until)
    await history.write(database_url, span, SETTINGS)
    expected: dict[str, int] = {}
    for row in await conn.fetch("SELECT scanned_at FROM scans WHERE bot IS NULL"):
        day = row["scanned_at"].astimezone(NEW_YORK).date().isoformat()
        expected[day] = expected.get(day, 0) + 1
    assert len(expected) == 4
    found = await report.funnel(conn, chain_id, by=report.By.DAY)
    assert {row["key"]: row["scans"] for row in found["rows"]} == expected
    joined = await conn.fetchval("SELECT count(DISTINCT scan_id) FROM evidence WHERE counts")
    assert found["total"]["joined"] == joined


async def test_a_crowd_joins_as_often_as_it_was_told_to(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn, capacity=500)
    habits = crowd.Habits(joins=0.48, spread=0, returns=0, bots=0.1, refuses=0.3, complains=0)
    span = span_of(chain_id, scans_a_day=600)
    await history.write(database_url, span, SETTINGS, habits=habits)
    total = (await report.funnel(conn, chain_id, by=report.By.NONE))["total"]
    assert total["shown"] > 800
    assert near(total["joined"], total["shown"], 0.48)
    people, bots = await conn.fetchrow("SELECT count(*) - count(bot), count(bot) FROM scans")
    assert near(bots, people + bots, 0.1)
    denied = await conn.fetchval("SELECT count(*) FROM complaints WHERE kind = 'denied'")
    assert near(denied, people, 0.3)


def near(count: int, among: int, share: float) -> bool:
    """Within four standard deviations of a share that is drawn one by one."""
    return bool(abs(count - share * among) < 4 * (among * share * (1 - share)) ** 0.5)


async def test_managers_put_up_new_groups_before_the_last_is_full_but_not_those_who_never_look(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn, capacity=12)
    await history.write(database_url, span_of(chain_id), SETTINGS)
    rows = await conn.fetch("SELECT store, count(*) AS codes FROM codes GROUP BY store")
    codes = {row["store"]: row["codes"] for row in rows}
    assert max(codes.values()) > 1
    # The one that had no code when it all began.
    assert "S5" not in codes
    reasons = {row[0] for row in await conn.fetch("SELECT DISTINCT reason FROM routings")}
    assert {"nearest", "next_store", "out_of_range"} <= reasons


async def test_a_code_that_fails_is_paused_by_complaints_and_resumed_by_its_manager(
    database_url: str, conn: db.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain_id = await chain_of(conn, capacity=500)
    monkeypatch.setattr(crowd.World, "trouble", lambda world, day: (world.places[0], 12))
    habits = dataclasses.replace(crowd.Habits(), complains=0.2)
    await history.write(database_url, span_of(chain_id, scans_a_day=300), SETTINGS, habits=habits)
    actions = await conn.fetch(
        "SELECT actor_kind, action FROM audit WHERE actor_kind IN ('visitors', 'manager')"
    )
    kinds = {(row["actor_kind"], row["action"]) for row in actions}
    assert any(kind == "visitors" for kind, _ in kinds), kinds
    assert ("manager", "code.resume") in kinds or ("manager", "code.update") in kinds, kinds
    said = await conn.fetchval("SELECT count(*) FROM complaints WHERE kind = $1", Event.BROKEN)
    assert said > 0
    assert await auditing.faults(conn, chain_id) == {}


async def test_members_buy_and_a_run_that_was_cut_off_before_that_makes_up_for_it(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn, capacity=500)
    span = span_of(chain_id, scans_a_day=200)

    def stop(slot: history.Written) -> None:
        if slot.until.day == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await history.write(database_url, span, SETTINGS, done=stop)
    before = await conn.fetchval("SELECT count(*) FROM orders")
    done = await history.write(database_url, span, SETTINGS)
    sold = await conn.fetch(
        "SELECT o.*, j.joined_at, j.left_at"
        " FROM orders o LEFT JOIN joins j USING (chain_id, join_id)"
    )
    assert done.orders == len(sold) - before > 20
    assert min(row["at"] for row in sold).date() < UNTIL.date()
    matched = [row for row in sold if row["join_id"] is not None]
    assert {row["rule"] for row in matched} >= {"external_userid", "scan_id"}
    assert 0 < len(sold) - len(matched) < len(sold) / 3
    for row in matched:
        assert row["joined_at"] <= row["at"] < UNTIL
        assert row["left_at"] is None or row["at"] < row["left_at"] or row["kind"] == "refund"
    total = (await report.funnel(conn, chain_id, by=report.By.NONE))["total"]
    assert total["orders"] > 0
    assert float(total["revenue"]) > 0


# ---------------------------------------------------------------- by the command line


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str, template: str) -> str:
    """A migrated database, for the commands of this module."""
    running.run(conftest.execute(postgres_url, f"CREATE DATABASE cli_history TEMPLATE {template}"))
    return conftest.with_database(postgres_url, "cli_history")


def test_the_command_writes_a_history_and_goes_on_with_it(
    nearcode: Nearcode, module_database_url: str
) -> None:
    async def prepare() -> None:
        connection = await db.connect(module_database_url)
        await chain_of(connection)
        await connection.close()

    running.run(prepare())
    past = ("simulate", "--history", "2d", "--scans-a-day", 20)
    said = well(nearcode(*past))
    assert re.search(r"^[1-9]\d* scans, \d+ joins, \d+ left, \d+ orders, from ", said)
    assert said.count("\n") == 1
    assert re.search(r"^0 scans, ", well(nearcode(*past)))
    assert "seed 1" in badly(nearcode(*past, "--seed", 2))
    assert "--history" in badly(nearcode("simulate", "--history", "long"))


def test_a_history_is_not_written_into_another_machines_database_by_accident(
    nearcode: Nearcode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEARCODE_DATABASE_URL", "postgresql://me:pw@db.example.com/nearcode")
    assert "--yes" in badly(nearcode("simulate", "--history", "30d"))


async def test_the_demo_writes_its_past_once_and_then_the_days_that_are_missing(
    database_url: str, conn: db.Connection
) -> None:
    chain_id = await chain_of(conn)

    async def asked(*, is_new: bool) -> history.Span | None:
        return await command.demo_span(
            database_url, SETTINGS, chain="tea", entry="tea", is_new=is_new
        )

    assert await asked(is_new=False) is None, "it began without a past"
    new = await asked(is_new=True)
    assert new is not None
    assert timedelta(days=58) < new.until - new.since < timedelta(days=63)
    written = "INSERT INTO histories VALUES ($1, 'tea', 7, 99, $2, $3, '{}')"
    lately = datetime.now(UTC) - timedelta(hours=20)
    await conn.execute(written, chain_id, UNTIL, lately)
    assert await asked(is_new=False) is None
    await conn.execute("UPDATE histories SET written_until = $1", lately - timedelta(days=2))
    missing = await asked(is_new=False)
    assert missing is not None
    assert (missing.seed, missing.scans_a_day) == (7, 99)


@pytest.mark.parametrize(
    ("text", "days"),
    [("30d", 30), ("30", 30), ("1m", 31), ("6m", 184), ("12m", 365)],
)
def test_how_long_a_history_is_is_said_in_months_or_days(text: str, days: int) -> None:
    assert command.days_of(text, datetime(2026, 8, 31, tzinfo=UTC).date()) == days


@pytest.mark.parametrize("text", ["", "0", "6y", "-3d", "m", "9999d", "9999m"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(errors.BadInput):
        command.days_of(text, datetime(2026, 8, 31, tzinfo=UTC).date())


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("postgresql://me:pw@127.0.0.1:5432/x", True),
        ("postgresql:///x?host=/tmp", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000/x", True),
        ("postgresql://me@db.example.com/x", False),
        ("postgresql://127.0.0.1,10.0.0.5/x", False),
        ("https://localhost.example.com", False),
        ("http://127.0.0.1@example.com/", False),
    ],
)
def test_another_machine_is_told_from_this_one(url: str, loopback: bool) -> None:
    assert command.is_loopback(url) is loopback
