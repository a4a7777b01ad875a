"""Reports and the export of joins: their numbers are what the visitors did, counted again here."""

import csv
import io
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from service import db, intervals, rollups
from service.domain import uuid7
from tests import running
from tests.http import chains
from tests.http.chains import Chain
from tests.running import Running

SHANGHAI = ZoneInfo("Asia/Shanghai")
BEIJING = (116.4529, 39.9063)
URUMQI = (87.6, 43.8)  # no store within the radius
COUNTS = (
    "scans", "visitors", "located", "shown", "pressed", "reported", "verified", "joined", "left",
)  # fmt: skip
BESIDE = ("bots", "ordered", "orders", "revenue")
BYS = (
    "store", "brand", "province", "city", "district", "entry", "placement", "channel", "variant",
    "source", "day", "week", "month", "hour", "none",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Did:
    """What one visitor did in one scan, and under which keys it is to be counted."""

    visitor: str
    keys: dict[str, str | None]
    located: bool = False
    shown: bool = False
    pressed: bool = False
    reported: bool = False
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    chain: Chain
    did: list[Did]


PLACEMENTS: dict[str, dict[str, Any]] = {
    "poster": {"channel": "poster", "variant": "A"},
    "poster-b": {"channel": "poster", "variant": "B"},
    "sms": {"channel": "sms"},
}
STORES: dict[str, dict[str, Any]] = {
    "S1": {"brand": "茶", "province": "上海市", "city": "上海市", "district": "黄浦区"},
    "S2": {"brand": "咖啡", "province": "上海市", "city": "上海市", "district": "黄浦区"},
    "BJ": {"brand": "茶", "province": "北京市", "city": "北京市", "district": "朝阳区"},
}
PLACES = {"S1": chains.S1, "S2": chains.S2, "BJ": BEIJING}
COUNTED_BY = {"S1": "pressed", "S2": "joined", "BJ": "pressed"}


@pytest.fixture(scope="module")
def story(shared: Running) -> Iterator[Story]:
    """Visitors of three stores, by chance that is always the same."""
    with chains.own(shared) as chain:
        for store, values in STORES.items():
            chain.put_store(store, *PLACES[store], **values)
            code_id = chain.put_code(store, store, capacity=100)["code_id"]
            change = {"counted_by": COUNTED_BY[store]}
            running.answered(chain.hq.patch(f"/api/v1/codes/{code_id}", json=change))
        chain.put_entry()
        for placement, values in PLACEMENTS.items():
            body = {"placement": placement, "name": placement, **values}
            path = f"/api/v1/entries/{chain.entry}/placements"
            running.answered(chain.hq.post(path, json=body))
        chance = random.Random(7)
        did = [visit(chain, f"v{number}", chance) for number in range(50)]
        yield Story(chain, did)


def visit(chain: Chain, visitor: str, chance: random.Random) -> Did:
    """One visitor's scan; where they go and what they do is up to chance."""
    placement = chance.choice([None, "nobody-knows", *PLACEMENTS])
    scan_id = chain.scan(visitor, **({"placement": placement} if placement else {}))
    at = datetime.fromtimestamp((uuid.UUID(scan_id).int >> 80) / 1000, SHANGHAI)
    known = PLACEMENTS.get(placement or "", {})
    keys: dict[str, str | None] = {
        "entry": chain.entry,
        "placement": placement if known else None,
        "channel": known.get("channel"),
        "variant": known.get("variant"),
        "day": f"{at:%Y-%m-%d}",
        "week": f"{at:%G-W%V}",
        "month": f"{at:%Y-%m}",
        "hour": f"{at:%Y-%m-%dT%H}",
        **dict.fromkeys(("store", "brand", "province", "city", "district", "source")),
    }
    where = chance.choice(["nowhere", "far", "S1", "S2", "S2", "BJ", "picks BJ"])
    if where == "nowhere":
        return Did(visitor, keys)
    if where == "far":
        routing = chain.locate(scan_id, *URUMQI)
        assert routing["outcome"] == "unserved"
        place = routing["located"]
        levels = {level: place[level] for level in ("province", "city", "district")}
        assert levels["city"] == "乌鲁木齐市"
        return Did(visitor, {**keys, "source": "gps", **levels}, located=True)
    store = where.removeprefix("picks ")
    if where == store:
        routing = chain.locate(scan_id, *PLACES[store])
    else:
        picked = chain.visitor.post(f"/api/v1/scans/{scan_id}/store", json={"store": store})
        routing = running.answered(picked)
    assert routing["store"]["store"] == store
    source = "gps" if where == store else "chosen"
    keys |= {"store": store, "source": source, **STORES[store]}
    events = chance.choice([(), (), ("pressed",), ("joined",), ("pressed", "joined")])
    for event in events:
        chain.tell(scan_id, event)
    enough = {"pressed", "joined"} if COUNTED_BY[store] == "pressed" else {"joined"}
    return Did(
        visitor,
        keys,
        located=True,
        shown=True,
        pressed="pressed" in events,
        reported="joined" in events,
        joined=bool(enough & set(events)),
    )


def counted(did: list[Did]) -> dict[str, int]:
    return {
        "scans": len(did),
        "visitors": len({one.visitor for one in did}),
        "located": sum(one.located for one in did),
        "shown": sum(one.shown for one in did),
        "pressed": sum(one.pressed for one in did),
        "reported": sum(one.reported for one in did),
        "verified": 0,
        "joined": sum(one.joined for one in did),
        "left": 0,
    }


def counts_of(row: dict[str, Any]) -> dict[str, int]:
    return {name: row[name] for name in COUNTS}


@pytest.mark.parametrize("by", BYS)
def test_a_report_counts_what_the_visitors_did(story: Story, by: str) -> None:
    found = story.chain.get("/api/v1/reports/funnel", by=by)
    assert counts_of(found["total"]) == counted(story.did)
    groups: dict[str | None, list[Did]] = {}
    for one in story.did:
        groups.setdefault("all" if by == "none" else one.keys[by], []).append(one)
    assert {row["key"]: counts_of(row) for row in found["rows"]} == {
        key: counted(did) for key, did in groups.items()
    }
    assert len(found["rows"]) == len(groups)
    keys = [row["key"] for row in found["rows"]]
    assert keys == sorted((k for k in keys if k is not None), key=str) + [None] * (None in keys)


def test_chance_has_done_something_of_everything(story: Story) -> None:
    total = counted(story.did)
    assert total["scans"] > total["located"] > total["shown"] > total["joined"] > 0
    assert 0 < total["reported"] < total["scans"]
    joined_in_s2 = [one for one in story.did if one.keys["store"] == "S2" and one.pressed]
    assert any(not one.joined for one in joined_in_s2), "pressed alone does not count there"


def test_conversion_has_its_wilson_interval(story: Story) -> None:
    for row in story.chain.get("/api/v1/reports/funnel", by="store")["rows"]:
        joined, scans = row["joined"], row["scans"]
        assert row["conversion"] == pytest.approx(joined / scans, abs=1e-6)
        # The interval's ends are where (p - joined/scans)^2 = z^2 p (1 - p) / scans.
        z2, share = 1.959964**2, joined / scans
        low, high = sorted(np.roots([1 + z2 / scans, -2 * share - z2 / scans, share**2]))
        assert row["conversion_low"] == pytest.approx(low, abs=1e-5)
        assert row["conversion_high"] == pytest.approx(high, abs=1e-5)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_the_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    """R. G. Newcombe, Two-sided confidence intervals for the single proportion, Statistics in
    Medicine 17 (1998), 857-872, table I, method 3."""
    assert intervals.wilson(successes, trials) == pytest.approx((low, high), abs=0.00005)


def test_nothing_divided_by_nothing_is_null(chain: Chain) -> None:
    total = chain.get("/api/v1/reports/funnel")["total"]
    assert total["scans"] == 0
    assert [total[n] for n in ("conversion", "conversion_low", "conversion_high")] == [None] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("store", "S1"), ("store", "S9"), ("city", "上海市"), ("city", "乌鲁木齐市"),
     ("channel", "poster"), ("entry", "nobodys")],
)  # fmt: skip
def test_a_filter_leaves_out_the_others(story: Story, name: str, value: str) -> None:
    found = story.chain.get("/api/v1/reports/funnel", by="placement", **{name: value})
    kept = [one for one in story.did if one.keys[name] == value]
    assert counts_of(found["total"]) == counted(kept)
    assert {row["key"]: row["scans"] for row in found["rows"]} == Counter(
        one.keys["placement"] for one in kept
    )


