"""route: the stores that can serve, nearest first; and, on the way, what was skipped and why.

Pure: reads the directory, changes nothing, takes no seat. A `Walk` names what to try, in order;
whoever takes seats stops at the first that is granted.
"""

import heapq
import itertools
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TypeAlias

from geo import distance
from geo.index import Near
from geo.point import Point
from service.directory import Chain, Directory
from service.domain import (
    Code,
    Entry,
    Fix,
    Hop,
    IpPolicy,
    Offer,
    Outcome,
    Reason,
    Routing,
    Skipped,
    Source,
    Store,
    StoreStatus,
)

# Reasons that name the store which the visitor meant: its further codes are "the next code".
_OWN_STORE = (Reason.NEAREST, Reason.IN_AREA, Reason.CHOSEN)


@dataclass(frozen=True, slots=True)
class Rules:
    """How far and how sure; lengths in metres."""

    radius_m: float
    trusted_accuracy_m: float
    max_choices: int
    max_hops: int


@dataclass(slots=True)
class Candidate:
    """A code that seems to have room. `reason` holds if this one is granted."""

    code: Code
    reason: Reason
    distance_m: float | None
    place: "_Place"


@dataclass(frozen=True, slots=True)
class Doubt:
    """The answer is a choice: several stores may be meant, nearest first."""

    reason: Reason
    choices: tuple[Offer, ...]


@dataclass(slots=True)
class Route:
    """Where one visitor may be sent: an entry's stores as seen from a fix.

    `reported` are codes that this visitor says do not work, `refused` those that had no seat for
    them a moment ago, whatever the directory says; `chosen` is the store that they
    picked, `standing` where they really stand if that is known (distances are measured from it).
    """

    directory: Directory
    entry: Entry
    rules: Rules
    now: datetime
    fix: Fix | None = None
    chosen: str | None = None
    standing: Point | None = None
    reported: frozenset[uuid.UUID] = frozenset()
    refused: frozenset[uuid.UUID] = frozenset()
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        self.chain = self.directory.chain_of(self.entry)

    @property
    def radius_m(self) -> float:
        return self.entry.radius_m or self.rules.radius_m

    def doubt(self) -> Doubt | None:
        """Why no store alone is the answer, or None if the nearest that can serve is.

        A fix is a disc. A store can be the nearest from somewhere in it only if it is at most two
        radii farther than the store nearest to its middle (triangle inequality).
        """
        fix = self.fix
        if self.chosen is not None:
            return None
        if fix is None:
            offers = self._anywhere()
            return Doubt(Reason.POSITION_NEEDED, offers) if offers else None
        if fix.source is Source.IP:
            if self.entry.ip_policy is IpPolicy.NEAREST:
                return None
            reason = Reason.IP_ONLY
        elif fix.accuracy_m <= self.rules.trusted_accuracy_m:
            return None
        else:
            reason = Reason.AMBIGUOUS_POSITION
        possible: list[Near] = []
        for near in self.open(fix.point, self.reach_m(fix)):
            if possible and near.distance_m > possible[0].distance_m + 2 * fix.accuracy_m:
                break
            possible.append(near)
            if len(possible) == self.rules.max_choices:
                break
        if len(possible) < 2:
            return None
        return Doubt(reason, tuple(Offer(near.key, near.distance_m) for near in possible))

    def walk(self) -> "Walk":
        """Codes to try, one after the other: by store, nearest first; then the entry's fallback.

        Stores beyond the radius are not walked.
        """
        return Walk(self)

    def cities(self) -> list[tuple[str, int]]:
        """The cities with stores that can serve, those with most first, and how many."""
        return self.chain.derived("cities", self.entry.brands, self._cities)

    def _cities(self) -> list[tuple[str, int]]:
        count = {
            city: sum(map(len, stores))
            for city, stores in self.chain.served_in(self.entry.brands).items()
            if city
        }
        return sorted(count.items(), key=lambda item: (-item[1], item[0]))

    def serving(self, city: str | None = None) -> Iterator[Store]:
        """The entry's stores that can serve now, of one city or of all: by city, then by name."""
        chain = self.chain
        served = chain.served_in(self.entry.brands)
        for name in sorted(served, key=lambda name: name or "") if city is None else [city]:
            stores = (chain.stores[number] for part in served.get(name, ()) for number in part)
            for store in sorted(stores, key=lambda store: (store.name, store.store)):
                if chain.can_serve(store, self.now):
                    yield store

    def nearest_serving(self, point: Point) -> Iterator[Near]:
        """The entry's stores that can serve now, nearest first, however far."""
        return self.open(point, None)

    def explain(self) -> Routing:
        """The routing that a visitor would get, were every hint in memory true: no seat taken."""
        if doubt := self.doubt():
            return Routing(None, Outcome.CHOOSE, doubt.reason, self.fix, choices=doubt.choices)
        walk = self.walk()
        return walk.routing(None, next(iter(walk), None))

    # How far, and which

    def reach_m(self, fix: Fix) -> float:
        trusted = fix.source is not Source.IP and fix.accuracy_m <= self.rules.trusted_accuracy_m
        return self.radius_m if trusted else self.radius_m + fix.accuracy_m

    def belongs(self, store: Store) -> bool:
        if store.status is StoreStatus.DELETED:
            return False
        return not self.entry.brands or store.brand in self.entry.brands

    def _anywhere(self) -> tuple[Offer, ...]:
        """Something to choose from when nothing is known: a store of each of the largest cities."""
        return self.chain.derived("anywhere", self.entry.brands, self._largest)

    def _largest(self) -> tuple[Offer, ...]:
        most = self.rules.max_choices
        served = self.chain.served_in(self.entry.brands)
        largest = heapq.nsmallest(
            most, served.items(), key=lambda item: (-sum(map(len, item[1])), item[0] or "")
        )
        chosen = {next(iter(parts[0])): None for _, parts in largest}
        # Fewer cities than choices: more of the first ones.
        for _, parts in largest:
            for number in itertools.chain.from_iterable(parts):
                if len(chosen) == most:
                    break
                chosen.setdefault(number)
        return tuple(Offer(number, None) for number in chosen)

    def open(self, point: Point, within_m: float | None) -> Iterator[Near]:
        """Near stores of this entry that can serve. A code may have expired since the index knew
        of it: such stores are passed by, and moved."""
        chain, brands, now = self.chain, self.entry.brands, self.now
        stores, can_serve = chain.stores, chain.can_serve
        for near in chain.serving.walk(point, within_m=within_m):
            store = stores[near.key]
            if brands and store.brand not in brands:
                continue
            if can_serve(store, now):
                yield near
            else:
                chain.settle(near.key, now)


