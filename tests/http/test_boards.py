"""Leader boards, placements, variants, the trend and the map, over HTTP."""

import io
import uuid
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest

from service import accounts, db
from tests import running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

REPORTS = "/api/v1/reports"
TABLES = ("funnel", "trend", "stores", "managers", "placements", "map", "unserved")
SHANGHAI = ZoneInfo("Asia/Shanghai")
URUMQI = (87.6, 43.8)
_visitors = iter(range(10**9))


def joins(chain: Chain, where: tuple[float, float], scans: int, joined: int, **scan: str) -> None:
    """So many scans there, of which so many join."""
    for number in range(scans):
        scan_id = chain.scan(f"v{next(_visitors)}", **scan)
        chain.locate(scan_id, *where)
        if number < joined:
            chain.tell(scan_id, "pressed")


def ready(chain: Chain) -> None:
    chain.put_entry()
    for store in ("S1", "S2"):
        chain.put_code(store, f"{chain.chain}{store}", capacity=100)


def put_placement(chain: Chain, placement: str, **values: Any) -> None:
    body = {"placement": placement, "name": placement, "channel": "poster", **values}
    running.answered(chain.hq.post(f"/api/v1/entries/{chain.entry}/placements", json=body))


def test_a_store_of_few_scans_does_not_win_by_luck(chain: Chain) -> None:
    ready(chain)
    joins(chain, chains.S1, 2, 2)
    joins(chain, chains.S2, 12, 10)
    rows = chain.get(f"{REPORTS}/stores", rank="conversion")["rows"]
    assert [(row["rank"], row["store"]) for row in rows] == [(1, "S2"), (2, "S1")]
    assert rows[0]["conversion"] < rows[1]["conversion"] == 1
    assert rows[0]["conversion_low"] > rows[1]["conversion_low"]
    assert [row["store"] for row in chain.get(f"{REPORTS}/stores")["rows"]] == ["S2", "S1"]
    assert (rows[0]["members"], rows[0]["held"], rows[0]["capacity"]) == (10, 2, 100)
    assert rows[0]["load"] == pytest.approx(0.12)
    assert (rows[0]["joined_before"], rows[0]["growth"]) == (0, None)


def test_managers_are_ranked_by_the_stores_that_are_theirs(chain: Chain) -> None:
    ready(chain)
    joins(chain, chains.S1, 3, 1)
    joins(chain, chains.S2, 3, 2)
    running.run(_put_managers(chain, {"王": ["S1"], "李": ["S1", "S2"], "赵": []}))
    rows = chain.get(f"{REPORTS}/managers")["rows"]
    told = [(row["name"], row["stores"], row["scans"], row["joined"]) for row in rows]
    assert told == [("李", 2, 6, 3), ("王", 1, 3, 1), ("赵", 0, 0, 0)]
    assert [row["visitors"] for row in rows] == [6, 3, 0]


async def _put_managers(chain: Chain, theirs: dict[str, list[str]]) -> None:
    connection = await db.connect(chain.database_url)
    try:
        chain_id = await accounts.chain_id_of(connection, chain.chain)
        for name, stores in theirs.items():
            await connection.execute(
                "INSERT INTO people (chain_id, person_id, name, role, stores)"
                " VALUES ($1, $2, $3, 'manager', $4)",
                chain_id,
                uuid.uuid4(),
                name,
                stores,
            )
    finally:
        await connection.close()


def test_a_placement_tells_what_each_printed_piece_brought(chain: Chain) -> None:
    ready(chain)
    put_placement(chain, "door", printed=100, cost=50, store="S1", variant="A")
    put_placement(chain, "card", channel="package card")
    joins(chain, chains.S1, 8, 5, placement="door")
    door, card = sorted(chain.get(f"{REPORTS}/placements")["rows"], key=lambda row: -row["joined"])
    assert (door["placement"], door["scans"], door["joined"]) == ("door", 8, 5)
    assert (door["recall"], door["cost_per_join"], door["revenue_per_piece"]) == (0.05, 10, 0)
    assert (card["scans"], card["recall"], card["cost_per_join"]) == (0, None, None)
    only = chain.get(f"{REPORTS}/placements", channel="poster")["rows"]
    assert [row["placement"] for row in only] == ["door"]


