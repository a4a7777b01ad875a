"""Revenue as a tree, and the four groups of members.

```
revenue = visitors x (members / visitors) x (orders / members) x (revenue / orders)
          visitors x  visitor_conversion  x     frequency      x      basket
```

- *visitors*: the distinct visitors of the period's scans, as the funnel counts them.
- *members*: those of its scans that joined; the funnel's `joined`.
- *orders*: what is matched to the joins of these scans, whenever it was bought; refunds are no
  orders.
- *revenue*: what these orders came to, less the refunds that are matched to the same joins.

So everything counts for the scan that it began with: a period, a store, a placement or a cohort is
one of scans, and the four factors are of the same people. Their product is the revenue, exactly,
wherever nobody is divided by: who has bought has joined, who has joined has visited, and a refund
is only ever matched to the join of an order. `visitor_conversion` is of visitors; the funnel's
`conversion` is of scans.

A member's *first* order is the earliest that is matched to their scan, less what is paid back of it
by name; all else is *repeat*. Each report is of one currency: no sum is ever made of two.
"""

import dataclasses
import uuid
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from typing import Any

import asyncpg

from service import boards, db, orders
from service.steps import report
from service.steps.report import By, Which

_sql = db.load("revenue")

BYS = {
    "none": By.NONE,
    "store": By.STORE,
    "brand": By.BRAND,
    "city": By.CITY,
    "entry": By.ENTRY,
    "placement": By.PLACEMENT,
    "channel": By.CHANNEL,
    "variant": By.VARIANT,
    "cohort_day": By.DAY,
    "cohort_week": By.WEEK,
    "cohort_month": By.MONTH,
}
"""What rows may be; cohorts are of the scan's day, week (ISO 8601) or month in the chain's time
zone."""

