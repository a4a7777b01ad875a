"""Boards: stores, managers and placements side by side; a period and the one before it.

What a figure is, is defined in `steps/report.py`; here rows are made of figures, and ranked.
"""

import asyncio
import dataclasses
import math
import uuid
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from service import db, errors, intervals
from service.columns import Columns, Groups
from service.steps import report
from service.steps.report import By, Read, Which

_sql = db.load("boards")

_DAYS = 30
_DAY = timedelta(days=1)
# Of a trend by hour, and of any other.
_MOST_HOURS_DAYS, _MOST_DAYS = 62, 3660

GROWTH_FROM = 20
"""Joins of the period before from which growth is worth showing: the interval of its ratio to as
many now then spans less than a factor of two either way. From fewer, chance alone doubles it."""

CHANGED = ("scans", "visitors", "joined", "ordered", "orders", "revenue")
TREND_COLUMNS = (*report.COLUMNS, "key_before", "scans_before", "joined_before")
STORE_COLUMNS = (
    "rank", "store", "name", "brand", "city", *report.FIGURES, "joined_before", "growth",
    "growth_low", "members", "held", "capacity", "load",
)  # fmt: skip
MANAGER_COLUMNS = (
    "rank", "person_id", "name", "stores", *report.FIGURES, "joined_before", "growth", "growth_low",
)  # fmt: skip
PLACEMENT_COLUMNS = (
    "entry", "placement", "name", "channel", "variant", "store", "printed", "cost",
    *report.FIGURES, "recall", "cost_per_join", "revenue_per_piece",
)  # fmt: skip
COMPARE_COLUMNS = ("variant", *report.FIGURES)
MAP_COLUMNS = (
    "store", "name", "city", "lon", "lat", "status", "scans", "joined", "conversion",
    "conversion_low", "conversion_high", "members", "held", "capacity", "load",
)  # fmt: skip


class Rank(StrEnum):
    """What a leader board is ordered by, highest first. A small store does not win by luck: what
    may be luck is ranked by the lower end of its 95 % interval."""

    JOINED = "joined"
    CONVERSION = "conversion"  # by conversion_low
    GROWTH = "growth"  # of joins against the period before; by growth_low
    REVENUE = "revenue"
    SCANS = "scans"


_RANKED_BY = {
    Rank.JOINED: "joined",
    Rank.CONVERSION: "conversion_low",
    Rank.GROWTH: "growth_low",
    Rank.REVENUE: "revenue",
    Rank.SCANS: "scans",
}

# ---------------------------------------------------------------- a period and the one before it


def settled(which: Which, timezone: Any, now: datetime) -> Which:
    """With both ends of the period: by default to now, and from 30 days of the chain's before."""
    until = which.until or now
    since = which.since
    if since is None:
        last = (until - timedelta(microseconds=1)).astimezone(timezone)
        first = last.date() - (_DAYS - 1) * _DAY
        since = datetime(first.year, first.month, first.day, tzinfo=timezone)
    return dataclasses.replace(which, since=since, until=max(since, until))


def before(which: Which, timezone: Any) -> Which:
    """The same hours so many whole days before that the two periods do not overlap."""
    assert which.since is not None
    assert which.until is not None
    since = which.since.astimezone(timezone).replace(tzinfo=None)
    until = which.until.astimezone(timezone).replace(tzinfo=None)
    earlier = max(1, math.ceil((until - since) / _DAY)) * _DAY
    return dataclasses.replace(
        which,
        since=(since - earlier).replace(tzinfo=timezone),
        until=(until - earlier).replace(tzinfo=timezone),
    )


async def trend(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, *, by: By = By.DAY
) -> dict[str, Any]:
    """`{as_of, since, until, total, before, change, rows}`: a row for every day (or hour, week,
    month) of the period, with its counterpart of the period before; `change` is relative to that,
    but for conversion, where it is the difference, with its 95 % interval."""
    timezone = await report.timezone_of(connection, chain_id)
    which = settled(which, timezone, datetime.now(UTC))
    _check_length(which, by)
    earlier = before(which, timezone)
    found = await report.read(connection, chain_id, which, over=by)
    then = await report.read(connection, chain_id, earlier, over=by)
    total, rows = await asyncio.to_thread(_over_time, found, by)
    total_then, rows_then = await asyncio.to_thread(_over_time, then, by)
    for place, row in enumerate(rows):
        other = rows_then[place] if place < len(rows_then) else None
        row["key_before"] = other["key"] if other else None
        for name in ("scans", "joined"):
            row[f"{name}_before"] = other[name] if other else None
    return {
        "as_of": found.as_of,
        "by": by.value,
        "since": which.since,
        "until": which.until,
        "total": total,
        "before": {"since": earlier.since, "until": earlier.until, "total": total_then},
        "change": _change(total, total_then),
        "rows": rows,
    }


