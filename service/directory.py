"""What one worker knows of the chains: stores, codes, entries, and the index of what can serve.

All of it is rebuilt from PostgreSQL: whole at the start, then by version numbers, which every
change of the catalog raises. Seat counts here are hints that keep the walk short; PostgreSQL
alone grants seats. One event loop uses it: the index is not thread-safe.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import sys
import time
import uuid
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar

import asyncpg

from geo import area, areas, index
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

# How long a turn on the event loop may be, about: visitors wait for its end.
_TURN_S = 0.002
# How much is read between two `_keep`s: each then has some thousand objects to look at.
_KEPT_AT_ONCE = 2000
# One store in or out of both indexes takes some tenths of a millisecond, building them anew some
# microseconds a store.
_MOST_ONE_BY_ONE = 500


def _now() -> datetime:
    return datetime.now(UTC)


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
    # What its webhooks want to hear of (outbox.Event).
    webhook_events: frozenset[str] = frozenset()
    stores: dict[str, Store] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    serving: index.StoreIndex = field(default_factory=index.StoreIndex)
    dark: index.StoreIndex = field(default_factory=index.StoreIndex)
    _areas: areas.AreaIndex = field(default_factory=areas.AreaIndex)
    # The stores in `serving` by city and brand, for lists: a city of thousands is not searched
    # for every page.
    _served: dict[_Shelf, dict[str, None]] = field(default_factory=dict)
    # What is worked out from that, by what it is called and brands; until a store comes or goes.
    _derived: dict[tuple[str, frozenset[str]], Any] = field(default_factory=dict)
    # Stores that were settled while both indexes are being built anew.
    _changed_meanwhile: set[str] | None = None
    # What time it is, to those who ask whether a code has expired.
    clock: Callable[[], datetime] = _now

    def codes_of(self, store: str) -> tuple[Code, ...]:
        """A store's codes that are not retired, in the order in which they are filled."""
        known = self.stores.get(store)
        return known.codes if known else ()

    def can_serve(self, store: Store, now: datetime) -> bool:
        if store.status is not StoreStatus.OPEN:
            return False
        for code in store.codes:  # noqa: SIM110 (any() takes twice as long)
            if code.skipped(now) is None:
                return True
        return False

    def still_serves(self, code: Code, now: datetime) -> bool:
        """Whether one who has a seat of this code can still join there."""
        if code.store is not None:
            store = self.stores.get(code.store)
            if store is None or store.status is not StoreStatus.OPEN:
                return False
        return code.usable(now)

    def areas_at(self, point: Point) -> list[str]:
        """The stores whose service area holds the point, in no order."""
        return self._areas.at(point)

    def areas_nearest(self, point: Point) -> Iterator[index.Near]:
        """The same stores, nearest first, found as they are asked for."""
        return self._areas.nearest(point)

    def settle(self, store_number: str, now: datetime) -> None:
        """Put a store into the index where it belongs now."""
        if self._changed_meanwhile is not None:
            self._changed_meanwhile.add(store_number)
        store = self.stores.get(store_number)
        if store is None:
            return
        if store.status is StoreStatus.DELETED:
            self.serving.discard(store_number)
            self.dark.discard(store_number)
            self._shelve(store, serves=False)
            return
        home, other = self.serving, self.dark
        serves = self.can_serve(store, now)
        if not serves:
            home, other = other, home
        self._shelve(store, serves=serves)
        other.discard(store_number)
        if store_number not in home or home.point(store_number) != store.point:
            home.add(store_number, store.point)

    def _shelve(self, store: Store, *, serves: bool) -> None:
        shelf = store.city, store.brand
        if serves == (store.store in self._served.get(shelf, ())):
            return
        self._derived.clear()
        if serves:
            self._served.setdefault(shelf, {})[store.store] = None
        else:
            del self._served[shelf][store.store]
            if not self._served[shelf]:
                del self._served[shelf]

    def derived(self, name: str, brands: frozenset[str], work: Callable[[], T]) -> T:
        """What `work` makes of the stores that serve, kept until one of them comes or goes. A
        campaign asks for it with every scan, and there are thousands of stores."""
        key = name, brands
        if key not in self._derived:
            self._derived[key] = work()
        kept: T = self._derived[key]
        return kept

    def served_in(self, brands: Collection[str]) -> dict[str | None, list[dict[str, None]]]:
        """The stores that serve, by city, in one or more parts; of these brands, or of all."""
        cities: dict[str | None, list[dict[str, None]]] = {}
        for (city, brand), stores in self._served.items():
            if not brands or brand in brands:
                cities.setdefault(city, []).append(stores)
        return cities

    def replace_code(self, code: Code) -> None:
        """Know this code as it is now, in its store's order; a retired one leaves."""
        store = None if code.store is None else self.stores.get(code.store)
        if store is None:
            return
        codes = [c for c in store.codes if c.code_id != code.code_id]
        if code.status is not CodeStatus.RETIRED:
            codes.append(code)
            codes.sort(key=lambda c: (c.position, c.code_id))
        store.codes = tuple(codes)

    def replace_store(self, store: Store) -> None:
        """Know this store as it is now; its codes stay."""
        if known := self.stores.get(store.store):
            store.codes = known.codes
            if known.store in self._served.get((known.city, known.brand), ()):
                self._shelve(known, serves=False)
                self._shelve(store, serves=True)
        self.stores[store.store] = store
        if store.service_area is not None and store.status is StoreStatus.OPEN:
            self._areas.put(store.store, area.parse(store.service_area), store.point)
        else:
            self._areas.discard(store.store)

    async def settle_all(self, stores: Collection[str]) -> None:
        """The same for many stores, letting visitors be served in between.

        Beyond some hundreds, both indexes are built anew in a thread of their own, and swapped in
        whole; what changed meanwhile is settled after.
        """
        if len(stores) <= _MOST_ONE_BY_ONE:
            async for store in _unhurried(stores):
                self.settle(store, self.clock())
            return
        self._changed_meanwhile = set()
        try:
            built = await self._built_anew()
            before = [self.serving, self.dark]
            self.serving, self.dark = built
        finally:
            changed, self._changed_meanwhile = self._changed_meanwhile, None
        async for number in _unhurried(changed):
            self.settle(number, self.clock())
        # To take a large tree apart takes as long as many visits: not on the event loop.
        await asyncio.to_thread(before.clear)
        await asyncio.to_thread(_give_back)
        _keep()

    async def _built_anew(self) -> tuple[index.StoreIndex, index.StoreIndex]:
        serving: list[Store] = []
        dark: list[Store] = []
        now = self.clock()
        async for store in _unhurried(list(self.stores.values())):
            serves = self.can_serve(store, now)
            if store.status is not StoreStatus.DELETED:
                (serving if serves else dark).append(store)
            self._shelve(store, serves=serves)
        return await asyncio.to_thread(lambda: (_index_of(serving), _index_of(dark)))