def test_two_variants_are_told_apart_once_it_is_no_chance_any_more(chain: Chain) -> None:
    ready(chain)
    put_placement(chain, "a", variant="A")
    put_placement(chain, "b", variant="B")

    def compared() -> dict[str, Any]:
        return chain.get(f"{REPORTS}/compare", a="A", b="B")

    nothing = compared()
    assert (nothing["difference"], nothing["decided"], nothing["winner"]) == (None, False, None)
    joins(chain, chains.S1, 4, 3, placement="a")
    joins(chain, chains.S1, 4, 2, placement="b")
    close = compared()
    assert close["difference"] == 0.25
    assert close["difference_low"] < 0 < close["difference_high"]
    assert not close["decided"]
    assert "未见分晓" in close["sentence"]["zh"]
    assert "Not decided" in close["sentence"]["en"]
    joins(chain, chains.S1, 16, 16, placement="a")
    joins(chain, chains.S1, 16, 0, placement="b")
    clear = compared()
    assert clear["decided"]
    assert clear["winner"] == "A"
    assert clear["difference_low"] > 0
    assert "“A”的转化率比“B”高 85.0 个百分点" in clear["sentence"]["zh"]
    other = chain.get(f"{REPORTS}/compare", a="B", b="A")
    assert other["winner"] == "A"
    assert other["difference"] == -clear["difference"]
    assert "“A” converts 85.0 percentage points better" in other["sentence"]["en"]


def test_a_trend_has_every_day_and_the_same_days_before(shared: Running) -> None:
    with chains.own(shared) as chain:
        ready(chain)
        joins(chain, chains.S1, 3, 1)
        found = chain.get(f"{REPORTS}/trend")
        today = datetime.now(SHANGHAI).date()
        days = [(today - timedelta(days=back)).isoformat() for back in reversed(range(30))]
        assert [row["key"] for row in found["rows"]] == days
        assert [row["scans"] for row in found["rows"]] == [0] * 29 + [3]
        assert found["rows"][-1]["key_before"] == (today - timedelta(days=30)).isoformat()
        assert (found["total"]["scans"], found["before"]["total"]["scans"]) == (3, 0)
        assert found["change"]["scans"] is None, "nothing to compare with"
        hours = chain.get(f"{REPORTS}/trend", by="hour", since=today.isoformat())["rows"]
        assert hours[0]["key"] == f"{today}T00"
        assert sum(row["scans"] for row in hours) == 3
        long = chain.hq.get(f"{REPORTS}/trend", params={"by": "hour", "since": "2020-01-01"})
        assert long.status_code == 422


def test_the_map_shows_every_store_and_squares_of_what_went_unserved(chain: Chain) -> None:
    ready(chain)
    joins(chain, chains.S1, 2, 1)
    for _ in range(3):
        chain.locate(chain.scan(f"v{next(_visitors)}"), *URUMQI)
    rows = {row["store"]: row for row in chain.get(f"{REPORTS}/map")["rows"]}
    assert (rows["S1"]["lon"], rows["S1"]["lat"]) == chains.S1
    assert (rows["S1"]["scans"], rows["S1"]["joined"], rows["S1"]["load"]) == (2, 1, 0.02)
    assert rows["S2"]["scans"] == 0
    (square,) = chain.get(f"{REPORTS}/unserved", grid=50)["rows"]
    assert (square["lon"], square["lat"], square["scans"]) == (87.75, 43.75, 3)
    assert (square["reason"], square["city"]) == ("out_of_range", None)


def test_managers_see_their_own_stores_alone(chain: Chain) -> None:
    chain.put_store("S9", 121.6, 31.4, city="上海市")
    chain.put_code("S9", f"{chain.chain}S9", capacity=100)
    ready(chain)
    put_placement(chain, "nine", store="S9")
    put_placement(chain, "one", store="S1")
    joins(chain, (121.6, 31.4), 4, 4, placement="nine")
    joins(chain, chains.S1, 1, 1, placement="one")
    running.run(_put_managers(chain, {"九": ["S9"], "一": ["S1"]}))

    def seen(report: str, key: str) -> list[Any]:
        answer = chain.manager.get(f"{REPORTS}/{report}")
        return [row[key] for row in running.answered(answer)["rows"]]

    assert seen("stores", "store") == seen("map", "store") == ["S1", "S2"]
    assert seen("placements", "placement") == ["one"]
    assert seen("managers", "name") == ["一"]
    assert running.answered(chain.manager.get(f"{REPORTS}/trend"))["total"]["scans"] == 1
    assert chain.get(f"{REPORTS}/trend")["total"]["scans"] == 5


