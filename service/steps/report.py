"""report: what became of the scans.

Conversion is joined scans / scans, bots left out, by the scan's own time: a join that comes late
counts for the day on which its poster was scanned. What makes a scan located, shown, joined and so
on is said once, in the view `scan_stories` (sql/migrations/0006_rollups.sql); what is made of the
counts, once, in `figures`. Every page and every export comes from these two.
"""

import asyncio
import dataclasses
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from service import columns, db, intervals, rollups, sheets
from service.columns import Columns, Groups, Ints, Labels

_sql = db.load("report")

COUNTS = (
    "scans", "visitors", "located", "shown", "pressed", "reported", "verified", "joined", "left",
)  # fmt: skip
BESIDE = ("bots", "ordered", "orders")
FIGURES = (*COUNTS, "conversion", "conversion_low", "conversion_high", *BESIDE, "revenue")
COLUMNS = ("key", *FIGURES)
UNSERVED_COLUMNS = ("reason", "province", "city", "district", "lon", "lat", "scans")


class By(StrEnum):
    """What a report's rows are."""

    STORE = "store"
    BRAND = "brand"
    PROVINCE = "province"
    CITY = "city"
    DISTRICT = "district"
    ENTRY = "entry"
    PLACEMENT = "placement"
    CHANNEL = "channel"
    VARIANT = "variant"
    SOURCE = "source"
    DAY = "day"  # of the scan, in the chain's time zone
    WEEK = "week"  # ISO 8601: 2026-W05
    MONTH = "month"
    HOUR = "hour"
    NONE = "none"  # one row: all


@dataclasses.dataclass(frozen=True, slots=True)
class Which:
    """Which scans a report is about; `until` is excluded, None leaves none out. `scope`: the stores
    that may be seen."""

    since: datetime | None = None
    until: datetime | None = None
    entry: str | None = None
    store: str | None = None
    city: str | None = None
    channel: str | None = None
    scope: Collection[str] | None = None

    def needs(self) -> set[str]:
        """The columns that tell."""
        found: set[str] = set()
        if self.entry is not None or self.channel is not None:
            found.add("placements")
        if self.store is not None or self.scope is not None:
            found.add("stores")
        if self.city is not None:
            found |= {"stores", "places"}
        return found

    def of(self, scans: Columns, labels: Labels) -> Columns:
        """Those of the period's scans that it is about."""
        keep = np.ones(len(scans), np.bool_)
        if self.entry is not None or self.channel is not None:
            allowed = [
                self.entry in (None, placement.entry) and self.channel in (None, placement.channel)
                for placement in labels.placements
            ]
            keep &= np.array([False, *allowed])[scans.placements]
        if self.store is not None or self.scope is not None:
            allowed = [
                self.store in (None, store.store)
                and store.store is not None
                and (self.scope is None or store.store in self.scope)
                for store in labels.stores
            ]
            keep &= np.array([False, *allowed])[scans.stores]
        if self.city is not None:
            cities = columns.by_place(scans, labels, "city")
            keep &= np.array([key == self.city for key in cities.keys])[cities.codes]
        return scans if keep.all() else scans.only(keep)


@dataclasses.dataclass(frozen=True, slots=True)
class Read:
    """A period's scans, as one snapshot has them, and up to when all that happened is in them."""

    scans: Columns
    labels: Labels
    as_of: datetime
    timezone: ZoneInfo


