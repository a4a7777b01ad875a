"""Revenue as a tree: four factors whose product is the revenue, by whatever it is split; counted
again in Python from what was sent."""

import itertools
import random
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import hypothesis
import pytest
from hypothesis import strategies as st

from service import db, revenue, rollups
from service.revenue import Tree
from service.steps.report import Which
from tests.service import buying
from tests.service.buying import Scan, World

ZONES = ("Asia/Shanghai", "America/New_York", "America/Santiago")
# Clocks are set forward and back in these months, in New York; in Santiago they are at midnight.
START = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 60


async def busy(connection: db.Connection, timezone: str) -> World:
    """Visitors of two months, by chance that is always the same; orders and refunds."""
    chance = random.Random(11)
    for month in (2, 3, 4, 5):
        await connection.execute("SELECT ensure_month($1)", date(2026, month, 1))
    world = await buying.world(connection, timezone=timezone, window=timedelta(0))
    visitors = [uuid.UUID(int=chance.getrandbits(128)) for _ in range(40)]
    numbers = itertools.count(1)
    for _ in range(120):
        at = START + timedelta(seconds=chance.randrange(DAYS * 86400))
        placement = chance.choice([None, *buying.PLACEMENTS])
        scan = await world.scan(at, placement, chance.choice(visitors))
        if chance.random() < 0.4:
            continue
        for _ in range(chance.choice([1, 1, 1, 2])):
            later = at + timedelta(minutes=chance.randrange(1, 300))
            await world.join(scan, chance.choice(["S1", "S2", "S2", None]), later)
        orders: list[dict[str, Any]] = []
        for _ in range(chance.choice([0, 1, 1, 2, 4])):
            kind = "refund" if orders and chance.random() < 0.3 else "order"
            order = {
                "order": f"N{next(numbers)}",
                "kind": kind,
                "at": (at + timedelta(hours=chance.randrange(5, 900))).isoformat(),
                "amount": str(
                    Decimal(chance.randrange(1, 10**7)).scaleb(-chance.choice([0, 2, 4]))
                ),
                "currency": chance.choice(["CNY", "CNY", "CNY", "HKD"]),
                "scan_id": str(scan.scan_id),
            }
            if kind == "refund" and chance.random() < 0.7:
                order["refunds"] = orders[-1]["order"]
            orders.append(order)
        if orders:
            await world.send(*orders)
    await world.send(
        {"order": "lost1", "at": (START + timedelta(days=3)).isoformat(), "amount": "7.77"},
        {"order": "lost2", "at": (START + timedelta(days=40)).isoformat(), "amount": "1"},
        {"order": "lost3", "at": (START + timedelta(days=40)).isoformat(), "amount": "0.5",
         "kind": "refund"},
    )  # fmt: skip
    await rollups.follow(connection)
    return world


def keys(world: World) -> dict[str, Callable[[Scan], str | None]]:
    def local(scan: Scan) -> datetime:
        return scan.scanned_at.astimezone(world.timezone)

    def city(scan: Scan) -> str | None:
        if scan.store:
            return buying.CITIES[scan.store]
        return "苏州市" if scan.joins else None

    return {
        "none": lambda scan: "all",
        "store": lambda scan: scan.store,
        "city": city,
        "placement": lambda scan: scan.placement,
        "channel": lambda scan: buying.PLACEMENTS.get(scan.placement or ""),
        "entry": lambda scan: world.entry,
        "cohort_day": lambda scan: f"{local(scan):%Y-%m-%d}",
        "cohort_week": lambda scan: f"{local(scan):%G-W%V}",
        "cohort_month": lambda scan: f"{local(scan):%Y-%m}",
    }


