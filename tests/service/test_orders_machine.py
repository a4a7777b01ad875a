"""Whatever is sent, corrected, told and joined, in whatever order: orders are matched to the same
joins, and summed to the same sums, as an independent count in Python."""

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from service import db, orders
from tests import conftest
from tests.service import buying
from tests.service.buying import World

# More for a long hunt.
EXAMPLES = int(os.environ.get("NEARCODE_TEST_EXAMPLES", "0")) or 15

# A few instants, so that many are the same, and some just as far apart as the window is long;
# midnight in Shanghai (16:00 UTC) lies between two of them.
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
MOMENTS = [TODAY - timedelta(days=4) + timedelta(hours=15 * step) for step in range(6)]
WINDOW = timedelta(hours=30)
SCANS = 3

NUMBERS = ("1", "2", "3", "4", "5", "6", "B", "a")
KEYS = {
    "unionid": ("x", "u"),
    "external_userid": ("x",),
    "phone": ("13800138000",),
    "member": ("x", "13800138000"),
}
MEMBERS = [f"{kind}:{key}" for kind, keys in KEYS.items() for key in keys]
MEMBERS += ["x", "x", "x", "u", "13800138000"]


@dataclass(frozen=True)
class Send:
    orders: tuple[dict[str, Any], ...]  # `scan`: its place among the scans


@dataclass(frozen=True)
class Tell:
    scan: int
    kind: str
    key: str | None


@dataclass(frozen=True)
class Joins:
    scan: int
    store: str | None
    moment: int


@dataclass(frozen=True)
class CatchUp:
    pass


moments = st.integers(0, len(MOMENTS) - 1)
scans = st.integers(0, SCANS - 1)
stores = st.sampled_from([None, "S1", "S2"])


@st.composite
def an_order(draw: st.DrawFn, number: str) -> dict[str, Any]:
    kind = draw(st.sampled_from(["order", "order", "refund"]))
    found = {
        "order": number,
        "kind": kind,
        "at": MOMENTS[draw(moments)].isoformat(),
        "amount": draw(st.sampled_from(["0", "0.1", "0.2", "9.99", "1234567.8901"])),
        "currency": draw(st.sampled_from(["CNY", "CNY", "HKD"])),
        "store": draw(stores),
        "member": draw(st.sampled_from([None, *MEMBERS])),
        "scan": draw(st.sampled_from([None, None, None, *range(SCANS)])),
    }
    if kind == "refund":
        found["refunds"] = draw(st.sampled_from([None] * 4 + [n for n in NUMBERS if n != number]))
    return {name: value for name, value in found.items() if value is not None}


@st.composite
def sends(draw: st.DrawFn) -> Send:
    numbers = draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=4, unique=True))
    return Send(tuple(draw(an_order(number)) for number in numbers))


@st.composite
def tells(draw: st.DrawFn) -> Tell:
    kind = draw(st.sampled_from(list(KEYS)))
    return Tell(draw(scans), kind, draw(st.sampled_from([*KEYS[kind] * 2, None])))


joinings = st.builds(Joins, scans, stores, moments)
# First some joins and what is known of them, or nothing would be matched.
beginnings = st.lists(st.one_of(joinings, tells()), min_size=8, max_size=12)
steps = st.lists(
    st.one_of(sends(), sends(), sends(), tells(), tells(), joinings, st.just(CatchUp())),
    min_size=20,
    max_size=30,
)


# By how many orders of all examples each was matched.
rules: Counter[str] = Counter()


@pytest.fixture(scope="module")
def runner(postgres_url: str, template: str) -> Iterator[tuple[asyncio.Runner, db.Connection]]:
    name = "test_orders_machine"
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as loop:
        loop.run(conftest.execute(postgres_url, f"CREATE DATABASE {name} TEMPLATE {template}"))
        connection = loop.run(db.connect(conftest.with_database(postgres_url, name)))
        # Hundreds of small transactions: none of them has to outlive a crash.
        loop.run(connection.execute("SET synchronous_commit = off"))
        yield loop, connection
        loop.run(connection.close())


@hypothesis.settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="NEARCODE_TEST_EXAMPLES" not in os.environ,
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(first=beginnings, steps=steps, window=st.sampled_from([WINDOW, timedelta(0)]))
def test_in_whatever_order_things_come_orders_end_where_they_belong(
    runner: tuple[asyncio.Runner, db.Connection],
    first: list[Any],
    steps: list[Any],
    window: timedelta,
) -> None:
    loop, connection = runner
    loop.run(_live(connection, [*first, *steps], window))


async def _live(connection: db.Connection, steps: list[Any], window: timedelta) -> None:
    world = await buying.world(connection, window=window)
    for number in range(SCANS):
        placement = list(buying.PLACEMENTS)[number] if number else None
        # Two on one day, the others on another.
        await world.scan(TODAY - timedelta(days=6, hours=number % 2 * 12), placement)
    for step in steps:
        await _do(world, step)
        rules.update(match[1] for match in world.matches().values() if match)
    await world.catch_up()
    await buying.audit(world)
    # Sent all again, nothing changes.
    done = await world.send(*world.sent.values())
    assert done.unchanged == len(world.sent)
    await buying.audit(world)


async def _do(world: World, step: Any) -> None:
    match step:
        case Send(sent_orders):
            sent = [dict(order) for order in sent_orders]
            for order in sent:
                if "scan" in order:
                    order["scan_id"] = str(world.scans[order.pop("scan")].scan_id)
            done = await world.send(*sent)
            assert done.accepted == len(sent)
            kept = await buying.kept(world)
            assert done.matched == sum(kept[order["order"]] is not None for order in sent)
        case Tell(scan, kind, key):
            for join in world.scans[scan].joins[-1:]:
                await world.tell(join, **{kind: key})
        case Joins(scan, store, moment):
            await world.join(world.scans[scan], store, MOMENTS[moment])
        case CatchUp():
            await world.catch_up()
            await buying.audit(world)


def test_chance_has_tried_every_rule() -> None:
    print(rules)
    assert set(rules) == set(orders.Rule), rules


def test_a_scan_id_of_nobody_is_no_match(
    runner: tuple[asyncio.Runner, db.Connection],
) -> None:
    loop, connection = runner

    async def lives() -> None:
        world = await buying.world(connection)
        order = {"order": "1", "at": MOMENTS[0].isoformat(), "amount": 1}
        done = await world.send({**order, "scan_id": str(uuid.UUID(int=0))})
        assert (done.matched, done.unmatched) == (0, 1)
        done = await world.send({**order, "scan_id": str(uuid.UUID(int=2**128 - 1))})
        assert (done.matched, done.unmatched) == (0, 1)
        await buying.audit(world)

    loop.run(lives())