def _check_length(which: Which, by: By) -> None:
    """Raises `errors.BadInput` for more rows than anybody reads."""
    assert which.since is not None
    assert which.until is not None
    most = _MOST_HOURS_DAYS if by is By.HOUR else _MOST_DAYS
    if which.until - which.since > most * _DAY:
        raise errors.BadInput.of("since", f"by {by}, the period has at most {most:,} days")


def _over_time(found: Read, by: By) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    since, until = found.which.since, found.which.until
    assert since is not None
    assert until is not None
    rows = []
    if since < until:
        edges = report.edges_of(found.timezone, by, since, until - timedelta(microseconds=1))
        of = dict(report.counted(found, by))
        rows = [{"key": key, **of.get(key, report.NOTHING)} for key in edges.keys]
    return report.count_all(found), rows


def _change(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    low, high = intervals.newcombe((now["joined"], then["joined"]), (now["scans"], then["scans"]))
    both = now["conversion"] is not None and then["conversion"] is not None
    return {
        **{name: _growth(now[name], then[name]) for name in CHANGED},
        "conversion": report.share(now["conversion"] - then["conversion"]) if both else None,
        "conversion_low": report.share(low),
        "conversion_high": report.share(high),
    }


def _growth(now: float, then: float) -> float | None:
    return round(now / then - 1, 6) if then else None


# ---------------------------------------------------------------- leader boards


def growth_says(joined_before: int) -> bool:
    """Whether growth from so few says anything. The API tells it in any case."""
    return joined_before >= GROWTH_FROM


async def stores(
    connection: db.Connection,
    chain_id: uuid.UUID,
    which: Which,
    *,
    rank: Rank = Rank.JOINED,
    visitors: bool = True,
) -> dict[str, Any]:
    """`{as_of, since, until, rows}`: every store of the catalog, best first. Without `visitors`,
    which cost the most, they are 0."""
    estate = await db.fetch(_sql, "read_estate", connection, chain_id=chain_id, scope=_list(which))
    which, found, then = await _two_periods(connection, chain_id, which, ("stores",))
    now_of, then_of = await asyncio.to_thread(
        lambda: (_by_store(found, visitors=visitors), _by_store(then, visitors=False))
    )
    empty = report.NOTHING
    rows = []
    for store in estate:
        if which.store not in (None, store["store"]) or which.city not in (None, store["city"]):
            continue
        rows.append(
            {
                **{name: store[name] for name in ("store", "name", "brand", "city")},
                **now_of.get(store["store"], empty),
                **_grown(now_of.get(store["store"], empty), then_of.get(store["store"], empty)),
                **_seats(store),
            }
        )
    return _board(found, which, _ranked(rows, rank, "store"))


def _by_store(found: Read, *, visitors: bool) -> dict[str | None, dict[str, Any]]:
    return dict(report.counted(found, By.STORE, visitors=visitors))


async def managers(
    connection: db.Connection,
    chain_id: uuid.UUID,
    which: Which,
    *,
    rank: Rank = Rank.JOINED,
    visitors: bool = True,
) -> dict[str, Any]:
    """The same of managers, by the scans of the stores that are theirs now."""
    people = await db.rows(_sql.read_managers(connection, chain_id=chain_id, scope=_list(which)))
    which, found, then = await _two_periods(connection, chain_id, which, ("stores",))
    theirs = [frozenset(person["stores"]) for person in people]
    now_of, then_of = await asyncio.to_thread(
        lambda: (
            _by_owner(found, theirs, visitors=visitors),
            _by_owner(then, theirs, visitors=False),
        )
    )
    rows = [
        {
            "person_id": str(person["person_id"]),
            "name": person["name"],
            "stores": len(person["stores"]),
            **now_of[place],
            **_grown(now_of[place], then_of[place]),
        }
        for place, person in enumerate(people)
    ]
    return _board(found, which, _ranked(rows, rank, "person_id"))


def _by_owner(
    found: Read, theirs: list[frozenset[str]], *, visitors: bool
) -> list[Mapping[str, Any]]:
    """Figures by owner; a store may have several."""
    owners_of = tuple(
        tuple(owner for owner, stores in enumerate(theirs) if store.store in stores)
        for store in found.labels.stores
    )
    many = np.array([0, *map(len, owners_of)])
    flat = np.array([owner for owners in owners_of for owner in owners], np.int32)
    starts = np.concatenate([[0], np.cumsum(many)[:-1]])
    keys = tuple(map(str, range(len(theirs))))

    def owned(scans: Columns) -> tuple[Columns, Groups]:
        times = many[scans.stores]
        repeated = scans.only(np.repeat(np.arange(len(times)), times))
        first = np.repeat(np.cumsum(times) - times, times)
        within = np.arange(len(first)) - first
        codes = flat[starts[repeated.stores] + within] if len(first) else flat[:0]
        return repeated, Groups(keys, codes)

    of = dict(report.counted_as(found, "owner", owned, owners_of, visitors=visitors))
    return [of.get(key, report.NOTHING) for key in keys]


async def _two_periods(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, wanted: Collection[str]
) -> tuple[Which, Read, Read]:
    timezone = await report.timezone_of(connection, chain_id)
    which = settled(which, timezone, datetime.now(UTC))
    found = await report.read(connection, chain_id, which, wanted)
    return which, found, await report.read(connection, chain_id, before(which, timezone), wanted)


def _board(found: Read, which: Which, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"as_of": found.as_of, "since": which.since, "until": which.until, "rows": rows}


def _grown(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    joined, joined_before = now["joined"], then["joined"]
    low = intervals.ratio_low(joined, joined_before)
    return {
        "joined_before": joined_before,
        "growth": _growth(joined, joined_before),
        "growth_low": round(low - 1, 6) if low is not None else None,
    }


def _ranked(rows: Iterable[dict[str, Any]], rank: Rank, key: str) -> list[dict[str, Any]]:
    """Best first, what nobody knows last; the equal by joins, and then by key."""
    by = _RANKED_BY[rank]

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        value = row[by]
        return (value is None, -(value or 0), -row["joined"], row[key])

    return [{"rank": place, **row} for place, row in enumerate(sorted(rows, key=order), start=1)]


def _seats(store: Mapping[str, Any]) -> dict[str, Any]:
    taken, capacity = store["members"] + store["held"], store["capacity"]
    return {
        **{name: store[name] for name in ("members", "held", "capacity")},
        "load": round(taken / capacity, 6) if capacity else None,
    }


def _list(which: Which) -> list[str] | None:
    return None if which.scope is None else list(which.scope)


# ---------------------------------------------------------------- placements


async def placements(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, *, visitors: bool = True
) -> dict[str, Any]:
    """`{as_of, rows}`: every placement, by entry and name. Recall is joins per printed piece. Who
    sees some stores only is shown the placements that hang there, or were scanned there."""
    printed = await db.fetch(_sql, "read_printed", connection, chain_id=chain_id)
    found = await report.read(connection, chain_id, which, ("placements",))
    figures_of = await asyncio.to_thread(_by_placement, found, visitors=visitors)
    empty = report.NOTHING
    rows = []
    for row in printed:
        key = (row["entry"], row["placement"])
        if which.entry not in (None, row["entry"]) or which.channel not in (None, row["channel"]):
            continue
        own = which.scope is None or row["store"] in which.scope
        if not own and key not in figures_of:
            continue
        figures = figures_of.get(key, empty)
        cost = float(row["cost"]) if row["cost"] is not None else None
        rows.append(
            {
                **dict(row),
                "cost": cost,
                **figures,
                "recall": _per(figures["joined"], row["printed"]),
                "cost_per_join": _per(cost, figures["joined"]),
                "revenue_per_piece": _per(figures["revenue"], row["printed"]),
            }
        )
    return {"as_of": found.as_of, "rows": rows}


def _by_placement(found: Read, *, visitors: bool) -> dict[tuple[str, str | None], dict[str, Any]]:
    labels = found.labels.placements
    keys = ("", *(str(label.number) for label in labels))
    of = dict(
        report.counted_as(
            found, "number", lambda scans: Groups(keys, scans.placements), visitors=visitors
        )
    )
    return {
        (label.entry, label.placement): of[key]
        for label in labels
        if (key := str(label.number)) in of
    }


def _per(amount: float | None, pieces: int | None) -> float | None:
    return round(amount / pieces, 6) if amount is not None and pieces else None


async def compare(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, a: str, b: str
) -> dict[str, Any]:
    """Two variants: the difference of their conversions (`a` less `b`), its 95 % interval, and
    whether that decides it."""
    found = await report.read(connection, chain_id, which, ("placements",))
    rows = await asyncio.to_thread(lambda: dict(report.counted(found, By.VARIANT)))
    first, second = rows.get(a, report.NOTHING), rows.get(b, report.NOTHING)
    low, high = intervals.newcombe(
        (first["joined"], second["joined"]), (first["scans"], second["scans"])
    )
    difference = None
    if low is not None:
        difference = first["joined"] / first["scans"] - second["joined"] / second["scans"]
    decided = low is not None and high is not None and (low > 0 or high < 0)
    winner = (a if difference is not None and difference > 0 else b) if decided else None
    return {
        "as_of": found.as_of,
        "a": {"variant": a, **first},
        "b": {"variant": b, **second},
        "difference": report.share(difference),
        "difference_low": report.share(low),
        "difference_high": report.share(high),
        "decided": decided,
        "winner": winner,
        "sentence": _sentence(a, b, difference, low, high),
    }


def _sentence(
    a: str, b: str, difference: float | None, low: float | None, high: float | None
) -> dict[str, str]:
    """Whether a comparison is decided, in plain words."""
    if difference is None or low is None or high is None:
        return {
            "zh": f"还不能比较：“{a}”和“{b}”要各有扫码才行。",
            "en": f"Nothing to compare yet: “{a}” and “{b}” both need scans.",
        }
    points, least, most = (
        f"{abs(value) * 100:.1f}" for value in (difference, *sorted((low, high), key=abs))
    )
    if low > 0 or high < 0:
        better, worse = (a, b) if difference > 0 else (b, a)
        return {
            "zh": f"已见分晓：“{better}”的转化率比“{worse}”高 {points} 个百分点"
            f"（95% 区间 {least} 到 {most}），不像是偶然。",
            "en": f"Decided: “{better}” converts {points} percentage points better than “{worse}” "
            f"(95 % interval {least} to {most}), which is unlikely to be chance.",
        }
    return {
        "zh": f"未见分晓：“{a}”与“{b}”相差 {difference * 100:+.1f} 个百分点，95% 区间从 "
        f"{low * 100:+.1f} 到 {high * 100:+.1f}，包含零，可能只是偶然。请再多收集一些扫码。",
        "en": f"Not decided: “{a}” and “{b}” differ by {difference * 100:+.1f} percentage points, "
        f"and the 95 % interval, {low * 100:+.1f} to {high * 100:+.1f}, includes zero: it may be "
        "chance. Collect more scans.",
    }


# ---------------------------------------------------------------- the map


async def map_of_stores(
    connection: db.Connection, chain_id: uuid.UUID, which: Which
) -> dict[str, Any]:
    """`{as_of, rows}`: every store, where it is, how it converts, and how full it is."""
    estate = await db.fetch(_sql, "read_estate", connection, chain_id=chain_id, scope=_list(which))
    found = await report.read(connection, chain_id, which, ("stores",))
    of = await asyncio.to_thread(_by_store, found, visitors=False)
    empty = report.NOTHING
    names = ("scans", "joined", "conversion", "conversion_low", "conversion_high")
    rows = []
    for store in estate:
        if which.store not in (None, store["store"]) or which.city not in (None, store["city"]):
            continue
        figures = of.get(store["store"], empty)
        rows.append(
            {
                **{name: store[name] for name in ("store", "name", "city", "lon", "lat", "status")},
                **{name: figures[name] for name in names},
                **_seats(store),
            }
        )
    return {"as_of": found.as_of, "rows": rows}
