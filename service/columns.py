"""Columns: the scans of a period as arrays, one number a scan, in the order of the scans.

They are made of the chunks of the roll-ups (service/chunks.py). What a number stands for, as of
now, is in `Labels`: a store's city is what it is today, whatever it was when it was scanned.
"""

import dataclasses
import math
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Any

import asyncpg
import numpy as np
import numpy.typing as npt

from service import chunks, db
from service.chunks import Chunk

_sql = db.load("columns")

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.integer[Any]]
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

    `times` are places among a period's edges, `cents` hundredths of what orders brought.
    """

    stages: npt.NDArray[np.int16]
    visitors: Numbers
    placements: Numbers
    stores: Numbers
    places: Numbers
    times: Numbers
    orders: Ints
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
        found = self.only((self.lons != NOWHERE) & (self.lats != NOWHERE))
        lons, lats = (each // size * size + size // 2 for each in (found.lons, found.lats))
        return Lost(found.reasons, np.zeros_like(found.places), lons, lats)

    def only(self, keep: Mask) -> "Lost":
        return Lost(self.reasons[keep], self.places[keep], self.lons[keep], self.lats[keep])


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


_TIMED, _LOST, _LOST_TIMED = frozenset({"ats"}), frozenset({"losts"}), frozenset({"lost_ats"})


@dataclasses.dataclass(frozen=True, slots=True)
class Period:
    """The chunks with the scans from `since` to before `until`, and what is wanted of them. With
    `edges`, the columns tell between which of them each scan was made."""

    chunks: Sequence[Chunk]
    since: datetime | None
    until: datetime | None
    wanted: frozenset[str]
    # Between which edges each chunk's first scan and its last were made, and what tells it of all.
    edges: "Edges | None" = None
    spans: Mapping[uuid.UUID, tuple[int, int]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        """How many scans, those of a chunk that lies partly within counted whole."""
        return sum(chunk.scans for chunk in self.chunks)

    def is_cut(self, chunk: Chunk) -> bool:
        """Whether it may have scans outside the period."""
        before = self.since is not None and chunk.first_at < self.since
        return before or self.is_after(chunk)

    def parts(self, chunk: Chunk) -> frozenset[str]:
        """What is to be read of a chunk. Times only where they tell anything."""
        span = self._span(chunk)
        tells = self.is_cut(chunk) or (bool(span) and span[0] != span[1])
        return self.wanted | _TIMED if tells else self.wanted

    def is_after(self, chunk: Chunk) -> bool:
        """Whether it may have scans that are past it."""
        return self.until is not None and chunk.last_at >= self.until

    def covers(self, chunk: Chunk) -> bool:
        """Whether columns can be made of a chunk that is none of the period's own, but was."""
        if not self.chunks or not self.parts(chunk) <= chunk.parts:
            return False
        return (
            min(each.first_at for each in self.chunks) <= chunk.first_at
            and max(each.last_at for each in self.chunks) >= chunk.last_at
        )

    def _span(self, chunk: Chunk) -> Sequence[int]:
        """The places of the edges before its first scan and its last."""
        if self.edges is None:
            return ()
        found = self.spans.get(chunk.revision)
        if found is None:
            ends: list[int] = self.edges.of(_moments([chunk.first_at, chunk.last_at])).tolist()
            return ends
        return found

    def columns(self, of: Sequence[Chunk] | None = None) -> Columns:
        """Of all chunks, or of some."""
        of = self.chunks if of is None else of
        found = Columns(
            stages=_joined(of, "stages", np.int16),
            visitors=_joined(of, "visitors", np.int32),
            times=self._times(of),
            **dict(zip(("orders", "cents"), _paid(of), strict=True)),
            **{
                name: _joined(of if name in self.wanted else (), name, np.int32)
                for name in ("placements", "stores", "places")
            },
        )
        keep = self._within(of, "ats", "scans")
        return found if keep is None else found.only(keep)

    def lost(self) -> "Lost":
        """Of the scans that ended without a code."""
        found = Lost(
            reasons=_joined(self.chunks, "losts", np.int16),
            places=_joined(self.chunks, "lost_places", np.int32),
            lons=_joined(self.chunks, "lost_lons", np.int32),
            lats=_joined(self.chunks, "lost_lats", np.int32),
        )
        keep = self._within(self.chunks, "lost_ats", "lost")
        return found if keep is None else found.only(keep)

    def lost_reasons(self) -> Numbers:
        """Of the same scans, the reasons alone."""
        reasons = _joined(self.chunks, "losts", np.int16)
        keep = self._within(self.chunks, "lost_ats", "lost")
        found: Numbers = reasons if keep is None else reasons[keep]
        return found

    def _times(self, of: Sequence[Chunk]) -> Numbers:
        if self.edges is None or not of:
            return np.empty(0, np.int32)
        parts: list[Numbers] = []
        for chunk in of:
            first, last = self._span(chunk)
            if first == last:
                parts.append(np.full(chunk.scans, first, np.int32))
            else:
                parts.append(self.edges.of(chunk["ats"]))
        return np.concatenate(parts)

    def _within(self, of: Sequence[Chunk], ats: str, count: str) -> Mask | None:
        """Which scans lie within the period; None if all do."""
        if not any(map(self.is_cut, of)):
            return None
        parts = []
        for chunk in of:
            keep = np.ones(getattr(chunk, count), np.bool_)
            if self.is_cut(chunk):
                if self.since is not None:
                    keep &= chunk[ats] >= microseconds(self.since)
                if self.until is not None:
                    keep &= chunk[ats] < microseconds(self.until)
            parts.append(keep)
        return np.concatenate(parts)


