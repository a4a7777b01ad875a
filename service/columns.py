"""Columns: the scans of a period as arrays, one number a scan, in the order of the scans.

They are read from the roll-ups (service/rollups.py). What a number stands for, as of now, is in
`Labels`: a store's city is what it is today, whatever it was when it was scanned.
"""

import dataclasses
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt

from service import db

_sql = db.load("columns")

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

# The bits of `stages` (0006_rollups.sql).
BOT, LOCATED, SHOWN, PRESSED, REPORTED, VERIFIED, JOINED, LEFT, ORDERED = (1 << n for n in range(9))
_SOURCE_SHIFT = 9
NOWHERE = 2**31 - 1  # a coordinate that is not known


@dataclasses.dataclass(frozen=True, slots=True)
class Store:
    number: int
    store: str | None  # None: the catalog does not know it
    brand: str | None
    province: str | None
    city: str | None
    district: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Placement:
    number: int
    entry: str
    placement: str | None
    channel: str | None
    variant: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    number: int
    province: str | None
    city: str | None
    district: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Labels:
    """What the numbers of a chain's columns stand for. Each has its number less one as its place;
    0 stands for nothing."""

    stores: tuple[Store, ...]
    placements: tuple[Placement, ...]
    places: tuple[Place, ...]
    sources: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """As many numbers each as there are scans; those that were not asked for are empty, and so are
    `orders` and `cents` if nobody has ordered.

    `ats` are microseconds since 1970, `cents` hundredths of what orders brought.
    """

    stages: npt.NDArray[np.int16]
    visitors: Numbers
    placements: Numbers
    stores: Numbers
    places: Numbers
    ats: Ints
    orders: Numbers
    cents: Ints

    def __len__(self) -> int:
        return len(self.stages)

    def only(self, keep: Mask | Ints) -> "Columns":
        """Those scans alone for which `keep` is true, or whose places it names."""
        return Columns(
            **{
                field.name: column[keep] if len(column := getattr(self, field.name)) else column
                for field in dataclasses.fields(self)
            }
        )

    @property
    def sources(self) -> npt.NDArray[np.int16]:
        return self.stages >> _SOURCE_SHIFT


