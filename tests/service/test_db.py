"""The schema: brought up once whoever asks, refused when it is old, with room for coming months."""

import asyncio
import itertools
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import hypothesis
import pytest
from hypothesis import strategies as st

from service import db, domain, errors
from tests import conftest, running

EVENTS = (
    "holds", "scans", "fixes", "routings", "evidence", "joins", "complaints", "scan_facts",
)  # fmt: skip
_numbers = itertools.count(1)


@pytest.fixture
def empty_url(postgres_url: str) -> Iterator[str]:
    """A database that nobody has migrated."""
    name = f"test_db_{next(_numbers)}"
    running.run(conftest.execute(postgres_url, f"CREATE DATABASE {name}"))
    yield conftest.with_database(postgres_url, name)
    running.run(conftest.execute(postgres_url, f"DROP DATABASE {name} WITH (FORCE)"))


async def test_migrating_twice_does_nothing_the_second_time(empty_url: str) -> None:
    names = [name for name, _ in db.migrations()]
    assert names == sorted(names)
    assert await db.migrate(empty_url) == names
    assert await db.migrate(empty_url) == []


async def test_of_several_who_migrate_at_once_one_does_it(empty_url: str) -> None:
    done = await asyncio.gather(*(db.migrate(empty_url) for _ in range(4)))
    assert sorted(map(len, done)) == [0, 0, 0, len(db.migrations())]
    connection = await db.connect(empty_url)
    await db.check_schema(connection)
    await connection.close()


async def test_an_older_database_is_refused_with_what_to_do(empty_url: str) -> None:
    connection = await db.connect(empty_url)
    try:
        with pytest.raises(errors.SchemaOutdated, match="nearcode migrate"):
            await db.check_schema(connection)
        await db.migrate(empty_url)
        await db.check_schema(connection)
        last = db.migrations()[-1][0]
        await connection.execute("DELETE FROM schema_migrations WHERE name = $1", last)
        with pytest.raises(errors.SchemaOutdated, match=last):
            await db.check_schema(connection)
    finally:
        await connection.close()


async def test_a_migration_that_fails_leaves_nothing_behind(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = "CREATE TABLE first (id int)", "CREATE TABLE second (id int); SELECT 1 / 0"
    monkeypatch.setattr(db, "migrations", lambda: [("1.sql", good), ("2.sql", bad)])
    with pytest.raises(Exception, match="division by zero"):
        await db.migrate(empty_url)
    connection = await db.connect(empty_url)
    try:
        assert await connection.fetchval("SELECT to_regclass('first') IS NOT NULL")
        assert await connection.fetchval("SELECT to_regclass('second') IS NULL")
        assert await connection.fetchval("SELECT array_agg(name) FROM schema_migrations") == [
            "1.sql"
        ]
    finally:
        await connection.close()


async def test_a_database_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(errors.Unavailable, match="does not answer"):
        await db.connect("postgresql://nobody@127.0.0.1:1/nothing")


# ---------------------------------------------------------------- months


def month_of(moment: datetime, ahead: int) -> str:
    months = moment.year * 12 + moment.month - 1 + ahead
    return f"{months // 12}_{months % 12 + 1:02}"


@pytest.mark.parametrize("ahead", [-1, 0, 1, 2])
async def test_every_event_table_has_room_for_this_and_the_coming_months(
    conn: db.Connection, ahead: int
) -> None:
    for table in EVENTS:
        name = f"{table}_{month_of(datetime.now(UTC), ahead)}"
        assert await conn.fetchval("SELECT to_regclass($1) IS NOT NULL", name), name


async def test_making_room_again_changes_nothing(conn: db.Connection) -> None:
    count = "SELECT count(*) FROM pg_inherits"
    before = await conn.fetchval(count)
    await db.ensure_partitions(conn)
    assert await conn.fetchval(count) == before
    assert await conn.fetchval("SELECT ensure_month('2031-05-17')") == len(EVENTS)
    assert await conn.fetchval("SELECT ensure_month('2031-05-01')") == 0


async def test_a_scan_lands_in_its_month_to_the_millisecond(conn: db.Connection) -> None:
    await conn.execute("SELECT ensure_month('2031-11-01'), ensure_month('2031-12-01')")
    chain_id = uuid.uuid4()
    december = datetime(2031, 12, 1, tzinfo=UTC)
    for moment, month in (
        (december - timedelta(milliseconds=1), "2031_11"),
        (december, "2031_12"),
        # Half past seven of the first of December in China is still November.
        (datetime(2031, 12, 1, 7, 30, tzinfo=timezone(timedelta(hours=8))), "2031_11"),
    ):
        partition = await conn.fetchval(
            "INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)"
            " VALUES ($1, $2, 'e', $1, $3, 'api') RETURNING tableoid::regclass::text",
            chain_id,
            domain.uuid7(moment),
            moment,
        )
        assert partition == f"scans_{month}"


async def test_a_scan_of_now_is_found_where_it_belongs(conn: db.Connection) -> None:
    scan_id, now = domain.uuid7(), datetime.now(UTC)
    partition = await conn.fetchval(
        "INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)"
        " VALUES ($1, $1, 'e', $1, $2, 'api') RETURNING tableoid::regclass::text",
        scan_id,
        now,
    )
    assert partition in {
        f"scans_{month_of(now, 0)}",
        f"scans_{month_of(now - timedelta(seconds=9), 0)}",
    }


# ---------------------------------------------------------------- ids


def floor_of(moment: datetime) -> int:
    """The first 48 bits of an id of that moment: Unix milliseconds (RFC 9562, 5.7)."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


async def test_postgresql_and_python_agree_on_the_time_in_an_id(conn: db.Connection) -> None:
    moments = [
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 22, 2, 30, 0, 123_999, UTC),
        datetime(2026, 11, 22, 2, 30, 0, 124_000, UTC),
        datetime(2099, 12, 31, 23, 59, 59, 999_999, UTC),
        datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=-3))),
    ]
    for moment in moments:
        floor = await conn.fetchval("SELECT uuid7_floor($1)", moment)
        assert uuid.UUID(str(floor)).int == floor_of(moment) << 80
        made = domain.uuid7(moment)
        assert made.int >> 80 == floor_of(moment)
        assert await conn.fetchval("SELECT uuid7_floor($1) <= $2", moment, made)
        next_ms = moment + timedelta(milliseconds=1)
        assert await conn.fetchval("SELECT $2 < uuid7_floor($1)", next_ms, made)


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True, database=None)
@hypothesis.given(
    moment=st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 31), timezones=st.just(UTC))
)
def test_an_id_tells_its_time_and_its_kind(moment: datetime) -> None:
    made = domain.uuid7(moment)
    assert made.int >> 80 == floor_of(moment)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_ids_of_one_process_rise_strictly() -> None:
    made = [domain.uuid7() for _ in range(10_000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
