"""What one worker changes the others know within a second, though nothing is polled; and a worker
that could not hear reads what it missed."""

import asyncio
import contextlib
import tempfile
import time
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import asyncpg
import pytest

from service import accounts, catalog, db, embedded, importing, news, qr, runtime, tabular
from service.domain import Code, Counters
from service.runtime import Service
from service.settings import Settings
from tests import conftest, running
from tests.running import Running

HERE = (121.4737, 31.2304)
# Nothing is looked up by itself: what is known has been heard.
SETTINGS = Settings(poll_s=3600, sweep_s=3600, database_pool=2)


@contextlib.asynccontextmanager
async def working(url: str) -> AsyncIterator[Service]:
    async with runtime.running(SETTINGS, url) as service:
        await becomes(lambda: service.news.connected)
        yield service


async def becomes(true: Callable[[], object], within_s: float = 5) -> float:
    """Wait until it is so; the seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, "it did not happen"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


@pytest.fixture
async def chain_id(conn: db.Connection) -> uuid.UUID:
    chain_id = await accounts.create_chain(conn, "tea", "茶")
    await put_store(conn, chain_id, "S1", HERE)
    return chain_id


async def put_store(
    conn: db.Connection, chain_id: uuid.UUID, store: str, at: tuple[float, float]
) -> None:
    row = {"store": store, "name": store, "lon": at[0], "lat": at[1]}
    await catalog.put_stores(conn, chain_id, importing.stores(tabular.one(row)).rows)


async def put_code(conn: db.Connection, chain_id: uuid.UUID, capacity: int = 1) -> uuid.UUID:
    payload = running.payload(uuid.uuid4().hex[:8])
    new = catalog.NewCode("S1", payload, qr.classify(payload), capacity)
    row = await catalog.create_code(conn, chain_id, new, datetime.now(UTC), SETTINGS)
    code_id: uuid.UUID = row["code_id"]
    return code_id


async def set_held(conn: db.Connection, code_id: uuid.UUID, held: int) -> Counters:
    """What a grant or an expiry does to the counters, which tells nobody."""
    row = await conn.fetchrow(
        "UPDATE codes SET held = $2, revision = revision + 1 WHERE code_id = $1"
        " RETURNING code_id, members, held, revision",
        code_id,
        held,
    )
    return Counters(**row)


def told_of(known: Code, told: Counters) -> bool:
    return known.revision == told.revision


def serves(service: Service, chain_id: uuid.UUID, store: str = "S1") -> bool:
    return store in service.directory.chains[chain_id].serving


async def test_what_one_worker_changes_another_knows_within_a_second(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID
) -> None:
    async with working(database_url) as worker:
        code_id = await put_code(conn, chain_id)
        assert await becomes(lambda: serves(worker, chain_id)) < 1
        await catalog.change_code(conn, chain_id, code_id, {"members": 1}, SETTINGS)
        assert await becomes(lambda: not serves(worker, chain_id)) < 1
        for number in range(20):
            await put_store(conn, chain_id, f"N{number}", HERE)
        assert await becomes(lambda: "N19" in worker.directory.chains[chain_id].stores) < 1


async def test_a_change_that_is_rolled_back_is_told_to_nobody(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID
) -> None:
    heard: list[tuple[str, str]] = []
    async with listening(database_url, heard):
        with contextlib.suppress(ZeroDivisionError):
            async with conn.transaction():
                await put_code(conn, chain_id)
                raise ZeroDivisionError
        assert heard == []
        await put_code(conn, chain_id)
        await becomes(lambda: heard)
        assert heard == [(news.CATALOG, str(chain_id))]


async def test_room_that_one_worker_tells_of_is_known_to_the_other(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID
) -> None:
    code_id = await put_code(conn, chain_id)
    async with working(database_url) as one, working(database_url) as other:
        for held in (1, 0, 1, 0):
            told = await set_held(conn, code_id, held)
            assert one.directory.counted(told), "its room has changed"
            one.news.room(told)
            known = other.directory.codes[code_id]
            assert await becomes(partial(told_of, known, told)) < 1
            assert serves(other, chain_id) is (held == 0)


async def test_a_worker_that_tells_what_is_outdated_is_put_right(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID
) -> None:
    """One saw a code fill up; before it could tell, another freed the seat, and saw no change."""
    code_id = await put_code(conn, chain_id)
    async with working(database_url) as one, working(database_url) as other:
        full = await set_held(conn, code_id, 1)
        room = await set_held(conn, code_id, 0)
        assert not other.directory.counted(room), "it never knew that the code was full"
        assert one.directory.counted(full)
        one.news.room(full)
        assert not serves(one, chain_id)
        await becomes(lambda: serves(one, chain_id))
        assert serves(other, chain_id)


async def test_news_of_a_thousand_codes_come_in_parts(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID
) -> None:
    codes = [Counters(uuid.uuid4(), 500, 500, 10**12 + number) for number in range(1000)]
    heard: list[tuple[str, str]] = []
    async with working(database_url) as worker, listening(database_url, heard):
        for counters in codes:
            worker.news.room(counters)
        await becomes(lambda: sum(payload.count("[") - 1 for _, payload in heard) == 1000)
        assert {channel for channel, _ in heard} == {news.ROOM}
        assert max(len(payload) for _, payload in heard) < 8000
        assert len(heard) < 12, "a part is as large as may be"
        told = [counters for _, payload in heard for counters in news._counters(payload)]
        assert told == codes


async def test_a_notice_that_nobody_understands_harms_nobody(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID
) -> None:
    uncaught: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: uncaught.append(context))
    async with working(database_url) as worker:
        for payload in ("", "{", "[1]", '[["no-uuid",1,1,1]]', "[[null,1,1,1]]", "7"):
            await conn.execute("SELECT pg_notify($1, $2)", news.ROOM, payload)
        await conn.execute("SELECT pg_notify($1, 'no chain')", news.CATALOG)
        await put_code(conn, chain_id)
        assert await becomes(lambda: serves(worker, chain_id)) < 1
        assert worker.news.connected
    assert uncaught == []


async def test_a_cut_listener_comes_back_and_reads_what_it_missed(
    conn: db.Connection,
    database_url: str,
    postgres_url: str,
    chain_id: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others edited, and seats that were granted: neither is told twice."""
    monkeypatch.setattr(runtime, "_DOWN_LONG_S", 0.5)
    filled, emptied = await put_code(conn, chain_id), await put_code(conn, chain_id)
    await set_held(conn, emptied, 1)
    async with working(database_url) as worker:
        before = worker.directory.codes
        assert before[filled].has_room
        assert not before[emptied].has_room
        assert worker.trouble() == []
        async with unreachable(conn, postgres_url):
            await cut_listeners(conn)
            await becomes(lambda: not worker.news.connected)
            await put_store(conn, chain_id, "NEW", HERE)
            await set_held(conn, filled, 1)
            await set_held(conn, emptied, 0)
            await becomes(lambda: worker.trouble())
            assert "NEW" not in worker.directory.chains[chain_id].stores
        assert await becomes(lambda: worker.news.connected) < 5
        assert "NEW" in worker.directory.chains[chain_id].stores
        assert not worker.directory.codes[filled].has_room
        assert worker.directory.codes[emptied].has_room
        assert worker.trouble() == []


