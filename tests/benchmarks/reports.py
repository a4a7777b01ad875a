"""Reports from roll-ups against the same from the raw rows, and what keeping the roll-ups costs.

Half a year of ten million scans (fewer by --scale) is written by SQL, with stores and placements of
all sizes, hours of the day, visitors who come back, and joins that come late; then the roll-ups
follow it as they follow visitors. Figures are of one session; the same report is asked of both, and
must say the same.
"""

import asyncio
import contextlib
import os
import random
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiosql
import asyncpg
import httpx
import orjson

from service import (
    accounts,
    boards,
    catalog,
    db,
    embedded,
    outbox,
    people,
    rollups,
    webhooks,
)
from service.domain import Role, uuid7
from service.settings import Settings
from service.shelf import SHELF
from service.steps import report
from service.steps.report import By, Which
from tests.benchmarks import measuring, processes, report_pages, wrk
from tests.benchmarks.options import Options

_SCANS = 10_000_000
_DAYS = 180
_STORES = 2_000
_PLACEMENTS = 60
_ROUNDS = 5
_ENTRY = "bench"
_ZONE = ZoneInfo("Asia/Shanghai")
_FASTER, _WITHIN_S, _COST = 50.0, 0.2, 0.15
_Report = Callable[[Which], Awaitable[dict[str, Any]]]
_Truth = Callable[[Which], Awaitable[list[dict[str, Any]]]]
_raw: Any = aiosql.from_path(Path(__file__).with_suffix(".sql"), "asyncpg")


def run(options: Options) -> Iterator[str]:
    scans = options.scaled(_SCANS, least=20_000)
    with (
        _folder(options.kept) as (data, rest),
        embedded.EmbeddedPostgres(data) as postgres,
        asyncio.Runner() as runner,
    ):
        runner.run(db.migrate(postgres.url))
        bench = runner.run(_found(postgres))
        if bench is None:
            bench = runner.run(_prepare(postgres, scans, options.seed))
        yield from _parts(runner, bench, rest)


@contextlib.contextmanager
def _folder(kept: Path | None) -> Iterator[tuple[Path, Path]]:
    """Where the data are, and where everything else is."""
    with tempfile.TemporaryDirectory(prefix="nearcode-bench-") as name:
        rest = Path(name)
        yield (kept or rest) / "data", rest


def _parts(runner: asyncio.Runner, bench: "_Bench", folder: Path) -> Iterator[str]:
    try:
        if bench.written:
            yield f"{bench.scans:,} scans that were there, up to {bench.today:%Y-%m-%d}"
        else:
            yield runner.run(bench.write())
            yield runner.run(bench.follow())
        yield runner.run(bench.compare())
        yield runner.run(bench.pages(folder))
        if not wrk.is_installed():
            yield wrk.MISSING
            return
        yield runner.run(bench.cost(folder))
    finally:
        runner.run(bench.connection.close())


async def _connected(postgres: embedded.EmbeddedPostgres) -> db.Connection:
    # Without a limit to how long a query takes.
    connection = await asyncpg.connect(postgres.url)
    await db.prepare(connection)
    return connection


async def _found(postgres: embedded.EmbeddedPostgres) -> "_Bench | None":
    """What was written there before, and followed to its end."""
    connection = await _connected(postgres)
    found = await connection.fetchrow("SELECT chain_id, written_until FROM histories")
    if found is None:
        await connection.close()
        return None
    scans = await connection.fetchval("SELECT count(*) FROM scan_facts")
    return _Bench(postgres, connection, found[0], scans, found[1].astimezone(_ZONE), written=True)


