"""report: what became of the scans.

Conversion is joined scans / scans, bots left out, by the scan's own time: a join that comes late
counts for the day on which its poster was scanned. What makes a scan located, shown, joined and so
on is said once, in the view `scan_stories` (sql/migrations/0006_rollups.sql); what is made of the
counts, once, in `figures`. Every page and every export comes from these two.
"""

import asyncio
import dataclasses
import functools
import uuid
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from service import columns, db, intervals, rollups, sheets, tallies
from service.columns import Columns, Groups, Ints, Labels, Period

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

    @property
    def key(self) -> Hashable:
        """What is the same of two that mean the same."""
        scope = None if self.scope is None else frozenset(self.scope)
        return (self.since, self.until, self.entry, self.store, self.city, self.channel, scope)

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

    chain_id: uuid.UUID
    which: Which
    period: Period
    labels: Labels
    as_of: datetime
    timezone: ZoneInfo


async def read(
    connection: db.Connection,
    chain_id: uuid.UUID,
    which: Which,
    wanted: Collection[str] = (),
    *,
    over: By | None = None,
) -> Read:
    """The scans that a report is about, with the columns that are wanted; `over`: the days, weeks,
    months or hours that they can be counted by."""
    await rollups.catch_up(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        as_of = await rollups.as_of(connection)
        timezone = await timezone_of(connection, chain_id)
        needed = {*which.needs(), *wanted}
        labels = await columns.read_labels(connection, chain_id, needed)
        edges = functools.partial(edges_of, timezone, over) if over in _TIMES else None
        period = await columns.read(
            connection, chain_id, which.since, which.until, wanted=needed, edges=edges
        )
    return Read(chain_id, which, period, labels, as_of, timezone)


async def timezone_of(connection: db.Connection, chain_id: uuid.UUID) -> ZoneInfo:
    """The chain's: what days are in."""
    return ZoneInfo(await _sql.get_timezone(connection, chain_id=chain_id))


async def funnel(
    connection: db.Connection, chain_id: uuid.UUID, *, by: By, visitors: bool = True, **which: Any
) -> dict[str, Any]:
    """The same with the fields of `Which` by name."""
    return await funnel_of(connection, chain_id, Which(**which), by=by, visitors=visitors)


async def funnel_of(
    connection: db.Connection, chain_id: uuid.UUID, which: Which, *, by: By, visitors: bool = True
) -> dict[str, Any]:
    """`{as_of, total, rows}`: rows by key, null last. Bots are left out of all but `bots`. Without
    `visitors`, which cost the most, they are 0."""
    found = await read(connection, chain_id, which, NEEDS[by], over=by)
    # Other requests go on while many numbers are looked at.
    total, rows = await asyncio.to_thread(_funnel, found, by, visitors=visitors)
    return {"as_of": found.as_of, "total": total, "rows": rows}


def _funnel(found: Read, by: By, *, visitors: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    total = count_all(found, visitors=visitors)
    if by is By.NONE:
        return total, [{**total, "key": "all"}]
    rows = counted(found, by, visitors=visitors)
    return total, [{"key": key, **figures} for key, figures in rows]


def count_all(found: Read, *, visitors: bool = True) -> dict[str, Any]:
    """The figures of all of these scans, keyed "total"."""
    rows = counted(found, By.NONE, visitors=visitors)
    return {"key": "total", **(rows[0][1] if rows else NOTHING)}


def counted(
    found: Read, by: By, *, visitors: bool = True
) -> list[tuple[str | None, dict[str, Any]]]:
    """The figures of every key that has a scan, by key, null last. What is `by` must have been read
    (`NEEDS`); distinct visitors cost the most, and are 0 where they are not wanted."""
    return counted_as(found, by, functools.partial(groups, found, by), visitors=visitors)


def counted_as(
    found: Read,
    name: Hashable,
    grouped: Callable[[Columns], Groups | tuple[Columns, Groups]],
    depends: tuple[Any, ...] = (),
    *,
    visitors: bool = True,
) -> list[tuple[str | None, dict[str, Any]]]:
    """The same by groups of any other kind: `name` says which, but for what they depend on beside
    the labels, which is looked up by number."""
    which, labels, period = found.which, found.labels, found.period
    if not any(map(period.is_after, period.chunks)):
        # What ends now is the same as what has no end.
        which = dataclasses.replace(which, until=None)
        period = dataclasses.replace(period, until=None)
    keys, counts = tallies.count(
        (found.chain_id, which.key, found.timezone.key, name),
        period,
        lambda scans: _coded(found.which.of(scans, labels), grouped),
        (labels.stores, labels.placements, labels.places, depends),
        found.as_of,
        visitors=visitors,
    )
    counts.setdefault("visitors", np.zeros(len(keys), np.int64))
    there = np.flatnonzero(counts["scans"] + counts["bots"])
    rows = figures({name: column[there] for name, column in counts.items()})
    told = [(keys[place], row) for place, row in zip(there, rows, strict=True)]
    return sorted(told, key=lambda item: (item[0] is None, item[0] or ""))


def _coded(
    scans: Columns, grouped: Callable[[Columns], Groups | tuple[Columns, Groups]]
) -> tuple[Columns, Groups]:
    found = grouped(scans)
    return found if isinstance(found, tuple) else (scans, found)


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


NOTHING: Mapping[str, Any] = figures(
    {name: np.zeros(1, np.int64) for name in (*COUNTS, *BESIDE, "cents")}
)[0]
"""The figures of no scan."""


# ---------------------------------------------------------------- groups

_TIMES = {By.DAY: columns.DAY, By.WEEK: columns.WEEK, By.MONTH: columns.MONTH, By.HOUR: None}
_PLACES = (By.PROVINCE, By.CITY, By.DISTRICT)
NEEDS: dict[By, tuple[str, ...]] = {
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
    By.DAY: (),
    By.WEEK: (),
    By.MONTH: (),
    By.HOUR: (),
    By.NONE: (),
}


def groups(found: Read, by: By, scans: Columns) -> Groups:
    """Of some of its scans."""
    labels = found.labels
    if by is By.NONE:
        return Groups(("all",), np.zeros(len(scans), np.int32))
    if by in _PLACES:
        return columns.by_place(scans, labels, by.value)
    if by in (By.STORE, By.BRAND):
        return columns.by_number(
            scans.stores, [getattr(store, by.value) for store in labels.stores]
        )
    if by is By.SOURCE:
        return columns.by_number(scans.sources, labels.sources)
    if by in _TIMES:
        edges = found.period.edges
        return Groups((), scans.times) if edges is None else columns.by_time(scans, edges)
    return columns.by_number(
        scans.placements, [getattr(placement, by.value) for placement in labels.placements]
    )


def edges_of(timezone: ZoneInfo, by: By, first: datetime, last: datetime) -> columns.Edges:
    """The days, weeks, months or hours of a time zone, from that of `first` to that of `last`."""
    form = _TIMES[by]
    if form is None:
        return columns.hours(first, last, timezone)
    return columns.days(first, last, timezone, form)


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
    labels, period = await _read_lost(connection, chain_id, since, until)
    return await asyncio.to_thread(_unserved, period, labels, grid)


async def unserved_by(
    connection: db.Connection,
    chain_id: uuid.UUID,
    names: Sequence[str],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[dict[str, Any]]:
    """The same by some of `UNSERVED_COLUMNS` alone, without positions; of the whole chain."""
    labels, period = await _read_lost(connection, chain_id, since, until)
    return await asyncio.to_thread(_lost_by, period, labels, names)


async def _read_lost(
    connection: db.Connection,
    chain_id: uuid.UUID,
    since: datetime | None,
    until: datetime | None,
) -> tuple[Labels, Period]:
    await rollups.catch_up(connection)
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        labels = await columns.read_labels(connection, chain_id, ("places",))
        return labels, await columns.read_lost(connection, chain_id, since, until)


def _lost_by(period: Period, labels: Labels, names: Sequence[str]) -> list[dict[str, Any]]:
    found: Iterable[tuple[int, ...]]
    if tuple(names) == ("reason",):
        found = ((reason, 0, n) for reason, n in columns.tallied(period.lost_reasons()))
    else:
        lost = period.lost()
        found = columns.tallied(lost.reasons, lost.places)
    sums: dict[tuple[Any, ...], int] = {}
    for reason, number, scans in found:
        row = {"reason": labels.reasons[reason - 1], **_place_of(labels, number)}
        key = tuple(row[name] for name in names)
        sums[key] = sums.get(key, 0) + scans
    return [{**dict(zip(names, key, strict=True)), "scans": scans} for key, scans in sums.items()]


def _unserved(period: Period, labels: Labels, grid: int | None) -> list[dict[str, Any]]:
    lost = period.lost()
    if grid is not None:
        lost = lost.squares(grid)
    rows = []
    for reason, number, lon, lat, scans in columns.tallied(
        lost.reasons, lost.places, lost.lons, lost.lats
    ):
        known = lon != columns.NOWHERE
        rows.append(
            {
                "reason": labels.reasons[reason - 1],
                **_place_of(labels, number),
                "lon": lon / 100 if known else None,
                "lat": lat / 100 if known else None,
                "scans": scans,
            }
        )
    return sorted(rows, key=_most_first)


def _place_of(labels: Labels, number: int) -> dict[str, Any]:
    place = labels.places[number - 1] if number else None
    return {
        "province": place.province if place else None,
        "city": place.city if place else None,
        "district": place.district if place else None,
    }


def _most_first(row: dict[str, Any]) -> tuple[Any, ...]:
    rest = (row[name] for name in UNSERVED_COLUMNS[:-1])
    return (-row["scans"], *((value is None, value or 0) for value in rest))


# ---------------------------------------------------------------- spreadsheets


def as_csv(rows: Iterable[dict[str, Any]], names: Sequence[str]) -> str:
    """Rows as CSV with a byte order mark."""
    return sheets.as_csv(names, ([row[name] for name in names] for row in rows)).decode()