def recounted(world: World, key: Callable[[Scan], str | None], which: Which, currency: str) -> Any:
    """Key -> visitors, members, buyers, orders, refunds, sales, refunded, first revenue."""
    bought = buying.scan_orders(world)
    groups: dict[str | None, list[Scan]] = {}
    for scan in world.scans:
        if which.since is not None and scan.scanned_at < which.since:
            continue
        if which.until is not None and scan.scanned_at >= which.until:
            continue
        if which.scope is not None and scan.store not in which.scope:
            continue
        groups.setdefault(key(scan), []).append(scan)
    found = {}
    for name, scans in groups.items():
        rows = [bought[s.scan_id, currency][3:] for s in scans if (s.scan_id, currency) in bought]
        sums = [sum((row[place] for row in rows), Decimal(0)) for place in range(5)]
        members = sum(bool(scan.joins) for scan in scans)
        visitors = len({scan.visitor_id for scan in scans})
        found[name] = Tree(visitors, members, len(rows), int(sums[0]), int(sums[1]), *sums[2:])
    return found


@pytest.fixture
async def world(conn: db.Connection, request: pytest.FixtureRequest) -> World:
    await conn.execute("SET synchronous_commit = off")
    return await busy(conn, request.param)


def periods(tz: ZoneInfo) -> list[Which]:
    """Whole days, across the changes of the clocks; pieces of days; less than a day; none."""
    day = datetime(2026, 3, 7, tzinfo=tz)
    return [
        Which(),
        Which(since=day, until=datetime(2026, 3, 9, tzinfo=tz)),
        Which(since=datetime(2026, 4, 4, tzinfo=tz), until=datetime(2026, 4, 6, tzinfo=tz)),
        Which(since=day + timedelta(hours=5), until=day + timedelta(days=20, hours=7)),
        Which(since=day + timedelta(hours=5), until=day + timedelta(hours=16)),
        Which(since=day + timedelta(hours=5), until=day + timedelta(hours=31)),
        Which(until=day + timedelta(hours=2)),
        Which(since=day),
        Which(since=day, until=day),
        Which(scope=["S2"]),
        Which(scope=["S1"], since=day),
    ]


@pytest.mark.parametrize("world", ZONES, indirect=True)
async def test_revenue_is_the_product_of_its_four_factors_by_whatever_it_is_split(
    world: World,
) -> None:
    seen = Tree()
    for which in periods(world.timezone):
        for by, key in keys(world).items():
            for currency in ("CNY", "HKD", "USD"):
                found = await revenue.revenue_by(
                    world.connection, world.chain_id, by=by, which=which, currency=currency
                )
                expected = recounted(world, key, which, currency)
                if by == "none" and not expected:
                    expected = {"all": Tree()}
                assert dict(found["rows"]) == expected, (by, which, currency)
                rows = [tree for _, tree in found["rows"]]
                for tree in (*rows, found["total"]):
                    factors = (tree.visitors, tree.visitor_conversion, tree.frequency, tree.basket)
                    product: Any = 1
                    for factor in factors:
                        product = None if factor is None else product * factor
                        if product is None:
                            break
                    if product is None:
                        assert tree.revenue == 0
                    else:
                        assert product == tree.revenue
                assert sum((t.revenue for t in rows), Decimal(0)) == found["total"].revenue
                seen += found["total"]
    assert seen.refunds > 0
    assert seen.first_revenue != seen.revenue
    assert await world.connection.fetchval(
        "SELECT count(*) FROM scan_orders WHERE chain_id = $1", world.chain_id
    ) > 40  # fmt: skip


@pytest.mark.parametrize("world", ["Asia/Shanghai"], indirect=True)
async def test_what_belongs_to_no_join_and_other_currencies_are_told_beside(world: World) -> None:
    found = await revenue.revenue_by(world.connection, world.chain_id, by="none")
    told = found["unmatched"]
    in_cny = {n: o for n, o in world.sent.items() if o.get("currency", "CNY") == "CNY"}
    lost = [in_cny[n] for n, match in world.matches().items() if match is None and n in in_cny]
    refunds = [order for order in lost if order.get("kind") == "refund"]
    amounts = [Decimal(order["amount"]) for order in lost]
    paid_back = sum(Decimal(order["amount"]) for order in refunds)
    assert len(refunds) > 1
    assert (told["orders"], told["refunds"]) == (len(lost) - len(refunds), len(refunds))
    assert told["revenue"] == sum(amounts) - 2 * paid_back
    assert told["share"] == pytest.approx(len(lost) / len(in_cny), abs=1e-6)
    assert {other["currency"] for other in found["others"]} == {"HKD"}
    others = sum(other["orders"] + other["refunds"] for other in found["others"])
    assert others == len(world.sent) - len(in_cny)
    early = Which(until=START + timedelta(days=10))
    found = await revenue.revenue_by(world.connection, world.chain_id, by="none", which=early)
    assert found["unmatched"]["orders"] == 1