def test_the_same_visitor_twice_is_two_scans_and_one_visitor(chain: Chain) -> None:
    chain.put_entry()
    for _ in range(2):
        chain.scan("a")
    total = chain.get("/api/v1/reports/funnel")["total"]
    assert (total["scans"], total["visitors"]) == (2, 1)


def test_bots_are_left_out(chain: Chain) -> None:
    chain.put_entry()
    agents = {
        "Mozilla/5.0 (compatible; Baiduspider/2.0)": 0,
        "Mozilla/5.0 (iPhone) MicroMessenger/8.0.50": 1,
        "Mozilla/5.0 (Linux; CUBOT X30) UCBrowser/15.0 baiduboxapp": 2,
    }
    for agent, people in agents.items():
        with chains.opened(chain.base_url) as phone:
            page = phone.get(f"/q/{chain.entry}", headers={"User-Agent": agent})
            assert page.status_code == 200
        assert chain.get("/api/v1/reports/funnel")["total"]["scans"] == people


# ---------------------------------------------------------------- time


def scanned_at(chain: Chain, *moments: datetime) -> None:
    """Scans of the past, which nobody can make by HTTP."""
    running.run(_scanned_at(chain, moments))


async def _scanned_at(chain: Chain, moments: tuple[datetime, ...]) -> None:
    connection = await db.connect(chain.database_url)
    try:
        for moment in moments:
            scan_id = uuid7(moment)
            chain_id = await connection.fetchval(
                "INSERT INTO scans (chain_id, scan_id, entry, visitor_id, scanned_at, via)"
                " SELECT chain_id, $2, $3, $4, $5, 'api' FROM chains WHERE chain = $1"
                " RETURNING chain_id",
                chain.chain,
                scan_id,
                chain.entry,
                uuid.uuid4(),
                moment,
            )
            await rollups.touch(connection, chain_id, [scan_id])
    finally:
        await connection.close()


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York", "UTC"])
def test_days_begin_and_end_in_the_chains_time_zone(shared: Running, zone: str) -> None:
    with chains.own(shared, timezone=zone) as chain:
        chain.put_entry()
        today = datetime.now(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
        midnight = today - timedelta(days=5)
        day, before = f"{midnight:%Y-%m-%d}", f"{midnight - timedelta(days=1):%Y-%m-%d}"
        moment = timedelta(milliseconds=1)
        next_midnight = midnight + timedelta(days=1)
        scanned_at(
            chain,
            midnight - moment,
            midnight,
            midnight + timedelta(hours=13, minutes=30),
            next_midnight - moment,
            next_midnight,
        )

        def scans(**params: str) -> int:
            total = chain.get("/api/v1/reports/funnel", **params)["total"]
            return int(total["scans"])

        assert scans() == 5
        assert scans(since=day, until=day) == 3
        assert scans(since=before, until=before) == 1
        assert scans(since=day) == 4
        assert scans(until=before) == 1
        assert scans(since=f"{day}T00:00", until=f"{day}T13:00") == 1
        assert scans(since=midnight.isoformat(), until=next_midnight.isoformat()) == 3
        instant = midnight.astimezone(UTC).isoformat().replace("+00:00", "Z")
        assert scans(since=instant) == 4
        assert scans(since=day.replace("-", ""), until=day.replace("-", "")) == 3
        assert scans(since=day, until=before) == 0
        rows = chain.get("/api/v1/reports/funnel", by="day")["rows"]
        assert [row["scans"] for row in rows] == [1, 3, 1]
        assert rows[1]["key"] == day
        hours = chain.get("/api/v1/reports/funnel", by="hour", since=day, until=day)["rows"]
        assert [row["key"] for row in hours] == [f"{day}T{hour}" for hour in ("00", "13", "23")]


# ---------------------------------------------------------------- CSV


def test_csv_says_the_same_as_json(story: Story) -> None:
    path = "/api/v1/reports/funnel"
    rows = story.chain.get(path, by="city")["rows"]
    by_name = story.chain.hq.get(f"{path}.csv", params={"by": "city"})
    by_header = story.chain.hq.get(path, params={"by": "city"}, headers={"Accept": "text/csv"})
    assert by_name.content == by_header.content
    assert by_name.headers["content-type"] == "text/csv; charset=utf-8"
    assert by_name.content.startswith(b"\xef\xbb\xbf"), "Excel reads Chinese by its BOM alone"
    lines = list(csv.DictReader(io.StringIO(by_name.content.decode("utf-8-sig"))))
    columns = ["key", *COUNTS, "conversion", "conversion_low", "conversion_high", *BESIDE]
    assert list(lines[0]) == columns
    told = [["" if row[c] is None else str(row[c]) for c in columns] for row in rows]
    assert [[line[c] for c in columns] for line in lines] == told


@pytest.mark.parametrize("name", ["=1+1", "+SUM(A1)", "-2", "@cmd", "=HYPERLINK('x')"])
def test_no_cell_of_a_csv_is_a_formula(chain: Chain, name: str) -> None:
    chain.put_store("S1", *chains.S1, city=name)
    chain.put_code("S1", "one")
    chain.put_entry()
    chain.locate(chain.scan("a"), *chains.S1)
    text = chain.hq.get("/api/v1/reports/funnel.csv", params={"by": "city"}).text
    (row,) = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    assert row["key"] == f"'{name}"
    assert chain.get("/api/v1/reports/funnel", by="city")["rows"][0]["key"] == name


# ---------------------------------------------------------------- unserved


def test_unserved_tells_where_nothing_was_found_and_why(chain: Chain) -> None:
    chain.put_entry()
    code_id = chain.put_code("S1", "one", capacity=1)["code_id"]
    for visitor in "ab":
        chain.locate(chain.scan(visitor), *URUMQI)
    served = chain.scan("c")
    assert chain.locate(served, *chains.S1)["code"]["code_id"] == code_id
    assert chain.locate(chain.scan("d"), *chains.S1)["reason"] == "all_full"
    found = chain.get("/api/v1/reports/unserved")
    told = {(row["reason"], row["city"]): row["scans"] for row in found["rows"]}
    assert told == {("out_of_range", "乌鲁木齐市"): 2, ("all_full", "上海市"): 1}
    assert found["total"] == 3
    assert found["rows"][0]["scans"] == 2, "most first"
    assert (found["rows"][0]["lon"], found["rows"][0]["lat"]) == pytest.approx(URUMQI, abs=0.01)
    tomorrow = f"{datetime.now(SHANGHAI) + timedelta(days=1):%Y-%m-%d}"
    assert chain.get("/api/v1/reports/unserved", since=tomorrow)["rows"] == []
    text = chain.hq.get("/api/v1/reports/unserved.csv").text
    assert text.startswith("\ufeffreason,")
    assert len(text.splitlines()) == 3


# ---------------------------------------------------------------- joins


def test_joins_are_exported_with_their_tags_oldest_first(story: Story) -> None:
    joins = story.chain.get("/api/v1/joins", limit=1000)["joins"]
    joined = [one for one in story.did if one.joined]
    assert len(joins) == len(joined)
    assert [join["joined_at"] for join in joins] == sorted(join["joined_at"] for join in joins)
    for join, one in zip(joins, joined, strict=True):
        for name in ("store", "province", "city", "district", "placement", "channel", "entry"):
            assert join[name] == one.keys[name], name
        assert join["source"] == one.keys["source"]
        assert join["evidence"] == ("reported" if one.reported else "pressed")
        assert join["distance_band"] == ("0-100" if join["source"] == "gps" else None)
        assert join["left_at"] is None
        assert datetime.fromisoformat(join["joined_at"]).utcoffset() == timedelta(0)


def test_joins_are_read_page_by_page_and_from_a_time_on(story: Story) -> None:
    whole = story.chain.get("/api/v1/joins", limit=1000)["joins"]
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 5}
    for _ in range(len(whole)):
        page = story.chain.get("/api/v1/joins", **params)
        found += page["joins"]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert found == whole
    middle = whole[len(whole) // 2]
    since = story.chain.get("/api/v1/joins", since=middle["joined_at"], limit=1000)["joins"]
    assert since == [join for join in whole if join["joined_at"] >= middle["joined_at"]]
    tomorrow = f"{datetime.now(SHANGHAI) + timedelta(days=1):%Y-%m-%d}"
    assert story.chain.get("/api/v1/joins", since=tomorrow)["joins"] == []


def test_a_join_that_comes_while_the_pages_are_read_is_on_the_last(chain: Chain) -> None:
    chain.put_entry()
    chain.put_code("S1", "one")

    def join(visitor: str) -> None:
        scan_id = chain.scan(visitor)
        chain.locate(scan_id, *chains.S1)
        chain.tell(scan_id, "pressed")

    for visitor in "abc":
        join(visitor)
    first = chain.get("/api/v1/joins", limit=2)
    join("d")
    rest = chain.get("/api/v1/joins", limit=2, cursor=first["next"])
    ids = [j["join_id"] for j in (*first["joins"], *rest["joins"])]
    assert len(set(ids)) == 4
    assert rest["next"] is None
