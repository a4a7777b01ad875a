"""A million orders: how fast they are taken and matched, and how long HQ waits for what they say.

The members' past is written by SQL; orders go the way that HTTP takes: checked, matched, counted,
5,000 a transaction, all durable. Half of them name their scan, the others the member by a phone.
"""

import asyncio
import json
import random
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from service import accounts, db, embedded, order_rows, orders, revenue, rollups
from service.steps.report import Which
from tests.benchmarks import measuring
from tests.benchmarks.options import Options

_ORDERS = 1_000_000
_ORDERS_A_MEMBER = 3
_SCANS_A_MEMBER = 2
_STORES = 200
_ROUNDS = 7
_AT_MOST_S = 0.2
_MATCHING = orders.Matching(b"benchmark", timedelta(days=365))
_DAYS = 300


def run(options: Options) -> Iterator[str]:
    count = options.scaled(_ORDERS, least=10_000)
    with (
        tempfile.TemporaryDirectory(prefix="nearcode-bench-") as folder,
        embedded.EmbeddedPostgres(Path(folder) / "data") as server,
        asyncio.Runner() as runner,
    ):
        runner.run(db.migrate(server.url))
        connection = runner.run(db.connect(server.url))
        chain_id, scans = runner.run(_past(connection, count // _ORDERS_A_MEMBER))
        yield f"{count:,} orders of {len(scans):,} members of {_STORES} stores, {_DAYS} days"
        yield measuring.table(
            ("taking orders", "all", "orders/s"),
            runner.run(_taken(connection, chain_id, scans, count, options.seed)),
        )
        runner.run(_settle(connection))
        times = {
            name: measuring.Times(tuple(runner.run(_times(ask))))
            for name, ask in _questions(connection, chain_id).items()
        }
        yield measuring.table(
            ("question", "median", "+-", f"at most {measuring.duration(_AT_MOST_S)}"),
            [
                (
                    name,
                    measuring.duration(each.median_s),
                    f"{each.spread / 2:.0%}",
                    measuring.verdict(each.median_s, at_most=_AT_MOST_S),
                )
                for name, each in times.items()
            ],
        )
        runner.run(connection.close())


async def _past(
    connection: db.Connection, members: int
) -> tuple[uuid.UUID, list[tuple[str, datetime]]]:
    """A chain whose members joined long ago; their scans, and when those were."""
    chain_id = await accounts.create_chain(connection, "bench", "bench")
    start = datetime.now(UTC) - timedelta(days=_DAYS + 30)
    await connection.execute(
        "SELECT ensure_month((date_trunc('month', $1::timestamptz) + make_interval(months => n))"
        "::date) FROM generate_series(0, 13) AS n",
        start,
    )
    await connection.execute(
        "INSERT INTO stores (chain_id, store, name, city, lon, lat, given_lon, given_lat)"
        " SELECT $1, 'S' || n, 'S' || n, 'C' || n % 20, 121, 31, 121, 31"
        " FROM generate_series(0, $2::int - 1) AS n",
        chain_id, _STORES,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO entries (chain_id, entry, name) VALUES ($1, 'tea', 'tea')", chain_id
    )
    await connection.execute(
        "INSERT INTO placements (chain_id, entry, placement, name, channel)"
        " SELECT $1, 'tea', 'p' || n, 'p' || n, 'c' || n % 3 FROM generate_series(0, 19) AS n",
        chain_id,
    )
    await connection.execute(
        """
        CREATE TEMPORARY TABLE past AS
        SELECT n, n <= $1::int AS joined, 'S' || floor($3::int * random() ^ 2) AS store,
            CASE WHEN random() < 0.9 THEN 'p' || floor(20 * random()) END AS placement, at,
            (left(uuid7_floor(at)::text, 14) || '7' || substr(md5(n::text), 1, 3) || '-8'
             || substr(md5(n::text), 4, 3) || '-' || substr(md5(n::text), 7, 12))::uuid AS id
        FROM (SELECT n, $2::timestamptz + random() * make_interval(days => $4::int) AS at
              FROM generate_series(1, $1::int * $5::int) AS n) AS timed
        """,
        members, start, _STORES, _DAYS, _SCANS_A_MEMBER, timeout=3600,
    )  # fmt: skip
    for statement in (
        "INSERT INTO scans (chain_id, scan_id, entry, placement, visitor_id, scanned_at, via)"
        " SELECT $1, id, 'tea', placement, gen_random_uuid(), at, 'page' FROM past",
        "INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, store,"
        " routed_at) SELECT $1, id, id, 'code', 'nearest', 'gps', store, at FROM past",
        "INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, store, kind, counts,"
        " seen_at) SELECT $1, id, id, id, store, 'verified', true, at FROM past WHERE joined",
        "INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, placement,"
        " code_id, store, evidence, joined_at) SELECT $1, id, id, id, id, 'tea', placement, id,"
        " store, 'verified', at FROM past WHERE joined",
        "INSERT INTO touched_scans (chain_id, scan_id) SELECT $1, id FROM past",
    ):
        await connection.execute(statement, chain_id, timeout=3600)
    await connection.execute("ANALYZE", timeout=3600)
    rows = await connection.fetch("SELECT id, at FROM past WHERE joined ORDER BY n")
    return chain_id, [(str(row["id"]), row["at"]) for row in rows]


async def _taken(
    connection: db.Connection,
    chain_id: uuid.UUID,
    scans: list[tuple[str, datetime]],
    count: int,
    seed: int,
) -> list[tuple[str, ...]]:
    """Who the members are, then their orders, then all again; seconds and rate of each."""
    chance = random.Random(seed)
    taken: dict[str, list[float]] = {}

    def note(name: str, started: float, rows: int) -> None:
        spent = taken.setdefault(name, [0.0, 0.0])
        spent[0] += time.perf_counter() - started
        spent[1] += rows

    for start in range(0, len(scans), orders.BATCH):
        told = [
            {"scan_id": scan_id, "phone": _phone(start + place)}
            for place, (scan_id, _) in enumerate(scans[start : start + orders.BATCH])
        ]
        started = time.perf_counter()
        parsed = order_rows.joined(told)
        await orders.tell_members(connection, chain_id, parsed.rows, _MATCHING)
        note("members told", started, len(told))
    first = ""
    for start in range(0, count, orders.BATCH):
        sent = [
            _order(chance, number, scans)
            for number in range(start, min(start + orders.BATCH, count))
        ]
        body = json.dumps(sent)
        first = first or body
        started = time.perf_counter()
        done = await _send(connection, chain_id, body)
        note("orders", started, len(sent))
        assert done.matched > 0.9 * len(sent), done
    started = time.perf_counter()
    done = await _send(connection, chain_id, first)
    note("the same again", started, done.accepted)
    assert done.unchanged == done.accepted
    return [
        (name, measuring.duration(seconds), f"{rows / seconds:,.0f}")
        for name, (seconds, rows) in taken.items()
    ]


async def _send(connection: db.Connection, chain_id: uuid.UUID, body: str) -> orders.Put:
    parsed = order_rows.orders(json.loads(body), tz=UTC, currency="CNY")
    return await orders.put(connection, chain_id, parsed.rows, _MATCHING)


def _phone(number: int) -> str:
    return f"1{3_000_000_000 + number}"


def _order(
    chance: random.Random, number: int, scans: list[tuple[str, datetime]]
) -> dict[str, object]:
    member = chance.randrange(len(scans))
    scan_id, at = scans[member]
    order: dict[str, object] = {
        "order": f"2026{number:012}",
        "at": (at + timedelta(hours=1 + chance.expovariate(1 / 300))).isoformat(),
        "amount": f"{chance.randrange(500, 50_000) / 100:.2f}",
        "store": f"S{chance.randrange(_STORES)}",
    }
    known = {"scan_id": scan_id} if number % 2 else {"member": _phone(member)}
    return order | (known if chance.random() < 0.98 else {})


async def _settle(connection: db.Connection) -> None:
    while await rollups.keep_up(connection):
        pass
    await connection.execute("VACUUM ANALYZE", timeout=3600)


Ask = Callable[[], Awaitable[object]]


def _questions(connection: db.Connection, chain_id: uuid.UUID) -> dict[str, Ask]:
    now = datetime.now(UTC)
    month = Which(since=now - timedelta(days=90), until=now - timedelta(days=60))
    pieces = Which(since=now - timedelta(days=200, hours=3), until=now - timedelta(days=20))

    def tree(by: str, which: Which) -> Ask:
        return lambda: revenue.revenue_by(connection, chain_id, by=by, which=which)

    return {
        **{f"revenue by {by}, all days": tree(by, Which()) for by in revenue.BYS},
        "revenue by store, a month": tree("store", month),
        "revenue by store, from within a day": tree("store", pieces),
        "revenue of one store": tree("cohort_month", Which(store="S1")),
        "groups of members": lambda: revenue.groups(connection, chain_id, now=now),
        "a hundred orders": lambda: orders.listed(connection, chain_id, most=101),
        "a hundred unmatched": lambda: orders.listed(connection, chain_id, matched=False, most=101),
        "one order, corrected": _correcting(connection, chain_id),
    }


def _correcting(connection: db.Connection, chain_id: uuid.UUID) -> Ask:
    cents = iter(range(1, 1_000_000))

    async def correct() -> None:
        order = {"order": "corrected", "at": "2026-01-01", "amount": f"{next(cents)}"}
        await _send(connection, chain_id, json.dumps([order]))

    return correct


async def _times(ask: Ask) -> list[float]:
    await ask()
    taken = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - started)
    return taken