@pytest.mark.parametrize("world", ["America/New_York"], indirect=True)
async def test_members_are_four_groups_and_everybody_is_in_one(world: World) -> None:
    bought = buying.scan_orders(world)
    of_scan = {s.scan_id: s for s in world.scans}
    for scope, days in itertools.product((None, ["S2"]), (10, 30, 45)):
        since, until = START + timedelta(days=days), START + timedelta(days=50)
        which = Which(since=since, until=until, scope=scope)
        found = await revenue.groups(
            world.connection, world.chain_id, which=which, now=datetime.now(UTC)
        )
        members = [
            s for s in world.scans
            if s.joins and s.scanned_at < until and (scope is None or s.store in scope)
        ]  # fmt: skip
        spent = {
            scan_id: values[5] - values[6]
            for (scan_id, currency), values in bought.items()
            if currency == "CNY" and of_scan[scan_id] in members
        }
        median = sorted(spent.values())[(len(spent) - 1) // 2]
        assert found["above"] == median
        expected = dict.fromkeys(revenue.GROUPS, 0)
        for scan in members:
            age = "new" if scan.scanned_at >= since else "old"
            rich = "high" if spent.get(scan.scan_id, Decimal(-1)) > median else "low"
            expected[f"{age}_{rich}"] += 1
        assert {row["key"]: row["members"] for row in found["rows"]} == expected
        assert found["total"]["members"] == len(members)
        assert found["total"]["buyers"] == len(spent)
        assert found["total"]["revenue"] == sum(spent.values())
        given = await revenue.groups(
            world.connection, world.chain_id, which=which, above=Decimal(10**9),
            now=datetime.now(UTC),
        )  # fmt: skip
        assert [row["members"] for row in given["rows"]][::2] == [0, 0]
        assert given["total"]["members"] == len(members)


# ---------------------------------------------------------------- days

instants = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))


@hypothesis.given(
    since=st.none() | instants,
    until=st.none() | instants,
    zone=st.sampled_from([*ZONES, "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    moments=st.lists(instants, min_size=1, max_size=20),
)
def test_a_period_is_whole_days_and_pieces_and_nothing_is_counted_twice(
    since: datetime | None, until: datetime | None, zone: str, moments: list[datetime]
) -> None:
    tz = ZoneInfo(zone)
    days, pieces = revenue.split(since, until, tz)
    for moment in (*moments, *(m for m in (since, until) if m is not None)):
        day = moment.astimezone(tz).date()
        whole = days is not None and (
            (days[0] is None or day >= days[0]) and (days[1] is None or day < days[1])
        )
        counted = whole + sum(first <= moment < end for first, end in pieces)
        wanted = (since is None or moment >= since) and (until is None or moment < until)
        assert counted == wanted


@hypothesis.given(first=st.dates(), days=st.integers(1, 1000), ahead=st.integers(0, 1000))
def test_whole_months_and_the_days_beside_them_are_all_of_the_days(
    first: date, days: int, ahead: int
) -> None:
    hypothesis.assume(first < date(9990, 1, 1))
    end, day = first + timedelta(days=days), first + timedelta(days=ahead)
    spans = revenue.months(first, end)
    counted = 0
    for step, start, stop in spans:
        if step == "month":
            assert start.day == stop.day == 1
        counted += start <= day < stop
    assert counted == (day < end)
