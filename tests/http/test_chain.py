"""A chain's own settings: by HTTP, on HQ's page and on the command line."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from service import chains, db
from tests.http.chains import Chain
from tests.running import Running
from tests.service import buying


def test_name_time_zone_and_currency_are_changed_and_logged(chain: Chain) -> None:
    was = chain.get("/api/v1/chain")
    assert (was["timezone"], was["currency"]) == ("Asia/Shanghai", "CNY")
    answer = chain.hq.patch("/api/v1/chain", json={"name": "新品牌", "currency": "HKD"})
    assert answer.json() == {**was, "name": "新品牌", "currency": "HKD"}
    assert chain.get("/api/v1/chain") == answer.json()
    record = chain.get("/api/v1/audit", action="chain.update")["audit"][0]
    assert record["before"] == {"name": was["name"], "currency": "CNY"}
    assert record["after"] == {"name": "新品牌", "currency": "HKD"}
    order = {"order": "1", "at": "2026-05-01", "amount": 10}
    chain.hq.post("/api/v1/orders", json={"orders": [order]})
    assert chain.get("/api/v1/orders/1")["currency"] == "HKD"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"currency": "XYZ"}, "currency"),
        ({"currency": "cny"}, "currency"),
        ({"timezone": "Asia/Peking"}, "timezone"),
        ({"timezone": "../../etc/passwd"}, "timezone"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"chain": "other"}, "chain"),
    ],
)
def test_what_is_none_is_refused_and_changes_nothing(
    chain: Chain, body: dict[str, Any], field: str
) -> None:
    was = chain.get("/api/v1/chain")
    answer = chain.hq.patch("/api/v1/chain", json={"currency": "HKD"} | body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert chain.get("/api/v1/chain") == was


async def test_in_another_time_zone_all_sums_are_by_its_days(conn: db.Connection) -> None:
    world = await buying.world(conn)
    evening = datetime.now(UTC).replace(hour=15, minute=30) - timedelta(days=4)
    for number in range(3):
        at = evening + timedelta(hours=number)
        scan = await world.scan(at, "poster")
        await world.join(scan, "S1", at)
        await world.send(
            {"order": f"A{number}", "at": (at + timedelta(hours=1)).isoformat(), "amount": "9.5",
             "scan_id": str(scan.scan_id)},
            {"order": f"B{number}", "at": at.isoformat(), "amount": "1", "store": "S2"},
        )  # fmt: skip
    days = buying.order_days(world)
    await chains.change(conn, world.chain_id, {"timezone": "America/New_York"})
    world.timezone = ZoneInfo("America/New_York")
    assert buying.order_days(world) != days, "or the test would not tell"
    await buying.audit(world)


async def test_in_another_currency_what_scans_brought_is_counted_again(conn: db.Connection) -> None:
    world = await buying.world(conn)
    at = datetime.now(UTC) - timedelta(days=1)
    scan = await world.scan(at, "poster")
    await world.join(scan, "S1", at)
    order = {"at": datetime.now(UTC).isoformat(), "scan_id": str(scan.scan_id)}
    await world.send(
        {**order, "order": "A", "amount": "5", "currency": "HKD"},
        {**order, "order": "B", "amount": "7"},
    )
    await conn.execute("DELETE FROM touched_scans")
    await chains.change(conn, world.chain_id, {"currency": "HKD"})
    assert await conn.fetchval("SELECT count(*) FROM touched_scans") == 1
    brought = await conn.fetch("SELECT * FROM orders_of_scan($1, $2)", world.chain_id, scan.scan_id)
    assert [float(row["revenue"]) for row in brought] == [5.0]


def test_hq_changes_the_chain_on_its_page(shop: Running, browse: Any) -> None:
    opened = browse("hq")
    assert "Asia/Shanghai" in opened.open("/hq/chain") or 'value="Asia/Shanghai"' in (
        opened.page.text
    )
    told = opened.send(
        "/hq/chain", {"name": "好茶", "timezone": "Asia/Hong_Kong", "currency": "HKD"}
    )
    assert "已保存。" in told
    assert "好茶" in told
    assert "没有保存" in opened.send("/hq/chain", {"name": "好茶", "timezone": "x"})
    assert shop.hq.get("/api/v1/chain").json()["timezone"] == "Asia/Hong_Kong"