def _index_of(stores: Iterable[Store]) -> index.StoreIndex:
    # Pairs that are made as they are asked for: a list of them would be a million objects for the
    # garbage collector, and its one C call into a dict would not let the event loop have its turn.
    return index.StoreIndex((store.store, store.point) for store in stores)


def _give_back() -> None:
    """Give memory that is free back to the system. Building a tree takes as much again as it holds,
    in pieces that glibc would keep; others do by themselves, or have no such call."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def _keep() -> None:
    """Tell the garbage collector that what there is will stay.

    It looks at every object time and again, and everything waits: two seconds for a million stores.
    They are in no cycles and go by their reference counts. Called after every few thousand objects
    that are read, so that it never has many to look at; it does look before they are set aside, for
    what is garbage then would stay for ever.
    """
    gc.collect()
    gc.freeze()


class Directory:
    """Every chain of the installation, and what is looked up without knowing the chain."""

    def __init__(self, clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self.chains: dict[uuid.UUID, Chain] = {}
        self.codes: dict[uuid.UUID, Code] = {}
        self.entries: dict[str, Entry] = {}
        self.loaded = False
        self.looked_at = time.monotonic()  # when `refresh` last came to its end
        self._reading = asyncio.Lock()

    def chain_of(self, entry: Entry) -> Chain:
        return self.chains[entry.chain_id]

    def fallbacks(self, entry: Entry) -> Iterator[Code]:
        """The entry's own codes, in order."""
        for code_id in entry.fallback:
            if code := self.codes.get(code_id):
                yield code

    def counted(self, told: Counters) -> bool:
        """A code's counters as PostgreSQL has told them; what is older than what is known is
        let pass. Whether the code has become full, or has room again."""
        code = self.codes.get(told.code_id)
        if code is None or code.revision >= told.revision:
            return False
        before = code.has_room
        code.members, code.held, code.revision = told.members, told.held, told.revision
        if before == code.has_room:
            return False
        if code.store is not None:
            self.chains[code.chain_id].settle(code.store, self._clock())
        return True

    async def recount(self, connection: db.Connection) -> int:
        """Read every code's counters anew; how many codes have become full or have room again."""
        turned = 0
        async with (
            connection.transaction(readonly=True),
            _sql.counters_cursor(connection) as rows,
        ):
            async for row in _unhurried(rows):
                turned += self.counted(Counters(**row))
        return turned

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
                    chain = Chain(
                        row["chain_id"],
                        row["chain"],
                        row["name"],
                        row["timezone"],
                        clock=self._clock,
                    )
                    self.chains[chain.chain_id] = chain
                if chain.version != row["version"]:
                    await self._read(connection, chain)
                    chain.version, changed = row["version"], True
                chain.name, chain.timezone = row["name"], row["timezone"]
                chain.webhook_events = frozenset(row["webhook_events"])
        if not self.loaded:
            _keep()  # the program itself, too
        self.loaded = True
        self.looked_at = time.monotonic()
        return changed

    async def _read(self, connection: db.Connection, chain: Chain) -> None:
        since = {"chain_id": chain.chain_id, "version": chain.version}
        touched: set[str] = set()
        async with _sql.stores_since_cursor(connection, **since) as stores:
            async for row in _unhurried(stores):
                store = store_of(row, chain)
                chain.replace_store(store)
                touched.add(store.store)
                if len(touched) % _KEPT_AT_ONCE == 0:
                    _keep()
        async with _sql.codes_since_cursor(connection, **since) as codes:
            read = 0
            async for row in _unhurried(codes):
                code = code_of(row, chain)
                self.replace_code(chain, code)
                if code.store is not None:
                    touched.add(code.store)
                read += 1
                if read % _KEPT_AT_ONCE == 0:
                    _keep()
        for row in await db.rows(_sql.entries_since(connection, **since)):
            entry = entry_of(row)
            if known := chain.entries.get(entry.entry):
                entry.placements = known.placements
            chain.entries[entry.entry] = self.entries[entry.entry] = entry
        for row in await db.rows(_sql.placements_since(connection, **since)):
            placement = placement_of(row)
            chain.entries[row["entry"]].placements[placement.placement] = placement
        await chain.settle_all(touched)

    def replace_code(self, chain: Chain, code: Code) -> None:
        """Know this code of the chain's as it is now."""
        known = self.codes.get(code.code_id)
        if known is not None and known.revision > code.revision:
            # A seat was granted or freed since this was read.
            code.members, code.held, code.revision = known.members, known.held, known.revision
        self.codes[code.code_id] = code
        chain.replace_code(code)


