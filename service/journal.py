"""The journal: what visitors do, each made durable in one transaction before it is answered.

```
open    scan  -> the seat they already have, if they were here before
locate  fix   -> route -> hold -> show
choose  store -> route -> hold -> show
tell    evidence -> join;  complaint -> the next code
```

Every method locks the visitor first, so that the requests of one visitor take turns, and takes at
most one new seat. What the database says of a code's counters goes back into the directory once
it is committed.
"""

import asyncio
import dataclasses
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import asyncpg

from service import db, errors
from service.directory import Directory
from service.domain import (
    Counters,
    Entry,
    Event,
    Evidence,
    Fix,
    HoldState,
    Outcome,
    Reason,
    Routing,
    Scan,
    Source,
)
from service.settings import Settings
from service.steps import hold, join, locate, route, scan, show

T = TypeVar("T")

_sql = db.load("scan")
_ATTEMPTS = 5
_COMPLAINTS = (Event.FULL, Event.EXPIRED, Event.BROKEN)
_EVIDENCE = {Event.PRESSED: Evidence.PRESSED, Event.JOINED: Evidence.REPORTED}


@dataclasses.dataclass(frozen=True, slots=True)
class Look:
    """A scan as it stands: its routing, where its visitor is, whether they have joined."""

    routing: Routing
    standing: Fix | None
    joined: bool


@dataclasses.dataclass(slots=True)
class _Writing:
    """One transaction of one visitor."""

    connection: db.Connection
    scan: Scan
    entry: Entry
    visitor: asyncpg.Record
    # The scan's routing as it was; None for one that has just been opened.
    before: Routing | None = None
    counters: list[Counters] = dataclasses.field(default_factory=list)
    # The seat that was given up for another. It is freed in a transaction of its own, after this
    # one: who held both codes' rows at once could block another who moves the other way. Should
    # the process die in between, the seat's time runs out by itself.
    given_up: uuid.UUID | None = None


def rules(settings: Settings) -> route.Rules:
    return route.Rules(
        radius_m=settings.radius_m,
        trusted_accuracy_m=settings.trusted_accuracy_m,
        max_choices=settings.max_choices,
        max_hops=settings.max_hops,
    )