@pytest.mark.parametrize("report", TABLES)
def test_every_table_comes_as_csv_and_as_a_workbook(chain: Chain, report: str) -> None:
    chain.put_store("S1", *chains.S1, city="=1+1")
    ready(chain)
    put_placement(chain, "door", printed=100)
    joins(chain, chains.S1, 2, 1, placement="door")
    chain.locate(chain.scan("far"), *URUMQI)
    running.run(_put_managers(chain, {"王": ["S1"]}))
    params = {"by": "city"} if report == "funnel" else {}
    rows = chain.get(f"{REPORTS}/{report}", **params)["rows"]
    assert rows
    text = chain.hq.get(f"{REPORTS}/{report}.csv", params=params)
    assert text.content.startswith(b"\xef\xbb\xbf")
    names = text.content.decode("utf-8-sig").splitlines()[0].split(",")
    workbook = chain.hq.get(f"{REPORTS}/{report}.xlsx", params=params)
    sheet = openpyxl.load_workbook(io.BytesIO(workbook.content)).active
    assert sheet is not None
    heading, *table = sheet.iter_rows()
    assert [cell.value for cell in heading] == names
    assert [[cell.value for cell in line] for line in table] == [
        [row[name] for name in names] for row in rows
    ]
    assert all(cell.data_type != "f" for line in table for cell in line), "no cell is a formula"


@pytest.mark.parametrize("report", [*TABLES, "compare"])
def test_what_has_not_changed_is_not_sent_again(chain: Chain, report: str) -> None:
    ready(chain)
    put_placement(chain, "door", variant="A")
    params = {"a": "A", "b": "B"} if report == "compare" else {}
    first = chain.hq.get(f"{REPORTS}/{report}", params=params)
    tag = {"If-None-Match": first.headers["etag"]}
    again = chain.hq.get(f"{REPORTS}/{report}", params=params, headers=tag)
    assert (again.status_code, again.content) == (304, b"")
    chain.locate(chain.scan("far", placement="door"), *URUMQI)
    joins(chain, chains.S1, 1, 1, placement="door")
    changed = chain.hq.get(f"{REPORTS}/{report}", params=params, headers=tag)
    if report != "managers":  # there are none
        assert changed.status_code == 200
        assert changed.headers["etag"] != first.headers["etag"]


def test_a_long_table_comes_page_by_page(chain: Chain) -> None:
    for number in range(5):
        chain.put_store(f"T{number}", 121.0 + number / 10, 31.0)
    whole = [row["store"] for row in chain.get(f"{REPORTS}/stores")["rows"]]
    assert len(whole) == 7
    found: list[str] = []
    params: dict[str, Any] = {"limit": 3}
    while True:
        page = chain.get(f"{REPORTS}/stores", **params)
        found += [row["store"] for row in page["rows"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert found == whole
    assert chain.hq.get(f"{REPORTS}/stores", params={"cursor": "???"}).status_code == 422


def test_reports_say_how_fresh_they_are(chain: Chain) -> None:
    ready(chain)
    before = datetime.now(SHANGHAI)
    joins(chain, chains.S1, 1, 0)
    found = chain.get(f"{REPORTS}/funnel")
    assert found["total"]["scans"] == 1
    assert datetime.fromisoformat(found["as_of"]) > before
    fresh = chain.get(f"{REPORTS}/freshness")
    assert fresh["behind_s"] < 60
    assert datetime.fromisoformat(fresh["as_of"]) > before


def test_orders_count_for_the_scan_that_brought_the_member(chain: Chain) -> None:
    ready(chain)
    put_placement(chain, "door", printed=10)
    scan_id = chain.scan("a", placement="door")
    chain.locate(scan_id, *chains.S1)
    chain.tell(scan_id, "pressed")
    joins(chain, chains.S1, 1, 1)
    assert chain.get(f"{REPORTS}/funnel")["total"]["orders"] == 0
    at = (datetime.now(SHANGHAI) + timedelta(minutes=5)).isoformat()
    sold = [
        {"order": "1", "at": at, "amount": "30.50", "scan_id": scan_id},
        {"order": "2", "at": at, "amount": "20", "scan_id": scan_id},
        {"order": "3", "at": at, "amount": "5.25", "scan_id": scan_id, "kind": "refund"},
    ]
    told = running.answered(chain.hq.post("/api/v1/orders", json={"orders": sold}))
    assert told["matched"] == 3
    row = chain.get(f"{REPORTS}/funnel", by="placement")["rows"][0]
    assert [row[name] for name in ("key", "ordered", "orders", "revenue")] == ["door", 1, 2, 45.25]
    (door,) = chain.get(f"{REPORTS}/placements")["rows"]
    assert door["revenue_per_piece"] == 4.525
    # Corrected: by its own number.
    sold[0]["amount"] = "10.50"
    running.answered(chain.hq.post("/api/v1/orders", json={"orders": sold[:1]}))
    total = chain.get(f"{REPORTS}/funnel")["total"]
    assert (total["scans"], total["ordered"], total["revenue"]) == (2, 1, 25.25)
