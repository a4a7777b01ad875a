"""The database: pool, named queries, migrations.

SQL lives in `sql/*.sql`, one file a step. `load("hold")` gives the queries of `sql/hold.sql` as
methods that take a connection and named arguments.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from importlib import resources
from typing import Any, TypeAlias

import aiosql
import asyncpg
import orjson

from service import errors, hosts

SQL = resources.files("service") / "sql"

# What every query and transaction is run on.
Connection: TypeAlias = "asyncpg.Connection"
# One for a block, of a pool or any other.
Connect: TypeAlias = Callable[[], AbstractAsyncContextManager["asyncpg.Connection"]]

_MIGRATION_LOCK = 0x6E656172  # "near": one migration at a time, whoever starts it
_CONNECT_TIMEOUT_S = 10
_COMMAND_TIMEOUT_S = 30
# For what takes as long as it takes. (asyncpg's None is the connection's own time-out, not none.)
PATIENCE_S = 7 * 86400.0
_ACQUIRE_TIMEOUT_S = 5


def load(name: str) -> Any:
    """The queries of `sql/<name>.sql`: one coroutine (`^`, `$`, `!`) or async iterator a query."""
    text = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    return aiosql.from_str(text, "asyncpg")


_sql = load("db")


async def rows(selected: AsyncIterator[asyncpg.Record]) -> list[asyncpg.Record]:
    """All rows of a named select, in its order."""
    return [row async for row in selected]


async def fetch(
    queries: Any, name: str, connection: Connection, **values: object
) -> list[asyncpg.Record]:
    """All rows of a named select in one round trip; `rows` takes one for every fifty of them, which
    matters where there are thousands."""
    order = queries.driver_adapter.var_sorted[name]
    found: list[asyncpg.Record] = await connection.fetch(
        getattr(queries, name).sql, *(values[each] for each in order)
    )
    return found


async def prepare(connection: Connection) -> None:
    """JSON as Python values, on every connection that we open."""
    for json_type in ("json", "jsonb"):
        await connection.set_type_codec(
            json_type, encoder=_dumps, decoder=orjson.loads, schema="pg_catalog"
        )


def _dumps(value: object) -> str:
    return orjson.dumps(value).decode()


async def connect(url: str, *, command_timeout_s: float | None = _COMMAND_TIMEOUT_S) -> Connection:
    """One connection. Raises `errors.Unavailable` if the database does not answer."""
    try:
        connection = await hosts.Hosts(url).connect(
            timeout=_CONNECT_TIMEOUT_S, command_timeout=command_timeout_s
        )
    except _UNREACHABLE as error:
        raise errors.Unavailable(f"The database does not answer: {error}") from error
    await prepare(connection)
    return connection


# For sessions that look everything up by key. Tables that have grown since they were last analyzed,
# as all have on a campaign's first morning, would be read whole by the plans of the night before.
BY_KEY = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


async def connect_pool(
    url: str, size: int, session: Mapping[str, str] | None = None
) -> asyncpg.Pool:
    """A pool of up to `size` connections, whose sessions have these settings. Raises
    `errors.Unavailable` as `connect` does."""
    try:
        return await asyncpg.create_pool(
            url,
            connect=hosts.Hosts(url).connect,
            min_size=2,
            max_size=size,
            init=prepare,
            reset=_as_it_is,
            server_settings=dict(session or {}),
            timeout=_CONNECT_TIMEOUT_S,
            command_timeout=_COMMAND_TIMEOUT_S,
        )
    except _UNREACHABLE as error:
        raise errors.Unavailable(f"The database does not answer: {error}") from error


async def _as_it_is(_: Connection) -> None:
    """Nothing here changes a session: to reset it would be a round trip for every use."""


# No standby, and no primary that has been told to take no more.
WRITABLE = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'"


async def answers(url: str) -> bool:
    """Whether the database can be reached and written to, by a connection of its own."""
    try:
        connection = await hosts.Hosts(url).connect(timeout=2, command_timeout=2)
    except _UNREACHABLE:
        return False
    try:
        return bool(await connection.fetchval(WRITABLE))
    except _LOST:
        return False
    finally:
        connection.terminate()


_UNREACHABLE = (
    OSError,
    asyncpg.PostgresError,
    TimeoutError,
    asyncpg.InterfaceError,
    # No host that can be written to; or the connection was lost at an awkward moment.
    asyncpg.InternalClientError,
)

# How it shows that the database, and not the query, is what failed.
_LOST = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    # Also of a connection that is lost at an awkward moment: "cannot switch to state 15".
    asyncpg.InternalClientError,
    # A primary that has become a standby.
    asyncpg.ReadOnlySQLTransactionError,
)


@asynccontextmanager
async def acquire(pool: asyncpg.Pool) -> AsyncIterator[Connection]:
    """A connection of the pool. Raises `errors.Unavailable` if the database goes away, before or
    during the work."""
    try:
        async with pool.acquire(timeout=_ACQUIRE_TIMEOUT_S) as connection:
            yield connection
    except _LOST as error:
        if isinstance(error, ValueError):
            raise  # asyncpg's DataError: a value that fits no column is no lost connection
        raise errors.Unavailable("The database does not answer") from error


def columns(names: Sequence[str], rows: Iterable[Sequence[object]]) -> dict[str, Sequence[object]]:
    """Rows as the columns that `unnest` takes, by name."""
    found = list(zip(*rows, strict=True)) or [()] * len(names)
    return dict(zip(names, found, strict=True))


def migrations() -> list[tuple[str, str]]:
    """Name and SQL of every migration, in the order in which they are run."""
    folder = SQL / "migrations"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    return [(name, (folder / name).read_text(encoding="utf-8")) for name in names]


async def migrate(url: str) -> list[str]:
    """Bring the database to the current schema; the names of the migrations that were run.

    Runs under an advisory lock, each migration in its own transaction, forward only.
    """
    connection = await connect(url)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _MIGRATION_LOCK, timeout=PATIENCE_S)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = []
        for name, statements in await _missing(connection):
            async with connection.transaction():
                await connection.execute(statements, timeout=PATIENCE_S)
                await connection.execute("INSERT INTO schema_migrations (name) VALUES ($1)", name)
            done.append(name)
        await ensure_partitions(connection)
        return done
    finally:
        # The lock goes with the session.
        await asyncio.shield(connection.close())


async def check_schema(connection: Connection) -> None:
    """Raises `errors.SchemaOutdated` unless every migration of this program has been run."""
    known = await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL")
    if not known:
        raise errors.SchemaOutdated("The database is empty: run `nearcode migrate`")
    missing = [name for name, _ in await _missing(connection)]
    if missing:
        raise errors.SchemaOutdated(
            f"Run `nearcode migrate`: the database lacks {', '.join(missing)}"
        )


async def _missing(connection: Connection) -> list[tuple[str, str]]:
    applied = {row["name"] for row in await connection.fetch("SELECT name FROM schema_migrations")}
    return [(name, text) for name, text in migrations() if name not in applied]


async def ensure_partitions(
    connection: Connection, since: datetime | None = None, until: datetime | None = None
) -> None:
    """Make this month's, the last one's and the next two months' partitions of the event tables;
    or those of all months from `since` to `until`."""
    if since is None or until is None:
        await connection.execute(
            "SELECT ensure_month((date_trunc('month', now() AT TIME ZONE 'UTC')"
            " + make_interval(months => ahead))::date) FROM generate_series(-1, 2) AS ahead"
        )
        return
    await connection.execute(
        "SELECT ensure_month(month::date) FROM generate_series("
        "date_trunc('month', $1::timestamptz AT TIME ZONE 'UTC'),"
        " $2::timestamptz AT TIME ZONE 'UTC', interval '1 month') AS month",
        since,
        until,
    )


async def analyze(connection: Connection) -> None:
    """Let PostgreSQL see how the event tables have grown: autovacuum looks at partitions only, and
    reports are planned by the whole."""
    await connection.execute(
        "ANALYZE scans, fixes, routings, evidence, joins, holds", timeout=PATIENCE_S
    )


async def analyze_grown(connection: Connection, *tables: str) -> list[str]:
    """Let PostgreSQL see those of these tables and of their partitions that have grown fourfold
    since it last looked; their names. What is so new that autovacuum has not come to it would be
    planned for as if it were empty."""
    names = [row["name"] async for row in _sql.grown_tables(connection, names=tables)]
    if names:
        await connection.execute(f"ANALYZE {', '.join(names)}", timeout=PATIENCE_S)
    return names
