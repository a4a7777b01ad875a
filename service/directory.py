"""What one worker knows of the chains: stores, codes, entries, and the index of what can serve.

All of it is rebuilt from PostgreSQL: whole at the start, then by version numbers, which every
change of the catalog raises. Seat counts here are hints that keep the walk short; PostgreSQL
alone grants seats. One event loop uses it: the index is not thread-safe.
"""

import asyncio
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import asyncpg
import shapely

from geo import area, index
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
    _areas: "_Areas" = field(default_factory=lambda: _Areas())

    def codes_of(self, store: str) -> list[Code]:
        """A store's codes that are not retired, in the order in which they are filled."""
        return self.codes.get(store, [])

    def can_serve(self, store: Store, now: datetime) -> bool:
        return store.status is StoreStatus.OPEN and any(
            code.skipped(now) is None for code in self.codes_of(store.store)
        )

    def areas_at(self, point: Point) -> list[str]:
        """The stores whose service area holds the point, in no order."""
        return self._areas.at(point)

    def settle(self, store_number: str, now: datetime) -> None:
        """Put a store into the index where it belongs now."""
        store = self.stores.get(store_number)
        if store is None or store.status is StoreStatus.DELETED:
            self.serving.discard(store_number)
            self.dark.discard(store_number)
            return
        home, other = self.serving, self.dark
        if not self.can_serve(store, now):
            home, other = other, home
        other.discard(store_number)
        if store_number not in home or home.point(store_number) != store.point:
            home.add(store_number, store.point)

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
        live = store.status is StoreStatus.OPEN
        self._areas.put(store.store, store.service_area if live else None)

    def rebuild(self, now: datetime) -> None:
        """Both indexes anew, in bulk: many times faster than store by store."""
        serving: list[tuple[str, Point]] = []
        dark: list[tuple[str, Point]] = []
        for store in self.stores.values():
            if store.status is not StoreStatus.DELETED:
                home = serving if self.can_serve(store, now) else dark
                home.append((store.store, store.point))
        self.serving, self.dark = index.StoreIndex(serving), index.StoreIndex(dark)


class _Areas:
    """Service areas under an STRtree that is made anew when one has changed."""

    def __init__(self) -> None:
        self._shapes: dict[str, shapely.Geometry] = {}
        self._tree: tuple[list[str], shapely.STRtree] | None = None

    def put(self, store: str, geojson: dict[str, object] | None) -> None:
        if geojson is None:
            if self._shapes.pop(store, None) is None:
                return
        else:
            shape = area.parse(geojson)
            shapely.prepare(shape)
            self._shapes[store] = shape
        self._tree = None

    def at(self, point: Point) -> list[str]:
        if not self._shapes:
            return []
        if self._tree is None:
            self._tree = list(self._shapes), shapely.STRtree(list(self._shapes.values()))
        stores, tree = self._tree
        found = tree.query(shapely.Point(point.lon, point.lat), predicate="intersects")
        return [stores[i] for i in found]


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
        stores = await db.rows(_sql.stores_since(connection, **since))
        codes = await db.rows(_sql.codes_since(connection, **since))
        entries = await db.rows(_sql.entries_since(connection, **since))
        placements = await db.rows(_sql.placements_since(connection, **since))
        touched: set[str] = set()
        for row in stores:
            chain.replace_store(store_of(row))
            touched.add(row["store"])
        for row in codes:
            code = code_of(row)
            known_code = self.codes.get(code.code_id)
            if known_code is not None and known_code.revision > code.revision:
                # A seat was granted or freed since this was read.
                code.members, code.held = known_code.members, known_code.held
                code.revision = known_code.revision
            self.codes[code.code_id] = code
            chain.replace_code(code)
            if code.store is not None:
                touched.add(code.store)
        for row in entries:
            entry = entry_of(row)
            if known := chain.entries.get(entry.entry):
                entry.placements = known.placements
            chain.entries[entry.entry] = self.entries[entry.entry] = entry
        for row in placements:
            placement = placement_of(row)
            chain.entries[row["entry"]].placements[placement.placement] = placement
        self._settle(chain, touched)

    @staticmethod
    def _settle(chain: Chain, touched: Iterable[str]) -> None:
        now, touched = datetime.now(UTC), list(touched)
        if len(touched) > 200 and len(touched) * 4 > len(chain.stores):
            chain.rebuild(now)
        else:
            for store in touched:
                chain.settle(store, now)


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