async def read(
    connection: db.Connection,
    chain_id: uuid.UUID,
    since: datetime | None,
    until: datetime | None,
    *,
    wanted: Collection[str] = (),
    edges: "EdgesOf | None" = None,
) -> Period:
    """The scans from `since` to before `until`; `stages`, `visitors`, orders and what else of
    `placements`, `stores` and `places` is `wanted`. `edges` makes them for the period's first and
    last scan."""
    found = await chunks.listed(connection, chain_id, since, until)
    period = Period(found, since, until, frozenset({"scans", *wanted}))
    if edges is not None and found:
        firsts, lasts = [chunk.first_at for chunk in found], [chunk.last_at for chunk in found]
        made = edges(min(firsts), max(lasts))
        spans = zip(made.of(_moments(firsts)).tolist(), made.of(_moments(lasts)).tolist(),
                    strict=True)  # fmt: skip
        revisions = (chunk.revision for chunk in found)
        period = dataclasses.replace(
            period, edges=made, spans=dict(zip(revisions, spans, strict=True))
        )
    await chunks.load(connection, chain_id, found, period.parts)
    return period


async def read_lost(
    connection: db.Connection, chain_id: uuid.UUID, since: datetime | None, until: datetime | None
) -> Period:
    """The same of scans that ended without a code: `Period.lost` alone can be asked of it."""
    found = await chunks.listed(connection, chain_id, since, until)
    period = Period(found, since, until, frozenset())
    await chunks.load(
        connection,
        chain_id,
        found,
        lambda chunk: _LOST | _LOST_TIMED if period.is_cut(chunk) else _LOST,
    )
    return period


def _joined(of: Sequence[Chunk], name: str, empty: Any) -> Any:
    return np.concatenate([chunk[name] for chunk in of]) if of else np.empty(0, empty)


def _paid(of: Sequence[Chunk]) -> tuple[Ints, Ints]:
    """Orders and hundredths of every scan; empty if nobody has ordered."""
    if not any(len(chunk["paid_rows"]) for chunk in of):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    count = sum(chunk.scans for chunk in of)
    orders, cents = np.zeros(count, np.int64), np.zeros(count, np.int64)
    start = 0
    for chunk in of:
        rows = start + chunk["paid_rows"]
        orders[rows], cents[rows] = chunk["paid_orders"], chunk["paid_cents"]
        start += chunk.scans
    return orders, cents