async def read(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, wanted: Collection[str] = ()
) -> Read:
    """The scans that a report is about, with the columns that are wanted."""
    await rollups.catch_up(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        as_of = await rollups.as_of(connection)
        timezone = await timezone_of(connection, chain_id)
        needed = {*which.needs(), *wanted}
        labels = await columns.read_labels(connection, chain_id, needed)
        scans = await columns.read(connection, chain_id, which.since, which.until, wanted=needed)
    # Other requests go on while many numbers are looked at.
    scans = await asyncio.to_thread(which.of, scans, labels)
    return Read(scans, labels, as_of, timezone)


async def timezone_of(connection: db.Connection, chain_id: uuid.UUID) -> ZoneInfo:
    """The chain's: what days are in."""
    return ZoneInfo(await _sql.get_timezone(connection, chain_id=chain_id))


async def funnel(
    connection: db.Connection, chain_id: uuid.UUID, *, by: By, **which: Any
) -> dict[str, Any]:
    """The same with the fields of `Which` by name."""
    return await funnel_of(connection, chain_id, Which(**which), by=by)


async def funnel_of(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, *, by: By
) -> dict[str, Any]:
    """`{as_of, total, rows}`: rows by key, null last. Bots are left out of all but `bots`."""
    found = await read(connection, chain_id, which, _NEEDS[by])
    total, rows = await asyncio.to_thread(_funnel, found, by)
    return {"as_of": found.as_of, "total": total, "rows": rows}


def _funnel(found: Read, by: By) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    total = count_all(found.scans)
    if by is By.NONE:
        return total, [{**total, "key": "all"}]
    rows = grouped(found.scans, groups(found, by))
    return total, [{"key": key, **figures} for key, figures in rows]


def count_all(scans: Columns) -> dict[str, Any]:
    """The figures of all of these scans, keyed "total"."""
    everything = Groups(("total",), np.zeros(len(scans), np.int32))
    return {"key": "total", **figures(columns.count(scans, everything))[0]}


def grouped(scans: Columns, groups: Groups) -> list[tuple[str | None, dict[str, Any]]]:
    """The figures of every key that has a scan, by key, null last."""
    counts = columns.count(scans, groups)
    there = np.flatnonzero(counts["scans"] + counts["bots"])
    rows = figures({name: column[there] for name, column in counts.items()})
    found = [(groups.keys[place], row) for place, row in zip(there, rows, strict=True)]
    return sorted(found, key=lambda item: (item[0] is None, item[0] or ""))


def figures(counts: Mapping[str, Ints]) -> list[dict[str, Any]]:
    """A row for each number in the counts' columns: the counts, conversion with its 95 % interval,
    and the revenue."""
    names = (*COUNTS, *BESIDE, "cents")
    return [
        _figures(dict(zip(names, values, strict=True)))
        for values in zip(*(counts[name].tolist() for name in names), strict=True)
    ]


def _figures(counts: dict[str, int]) -> dict[str, Any]:
    joined, scans = counts["joined"], counts["scans"]
    low, high = intervals.wilson(joined, scans)
    return {
        **{name: counts[name] for name in COUNTS},
        "conversion": share(joined / scans if scans else None),
        "conversion_low": share(low),
        "conversion_high": share(high),
        **{name: counts[name] for name in BESIDE},
        "revenue": counts["cents"] / 100,
    }


def share(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


# ---------------------------------------------------------------- groups

_TIMES = {By.DAY: columns.DAY, By.WEEK: columns.WEEK, By.MONTH: columns.MONTH, By.HOUR: None}
_PLACES = (By.PROVINCE, By.CITY, By.DISTRICT)
_NEEDS: dict[By, tuple[str, ...]] = {
    By.STORE: ("stores",),
    By.BRAND: ("stores",),
    By.PROVINCE: ("stores", "places"),
    By.CITY: ("stores", "places"),
    By.DISTRICT: ("stores", "places"),
    By.ENTRY: ("placements",),
    By.PLACEMENT: ("placements",),
    By.CHANNEL: ("placements",),
    By.VARIANT: ("placements",),
    By.SOURCE: (),
    By.DAY: ("ats",),
    By.WEEK: ("ats",),
    By.MONTH: ("ats",),
    By.HOUR: ("ats",),
    By.NONE: (),
}


def groups(found: Read, by: By) -> Groups:
    scans, labels = found.scans, found.labels
    if by in _PLACES:
        return columns.by_place(scans, labels, by.value)
    if by in (By.STORE, By.BRAND):
        return columns.by_number(
            scans.stores, [getattr(store, by.value) for store in labels.stores]
        )
    if by is By.SOURCE:
        return columns.by_number(scans.sources, labels.sources)
    if by in _TIMES:
        if not len(scans):
            return Groups((), scans.ats)
        first, last = moment(int(scans.ats.min())), moment(int(scans.ats.max()))
        return columns.by_time(scans, edges(first, last, found.timezone, by))
    return columns.by_number(
        scans.placements, [getattr(placement, by.value) for placement in labels.placements]
    )


def edges(first: datetime, last: datetime, timezone: ZoneInfo, by: By) -> columns.Edges:
    """The days, weeks, months or hours of a time zone, from that of `first` to that of `last`."""
    form = _TIMES[by]
    if form is None:
        return columns.hours(first, last, timezone)
    return columns.days(first, last, timezone, form)


def moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


# ---------------------------------------------------------------- what went unserved


async def unserved(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    whole_chain: bool = True,
    grid: int | None = None,
) -> list[dict[str, Any]]:
    """Where scans ended without a code, and why, most first; positions to about 1 km, or as the
    middle of squares of `grid` hundredths of a degree, whatever city they are in, for a map.

    Those who would not tell their position and then picked no store are `denied`. It is nobody's
    store, so whoever does not see the whole chain sees none of it.
    """
    if not whole_chain:
        return []
    await rollups.catch_up(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        labels = await columns.read_labels(connection, chain_id, ("places",))
        lost = await columns.read_lost(connection, chain_id, since, until)
    return await asyncio.to_thread(_unserved, lost, labels, grid)


def _unserved(lost: columns.Lost, labels: Labels, grid: int | None) -> list[dict[str, Any]]:
    if grid is not None:
        lost = lost.squares(grid)
    counted = Counter(
        zip(
            lost.reasons.tolist(),
            lost.places.tolist(),
            lost.lons.tolist(),
            lost.lats.tolist(),
            strict=True,
        )
    )
    rows = []
    for (reason, number, lon, lat), scans in counted.items():
        place = labels.places[number - 1] if number else None
        known = lon != columns.NOWHERE
        rows.append(
            {
                "reason": labels.reasons[reason - 1],
                "province": place.province if place else None,
                "city": place.city if place else None,
                "district": place.district if place else None,
                "lon": lon / 100 if known else None,
                "lat": lat / 100 if known else None,
                "scans": scans,
            }
        )
    return sorted(rows, key=_most_first)


def _most_first(row: dict[str, Any]) -> tuple[Any, ...]:
    rest = (row[name] for name in UNSERVED_COLUMNS[:-1])
    return (-row["scans"], *((value is None, value or 0) for value in rest))


# ---------------------------------------------------------------- spreadsheets


def as_csv(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> str:
    """Rows as CSV with a byte order mark."""
    return sheets.as_csv(names, ([row[name] for name in names] for row in rows)).decode()