async def test_what_could_not_be_told_is_told_by_a_worker_that_is_back(
    conn: db.Connection, database_url: str, postgres_url: str, chain_id: uuid.UUID
) -> None:
    code_id = await put_code(conn, chain_id)
    async with working(database_url) as one:
        async with unreachable(conn, postgres_url):
            await cut_listeners(conn)
            await becomes(lambda: not one.news.connected)
            told = await set_held(conn, code_id, 1)
            one.directory.counted(told)
            one.news.room(told)
        heard: list[tuple[str, str]] = []
        async with listening(database_url, heard):
            await becomes(lambda: heard)
        assert news._counters(heard[0][1]) == [told]


async def test_a_database_that_falls_silent_without_a_word_is_noticed(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID, tmp_path: Path
) -> None:
    """No end of the connection is seen when a host loses its power: only no answer comes."""
    async with between(database_url, tmp_path) as middle, working(middle.url) as worker:
        middle.open.clear()
        await put_code(conn, chain_id)
        assert await becomes(lambda: not worker.news.connected) < 4
        middle.open.set()
        assert await becomes(lambda: worker.news.connected) < 5
        assert serves(worker, chain_id)


async def test_what_was_being_told_when_the_database_fell_silent_is_told_again(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID, tmp_path: Path
) -> None:
    heard: list[tuple[str, str]] = []
    async with (
        listening(database_url, heard),
        between(database_url, tmp_path) as middle,
        working(middle.url) as worker,
    ):
        middle.open.clear()
        told = Counters(uuid.uuid4(), 1, 0, 7)
        worker.news.room(told)
        await becomes(lambda: not worker.news.connected)
        assert heard == []
        middle.open.set()
        await becomes(lambda: heard)
        assert news._counters(heard[0][1]) == [told]