COLUMNS = (
    "key", "visitors", "members", "orders", "revenue", "visitor_conversion", "frequency", "basket",
    "buyers", "sales", "refunds", "refunded", "first_orders", "first_revenue", "repeat_orders",
    "repeat_revenue",
)  # fmt: skip
GROUP_COLUMNS = ("key", "members", "buyers", "orders", "revenue")
GROUPS = ("new_high", "new_low", "old_high", "old_low")


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """One row's counts. Factors are exact, and None where they would be a division by nothing."""

    visitors: int = 0
    members: int = 0
    buyers: int = 0
    orders: int = 0
    refunds: int = 0
    sales: Decimal = Decimal(0)
    refunded: Decimal = Decimal(0)
    first_revenue: Decimal = Decimal(0)

    @property
    def revenue(self) -> Decimal:
        return self.sales - self.refunded

    @property
    def visitor_conversion(self) -> Fraction | None:
        return _ratio(self.members, self.visitors)

    @property
    def frequency(self) -> Fraction | None:
        return _ratio(self.orders, self.members)

    @property
    def basket(self) -> Fraction | None:
        return _ratio(self.revenue, self.orders)

    def __add__(self, other: "Tree") -> "Tree":
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Tree(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def told(self) -> dict[str, Any]:
        """Amounts as decimals; ratios rounded: to six decimals, the basket to four."""
        return {
            "visitors": self.visitors,
            "members": self.members,
            "orders": self.orders,
            "revenue": orders.exact(self.revenue),
            "visitor_conversion": _rounded(self.visitor_conversion),
            "frequency": _rounded(self.frequency),
            "basket": orders.exact(round(self.revenue / self.orders, 4)) if self.orders else None,
            "buyers": self.buyers,
            "sales": orders.exact(self.sales),
            "refunds": self.refunds,
            "refunded": orders.exact(self.refunded),
            "first_orders": self.buyers,
            "first_revenue": orders.exact(self.first_revenue),
            "repeat_orders": self.orders - self.buyers,
            "repeat_revenue": orders.exact(self.revenue - self.first_revenue),
        }


def _ratio(of: int | Decimal, to: int) -> Fraction | None:
    if not to:
        return None
    return Fraction(of, to) if isinstance(of, int) else Fraction(of) / to


def _rounded(ratio: Fraction | None) -> float | None:
    return None if ratio is None else round(float(ratio), 6)


# ---------------------------------------------------------------- the tree


async def revenue_by(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    by: str,
    which: Which | None = None,
    currency: str | None = None,
) -> dict[str, Any]:
    """`{as_of, currency, total, rows, others, unmatched}`: `total` and the rows (by key, null last)
    are `Tree`s of the scans that `which` is about, in one currency, by default the chain's.

    `others` are the sums of orders in other currencies, and `unmatched` those of orders that belong
    to no join, by the orders' own days: of `which`, only its period and scope are asked there.
    """
    which = which or Which()
    tz, own = await orders.terms(connection, chain_id)
    currency = currency or own
    sums = await _sums(connection, chain_id, BYS[by], which, currency, tz)
    beside = await _beside(connection, chain_id, which, tz)
    # Last: who has bought has joined before, and is counted here.
    funnel = await report.funnel_of(connection, chain_id, which, by=BYS[by])
    visits = {row["key"]: row for row in funnel["rows"]}
    rows = {key: _tree(visits.get(key), sums.get(key)) for key in {**visits, **sums}}
    bought = sum((_tree(None, row) for row in sums.values()), Tree())
    total = dataclasses.replace(
        bought, visitors=funnel["total"]["visitors"], members=funnel["total"]["joined"]
    )
    return {
        "as_of": funnel["as_of"],
        "currency": currency,
        "total": total,
        "rows": sorted(rows.items(), key=lambda item: (item[0] is None, item[0] or "")),
        "others": [_beside_told(row) for row in beside if row["currency"] != currency],
        "unmatched": _unmatched(beside, currency),
    }


def told(found: dict[str, Any]) -> dict[str, Any]:
    """The same as it is answered."""
    return {
        **found,
        "total": {"key": "total", **found["total"].told()},
        "rows": [{"key": key, **tree.told()} for key, tree in found["rows"]],
    }


def _tree(visits: dict[str, Any] | None, sums: asyncpg.Record | None) -> Tree:
    counted = {name: value for name, value in (sums or {}).items() if name != "key"}
    if visits is None:
        return Tree(**counted)
    return Tree(visitors=visits["visitors"], members=visits["joined"], **counted)


async def _sums(
    connection: db.Connection,
    chain_id: uuid.UUID,
    by: By,
    which: Which,
    currency: str,
    tz: tzinfo,
) -> dict[str | None, asyncpg.Record]:
    days, pieces = split(which.since, which.until, tz)
    spans = _spans(days, by, which) if days is not None else []
    rows = await db.rows(
        _sql.revenue(
            connection,
            chain_id=chain_id,
            by=by.value,
            currency=currency,
            steps=[step for step, _, _ in spans],
            firsts=[first for _, first, _ in spans],
            ends=[end for _, _, end in spans],
            sinces=[since for since, _ in pieces],
            untils=[until for _, until in pieces],
            entry=which.entry,
            store=which.store,
            city=which.city,
            channel=which.channel,
            scope=None if which.scope is None else sorted(which.scope),
        )
    )
    return {row["key"]: row for row in rows}


Days = tuple[date | None, date | None]

_TIMES = (By.DAY, By.WEEK, By.MONTH)


def _spans(days: Days, by: By, which: Which) -> list[tuple[str, date, date]]:
    """What is read of whole days, from the first to before the end: the fewest rows that tell."""
    first, end = days[0] or date.min, days[1] or date.max
    filters = (which.entry, which.store, which.city, which.channel, which.scope)
    if by in (By.NONE, *_TIMES) and all(value is None for value in filters):
        return [("total", first, end)]
    if by in (By.DAY, By.WEEK):
        return [("day", first, end)]
    return months(first, end)


def months(first: date, end: date) -> list[tuple[str, date, date]]:
    """The whole months, and the days before and after them."""
    from_month = first if first.day == 1 else _next_month(first)
    to_month = end if end == date.max else end.replace(day=1)
    if from_month >= to_month:
        return [("day", first, end)]
    spans = [
        ("day", first, from_month), ("month", from_month, to_month), ("day", to_month, end),
    ]  # fmt: skip
    return [span for span in spans if span[1] < span[2]]


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def split(
    since: datetime | None, until: datetime | None, tz: tzinfo
) -> tuple[Days | None, list[tuple[datetime, datetime]]]:
    """A period as the whole days in it (from, to before; None: without end), if there are any, and
    as the pieces of days at its ends. Days are those of the time zone."""
    if since is not None and until is not None and until <= since:
        return None, []
    first = _day_after(since, tz) if since is not None else None
    end = until.astimezone(tz).date() if until is not None else None
    if first is not None and end is not None and first >= end:
        if first == end and since is not None and until is not None:
            middle = _begins(first, tz)
            return None, [piece for piece in ((since, middle), (middle, until))
                          if piece[0] < piece[1]]  # fmt: skip
        assert since is not None
        assert until is not None
        return None, [(since, until)]
    pieces = []
    if since is not None and first is not None and since < _begins(first, tz):
        pieces.append((since, _begins(first, tz)))
    if until is not None and end is not None and _begins(end, tz) < until:
        pieces.append((_begins(end, tz), until))
    return (first, end), pieces


def _day_after(moment: datetime, tz: tzinfo) -> date:
    """The first day that begins at that moment or later."""
    day = moment.astimezone(tz).date()
    return day if _begins(day, tz) >= moment else day + timedelta(days=1)


def _begins(day: date, tz: tzinfo) -> datetime:
    """Where midnight is left out, the day begins when the clocks are set forward."""
    return datetime(day.year, day.month, day.day, tzinfo=tz)


# ---------------------------------------------------------------- beside it


async def _beside(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, tz: tzinfo
) -> list[asyncpg.Record]:
    since, until = which.since, which.until
    last = None if until is None else (until - timedelta(microseconds=1)).astimezone(tz).date()
    return await db.rows(
        _sql.orders_by_currency(
            connection,
            chain_id=chain_id,
            first_day=None if since is None else since.astimezone(tz).date(),
            end_day=None if last is None else last + timedelta(days=1),
            scope=None if which.scope is None else sorted(which.scope),
        )
    )


def _beside_told(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "currency": row["currency"],
        "matched": row["matched"],
        "orders": row["orders"],
        "refunds": row["refunds"],
        "revenue": orders.exact(row["sales"] - row["refunded"]),
    }


def _unmatched(rows: Iterable[asyncpg.Record], currency: str) -> dict[str, Any]:
    """Of the orders in this currency those that belong to no join, and their share of all."""
    counts = {row["matched"]: row for row in rows if row["currency"] == currency}
    everything = sum(row["orders"] + row["refunds"] for row in counts.values())
    row = counts.get(False)
    if row is None:
        found: dict[str, Any] = {"orders": 0, "refunds": 0, "revenue": orders.exact(Decimal(0))}
    else:
        found = {
            "orders": row["orders"],
            "refunds": row["refunds"],
            "revenue": orders.exact(row["sales"] - row["refunded"]),
        }
    missing = found["orders"] + found["refunds"]
    return {**found, "share": _rounded(_ratio(missing, everything))}


# ---------------------------------------------------------------- groups of members


async def groups(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    which: Which | None = None,
    currency: str | None = None,
    above: Decimal | None = None,
    now: datetime,
) -> dict[str, Any]:
    """`{as_of, since, until, currency, above, above_is, total, rows}`: the members as four groups.

    *New* are those whose scan lies in the period (by default the last 30 days), *old* those from
    before it. *High* is who has spent more, until now and refunds taken off, than `above`: by
    default the median of all members from before the period's end who have bought at all. Who has
    bought nothing is *low*. A manager's members, and their median, are those of their stores. Of
    `which`, the period and the scope count.
    """
    tz, own = await orders.terms(connection, chain_id)
    currency = currency or own
    asked = boards.settled(which or Which(), tz, now)
    assert asked.since is not None
    assert asked.until is not None
    chain: dict[str, Any] = {
        "chain_id": chain_id,
        "currency": currency,
        "until": asked.until,
        "scope": None if asked.scope is None else sorted(asked.scope),
    }
    median = None
    if above is None:
        median = await _sql.median_spend(connection, **chain)
    limit = above if above is not None else median if median is not None else Decimal(0)
    rows = await db.rows(_sql.buyers(connection, since=asked.since, above=limit, **chain))
    new, old = [
        await report.funnel_of(
            connection,
            chain_id,
            Which(since, until, scope=asked.scope),
            by=By.NONE,
            visitors=False,
        )
        for since, until in ((asked.since, asked.until), (None, asked.since))
    ]
    members = {True: new["total"]["joined"], False: old["total"]["joined"]}
    found = _four(rows, members)
    return {
        "as_of": min(new["as_of"], old["as_of"]),
        "since": asked.since,
        "until": asked.until,
        "currency": currency,
        "above": orders.exact(limit),
        "above_is": "given" if above is not None else "median",
        "total": {"key": "total", **_summed(found)},
        "rows": found,
    }


def _four(rows: Sequence[asyncpg.Record], members: dict[bool, int]) -> list[dict[str, Any]]:
    bought = {(row["new"], row["high"]): row for row in rows}
    found = []
    for key in GROUPS:
        new, high = key.startswith("new"), key.endswith("high")
        row = bought.get((new, high))
        buyers = row["buyers"] if row else 0
        rich = bought.get((new, True))
        # Those of low spend are all others.
        count = buyers if high else members[new] - (rich["buyers"] if rich else 0)
        found.append(
            {
                "key": key,
                "members": max(count, buyers),
                "buyers": buyers,
                "orders": row["orders"] if row else 0,
                "revenue": orders.exact(row["revenue"] if row else Decimal(0)),
            }
        )
    return found


def _summed(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    rows = list(rows)
    return {name: sum(row[name] for row in rows) for name in GROUP_COLUMNS[1:]}
