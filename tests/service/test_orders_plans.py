"""Orders are matched key by key also where PostgreSQL has never looked at the tables: right after a
chain's first large history, its plans think that a chain has a handful of rows."""

import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service import db, order_rows, orders
from tests.service import buying
from tests.service.buying import World

MONTHS, A_MONTH, ORDERS = 8, 400, 350
READ = (
    "orders", "joins", "scans", "routings", "evidence", "member_keys", "scan_orders",
)  # fmt: skip


async def _history(conn: db.Connection) -> tuple[World, list[tuple[uuid.UUID, datetime]]]:
    """A chain of thousands of joins that were written at once; each scan and its time."""
    world = await buying.world(conn)
    now = datetime.now(UTC)
    await db.ensure_partitions(conn, now - timedelta(days=30 * MONTHS + 2), now)
    await conn.execute(
        "CREATE TEMPORARY TABLE past AS SELECT n, at, (left(uuid7_floor(at)::text, 14) || '7'"
        " || substr(md5(n::text), 1, 3) || '-8' || substr(md5(n::text), 4, 3) || '-'"
        " || substr(md5(n::text), 7, 12))::uuid AS id"
        " FROM (SELECT n, $1::timestamptz - n * $2::interval AS at"
        " FROM generate_series(1, $3::int) AS n) AS timed",
        now, timedelta(days=30) / A_MONTH, MONTHS * A_MONTH,
    )  # fmt: skip
    for statement in (
        "INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)"
        " SELECT $1, id, $2, id, at, 'page' FROM past",
        "INSERT INTO routings (chain_id, routing_id, scan_id, outcome, reason, source, store,"
        " routed_at) SELECT $1, id, id, 'code', $2, 'gps', 'S1', at FROM past",
        "INSERT INTO evidence (chain_id, evidence_id, scan_id, hold_id, store, kind, counts,"
        " seen_at) SELECT $1, id, id, id, $2, 'verified', true, at FROM past",
        "INSERT INTO joins (chain_id, join_id, scan_id, hold_id, visitor_id, entry, code_id,"
        " store, evidence, joined_at) SELECT $1, id, id, id, id, $2, id, 'S1', 'verified', at"
        " FROM past",
    ):
        await conn.execute(statement, world.chain_id, world.entry)
    rows = await conn.fetch("SELECT id, at FROM past ORDER BY n")
    return world, [(row["id"], row["at"]) for row in rows]


@pytest.mark.parametrize("told_first", [True, False])
async def test_the_first_large_import_looks_every_order_up_by_key(
    conn: db.Connection, told_first: bool
) -> None:
    world, past = await _history(conn)
    if told_first:
        told = [{"scan_id": str(scan), "member": f"m{n}"} for n, (scan, _) in enumerate(past)]
        kept = await orders.tell_members(
            conn, world.chain_id, order_rows.joined(told).rows, world.matching
        )
        assert kept.accepted == len(past)
    sent = [
        {"order": f"A{n}", "at": (at + timedelta(hours=1)).isoformat(), "amount": 9}
        | ({"member": f"m{n}"} if told_first and n % 2 else {"scan_id": str(scan)})
        for n, (scan, at) in enumerate(past[:: len(past) // ORDERS])
    ]
    done = await orders.put(
        conn,
        world.chain_id,
        order_rows.orders(sent, tz=UTC, currency="CNY").rows,
        world.matching,
    )
    assert done.created == len(sent)
    large = await _large(conn)
    assert {"orders", "scan_orders"} < set(large.values())
    scan_ids = [scan for scan, _ in past[:ORDERS]]
    values = {
        "chain_id": world.chain_id,
        "orders": [each["order"] for each in sent],
        "hashes": [bytes([n % 250]) * 32 for n in range(ORDERS)],
        "scan_ids": scan_ids,
        "join_ids": scan_ids,
        "kinds": ["phone"] * ORDERS,
        "confidences": [0.9] * ORDERS,
        "window_s": 86_400.0,
        "sign": 1,
    }
    for name in (
        "orders_by_number", "orders_known_by", "refunds_that_follow", "match_orders",
        "match_refunds", "count_order_days", "count_revenue", "recount_scans", "forget_scans",
        "joins_by_id", "joins_by_scan", "joins_told", "keys_of_joins", "forget_keys",
    ):  # fmt: skip
        plan = await _plan(conn, name, values)
        for node in _nodes(plan):
            if large.get(node.get("Relation Name", "")) is not None:
                assert _by_key(node), f"{name}: {json.dumps(node, indent=1)[:1500]}"


async def _large(conn: db.Connection) -> dict[str, str]:
    """The tables and months with more rows than a page has: name -> the whole table's."""
    found: dict[str, str] = {}
    for table in READ:
        rows = await conn.fetch(
            f"SELECT tableoid::regclass::text AS part, count(*) FROM {table} GROUP BY 1"
        )
        found |= {row["part"]: table for row in rows if row["count"] >= 100}
    return found


async def _plan(conn: db.Connection, name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of that query, as `service.orders` runs it."""
    async with conn.transaction():
        await orders._sql.by_key(conn)
        needed = orders._sql.driver_adapter.var_sorted[name]
        sql = getattr(orders._sql, name).sql
        [row] = await conn.fetch(f"EXPLAIN (FORMAT JSON) {sql}", *(values[each] for each in needed))
    found = row[0]
    plan: dict[str, Any] = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return plan


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield {name: value for name, value in node.items() if name != "Plans"}
    for below in node.get("Plans", ()):
        yield from _nodes(below)


def _by_key(node: Mapping[str, Any]) -> bool:
    """Rows are found by an index that has the chain and what is asked for, or where they are."""
    if node["Node Type"] in ("ModifyTable", "Tid Scan", "CTE Scan"):
        return True
    condition = node.get("Index Cond", "")
    return node["Node Type"].startswith("Index") and "chain_id" in condition and "AND" in condition