_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def microseconds(at: datetime) -> int:
    """Since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def _moments(ats: Sequence[datetime]) -> Ints:
    return np.array([microseconds(at) for at in ats], np.int64)


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
    return Groups(edges.keys, edges.codes[columns.times])


@dataclasses.dataclass(frozen=True, slots=True)
class Edges:
    """When the days or hours of a time zone begin: `starts` rise; each belongs to the key whose
    place is in `codes`. (The hour that comes twice when clocks are set back is one key.)"""

    starts: Ints
    keys: tuple[str, ...]
    codes: Numbers

    def of(self, ats: Ints) -> Numbers:
        """The place of the last start that is not after it, of microseconds since 1970."""
        return (np.searchsorted(self.starts, ats, side="right") - 1).astype(np.int32)


EdgesOf = Callable[[datetime, datetime], Edges]


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


@dataclasses.dataclass(frozen=True, slots=True)
class Sums:
    """What adds up, by group: how many scans have each combination of stages (few of them occur);
    the orders and cents of people."""

    scans: dict[int, Ints]
    orders: Ints
    cents: Ints

    @classmethod
    def none(cls, size: int) -> "Sums":
        return cls({}, np.zeros(size, np.int64), np.zeros(size, np.int64))

    def plus(self, more: "Sums", times: int) -> "Sums":
        """With `times` what the other has; whichever has fewer groups has the first ones."""
        size = max(len(self.orders), len(more.orders))

        def added(one: Ints, other: Ints | None) -> Ints:
            found = np.zeros(size, np.int64)
            found[: len(one)] = one
            if other is not None:
                found[: len(other)] += times * other
            return found

        nothing = np.empty(0, np.int64)
        return Sums(
            {
                combo: added(self.scans.get(combo, nothing), more.scans.get(combo))
                for combo in {**self.scans, **more.scans}
            },
            added(self.orders, more.orders),
            added(self.cents, more.cents),
        )

    def counts(self) -> dict[str, Ints]:
        """`scans`, those that reached each stage, `orders`, `cents`; and `bots`, which are in none
        of the others."""
        nothing = np.zeros(len(self.orders), np.int64)

        def where(stages: int, mask: int) -> Ints:
            return sum((n for combo, n in self.scans.items() if combo & mask == stages), nothing)

        return {
            "scans": where(0, BOT),
            "bots": where(BOT, BOT),
            **{name: where(bit, BOT | bit) for name, bit in STAGES.items()},
            "orders": self.orders,
            "cents": self.cents,
        }


def sums(columns: Columns, groups: Groups) -> Sums:
    size = len(groups.keys)
    combos = np.flatnonzero(np.bincount(columns.stages, minlength=1))
    combo_of = np.zeros(combos.max(initial=0) + 1, np.int32)
    combo_of[combos] = np.arange(len(combos))
    cells = combo_of[columns.stages]
    cells *= np.int32(size)
    cells += groups.codes
    table = np.bincount(cells, minlength=size * len(combos)).reshape(len(combos), size)
    orders, cents = np.zeros(size, np.int64), np.zeros(size, np.int64)
    if len(columns.orders):
        paid = (columns.orders != 0) | (columns.cents != 0)
        paid &= (columns.stages & BOT) == 0
        np.add.at(orders, groups.codes[paid], columns.orders[paid])
        np.add.at(cents, groups.codes[paid], columns.cents[paid])
    return Sums(dict(zip(combos.tolist(), table, strict=True)), orders, cents)


_VISITOR_BITS = 32


def pairs(columns: Columns, groups: Groups) -> Ints:
    """Which people were in which groups, each pair once, rising: the group's place shifted,
    and the visitor's number."""
    codes, visitors = groups.codes, columns.visitors
    person = (columns.stages & BOT) == 0
    if not person.all():
        codes, visitors = codes[person], visitors[person]
    if not len(visitors):
        return np.empty(0, np.int64)
    if len(groups.keys) == 1:
        # Nothing must be sorted.
        lowest = int(visitors.min())
        seen = np.zeros(int(visitors.max()) - lowest + 1, np.bool_)
        seen[visitors - lowest] = True
        return np.flatnonzero(seen) + lowest
    found = codes.astype(np.int64)
    found <<= _VISITOR_BITS
    found |= visitors
    found.sort()
    return found[firsts(found)]


def firsts(rising: Ints) -> Mask:
    """Which of these numbers are not the same as the one before."""
    found = np.ones(len(rising), np.bool_)
    found[1:] = rising[1:] != rising[:-1]
    return found


def visitors(found: Ints, size: int) -> Ints:
    """How many of these pairs, which rise, each of so many groups has."""
    begins = np.arange(size + 1, dtype=np.int64) << _VISITOR_BITS
    return np.diff(np.searchsorted(found, begins))


def count(columns: Columns, groups: Groups) -> dict[str, Ints]:
    """By group: `Sums.counts`, and distinct `visitors`."""
    size = len(groups.keys)
    distinct = visitors(pairs(columns, groups), size)
    return {**sums(columns, groups).counts(), "visitors": distinct}


_COUNTED_AT_ONCE = 1_000_000  # combinations


def tallied(*numbers: Numbers) -> Iterator[tuple[int, ...]]:
    """The combinations of so many columns that occur, each with how often."""
    codes = np.zeros(len(numbers[0]), np.int64)
    spans = []
    for column in numbers:
        lowest = int(column.min(initial=0))
        # What is not known is far from all others, and next to them here.
        known = column[column != NOWHERE]
        span = int(known.max(initial=lowest)) - lowest + 2
        place = np.minimum(column.astype(np.int64) - lowest, span - 1)
        codes = codes * span + place
        spans.append((lowest, span))
    combinations = math.prod(span for _, span in spans)
    if combinations <= _COUNTED_AT_ONCE:
        table = np.bincount(codes, minlength=1)
        rest = np.flatnonzero(table)
        found = [table[rest]]
    else:
        codes.sort()
        starts = np.flatnonzero(firsts(codes))
        rest = codes[starts]
        found = [np.diff(np.append(starts, len(codes)))]
    for lowest, span in reversed(spans):
        rest, place = np.divmod(rest, span)
        found.append(np.where(place == span - 1, NOWHERE, place + lowest))
    yield from zip(*(column.tolist() for column in reversed(found)), strict=True)