@dataclasses.dataclass(frozen=True, slots=True)
class Lost:
    """Scans that ended without a code: numbers of reasons and of places, hundredths of a degree."""

    reasons: npt.NDArray[np.int16]
    places: Numbers
    lons: Numbers
    lats: Numbers

    def __len__(self) -> int:
        return len(self.reasons)

    def squares(self, size: int) -> "Lost":
        """Those whose position is known, each in the middle of its square of so many hundredths of
        a degree."""
        known = (self.lons != NOWHERE) & (self.lats != NOWHERE)
        lons, lats = (each[known] // size * size + size // 2 for each in (self.lons, self.lats))
        return Lost(self.reasons[known], np.zeros_like(self.places[known]), lons, lats)


async def read_labels(
    connection: db.Connection, chain_id: uuid.UUID, wanted: Collection[str]
) -> Labels:
    """What is wanted of `stores`, `placements` and `places`."""

    async def rows(name: str) -> list[asyncpg.Record]:
        if name not in wanted:
            return []
        return await db.fetch(_sql, f"read_{name}", connection, chain_id=chain_id)

    names = await _sql.read_names(connection)
    return Labels(
        stores=tuple(Store(*row) for row in await rows("stores")),
        placements=tuple(Placement(*row) for row in await rows("placements")),
        places=tuple(Place(*row) for row in await rows("places")),
        sources=tuple(names["sources"]),
        reasons=tuple(names["reasons"]),
    )


async def read(
    connection: db.Connection,
    chain_id: uuid.UUID,
    since: datetime | None,
    until: datetime | None,
    *,
    wanted: Collection[str] = (),
) -> Columns:
    """The scans from `since` to before `until`; `stages`, `visitors`, orders and what else of
    `placements`, `stores`, `places` and `ats` is `wanted`."""
    chunks = await db.fetch(
        _sql,
        "read_chunks",
        connection,
        chain_id=chain_id,
        since=since,
        until=until,
        **{name: name in wanted for name in ("placements", "stores", "places", "ats")},
    )
    paid = any(chunk["paid_rows"] for chunk in chunks)
    count = sum(chunk["scans"] for chunk in chunks) if paid else 0
    orders, cents = np.zeros(count, np.int32), np.zeros(count, np.int64)
    start = 0
    for chunk in chunks:
        if chunk["paid_rows"]:
            rows = start + _numbers([chunk["paid_rows"]], ">i4")
            orders[rows] = _numbers([chunk["paid_orders"]], ">i4")
            cents[rows] = _numbers([chunk["paid_cents"]], ">i8")
        start += chunk["scans"]
    found = Columns(
        stages=_numbers(_of(chunks, "stages"), ">i2").astype(np.int16),
        visitors=_numbers(_of(chunks, "visitors"), ">i4").astype(np.int32),
        orders=orders,
        cents=cents,
        ats=_numbers(_of(chunks, "ats"), ">i8").astype(np.int64) if "ats" in wanted else _no_ints(),
        **{
            name: _numbers(_of(chunks, name), ">i4").astype(np.int32)
            for name in ("placements", "stores", "places")
        },
    )
    keep = _within(chunks, "scans", "ats", since, until)
    return found if keep is None else found.only(keep)


async def read_lost(
    connection: db.Connection, chain_id: uuid.UUID, since: datetime | None, until: datetime | None
) -> Lost:
    chunks = await db.fetch(
        _sql, "read_lost", connection, chain_id=chain_id, since=since, until=until
    )
    found = Lost(
        reasons=_numbers(_of(chunks, "losts"), ">i2").astype(np.int16),
        places=_numbers(_of(chunks, "lost_places"), ">i4").astype(np.int32),
        lons=_numbers(_of(chunks, "lost_lons"), ">i4").astype(np.int32),
        lats=_numbers(_of(chunks, "lost_lats"), ">i4").astype(np.int32),
    )
    keep = _within(chunks, "lost", "lost_ats", since, until)
    if keep is None:
        return found
    return Lost(found.reasons[keep], found.places[keep], found.lons[keep], found.lats[keep])


def _of(chunks: Sequence[asyncpg.Record], name: str) -> list[bytes]:
    return [chunk[name] for chunk in chunks if chunk[name] is not None]


def _numbers(parts: list[bytes], kind: str) -> Any:
    return np.frombuffer(parts[0] if len(parts) == 1 else b"".join(parts), kind)


def _no_ints() -> Ints:
    return np.empty(0, np.int64)


def _within(
    chunks: Sequence[asyncpg.Record],
    count: str,
    name: str,
    since: datetime | None,
    until: datetime | None,
) -> Mask | None:
    """Which scans lie within the period; None if all do. Only chunks at its ends have others."""
    low = microseconds(since) if since is not None else None
    high = microseconds(until) if until is not None else None
    parts, all_in = [], True
    for chunk in chunks:
        at_end = (since is not None and chunk["first_at"] < since) or (
            until is not None and chunk["last_at"] >= until
        )
        if not at_end:
            parts.append(np.ones(chunk[count], np.bool_))
            continue
        ats = _numbers([chunk[name]], ">i8")
        keep = np.ones(len(ats), np.bool_)
        if low is not None:
            keep &= ats >= low
        if high is not None:
            keep &= ats < high
        parts.append(keep)
        all_in = False
    return None if all_in else np.concatenate(parts)


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def microseconds(at: datetime) -> int:
    """Since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


# ---------------------------------------------------------------- groups


@dataclasses.dataclass(frozen=True, slots=True)
class Groups:
    """Which of the keys each scan has: its place among `keys`."""

    keys: tuple[str | None, ...]
    codes: Ints | Numbers


def by_number(numbers: npt.NDArray[Any], labels: Sequence[str | None]) -> Groups:
    """By what each number stands for; None for 0."""
    return _grouped(numbers, (None, *labels))


def _grouped(numbers: npt.NDArray[Any], labels: Sequence[str | None]) -> Groups:
    keys = tuple(dict.fromkeys(labels))
    place_of = {key: place for place, key in enumerate(keys)}
    code_of = np.array([place_of[label] for label in labels], np.int32)
    return Groups(keys, code_of[numbers])


def by_place(columns: Columns, labels: Labels, level: str) -> Groups:
    """By province, city or district: the store's, and where it has none, the visitor's own."""
    of_store = [getattr(store, level) for store in labels.stores]
    of_place = [getattr(place, level) for place in labels.places]
    keys = tuple(dict.fromkeys((None, *of_store, *of_place)))
    place_of = {key: place for place, key in enumerate(keys)}
    by_store = np.array([0, *(place_of[label] for label in of_store)], np.int32)[columns.stores]
    own = np.array([0, *(place_of[label] for label in of_place)], np.int32)[columns.places]
    return Groups(keys, np.where(by_store > 0, by_store, own))


def by_time(columns: Columns, edges: "Edges") -> Groups:
    """By the day or hour that each scan was made in."""
    codes = np.searchsorted(edges.starts, columns.ats, side="right") - 1
    return Groups(edges.keys, edges.codes[codes])


@dataclasses.dataclass(frozen=True, slots=True)
class Edges:
    """When the days or hours of a time zone begin: `starts` rise; each belongs to the key whose
    place is in `codes`. (The hour that comes twice when clocks are set back is one key.)"""

    starts: Ints
    keys: tuple[str, ...]
    codes: Numbers


DAY, WEEK, MONTH = "%Y-%m-%d", "%G-W%V", "%Y-%m"  # a week as ISO 8601 has it


def days(first: datetime, last: datetime, timezone: tzinfo, form: str = DAY) -> Edges:
    """The days from that of `first` to that of `last`, or their weeks or months."""
    day, end = first.astimezone(timezone).date(), last.astimezone(timezone).date()
    starts, keys = [], []
    while day <= end:
        # Where midnight is left out, the day begins when the clocks are set forward.
        starts.append(microseconds(datetime(day.year, day.month, day.day, tzinfo=timezone)))
        keys.append(day.strftime(form))
        day += timedelta(days=1)
    return _edges(starts, keys)


_QUARTER = timedelta(minutes=15)  # no time zone's offset is finer


def hours(first: datetime, last: datetime, timezone: tzinfo) -> Edges:
    """The hours from that of `first` to that of `last`, as clocks show them."""
    at = _EPOCH + (first - _EPOCH) // _QUARTER * _QUARTER
    starts: list[int] = []
    keys: list[str] = []
    while at <= last:
        key = f"{at.astimezone(timezone):%Y-%m-%dT%H}"
        if not keys or keys[-1] != key:
            starts.append(microseconds(at))
            keys.append(key)
        at += _QUARTER
    return _edges(starts, keys)


def _edges(starts: list[int], keys: list[str]) -> Edges:
    distinct = tuple(dict.fromkeys(keys))
    place_of = {key: place for place, key in enumerate(distinct)}
    codes = np.array([place_of[key] for key in keys], np.int32)
    return Edges(np.array(starts, np.int64), distinct, codes)


# ---------------------------------------------------------------- counts


STAGES = {
    "located": LOCATED,
    "shown": SHOWN,
    "pressed": PRESSED,
    "reported": REPORTED,
    "verified": VERIFIED,
    "joined": JOINED,
    "left": LEFT,
    "ordered": ORDERED,
}


def count(columns: Columns, groups: Groups) -> dict[str, Ints]:
    """By key: `scans`, distinct `visitors`, those that reached each stage, `orders`, `cents`; and
    `bots`, which are in none of the others."""
    size = len(groups.keys)
    codes = groups.codes
    # Few of the combinations of stages occur.
    combos = np.flatnonzero(np.bincount(columns.stages, minlength=1))
    combo_of = np.zeros(combos.max(initial=0) + 1, np.int64)
    combo_of[combos] = np.arange(len(combos))
    table = np.bincount(
        codes * np.int64(len(combos)) + combo_of[columns.stages], minlength=size * len(combos)
    ).reshape(size, len(combos))
    people = (combos & BOT) == 0
    found = {"scans": table[:, people].sum(axis=1), "bots": table[:, ~people].sum(axis=1)}
    for name, bit in STAGES.items():
        found[name] = table[:, people & ((combos & bit) != 0)].sum(axis=1)
    visitors, person = columns.visitors, (columns.stages & BOT) == 0
    if not person.all():
        codes, visitors = codes[person], visitors[person]
    found["visitors"] = _distinct(codes, visitors, size)
    found |= {name: np.zeros(size, np.int64) for name in ("orders", "cents")}
    if columns.orders.any() or columns.cents.any():
        paid = np.flatnonzero(((columns.orders != 0) | (columns.cents != 0)) & person)
        for name in ("orders", "cents"):
            np.add.at(found[name], groups.codes[paid], getattr(columns, name)[paid])
    return found


def _distinct(codes: npt.NDArray[Any], visitors: Numbers, size: int) -> Ints:
    """How many different visitors each key has. Nearly all have one key or two, their lowest and
    their highest: nothing must be sorted for those."""
    if not len(visitors):
        return np.zeros(size, np.int64)
    own = visitors - visitors.min()
    if size == 1:
        seen = np.zeros(int(own.max()) + 1, np.bool_)
        seen[own] = True
        return np.array([np.count_nonzero(seen)], np.int64)
    codes = codes.astype(np.int32, copy=False)
    lowest = np.full(int(own.max()) + 1, size, np.int32)
    highest = np.full(len(lowest), -1, np.int32)
    np.minimum.at(lowest, own, codes)
    np.maximum.at(highest, own, codes)
    found = np.bincount(lowest[highest >= 0], minlength=size)
    found += np.bincount(highest[highest > lowest], minlength=size)
    between = np.flatnonzero((codes != lowest[own]) & (codes != highest[own]))
    pairs = np.unique(codes[between].astype(np.int64) * len(lowest) + own[between])
    found += np.bincount(pairs // len(lowest), minlength=size)
    return found.astype(np.int64)
