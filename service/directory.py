"""What one worker knows of the chains: stores, codes, entries, and the index of what can serve.

All of it is rebuilt from PostgreSQL: whole at the start, then by version numbers, which every
change of the catalog raises. Seat counts here are hints that keep the walk short; PostgreSQL
alone grants seats. One event loop uses it: the index is not thread-safe.
"""

import asyncio
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import asyncpg

from geo import area, areas, index
from geo.datum import Datum
from geo.point import Point
from service import db
from service.domain import (
    Code,
    CodeStatus,
    CountedBy,
    Counters,
    Entry,
    IpPolicy,
    Placement,
    Store,
    StoreStatus,
)

_sql = db.load("directory")

T = TypeVar("T")

# What keeps each turn on the event loop within some milliseconds.
_READ_AT_ONCE = 200
_SETTLED_AT_ONCE = 10
# One store in or out of both indexes takes some tenths of a millisecond, building them anew some
# microseconds a store.
_MOST_ONE_BY_ONE = 500


_Shelf: TypeAlias = tuple[str | None, str | None]


@dataclass(slots=True)
class Chain:
    """One tenant: its stores by number, their codes in order, and two indexes over all of them.

    `serving` holds the stores with a code that can take one more visitor, `dark` the others;
    deleted stores are in neither.
    """

    chain_id: uuid.UUID
    chain: str
    name: str
    timezone: str
    version: int = -1
    stores: dict[str, Store] = field(default_factory=dict)
    codes: dict[str, list[Code]] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    serving: index.StoreIndex = field(default_factory=index.StoreIndex)
    dark: index.StoreIndex = field(default_factory=index.StoreIndex)
    _areas: areas.AreaIndex = field(default_factory=areas.AreaIndex)
    # The stores in `serving` by city and brand, for lists: a city of thousands is not searched
    # for every page.
    _served: dict[_Shelf, dict[str, None]] = field(default_factory=dict)
    _shelf_of: dict[str, _Shelf] = field(default_factory=dict)
    # Stores that were settled while both indexes are being built anew.
    _changed_meanwhile: set[str] | None = None

    def codes_of(self, store: str) -> list[Code]:
        """A store's codes that are not retired, in the order in which they are filled."""
        return self.codes.get(store, [])

    def can_serve(self, store: Store, now: datetime) -> bool:
        if store.status is not StoreStatus.OPEN:
            return False
        for code in self.codes.get(store.store, ()):  # noqa: SIM110 (any() takes twice as long)
            if code.skipped(now) is None:
                return True
        return False

    def areas_at(self, point: Point) -> list[str]:
        """The stores whose service area holds the point, in no order."""
        return self._areas.at(point)

    def settle(self, store_number: str, now: datetime) -> None:
        """Put a store into the index where it belongs now."""
        if self._changed_meanwhile is not None:
            self._changed_meanwhile.add(store_number)
        store = self.stores.get(store_number)
        if store is None or store.status is StoreStatus.DELETED:
            self.serving.discard(store_number)
            self.dark.discard(store_number)
            self._shelve(store_number, None)
            return
        home, other = self.serving, self.dark
        serves = self.can_serve(store, now)
        if not serves:
            home, other = other, home
        self._shelve(store_number, (store.city, store.brand) if serves else None)
        other.discard(store_number)
        if store_number not in home or home.point(store_number) != store.point:
            home.add(store_number, store.point)

    def _shelve(self, store: str, shelf: _Shelf | None) -> None:
        before = self._shelf_of.get(store)
        if before == shelf:
            return
        if before is not None:
            del self._shelf_of[store]
            del self._served[before][store]
            if not self._served[before]:
                del self._served[before]
        if shelf is not None:
            self._shelf_of[store] = shelf
            self._served.setdefault(shelf, {})[store] = None

    def served_in(self, brands: Collection[str]) -> dict[str | None, list[dict[str, None]]]:
        """The stores that serve, by city, in one or more parts; of these brands, or of all."""
        cities: dict[str | None, list[dict[str, None]]] = {}
        for (city, brand), stores in self._served.items():
            if not brands or brand in brands:
                cities.setdefault(city, []).append(stores)
        return cities

    def replace_code(self, code: Code) -> None:
        """Know this code as it is now, in its store's order; a retired one leaves."""
        if code.store is None:
            return
        codes = [c for c in self.codes_of(code.store) if c.code_id != code.code_id]
        if code.status is not CodeStatus.RETIRED:
            codes.append(code)
            codes.sort(key=lambda c: (c.position, c.code_id))
        self.codes[code.store] = codes

    def replace_store(self, store: Store) -> None:
        self.stores[store.store] = store
        if store.service_area is not None and store.status is StoreStatus.OPEN:
            self._areas.put(store.store, area.parse(store.service_area))
        else:
            self._areas.discard(store.store)

    async def settle_all(self, stores: Collection[str]) -> None:
        """The same for many stores, letting visitors be served in between.

        Beyond some hundreds, both indexes are built anew in a thread of their own, and swapped in
        whole; what changed meanwhile is settled after.
        """
        if len(stores) <= _MOST_ONE_BY_ONE:
            async for store in _unhurried(stores, _SETTLED_AT_ONCE):
                self.settle(store, datetime.now(UTC))
            return
        self._changed_meanwhile = set()
        try:
            self.serving, self.dark = await self._built_anew()
        finally:
            changed, self._changed_meanwhile = self._changed_meanwhile, None
        async for number in _unhurried(changed, _SETTLED_AT_ONCE):
            self.settle(number, datetime.now(UTC))

    async def _built_anew(self) -> tuple[index.StoreIndex, index.StoreIndex]:
        serving: list[tuple[str, Point]] = []
        dark: list[tuple[str, Point]] = []
        now = datetime.now(UTC)
        async for store in _unhurried(list(self.stores.values()), _READ_AT_ONCE):
            shelf = None
            if store.status is not StoreStatus.DELETED:
                serves = self.can_serve(store, now)
                (serving if serves else dark).append((store.store, store.point))
                shelf = (store.city, store.brand) if serves else None
            self._shelve(store.store, shelf)
        return await asyncio.to_thread(lambda: (index.StoreIndex(serving), index.StoreIndex(dark)))