class Journal:
    """All that visitors write. One a worker."""

    def __init__(
        self, pool: asyncpg.Pool, directory: Directory, settings: Settings, secret: bytes
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._settings = settings
        self._secret = secret
        self._rules = rules(settings)

    # What visitors do

    async def open(
        self, entry: Entry, placement: str | None, client: scan.Client
    ) -> tuple[Scan, Routing]:
        """Record a scan. Who was here before gets their code at once; the others are asked where
        they are."""

        async def work(connection: db.Connection) -> tuple[Scan, Routing, list[Counters]]:
            opened = await scan.record(connection, entry, placement, client, self._secret)
            writing = await self._lock(connection, opened)
            routing = await self._seat_again(writing)
            if routing is None:
                routing = self._ask(opened, self._route(entry, None))
            await show.record(connection, opened, routing)
            return opened, routing, writing.counters

        opened, routing, counters = await self._durably(work)
        self._learn(counters)
        return opened, routing

    async def locate(self, scanned: Scan, fix: Fix | None) -> Routing:
        """Send a visitor to the nearest store with a free seat; `fix` None: nobody knows where
        they are."""

        async def work(writing: _Writing) -> Routing:
            if fix is not None:
                await locate.record(writing.connection, scanned, fix)
            seated = await self._seat_again(writing, fix)
            return seated or await self._seat(writing, self._route(writing.entry, fix))

        return await self._visit(scanned, work)

    async def choose(self, scanned: Scan, store: str) -> Routing:
        """Send a visitor to the store that they picked, or to the next one if it has no seat.

        Raises `errors.NotFound` if the entry has no such store.
        """
        chain = self._directory.chains[scanned.chain_id]
        picked = chain.stores.get(store)
        if picked is None or picked.status == "deleted":
            raise errors.NotFound(f"There is no store {store}")
        fix = locate.by_choice(picked)

        async def work(writing: _Writing) -> Routing:
            await locate.record(writing.connection, scanned, fix)
            seated = await self._seat_again(writing, fix, only_store=store)
            if seated:
                return seated
            standing = locate.standing(writing.visitor)
            exact = standing is not None and standing.source is not Source.IP
            options = self._route(
                writing.entry, fix, chosen=store, standing=standing if exact else None
            )
            return await self._seat(writing, options)

        return await self._visit(scanned, work)

    async def tell(self, scanned: Scan, event: Event, about: uuid.UUID | None = None) -> Routing:
        """What the visitor's page tells of the code that it shows; the routing after that.

        `about` is that code, where the page says it: a complaint that comes twice says nothing of
        the code that was shown after the first. Raises `errors.Conflict` if the scan has not been
        shown a code that this could be about.
        """

        async def work(writing: _Writing) -> Routing | None:
            if event is Event.DENIED:
                await scan.complain(writing.connection, scanned, event)
                return None
            shown = writing.before
            if about is not None:
                shown = await show.current(writing.connection, scanned, about)
            code = self._directory.codes.get(shown.code_id) if shown and shown.code_id else None
            if shown is None or code is None:
                raise errors.Conflict("No code has been shown to this scan")
            if event in _COMPLAINTS:
                if writing.visitor["code_id"] not in (code.code_id, None):
                    return None  # they have been shown another since
                await scan.complain(
                    writing.connection, scanned, event, code_id=code.code_id, store=code.store
                )
                return await self._seat(writing, await self._elsewhere(writing, shown))
            chain = self._directory.chains[scanned.chain_id]
            placement = writing.entry.placements.get(scanned.placement or "")
            changed = await join.witness(
                writing.connection,
                scanned,
                shown,
                code,
                chain.stores.get(code.store) if code.store else None,
                _EVIDENCE[event],
                placement.channel if placement else None,
            )
            if changed:
                writing.counters.append(changed)
            return None

        return await self._visit(scanned, work)

    async def current(self, scanned: Scan) -> Routing:
        """The scan's routing as it stands."""
        async with db.acquire(self._pool) as connection:
            routing = await show.current(connection, scanned)
        if routing is None:
            raise errors.NotFound("This scan has no routing")
        return routing

    async def look(self, scanned: Scan) -> "Look":
        """The scan as a page shows it."""
        async with db.acquire(self._pool) as connection:
            routing = await show.current(connection, scanned)
            visitor = await _sql.get_visitor(
                connection,
                chain_id=scanned.chain_id,
                visitor_id=scanned.visitor_id,
                entry=scanned.entry,
            )
            held = await hold.find(
                connection, scanned.chain_id, routing.hold_id if routing else None
            )
        if routing is None:
            raise errors.NotFound("This scan has no routing")
        return Look(
            routing=routing,
            standing=locate.standing(visitor) if visitor else None,
            joined=held is not None and held.state is HoldState.JOINED,
        )

    async def find(self, scan_id: uuid.UUID) -> Scan:
        """Raises `errors.NotFound`."""
        async with db.acquire(self._pool) as connection:
            found = await scan.find(connection, scan_id)
        if found is None or found.entry not in self._directory.entries:
            raise errors.NotFound("There is no such scan")
        return found

    async def sweep(self) -> int:
        """Free the seats whose time is up, and forget positions that have served; how often a code
        had seats freed."""
        freed = 0
        while True:
            counters = await self._durably(lambda connection: hold.expire(connection))
            self._learn(counters)
            freed += len(counters)
            if not counters:
                break
        async with db.acquire(self._pool) as connection:
            await _sql.forget_positions(connection, minutes=self._settings.position_minutes)
        return freed

    def options(self, entry: Entry, fix: Fix | None = None) -> route.Route:
        """Where a visitor there could be sent now; taking no seat."""
        return self._route(entry, fix)

    # One visitor's turn

    async def _visit(
        self, scanned: Scan, work: Callable[[_Writing], Awaitable[Routing | None]]
    ) -> Routing:
        """Run `work` with the visitor locked. A new routing is kept; None: it stays as it was."""

        async def turn(connection: db.Connection) -> tuple[Routing, _Writing]:
            writing = await self._lock(connection, scanned)
            writing.before = await show.current(connection, scanned)
            routing = await work(writing)
            if routing is None:
                if writing.before is None:
                    raise errors.NotFound("This scan has no routing")
                return writing.before, writing
            if routing != writing.before:
                await show.record(connection, scanned, routing)
            return routing, writing

        routing, writing = await self._durably(turn)
        self._learn(writing.counters)
        if writing.given_up is not None:
            await self._free(scanned.chain_id, writing.given_up)
        return routing

    async def _free(self, chain_id: uuid.UUID, hold_id: uuid.UUID) -> None:
        freed = await self._durably(lambda connection: hold.release(connection, chain_id, hold_id))
        if freed is not None:
            self._learn([freed])

    async def _lock(self, connection: db.Connection, scanned: Scan) -> _Writing:
        visitor = await _sql.lock_visitor(
            connection,
            chain_id=scanned.chain_id,
            visitor_id=scanned.visitor_id,
            entry=scanned.entry,
        )
        entry = self._directory.entries[scanned.entry]
        return _Writing(connection, scanned, entry, visitor)

    def _route(
        self,
        entry: Entry,
        fix: Fix | None,
        *,
        chosen: str | None = None,
        standing: Fix | None = None,
    ) -> route.Route:
        return route.Route(
            directory=self._directory,
            entry=entry,
            rules=self._rules,
            now=datetime.now(UTC),
            fix=fix,
            chosen=chosen,
            standing=standing.point if standing else None,
        )

    def _ask(self, scanned: Scan, options: route.Route) -> Routing:
        """The routing of a visitor of whom nothing is known, or of a program: no seat is taken."""
        doubt = dataclasses.replace(options, fix=None, chosen=None).doubt()
        return Routing(
            scanned.scan_id,
            Outcome.CHOOSE if doubt else Outcome.UNSERVED,
            Reason.POSITION_NEEDED,
            options.fix,
            choices=doubt.choices if doubt else (),
        )

    async def _seat(self, writing: _Writing, options: route.Route) -> Routing:
        """Walk the route until a seat is granted; a seat that the visitor had before is freed."""
        scanned = writing.scan
        if scanned.bot is not None:
            return self._ask(scanned, options)
        reported = await scan.complained_of(writing.connection, scanned)
        options = dataclasses.replace(options, reported=reported)
        if doubt := options.doubt():
            return Routing(
                scanned.scan_id, Outcome.CHOOSE, doubt.reason, options.fix, choices=doubt.choices
            )
        walk = options.walk()
        for step in walk:
            held, counters = await hold.take(
                writing.connection, scanned, step.code, hold_s=self._settings.hold_s
            )
            if counters:
                writing.counters.append(counters)
            if held is not None:
                writing.given_up = writing.visitor["hold_id"]
                return walk.routing(
                    scanned.scan_id, step, hold_id=held.hold_id, held_until=held.held_until
                )
            walk.refused(step)
        return walk.routing(scanned.scan_id, None)

    async def _seat_again(
        self, writing: _Writing, fix: Fix | None = None, *, only_store: str | None = None
    ) -> Routing | None:
        """The code that the visitor was shown before, while it can serve them.

        Within `sticky_days`; a seat that has expired is taken again if there is one.
        """
        scanned, visitor = writing.scan, writing.visitor
        code = self._directory.codes.get(visitor["code_id"]) if visitor["code_id"] else None
        now = datetime.now(UTC)
        if code is None or not code.usable(now) or scanned.bot is not None:
            return None
        if only_store is not None and code.store != only_store:
            return None
        sticky = timedelta(days=self._settings.sticky_days)
        if sticky and visitor["held_at"] < now - sticky:
            return None
        chain = self._directory.chains[scanned.chain_id]
        store = chain.stores.get(code.store) if code.store else None
        if code.store is not None and (store is None or store.status != "open"):
            return None
        if code.code_id in await scan.complained_of(writing.connection, scanned):
            return None
        held = await hold.find(writing.connection, scanned.chain_id, visitor["hold_id"])
        before = writing.before
        if held is not None and held.has_seat and before and before.hold_id == held.hold_id:
            return before  # the same scan asks again: the same answer
        if held is None or not held.has_seat:
            held, counters = await hold.take(
                writing.connection, scanned, code, hold_s=self._settings.hold_s
            )
            if counters:
                writing.counters.append(counters)
            if held is None:
                return None
        seen = fix or locate.standing(visitor)
        metres = None
        if store is not None and seen is not None and seen.source is not Source.IP:
            metres = locate.metres_to(seen, store)
        return Routing(
            scanned.scan_id,
            Outcome.CODE,
            Reason.CHOSEN if only_store else Reason.RETURNING,
            seen,
            store=code.store,
            distance_m=metres,
            code_id=code.code_id,
            hold_id=held.hold_id,
            held_until=held.held_until,
        )

    async def _elsewhere(self, writing: _Writing, shown: Routing) -> route.Route:
        """The route of a visitor whose code does not work: the same place, without that code."""
        writing.given_up = writing.visitor["hold_id"]
        await hold.forget_seat(writing.connection, writing.scan)
        fix = locate.standing(writing.visitor)
        chain = self._directory.chains[writing.scan.chain_id]
        store = chain.stores.get(shown.store) if shown.store else None
        vague = fix is None or fix.source is Source.IP or shown.reason is Reason.CHOSEN
        if store is not None and vague:
            # They were shown this store's code: its neighbours are where to go on.
            exact = fix is not None and fix.source is not Source.IP
            return self._route(
                writing.entry,
                locate.by_choice(store),
                chosen=store.store,
                standing=fix if exact else None,
            )
        return self._route(writing.entry, fix)

    # The database

    async def _durably(self, work: Callable[[db.Connection], Awaitable[T]]) -> T:
        """Run `work` in one transaction, again if PostgreSQL broke a deadlock with it."""
        for attempt in range(_ATTEMPTS):
            try:
                async with db.acquire(self._pool) as connection, connection.transaction():
                    return await work(connection)
            except asyncpg.DeadlockDetectedError:
                await asyncio.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311
        raise errors.Unavailable("Too many visitors at once")

    def _learn(self, counters: list[Counters]) -> None:
        for told in counters:
            self._directory.counted(told)
