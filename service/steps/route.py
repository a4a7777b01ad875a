"""route: the stores that can serve, nearest first; and, on the way, what was skipped and why.

Pure: reads the directory, changes nothing, takes no seat. `walk` yields what to try in order;
whoever takes seats stops at the first that is granted.
"""

import heapq
import itertools
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

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


@dataclass(frozen=True, slots=True)
class Doubt:
    """The answer is a choice: several stores may be meant, nearest first."""

    reason: Reason
    choices: tuple[Offer, ...]


@dataclass(slots=True)
class Route:
    """Where one visitor may be sent: an entry's stores as seen from a fix.

    `reported` are codes that this visitor says do not work; `chosen` is the store that they
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
        for near in self._open(fix.point, self._reach_m(fix)):
            if possible and near.distance_m > possible[0].distance_m + 2 * fix.accuracy_m:
                break
            possible.append(near)
            if len(possible) == self.rules.max_choices:
                break
        if len(possible) < 2:
            return None
        return Doubt(reason, tuple(Offer(near.key, near.distance_m) for near in possible))

    def walk(self) -> Iterator[Candidate | Hop]:
        """Codes to try and codes to skip: by store, nearest first; then the entry's fallback.

        Stores beyond the radius are not walked. Of the stores that cannot serve, only those on the
        way to the first that can are named, `max_hops` at the most.
        """
        if self.chosen is not None:
            yield from self._chosen_first(self.chosen)
        elif self.fix is not None:
            yield from self._by_distance(self.fix.point, self._reach_m(self.fix))
        yield from self._fallbacks()

    def unserved(self, hops: Collection[Hop]) -> Reason:
        """Why nothing on the walk could serve."""
        if not any(self._belongs(store) for store in self.chain.stores.values()):
            return Reason.NO_STORE
        located = self.fix is not None or self.chosen is not None
        if located and not any(hop.store is not None for hop in hops):
            return Reason.OUT_OF_RANGE
        return Reason.ALL_FULL

    def cities(self) -> list[tuple[str, int]]:
        """The cities with stores that can serve, those with most first, and how many."""
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
        return self._open(point, None)

    def explain(self) -> Routing:
        """The routing that a visitor would get, were every hint in memory true: no seat taken."""
        if doubt := self.doubt():
            return Routing(None, Outcome.CHOOSE, doubt.reason, self.fix, choices=doubt.choices)
        hops: list[Hop] = []
        for step in self.walk():
            if isinstance(step, Hop):
                hops.append(step)
                continue
            return Routing(
                None,
                Outcome.CODE,
                step.reason,
                self.fix,
                store=step.code.store,
                distance_m=step.distance_m,
                code_id=step.code.code_id,
                hops=tuple(hops),
            )
        return Routing(None, Outcome.UNSERVED, self.unserved(hops), self.fix, hops=tuple(hops))

    # How far, and which

    def _reach_m(self, fix: Fix) -> float:
        trusted = fix.source is not Source.IP and fix.accuracy_m <= self.rules.trusted_accuracy_m
        return self.radius_m if trusted else self.radius_m + fix.accuracy_m

    def _belongs(self, store: Store) -> bool:
        if store.status is StoreStatus.DELETED:
            return False
        return not self.entry.brands or store.brand in self.entry.brands

    def _anywhere(self) -> tuple[Offer, ...]:
        """Something to choose from when nothing is known: a store of each of the largest cities."""
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

    def _open(self, point: Point, within_m: float | None) -> Iterator[Near]:
        """Near stores of this entry that can serve. A code may have expired since the index knew
        of it: such stores are passed over, and moved once the walk is done."""
        chain, stale = self.chain, []
        try:
            for near in chain.serving.walk(point, within_m=within_m):
                store = chain.stores[near.key]
                if not self._belongs(store):
                    continue
                if chain.can_serve(store, self.now):
                    yield near
                else:
                    stale.append(near.key)
        finally:
            for key in stale:
                chain.settle(key, self.now)

    # The walk

    def _by_distance(
        self, point: Point, within_m: float, without: Collection[str] = ()
    ) -> Iterator[Candidate | Hop]:
        chain = self.chain
        inside = [key for key in chain.areas_at(point) if key not in without]
        if inside:
            order = sorted(
                (round(distance.geodesic_m(point, chain.stores[key].point), 3), key)
                for key in inside
                if self._belongs(chain.stores[key])
            )
            for metres, key in order:
                yield from self._store(chain.stores[key], metres, Reason.IN_AREA)
        # A store that cannot serve, but stands nearer than the one that does, makes that one
        # "the next store". Inside an area the neighbours are "next" as well.
        reason = Reason.NEXT_STORE if inside or without else Reason.NEAREST
        for near in self._in_order(point, within_m):
            if near.key not in inside and near.key not in without:
                metres = near.distance_m if self.standing is None else self._metres(near)
                yield from self._store(chain.stores[near.key], metres, reason)
                reason = Reason.NEXT_STORE

    def _in_order(self, point: Point, within_m: float) -> Iterator[Near]:
        """Stores of both indexes: each that can serve after those that cannot and stand nearer."""
        # Between two steps of a walk visitors are served: a store that was given as one that can
        # serve may fill up and go over to the other index. It is not told again.
        given: set[str] = set()
        told: set[str] = set()
        for near in self._open(point, within_m):
            yield from self._dark(point, near.distance_m, told, given, before=near.key)
            given.add(near.key)
            yield near
        yield from self._dark(point, within_m, told, given)

    def _dark(
        self,
        point: Point,
        within_m: float,
        told: set[str],
        given: set[str],
        *,
        before: str | None = None,
    ) -> Iterator[Near]:
        """The stores that cannot serve and have been neither told nor given, `max_hops` in all at
        the most. Of those exactly `within_m` away only those whose number is before `before`."""
        dark, most = self.chain.dark, self.rules.max_hops
        if not dark or len(told) >= most:
            return
        limit = (round(within_m * 1000), before)
        for near in dark.walk(point, within_m=within_m, expect=most):
            if before is not None and (round(near.distance_m * 1000), near.key) > limit:
                return
            if near.key in told or near.key in given:
                continue
            if self._belongs(self.chain.stores[near.key]):
                told.add(near.key)
                yield near
                if len(told) >= most:
                    return

    def _chosen_first(self, chosen: str) -> Iterator[Candidate | Hop]:
        store = self.chain.stores.get(chosen)
        if store is None or not self._belongs(store):
            return
        metres = None
        if self.standing is not None:
            metres = round(distance.geodesic_m(self.standing, store.point), 3)
        yield from self._store(store, metres, Reason.CHOSEN)
        yield from self._by_distance(store.point, self.radius_m, without=(chosen,))

    def _metres(self, near: Near) -> float:
        if self.chosen is None or self.standing is None:
            return near.distance_m
        return round(distance.geodesic_m(self.standing, self.chain.stores[near.key].point), 3)

    def _store(
        self, store: Store, metres: float | None, reason: Reason
    ) -> Iterable[Candidate | Hop]:
        if store.status is StoreStatus.CLOSED:
            return (Hop(store.store, None, Skipped.CLOSED, metres),)
        codes = self.chain.codes_of(store.store)
        if not codes:
            return (Hop(store.store, None, Skipped.NO_CODE, metres),)
        return self._codes(codes, metres, reason)

    def _codes(
        self, codes: Iterable[Code], metres: float | None, reason: Reason
    ) -> Iterator[Candidate | Hop]:
        first = True
        for code in codes:
            skipped = code.skipped(self.now)
            if self.reported and code.code_id in self.reported:
                skipped = Skipped.REPORTED
            if skipped is not None:
                yield Hop(code.store, code.code_id, skipped, metres)
            else:
                following = reason in _OWN_STORE and not first
                yield Candidate(code, Reason.NEXT_CODE if following else reason, metres)
            first = False

    def _fallbacks(self) -> Iterator[Candidate | Hop]:
        yield from self._codes(self.directory.fallbacks(self.entry), None, Reason.FALLBACK)