async def _prepare(postgres: embedded.EmbeddedPostgres, scans: int, seed: int) -> "_Bench":
    connection = await _connected(postgres)
    chain_id = await accounts.create_chain(connection, "bench", "bench")
    values = catalog.EntryValues("bench")
    await catalog.create_entry(connection, chain_id, _ENTRY, values, datetime.now(UTC), Settings())
    await connection.execute(_CATALOG_STORES, chain_id, _STORES)
    await connection.execute(_CATALOG_CODES, chain_id)
    await connection.execute(_CATALOG_PLACEMENTS, chain_id, _ENTRY, _PLACEMENTS)
    await connection.execute("SELECT setseed($1)", (seed % 1000) / 1000)
    today = datetime.now(_ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    return _Bench(postgres, connection, chain_id, scans, today)


@dataclass(slots=True)
class _Bench:
    postgres: embedded.EmbeddedPostgres
    connection: db.Connection
    chain_id: uuid.UUID
    scans: int
    today: datetime
    written: bool = False

    async def write(self) -> str:
        start = time.perf_counter()
        await self.connection.execute(_STAGED_TABLE)
        first = self.today - timedelta(days=_DAYS)
        for ahead in range(0, _DAYS + 32, 28):
            day = (first + timedelta(days=ahead)).date()
            await self.connection.execute("SELECT ensure_month($1)", day)
        a_day = self.scans // _DAYS
        for place in range(_DAYS):
            async with self.connection.transaction():
                await self.connection.execute(
                    _STAGED,
                    first + timedelta(days=place),
                    place * a_day,
                    a_day,
                    _STORES,
                    _PLACEMENTS,
                )
                for statement in _EVENTS:
                    await self.connection.execute(statement, self.chain_id, _ENTRY)
                await self.connection.execute("TRUNCATE staged")
        self.scans = a_day * _DAYS
        await self.connection.execute("VACUUM ANALYZE")
        size = await self.connection.fetchval("SELECT pg_database_size(current_database())")
        return (
            f"{self.scans:,} scans of {_DAYS} days, {_STORES:,} stores and {_PLACEMENTS} "
            f"placements: {size / 1e9:.1f} GB, written in {time.perf_counter() - start:,.0f} s"
        )

    async def follow(self) -> str:
        start = time.perf_counter()
        await self.connection.execute(
            "INSERT INTO touched_scans (chain_id, scan_id) SELECT chain_id, scan_id FROM scans"
            " WHERE chain_id = $1",
            self.chain_id,
        )
        touched_s = time.perf_counter() - start
        await rollups.follow(self.connection)
        while await rollups.merge(self.connection):
            pass
        taken_s = time.perf_counter() - start - touched_s
        await self.connection.execute("VACUUM ANALYZE")
        chunks, size = await self.connection.fetchrow(
            "SELECT (SELECT count(*) FROM report_chunks), pg_total_relation_size('report_chunks')"
        )
        first = self.today - timedelta(days=_DAYS)
        a_day = self.scans // _DAYS
        await self.connection.execute(_WRITTEN, self.chain_id, _ENTRY, a_day, first, self.today)
        day = self.today - timedelta(days=40)
        compared = await rollups.check(self.connection, self.chain_id, day, day + timedelta(days=1))
        return (
            f"All followed from nothing in {taken_s:,.0f} s, "
            f"{measuring.duration(taken_s / self.scans)} a scan; {chunks:,} chunks of "
            f"{size / 1e6:,.0f} MB, {size / self.scans:.0f} bytes a scan. A day checked against "
            f"its {compared.scans:,} raw scans: "
            f"{measuring.verdict(0 if compared.equal else 1, at_most=0)}"
        )

    async def compare(self) -> str:
        """Each report the first time, when nothing is kept of any, and again, each time after a
        visitor has come and a member has left."""
        month = Which(since=self.today - timedelta(days=30), until=self.today)
        rows = []
        for name, which, rolled, raw in self._reports(month):
            times = []
            for turn in range(1 + _ROUNDS):
                if turn:
                    await self.happens()
                    await rollups.follow(self.connection)
                else:
                    SHELF.clear()
                start = time.perf_counter()
                found = await rolled(which)
                orjson.dumps(found, default=str)
                times.append(time.perf_counter() - start)
            start = time.perf_counter()
            truth = await raw(which)
            raw_s = time.perf_counter() - start
            first_s, again_s = times[0], statistics.median(times[1:])
            same = _same(found["rows"], truth)
            rows.append(
                (
                    name,
                    measuring.duration(raw_s),
                    measuring.duration(first_s),
                    measuring.duration(again_s),
                    f"{raw_s / first_s:,.0f}",
                    measuring.verdict(raw_s / first_s, at_least=_FASTER),
                    f"{raw_s / again_s:,.0f}",
                    measuring.verdict(again_s, at_most=_WITHIN_S),
                    "yes" if same else "NO",
                )
            )
        headings = (
            "report", "raw rows", "roll-ups, first", "again", "first: times as fast",
            f"at least {_FASTER:g}", "again", f"at most {_WITHIN_S:g} s", "the same",
        )  # fmt: skip
        told = measuring.table(headings, rows)
        return f"{told}\n\n{SHELF.size / 1e6:,.0f} MB of at most {SHELF.limit / 1e6:,.0f} are kept"

    async def happens(self) -> None:
        """A visitor comes now, and one of the last month's members leaves."""
        then = uuid7(datetime.now(UTC) - timedelta(days=29 * random.random()))
        await self.connection.execute(_HAPPENS, self.chain_id, _ENTRY, uuid7(), uuid.uuid4(), then)

    async def pages(self, folder: Path) -> str:
        _, key = await accounts.create_key(self.connection, self.chain_id, Role.HQ, name="bench")
        ids = await self._staffed()
        with (
            self._serving(folder) as server,
            httpx.Client(
                base_url=server.base_url, trust_env=False, follow_redirects=True, timeout=60
            ) as client,
        ):
            console = report_pages.Console(
                client,
                lambda: server.cpu_s() + processes.cpu_s(self._postmaster()),
                ids,
                self.happens,
            )
            console.sign_in(key)
            told = await console.pages()
        missing = ", ".join(report_pages.unlisted())
        return f"{told}\n\nNot measured: {missing}" if missing else told

    async def _staffed(self) -> dict[str, object]:
        """A code; one of the managers, of whom there are as many as stores of fifty each need; a
        webhook."""
        connection, chain_id = self.connection, self.chain_id
        for first in range(0, _STORES, 50):
            name, theirs = f"店长{first}", frozenset(f"S{first + each}" for each in range(50))
            if not await connection.fetchval("SELECT 1 FROM people WHERE name = $1", name):
                await people.add_manager(connection, chain_id, name=name, stores=theirs)
        hook = webhooks.Values("https://example.org/", (outbox.Event.JOIN_LEFT,), enabled=False)
        made, _ = await webhooks.create(connection, chain_id, hook, b"bench", most=0)
        return {
            "code": await connection.fetchval("SELECT min(code_id::text) FROM codes"),
            "person": await connection.fetchval("SELECT min(person_id::text) FROM people"),
            "webhook": made["webhook_id"],
        }

    def _reports(self, month: Which) -> Iterator[tuple[str, Which, _Report, _Truth]]:
        """Each: its name, which scans, the report, and its rows' keys, scans and joins from the raw
        rows."""
        everything = Which()
        for by in (By.NONE, By.DAY, By.STORE, By.CITY, By.PLACEMENT, By.CHANNEL, By.SOURCE):
            yield f"funnel by {by}, 30 days", month, self._funnel(by), self._raw_funnel(by)
        shanghai = Which(month.since, month.until, city="城市0", channel="poster")
        yield "a city's posters by store, 30 days", shanghai, *self._both(By.STORE)
        yield "funnel by hour, 30 days", month, *self._both(By.HOUR)
        yield "trend, 30 days and 30 before", month, self._trend, self._raw_twice(By.DAY)
        yield "leader board of stores, the same", month, self._stores, self._raw_twice(By.STORE)
        yield "placements, 30 days", month, self._placements, self._raw_funnel(By.PLACEMENT)
        yield "map, 30 days", month, self._map, self._raw_funnel(By.STORE)
        yield "unserved, 30 days", month, self._unserved, self._raw_unserved
        for by in (By.NONE, By.STORE):
            yield f"funnel by {by}, all {self.scans:,}", everything, *self._both(by)

    def _both(self, by: By) -> tuple[_Report, _Truth]:
        return self._funnel(by), self._raw_funnel(by)

    def _funnel(self, by: By) -> _Report:
        return lambda which: report.funnel_of(self.connection, self.chain_id, which, by=by)

    async def _trend(self, which: Which) -> dict[str, Any]:
        return await boards.trend(self.connection, self.chain_id, which)

    async def _stores(self, which: Which) -> dict[str, Any]:
        found = await boards.stores(self.connection, self.chain_id, which)
        return _keyed(found, "store")

    async def _placements(self, which: Which) -> dict[str, Any]:
        found = await boards.placements(self.connection, self.chain_id, which)
        return _keyed(found, "placement")

    async def _map(self, which: Which) -> dict[str, Any]:
        found = await boards.map_of_stores(self.connection, self.chain_id, which)
        return _keyed(found, "store")

    async def _unserved(self, which: Which) -> dict[str, Any]:
        rows = await report.unserved(
            self.connection, self.chain_id, since=which.since, until=which.until
        )
        return {"rows": [{**row, "key": _place(row), "joined": 0} for row in rows]}

    def _raw_funnel(self, by: By) -> _Truth:
        async def asked(which: Which) -> list[dict[str, Any]]:
            values = {name: getattr(which, name) for name in _WHICH}
            rows = await self._asked(_raw.funnel, by=by.value, **values)
            found = [dict(row) for row in rows if row["kind"] == "row"]
            return [{**row, "key": "all"} for row in found] if by is By.NONE else found

        return asked

    def _raw_twice(self, by: By) -> _Truth:
        asked = self._raw_funnel(by)

        async def both(which: Which) -> list[dict[str, Any]]:
            await asked(boards.before(which, _ZONE))
            return await asked(which)

        return both

    async def _raw_unserved(self, which: Which) -> list[dict[str, Any]]:
        rows = await self._asked(
            _raw.unserved, since=which.since, until=which.until, scope_all=True
        )
        return [{"key": _place(row), "scans": row["scans"], "joined": 0} for row in rows]

    async def _asked(self, query: Any, **values: Any) -> list[asyncpg.Record]:
        async with self.connection.transaction(readonly=True):
            await _raw.plan_anew(self.connection)
            return await db.rows(query(self.connection, chain_id=self.chain_id, **values))

    # What it costs

    async def cost(self, folder: Path) -> str:
        """Processor time of scans through HTTP with a position each, and of following them: both
        found by one round, and each by a round of its own."""
        keeper = await db.connect(self.postgres.url)
        hot: list[float] = []
        followed: dict[bool, list[float]] = {True: [], False: []}
        try:
            # The server's own rounds find somebody else at it.
            await keeper.execute("SELECT pg_advisory_lock($1)", rollups.KEEPER)
            with self._serving(folder) as server:
                for turn in range(2 * _ROUNDS + 2):
                    together = turn % 2 == 0
                    used = await self._turn(server, folder, turn, together)
                    if turn > 1:  # the first warm up
                        hot.append(used[0])
                        followed[together].append(used[1])
        finally:
            await keeper.close()
        hot_us = statistics.median(hot) * 1e6
        both_us, each_us = (statistics.median(followed[kind]) * 1e6 for kind in (True, False))
        rows = [("scan and position, by HTTP", f"{hot_us:,.0f} us", "", "")]
        # A position comes some 3 s after its scan, and a round every 15 s.
        apart = 3 / Settings().rollup_s
        mixed_us = both_us * (1 - apart) + each_us * apart
        for name, cost_us in (
            ("following both in one round", both_us),
            ("following each in a round of its own", each_us),
            (f"as it comes: {apart:.0%} apart", mixed_us),
        ):
            lost = cost_us / (hot_us + cost_us)
            told = measuring.verdict(lost, at_most=_COST) if cost_us == mixed_us else ""
            rows.append((name, f"{cost_us:,.0f} us", f"{lost:.1%}", told))
        return measuring.table(
            ("processor time a scan", "of all", "of the rate", f"at most {_COST:.0%}"), rows
        )

    async def _turn(
        self, server: processes.Server, folder: Path, turn: int, together: bool
    ) -> tuple[float, float]:
        """Seconds a scan: of serving it, and of following it."""
        pid = self._postmaster()
        hot = followed = 0.0
        for step, (script, arguments) in enumerate(self._load(folder, turn)):
            before = server.cpu_s() + processes.cpu_s(pid)
            load = await asyncio.to_thread(
                wrk.run, folder, script, server.base_url, arguments, connections=64, seconds=2
            )
            answered = max(1, load.answered - load.refused)
            hot += (server.cpu_s() + processes.cpu_s(pid) - before) / answered
            if together and step == 0:
                continue
            before, own = processes.cpu_s(pid), time.process_time()
            await rollups.follow(self.connection)
            spent = processes.cpu_s(pid) - before + time.process_time() - own
            followed += spent / answered
        return hot, followed

    def _postmaster(self) -> int:
        pid_file = self.postgres.data_dir / "postgresql" / "postmaster.pid"
        return int(pid_file.read_text().split()[0])

    def _load(self, folder: Path, turn: int) -> Iterator[tuple[str, tuple[str | Path, ...]]]:
        ids, bodies = folder / "ids.txt", folder / "bodies.jsonl"
        bodies.write_text(
            "".join(
                f'{{"lon":{100 + place % 50 * 0.4:.3f},"lat":{25 + place // 50 * 0.3:.3f},'
                '"accuracy_m":10}\n'
                for place in range(_STORES)
            ),
            "ascii",
        )
        yield wrk.OPEN, (f"{turn}-", _ENTRY, ids)
        yield wrk.LOCATE, (ids, bodies, "once")

    def _serving(self, folder: Path) -> contextlib.AbstractContextManager[processes.Server]:
        port = processes.free_port()
        return processes.serving(
            [
                *(sys.executable, "-c", "from service import cli; cli.main()"),
                *("serve", "--port", str(port)),
            ],
            port,
            {
                **os.environ,
                "NEARCODE_DATABASE_URL": self.postgres.url,
                "NEARCODE_MAX_HOLDS_PER_ADDRESS": "0",
                "NEARCODE_MAX_HOLDS_PER_SUBNET": "0",
                "NEARCODE_WARNINGS_S": "0",
            },
            folder / "server.log",
        )


_WHICH = ("since", "until", "entry", "store", "city", "channel", "scope")


def _keyed(found: dict[str, Any], name: str) -> dict[str, Any]:
    return {**found, "rows": [{**row, "key": row[name]} for row in found["rows"]]}


def _place(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in report.UNSERVED_COLUMNS[:-1])


def _same(rows: list[dict[str, Any]], truth: list[dict[str, Any]]) -> bool:
    """Whether they tell the same of every key: boards have none for what is nobody's, and rows of
    what was never scanned."""

    def told(these: list[dict[str, Any]]) -> dict[Any, tuple[int, ...]]:
        names = ("scans", "joined", "visitors")
        return {
            row["key"]: tuple(row[name] for name in names if all(name in r for r in both))
            for row in these
            if row["scans"] and row["key"] is not None
        }

    both = [*rows[:1], *truth[:1]]
    return bool(truth) and told(rows) == told(truth)


# Once all is there.
_WRITTEN = """
INSERT INTO histories (chain_id, entry, seed, scans_a_day, since, written_until, asleep)
VALUES ($1, $2, 1, $3, $4, $5, '{}')
"""
# A scan of now, and the end of the first join after $5: each with its touch.
_HAPPENS = """
WITH came AS (
    INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)
    VALUES ($1, $3, $2, $4, now(), 'api') RETURNING scan_id
), gone AS (
    UPDATE joins SET left_at = now()
    WHERE chain_id = $1 AND join_id = (
        SELECT join_id FROM joins
        WHERE chain_id = $1 AND join_id >= $5 AND left_at IS NULL
        ORDER BY join_id LIMIT 1)
    RETURNING scan_id
)
INSERT INTO touched_scans (chain_id, scan_id)
SELECT $1, scan_id FROM came UNION ALL SELECT $1, scan_id FROM gone
"""
_CATALOG_STORES = """
INSERT INTO stores (chain_id, store, name, brand, province, city, district, lon, lat, given_lon,
                    given_lat, version)
SELECT $1, 'S' || place, '近码茶社·' || place || '号店', '品牌' || place % 3, '省' || place % 20,
    '城市' || place % 60, '区' || place % 200, 100 + place % 50 * 0.4, 25 + place / 50 * 0.3,
    100 + place % 50 * 0.4, 25 + place / 50 * 0.3, 1
FROM generate_series(0, $2::int - 1) AS place
"""
_CATALOG_CODES = """
INSERT INTO codes (chain_id, code_id, store, kind, payload, capacity)
SELECT chain_id, gen_random_uuid(), store, 'wecom_group',
    'https://work.weixin.qq.com/gm/' || md5(store), 1000000
FROM stores WHERE chain_id = $1
"""
_CATALOG_PLACEMENTS = """
INSERT INTO placements (chain_id, entry, placement, name, channel, variant, printed, cost)
SELECT $1, $2, 'p' || place, '投放' || place,
    (ARRAY['poster', 'package card', 'sms', 'online'])[1 + place % 4],
    (ARRAY['A', 'B'])[1 + place % 2], 10000, 5000
FROM generate_series(1, $3::int) AS place
"""

# A day's scans: few stores and placements have most of them; at noon and in the evening; every
# fifth is by somebody who was here before; 3 % are programs'.
_STAGED_TABLE = """
CREATE TEMPORARY TABLE staged (
    n bigint, at timestamptz, hash text, visitor uuid, store text, placement text, place int,
    bot bool, fate float8, source text, joined bool, reported bool, gone bool, wait interval);
CREATE FUNCTION pg_temp.id7(at timestamptz, hash text) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
            || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid
$$;
"""
_STAGED = """
INSERT INTO staged
SELECT n, $1::timestamptz + make_interval(secs => (8 + 7 * (random() + random())) * 3600),
    md5(n::text), md5('v' || CASE WHEN random() < 0.2 THEN floor(n * (1 - random() ^ 2))
                                  ELSE n END::bigint)::uuid,
    'S' || floor($4::int * random() ^ 3)::int,
    'p' || nullif(floor(($5::int + 1) * random() ^ 2)::int, 0), floor(60 * random())::int,
    random() < 0.03, random(),
    (ARRAY['gps', 'gps', 'gps', 'ip', 'chosen'])[1 + floor(5 * random())],
    random() < 0.48, random() < 0.3, random() < 0.1,
    -- Nothing comes from the future.
    CASE WHEN random() < 0.05
             THEN least(10, random() * greatest(0, extract(day FROM now() - $1) - 1))
                 * interval '1 day'
         ELSE random() * interval '3 minutes' END
FROM generate_series($2::bigint, $2::bigint + $3::bigint - 1) AS n
"""
# 12 % are never located, 10 % are far from all stores, the others are shown a code.
_EVENTS = (
    """
INSERT INTO scans (chain_id, scan_id, entry, placement, visitor_id, scanned_at, via, bot, browser,
                   language, address_hash, subnet_hash)
SELECT $1, pg_temp.id7(at, hash), $2, placement, visitor, at, 'page',
    CASE WHEN bot THEN 'Baiduspider' END, 'WeChat', 'zh-CN', decode(hash, 'hex'),
    decode(hash, 'hex')
FROM staged ORDER BY at""",
    """
INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, routed_at)
SELECT $1, pg_temp.id7(at, hash), pg_temp.id7(at, hash), 'unserved', 'position_needed', at
FROM staged WHERE $2::text IS NOT NULL ORDER BY at""",
    """
INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, accuracy_m, province,
                      city, district, store, distance_m, code_id, hold_id, held_until, routed_at)
SELECT $1, pg_temp.id7(at + interval '4 seconds', hash), pg_temp.id7(at, hash),
    CASE WHEN fate < 0.22 THEN 'unserved' ELSE 'code' END,
    CASE WHEN fate < 0.22 THEN 'out_of_range' ELSE 'nearest' END, source, 30,
    '省' || place % 20, '城市' || place, '区' || place, CASE WHEN fate >= 0.22 THEN store END,
    420.5, visitor, visitor, at + interval '15 minutes', at + interval '4 seconds'
FROM staged WHERE NOT bot AND fate >= 0.12 AND $2::text IS NOT NULL ORDER BY at""",
    """
INSERT INTO fixes (chain_id, fix_id, scan_id, source, datum, lon, lat, accuracy_m, province, city,
                   district, fixed_at)
SELECT $1, pg_temp.id7(at + interval '4 seconds', hash), pg_temp.id7(at, hash), source, 'wgs84',
    round((100 + place % 10 + fate)::numeric, 3), round((25 + place / 10 + fate)::numeric, 3), 30,
    '省' || place % 20, '城市' || place, '区' || place, at + interval '4 seconds'
FROM staged WHERE NOT bot AND fate >= 0.12 AND $2::text IS NOT NULL ORDER BY at""",
    """
INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, code_id, store, kind, counts,
                      seen_at)
SELECT $1, pg_temp.id7(at + wait, hash), pg_temp.id7(at, hash), visitor, visitor, store,
    CASE WHEN reported THEN 'reported' ELSE 'pressed' END, true, at + wait
FROM staged WHERE NOT bot AND fate >= 0.22 AND joined AND $2::text IS NOT NULL ORDER BY at""",
    """
INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, placement, code_id,
                   store, province, city, district, source, distance_m, evidence, joined_at,
                   left_at)
SELECT $1, pg_temp.id7(at + wait, hash), pg_temp.id7(at, hash), visitor, visitor, $2, placement,
    visitor, store, '省', '城市', '区', source, 420.5,
    CASE WHEN reported THEN 'reported' ELSE 'pressed' END, at + wait,
    CASE WHEN gone THEN at + wait + interval '2 days' END
FROM staged WHERE NOT bot AND fate >= 0.22 AND joined ORDER BY at""",
)