async def test_a_worker_that_ends_tells_what_it_was_about_to_tell(
    conn: db.Connection, database_url: str, chain_id: uuid.UUID
) -> None:
    heard: list[tuple[str, str]] = []
    told = Counters(uuid.uuid4(), 1, 0, 7)
    async with listening(database_url, heard):
        async with working(database_url) as worker:
            worker.news.room(told)
        await becomes(lambda: heard)
        assert news._counters(heard[0][1]) == [told]


async def test_seats_that_nobody_told_of_are_known_after_a_while(
    conn: db.Connection,
    database_url: str,
    chain_id: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worker that saw it may have died before it could tell."""
    monkeypatch.setattr(runtime, "_RECOUNT_EVERY_S", 0.3)
    code_id = await put_code(conn, chain_id)
    async with working(database_url) as worker:
        await set_held(conn, code_id, 1)
        await becomes(lambda: not serves(worker, chain_id))
        await set_held(conn, code_id, 0)
        await becomes(lambda: serves(worker, chain_id))


async def test_scans_are_not_told_of_but_changes_are(service: Running) -> None:
    service.put_entry()
    code = service.put_code("S1", "one", capacity=50)
    heard: list[tuple[str, str]] = []
    async with listening(service.database_url, heard):

        def visit() -> None:
            for number in range(20):
                scan = service.scan(f"visitor-{number}")
                assert service.locate(scan, *HERE)["outcome"] == "code"
                service.tell(scan, "joined")

        await asyncio.to_thread(visit)
        await asyncio.sleep(2 * news._TELL_EVERY_S)
        assert heard == []
        path = f"/api/v1/codes/{code['code_id']}"
        answer = await asyncio.to_thread(service.hq.patch, path, json={"capacity": 60})
        running.answered(answer)
        await becomes(lambda: heard)
        assert [channel for channel, _ in heard] == [news.CATALOG]


async def test_a_code_that_fills_up_is_told_of_once(service: Running) -> None:
    service.put_entry()
    service.put_code("S1", "one", capacity=5)
    heard: list[tuple[str, str]] = []
    async with listening(service.database_url, heard):

        def visit() -> None:
            for number in range(5):
                scan = service.scan(f"visitor-{number}")
                assert service.locate(scan, *HERE)["outcome"] == "code"
            full = service.scan("one too many")
            assert service.locate(full, *HERE)["outcome"] == "unserved"

        await asyncio.to_thread(visit)
        await becomes(lambda: heard)
        await asyncio.sleep(2 * news._TELL_EVERY_S)
        assert [channel for channel, _ in heard] == [news.ROOM]
        (told,) = news._counters(heard[0][1])
        assert told.members + told.held == 5


async def test_of_several_hosts_the_one_that_can_be_written_to_is_used(
    conn: db.Connection,
    database_url: str,
    chain_id: uuid.UUID,
    standby_url: str,
    tmp_path: Path,
) -> None:
    """One is gone, one only reads: pool and listener find the third."""
    name = urllib.parse.urlsplit(database_url).path.lstrip("/")
    await conftest.execute(standby_url, f"CREATE DATABASE {name}")
    await conftest.execute(standby_url, "ALTER SYSTEM SET default_transaction_read_only = on")
    await conftest.execute(standby_url, "SELECT pg_reload_conf()")
    folders = [str(tmp_path), folder_of(standby_url), folder_of(database_url)]
    query = {
        "host": ",".join(folders),
        "port": ",".join(["5432"] * 3),
        "sslmode": "disable",
        "target_session_attrs": "read-write",
    }
    url = f"postgresql://postgres@/{name}?{urllib.parse.urlencode(query)}"
    async with working(url) as worker:
        await put_code(conn, chain_id)
        assert await becomes(lambda: serves(worker, chain_id)) < 1
        async with worker.connection() as connection:
            assert await connection.fetchval("SELECT count(*) FROM chains") == 1


# ---------------------------------------------------------------- helpers


@contextlib.asynccontextmanager
async def listening(url: str, heard: list[tuple[str, str]]) -> AsyncIterator[None]:
    """Every notice goes into `heard`: its channel and payload."""
    connection = await asyncpg.connect(url)

    def hear(_: object, __: int, channel: str, payload: str) -> None:
        heard.append((channel, payload))

    for channel in (news.CATALOG, news.ROOM):
        await connection.add_listener(channel, hear)
    try:
        yield
    finally:
        for channel in (news.CATALOG, news.ROOM):
            await connection.remove_listener(channel, hear)
        await connection.close()


async def cut_listeners(conn: db.Connection) -> None:
    cut = await conn.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = $1 AND datname = current_database()",
        news.APPLICATION,
    )
    assert cut


@contextlib.asynccontextmanager
async def unreachable(conn: db.Connection, postgres_url: str) -> AsyncIterator[None]:
    """Nobody can connect anew; who is connected works on."""
    name = await conn.fetchval("SELECT current_database()")
    await conftest.execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        yield
    finally:
        await conftest.execute(postgres_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def folder_of(url: str) -> str:
    """The folder of the database's socket."""
    return urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["host"][0]


class Middle:
    """Stands between a worker and the database; while it is not `open` it
    passes nothing on, and what was under way then is lost."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.open = asyncio.Event()
        self.open.set()

    async def copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                if not self.open.is_set():
                    await self.open.wait()
                    break
                target.write(data)
                await target.drain()
        target.close()


@contextlib.asynccontextmanager
async def between(database_url: str, folder: Path) -> AsyncIterator[Middle]:
    socket = f"{folder_of(database_url)}/.s.PGSQL.5432"
    parts = urllib.parse.urlsplit(database_url)
    middle = Middle(parts._replace(query=f"host={folder}&port=5432&sslmode=disable").geturl())

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, asks = await asyncio.open_unix_connection(socket)
        await asyncio.gather(middle.copy(reader, asks), middle.copy(answers, writer))

    async with await asyncio.start_unix_server(connected, str(folder / ".s.PGSQL.5432")):
        yield middle


@pytest.fixture
def standby_url() -> Iterator[str]:
    """Another PostgreSQL: its maintenance database."""
    with (
        tempfile.TemporaryDirectory(prefix="nearcode-tests-") as folder,
        embedded.EmbeddedPostgres(Path(folder) / "data") as server,
    ):
        yield conftest.with_database(server.url, "postgres")