class _Stage(IntEnum):
    """What a walk goes through, in order."""

    CHOSEN = 0  # the store that the visitor picked
    AREA = 1  # those in whose service area they stand
    DISTANCE = 2
    FALLBACK = 3


# Where on the way a store stands: (stage, millimetres, number).
_Place: TypeAlias = tuple[int, int, str]


class Walk(Iterable[Candidate]):
    """One visitor's way from code to code, until one has a seat for them.

    It visits what can serve. The stores that cannot are not on the way: which of those stand
    nearer is looked up once, at the end, when it is told.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._hops: list[tuple[_Place, Hop]] = []
        self._seen: set[str] = set()

    def passed(self, shown: Candidate | None) -> tuple[Hop, ...]:
        """What was skipped before `shown`, or on the whole way if nothing was shown, in the order
        of the way. Of the stores that were not tried at all, `max_hops` at the most."""
        hops = [*self._hops, *self._dark_before(shown)]
        hops.sort(key=lambda item: item[0])
        return tuple(hop for _, hop in hops)

    def routing(
        self,
        scan_id: uuid.UUID | None,
        shown: Candidate | None,
        *,
        hold_id: uuid.UUID | None = None,
        held_until: datetime | None = None,
    ) -> Routing:
        """The decision with which this walk ends; without `shown`, nobody could serve."""
        hops, fix = self.passed(shown), self._route.fix
        if shown is None:
            return Routing(scan_id, Outcome.UNSERVED, self._unserved(hops), fix, hops=hops)
        return Routing(
            scan_id,
            Outcome.CODE,
            shown.reason,
            fix,
            store=shown.code.store,
            distance_m=shown.distance_m,
            code_id=shown.code.code_id,
            hold_id=hold_id,
            held_until=held_until,
            hops=hops,
        )

    def _unserved(self, hops: Collection[Hop]) -> Reason:
        """Why nothing on the way could serve."""
        route = self._route
        if not any(route.belongs(store) for store in route.chain.stores.values()):
            return Reason.NO_STORE
        located = route.fix is not None or route.chosen is not None
        if located and not any(hop.store is not None for hop in hops):
            return Reason.OUT_OF_RANGE
        return Reason.ALL_FULL

    # What can serve

    def __iter__(self) -> Iterator[Candidate]:
        """One after the other; a walk is walked once."""
        route = self._route
        if route.chosen is not None:
            store = route.chain.stores.get(route.chosen)
            if store is not None and route.belongs(store):
                self._seen.add(store.store)
                place = (_Stage.CHOSEN, 0, store.store)
                yield from self._store(store, self._from_standing(store), Reason.CHOSEN, place)
                yield from self._by_distance(store.point, route.radius_m)
        elif route.fix is not None:
            yield from self._by_distance(route.fix.point, route.reach_m(route.fix))
        fallbacks = route.directory.fallbacks(route.entry)
        yield from self._codes(fallbacks, None, Reason.FALLBACK, (_Stage.FALLBACK, 0, ""))

    def _by_distance(self, point: Point, within_m: float) -> Iterator[Candidate]:
        route, seen = self._route, self._seen
        chain = route.chain
        yield from self._inside(point)
        # A store that cannot serve, but stands nearer than the one that does, makes that one
        # "the next store". Inside an area the neighbours are "next" as well.
        reason = None if not seen else Reason.NEXT_STORE
        for near in route.open(point, within_m):
            key = near.key
            if key in seen:
                continue
            seen.add(key)
            metres = near.distance_m
            place = (_Stage.DISTANCE, round(metres * 1000), key)
            if reason is None:
                dark = chain.dark and next(self._dark(point, metres, place), None)
                reason = Reason.NEXT_STORE if dark else Reason.NEAREST
            store = chain.stores[key]
            if route.standing is not None:
                metres = distance.geodesic_m(route.standing, store.point)
            yield from self._store(store, metres, reason, place)
            reason = Reason.NEXT_STORE

    def _inside(self, point: Point) -> Iterator[Candidate]:
        """The stores in whose areas a visitor stands, nearest first, whether they can serve or
        not."""
        route, seen = self._route, self._seen
        for near in route.chain.areas_nearest(point):
            store = route.chain.stores[near.key]
            if near.key not in seen and route.belongs(store):
                seen.add(near.key)
                place = (_Stage.AREA, round(near.distance_m * 1000), near.key)
                yield from self._store(store, near.distance_m, Reason.IN_AREA, place)

    def _from_standing(self, store: Store) -> float | None:
        standing = self._route.standing
        return None if standing is None else distance.geodesic_m(standing, store.point)

    def _store(
        self, store: Store, metres: float | None, reason: Reason, place: _Place
    ) -> Iterable[Candidate]:
        if metres is not None:
            metres = round(metres, 3)
        codes = self._route.chain.codes_of(store.store)
        if store.status is StoreStatus.OPEN and codes:
            return self._codes(codes, metres, reason, place)
        self._hops += ((place, hop) for hop in self._unable(store, metres))
        return ()

    def _codes(
        self, codes: Iterable[Code], metres: float | None, reason: Reason, place: _Place
    ) -> Iterator[Candidate]:
        for code in codes:
            skipped = self._skipped(code)
            if skipped is None:
                yield Candidate(code, reason, metres, place)
            else:
                self._hops.append((place, Hop(code.store, code.code_id, skipped, metres)))
            if reason in _OWN_STORE:
                reason = Reason.NEXT_CODE

    # What cannot

    def _skipped(self, code: Code) -> Skipped | None:
        route = self._route
        if route.reported and code.code_id in route.reported:
            return Skipped.REPORTED
        skipped = code.skipped(route.now)
        if skipped is None and route.refused and code.code_id in route.refused:
            return Skipped.FULL
        return skipped

    def _unable(self, store: Store, metres: float | None) -> Iterator[Hop]:
        """Why a store that cannot serve cannot: one hop for each of its codes."""
        if store.status is StoreStatus.CLOSED:
            yield Hop(store.store, None, Skipped.CLOSED, metres)
            return
        codes = self._route.chain.codes_of(store.store)
        if not codes:
            yield Hop(store.store, None, Skipped.NO_CODE, metres)
        for code in codes:
            if (skipped := self._skipped(code)) is not None:
                yield Hop(store.store, code.code_id, skipped, metres)

    def _dark_before(self, shown: Candidate | None) -> Iterator[tuple[_Place, Hop]]:
        route = self._route
        most = route.rules.max_hops
        before = shown.place if shown else (_Stage.FALLBACK, 0, "")
        if before[0] < _Stage.DISTANCE or not most:
            return
        if route.chosen is not None:
            store = route.chain.stores.get(route.chosen)
            if store is None:
                return
            point, within_m = store.point, route.radius_m
        elif route.fix is not None:
            point, within_m = route.fix.point, route.reach_m(route.fix)
        else:
            return
        if before[0] == _Stage.DISTANCE:
            within_m = min(within_m, before[1] / 1000)
        for near in itertools.islice(self._dark(point, within_m, before, most), most):
            store = route.chain.stores[near.key]
            metres = near.distance_m if route.standing is None else self._from_standing(store)
            place = (_Stage.DISTANCE, round(near.distance_m * 1000), near.key)
            for hop in self._unable(store, metres and round(metres, 3)):
                yield place, hop

    def _dark(
        self, point: Point, within_m: float, before: _Place, expect: int = 1
    ) -> Iterator[Near]:
        """The entry's stores that cannot serve and have not been tried, nearest first."""
        route = self._route
        stores = route.chain.stores
        for near in route.chain.dark.walk(point, within_m=within_m, expect=expect):
            if (_Stage.DISTANCE, round(near.distance_m * 1000), near.key) >= before:
                return
            if near.key not in self._seen and route.belongs(stores[near.key]):
                yield near