class Directory:
    """Every chain of the installation, and what is looked up without knowing the chain."""

    def __init__(self) -> None:
        self.chains: dict[uuid.UUID, Chain] = {}
        self.codes: dict[uuid.UUID, Code] = {}
        self.entries: dict[str, Entry] = {}
        self.loaded = False
        self._reading = asyncio.Lock()

    def chain_of(self, entry: Entry) -> Chain:
        return self.chains[entry.chain_id]

    def fallbacks(self, entry: Entry) -> Iterator[Code]:
        """The entry's own codes, in order."""
        for code_id in entry.fallback:
            if code := self.codes.get(code_id):
                yield code

    def counted(self, told: Counters) -> None:
        """A code's counters as PostgreSQL has told them; what is older than what is known is
        let pass."""
        code = self.codes.get(told.code_id)
        if code is None or code.revision >= told.revision:
            return
        before = code.has_room
        code.members, code.held, code.revision = told.members, told.held, told.revision
        if code.store is not None and before != code.has_room:
            self.chains[code.chain_id].settle(code.store, datetime.now(UTC))

    async def refresh(self, connection: db.Connection) -> bool:
        """Read what has changed since the last look; whether anything had.

        A change is seen whole or not at all: everything is read in one snapshot.
        """
        changed = False
        # One after the other: two at once could put the older reading over the newer.
        async with (
            self._reading,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            for row in await db.rows(_sql.versions(connection)):
                chain = self.chains.get(row["chain_id"])
                if chain is None:
                    chain = Chain(row["chain_id"], row["chain"], row["name"], row["timezone"])
                    self.chains[chain.chain_id] = chain
                if chain.version != row["version"]:
                    await self._read(connection, chain)
                    chain.version, changed = row["version"], True
                chain.name, chain.timezone = row["name"], row["timezone"]
        self.loaded = True
        return changed

    async def _read(self, connection: db.Connection, chain: Chain) -> None:
        since = {"chain_id": chain.chain_id, "version": chain.version}
        touched: set[str] = set()
        async with _sql.stores_since_cursor(connection, **since) as stores:
            async for row in _unhurried(stores, _READ_AT_ONCE):
                chain.replace_store(store_of(row))
                touched.add(row["store"])
        async with _sql.codes_since_cursor(connection, **since) as codes:
            async for row in _unhurried(codes, _READ_AT_ONCE):
                code = code_of(row)
                self._replace_code(chain, code)
                if code.store is not None:
                    touched.add(code.store)
        for row in await db.rows(_sql.entries_since(connection, **since)):
            entry = entry_of(row)
            if known := chain.entries.get(entry.entry):
                entry.placements = known.placements
            chain.entries[entry.entry] = self.entries[entry.entry] = entry
        for row in await db.rows(_sql.placements_since(connection, **since)):
            placement = placement_of(row)
            chain.entries[row["entry"]].placements[placement.placement] = placement
        await chain.settle_all(touched)

    def _replace_code(self, chain: Chain, code: Code) -> None:
        known = self.codes.get(code.code_id)
        if known is not None and known.revision > code.revision:
            # A seat was granted or freed since this was read.
            code.members, code.held, code.revision = known.members, known.held, known.revision
        self.codes[code.code_id] = code
        chain.replace_code(code)


async def _unhurried(items: Iterable[T] | AsyncIterable[T], at_once: int) -> AsyncIterator[T]:
    """The items; after every `at_once` of them others get their turn on the event loop."""
    number = 0
    if isinstance(items, AsyncIterable):
        async for item in items:
            number += 1
            if number % at_once == 0:
                await asyncio.sleep(0)
            yield item
        return
    for item in items:
        number += 1
        if number % at_once == 0:
            await asyncio.sleep(0)
        yield item


def store_of(row: asyncpg.Record) -> Store:
    return Store(
        chain_id=row["chain_id"],
        store=row["store"],
        name=row["name"],
        brand=row["brand"],
        address=row["address"],
        province=row["province"],
        city=row["city"],
        district=row["district"],
        point=Point(row["lon"], row["lat"]),
        datum=Datum(row["datum"]),
        given=(row["given_lon"], row["given_lat"]),
        tags=tuple(row["tags"]),
        service_area=row["service_area"],
        status=StoreStatus(row["status"]),
        updated_at=row["updated_at"],
    )


def code_of(row: asyncpg.Record) -> Code:
    return Code(
        chain_id=row["chain_id"],
        code_id=row["code_id"],
        store=row["store"],
        kind=row["kind"],
        payload=row["payload"],
        label=row["label"],
        capacity=row["capacity"],
        members=row["members"],
        held=row["held"],
        counted_by=CountedBy(row["counted_by"]),
        status=CodeStatus(row["status"]),
        expires_at=row["expires_at"],
        position=row["position"],
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def entry_of(row: asyncpg.Record) -> Entry:
    return Entry(
        chain_id=row["chain_id"],
        entry=row["entry"],
        name=row["name"],
        radius_m=row["radius_m"],
        brands=frozenset(row["brands"]),
        ip_policy=IpPolicy(row["ip_policy"]),
        fallback=tuple(row["fallback"]),
    )


def placement_of(row: asyncpg.Record) -> Placement:
    return Placement(
        placement=row["placement"],
        name=row["name"],
        channel=row["channel"],
        store=row["store"],
        printed=row["printed"],
        cost=None if row["cost"] is None else str(row["cost"]),
        variant=row["variant"],
    )
