"""What members buy: revenue as a tree of four factors, cohorts, the four groups of members, and the
orders themselves."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from service import lists, members, orders, revenue
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.web import hq, hq_charts
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

BYS = (
    "store", "city", "channel", "placement", "cohort_month", "cohort_week", "cohort_day", "variant",
    "brand", "entry",
)  # fmt: skip
_COHORTS = {"cohort_day": "day", "cohort_week": "week", "cohort_month": "month"}
_DRAWN = 16
_TREE = (
    Column(key="visitors", kind="number", wide=True),
    Column(key="members", kind="number"),
    Column(key="visitor_conversion", kind="share", wide=True),
    Column(key="frequency", kind="decimal", wide=True),
    Column(key="basket", kind="money", wide=True),
    Column(key="orders", kind="number"),
    Column(key="revenue", kind="money"),
    Column(key="first_orders", kind="number", wide=True),
    Column(key="repeat_orders", kind="number", wide=True),
    Column(key="repeat_revenue", kind="money", wide=True),
    Column(key="refunded", kind="money", wide=True),
)
_ORDERS = (
    Column(key="order", note="kind_word"),
    Column(key="at", kind="moment"),
    Column(key="amount", kind="money"),
    Column(key="currency", wide=True),
    Column(key="store_name", link="url", wide=True, label="col.bought_at"),
    Column(key="member", wide=True),
    Column(key="matched", kind="state"),
    Column(key="rule", kind="words", wide=True),
    Column(key="joined_at_store", wide=True),
)
_MATCHED = {"yes": True, "no": False}


@router.get("/hq/revenue")
@router.get("/hq/revenue.{form}")
async def tree(desk: DeskDep, form: str = "") -> Response:
    chosen = desk.filters
    by = desk.asked("by") if desk.asked("by") in BYS else BYS[0]
    chain_id = desk.caller.chain_id
    async with desk.service.connection() as connection:
        found = revenue.told(
            await revenue.revenue_by(connection, chain_id, by=by, which=chosen.which)
        )
        groups = await revenue.groups(connection, chain_id, which=chosen.which, now=desk.now)
        cities = await lists.cities(connection, chain_id)
    kind = _COHORTS.get(by, by)
    rows = [figures.named(desk, kind, row) for row in found["rows"]]
    table = desk.whole(
        "revenue",
        (Column(key="name", label=f"by.{by}", link="url", note="note"), *_TREE),
        rows,
        form,
        searched=("name", "note"),
        default="-name" if by in _COHORTS else "-revenue",
        keep={**chosen.query, "by": by},
    )
    if form:
        return await desk.download(table, form)
    return desk.html(
        "revenue.html",
        "revenue",
        filters=chosen,
        lists=figures.Lists.of(desk, cities, by=by),
        as_of=found["as_of"],
        currency=found["currency"],
        total=found["total"],
        others=found["others"],
        unmatched=found["unmatched"],
        groups=groups,
        by=by,
        bys=[(each, hq.Query("/hq/revenue", chosen.query)(by=each)) for each in BYS],
        chart=_chart(desk, by, rows) if any(row["revenue"] for row in rows) else None,
        csv=f"/api/v1/reports/revenue.csv?{urlencode({'by': by, **chosen.api})}",
        members_csv=f"/api/v1/reports/members.csv?{urlencode(chosen.api)}",
        table=table,
    )


def _chart(desk: Desk, by: str, rows: list[dict[str, Any]]) -> hq.Chart:
    """First orders and repeat, of those with the most revenue, or of the last cohorts."""
    if by in _COHORTS:
        drawn = sorted(rows, key=lambda row: row["key"] or "")[-_DRAWN:]
    else:
        drawn = sorted(rows, key=lambda row: (-row["revenue"], row["key"] or ""))[:_DRAWN]
    best = max(drawn, key=lambda row: row["revenue"])
    return hq.Chart(
        id="revenue",
        title=desk.say("revenue.chart"),
        summary=desk.say("revenue.said", name=best["name"], revenue=hq.money(best["revenue"])),
        figure=hq_charts.stacked(
            [row["name"] for row in drawn],
            {
                desk.say("revenue.first"): [float(row["first_revenue"]) for row in drawn],
                desk.say("revenue.repeat"): [float(row["repeat_revenue"]) for row in drawn],
            },
        ),
        height=460 if len(drawn) > 8 else 300,
    )


@router.get("/hq/orders")
@router.get("/hq/orders.{form}")
async def list_orders(desk: DeskDep, form: str = "") -> Response:
    """The newest first; those that belong to no join are shown, too, and can be asked for alone."""
    chosen, matched = desk.filters, desk.asked("matched")
    matched = matched if matched in _MATCHED else ""
    ask = desk.ask(_ORDERS, form, default="-at")
    async with desk.service.connection() as connection:
        found = await lists.orders(
            connection,
            desk.caller.chain_id,
            ask,
            since=chosen.begins,
            until=chosen.ends,
            member_hash=_member(desk, ask.q),
            matched=_MATCHED.get(matched),
            store=chosen.store or None,
        )
    rows = [_order(desk, orders.public(row)) for row in found.rows]
    keep = {**chosen.query, "matched": matched}
    table = desk.table("orders", _ORDERS, lists.Found(rows, found.total), ask, keep=keep)
    if form:
        return await desk.download(table, form)
    return desk.html(
        "orders.html",
        "orders",
        filters=chosen,
        lists=figures.Lists.of(desk, [], matched=matched, q=ask.q),
        kept=[("matched", matched), ("q", ask.q), ("sort", desk.asked("sort"))],
        choices=[
            (
                "matched",
                desk.say("orders.all"),
                [(each, desk.say(f"orders.{each}")) for each in _MATCHED],
            )
        ],
        table=table,
    )


def _member(desk: Desk, q: str) -> bytes | None:
    """The member whom the text names, as orders have them."""
    try:
        return members.parse(q).hashed(desk.service.matching.secret, desk.caller.chain_id)
    except members.NotAKey:
        return None


def _order(desk: Desk, told: dict[str, Any]) -> dict[str, Any]:
    store = desk.chain.stores.get(told["store"] or "")
    match = told["match"]
    joined = desk.chain.stores.get(match["store"] or "") if match else None
    return {
        **told,
        "amount": float(told["amount"]),
        "kind_word": desk.say("orders.refund") if told["kind"] == "refund" else "",
        "store_name": store.name if store else told["store"],
        "url": figures.store_url(told["store"]) if store else "",
        "matched": "matched" if match else "unmatched",
        "rule": match["rule"] if match else None,
        "joined_at_store": joined.name if joined else "",
    }