async def _unhurried(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """The items; now and then others get their turn on the event loop."""
    until = time.perf_counter() + _TURN_S
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
            if time.perf_counter() > until:
                await asyncio.sleep(0)
                until = time.perf_counter() + _TURN_S
        return
    for item in items:
        yield item
        if time.perf_counter() > until:
            await asyncio.sleep(0)
            until = time.perf_counter() + _TURN_S


# A worker may know a million stores and more, so what they have in common is one object for all of
# them: the chain's id, a store's number with its codes and in both indexes, names of cities.


def store_of(row: Mapping[str, Any], chain: Chain) -> Store:
    """`chain`: where it will be kept."""
    known = chain.stores.get(row["store"])
    service_area = row["service_area"]
    return Store(
        chain_id=chain.chain_id,
        store=known.store if known else row["store"],
        name=row["name"],
        brand=_shared(row["brand"]),
        address=row["address"],
        province=_shared(row["province"]),
        city=_shared(row["city"]),
        district=_shared(row["district"]),
        point=Point(row["lon"], row["lat"]),
        # As text: in lists of lists of floats it would take six times the memory.
        service_area=None if service_area is None else json.dumps(service_area),
        status=StoreStatus(row["status"]),
    )


def code_of(row: Mapping[str, Any], chain: Chain | None = None) -> Code:
    """`chain`: where it will be kept."""
    store = chain.stores.get(row["store"]) if chain else None
    return Code(
        chain_id=chain.chain_id if chain else row["chain_id"],
        # asyncpg's own is equal to it, but takes half as much again once it is a key.
        code_id=uuid.UUID(bytes=row["code_id"].bytes),
        store=store.store if store else row["store"],
        kind=sys.intern(row["kind"]),
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
        flagged=row["flagged_at"] is not None,
    )


def _shared(text: str | None) -> str | None:
    return None if text is None else sys.intern(text)


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
