"""The journal: what visitors do, made durable before it is answered, many at a time.

While one transaction is under way, what arrives is gathered, and written by the next. One
transaction is: lock the visitors, decide each visit (service/visits.py), grant seats code by code,
write everything, commit. Locks are taken in one order by everybody (visitors, codes, holds; each by
key), so that nobody waits in a circle.

A visit that is not granted the seat that it asked for is decided anew in the next transaction: by
then the worker knows that the code is full. A visit that fails fails alone: those that were written
with it are written again without it.
"""

import asyncio
import functools
import random
import time
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import structlog

from service import catalog, db, errors, metrics, outage
from service.allowance import Allowance
from service.directory import Directory
from service.domain import (
    Counters,
    Entry,
    Event,
    Fix,
    HoldState,
    Routing,
    Scan,
    Source,
    uuid7,
    uuid7_since,
)
from service.gathering import Gathering
from service.outage import Outage
from service.settings import Settings
from service.spool import Spool, Spooled
from service.steps import hold, join, locate, route, scan, show
from service.steps.scan import Opening
from service.visits import Visit, Visitor, Visits

_sql = db.load("journal")
_visitors = db.load("scan")
_shown = db.load("show")

log = structlog.get_logger("nearcode.journal")

Key: TypeAlias = tuple[uuid.UUID, uuid.UUID, str]
"""A visitor at an entry: chain, visitor, entry."""

_Locked: TypeAlias = dict[Key, tuple[Visitor, datetime]]

CodeKey: TypeAlias = tuple[uuid.UUID, uuid.UUID]
"""A code: chain, code."""

# Two at a time: while PostgreSQL writes the one, the next is decided.
_LANES = 2
_ATTEMPTS = 20
# Scans whose decisions a worker remembers, so as not to read them again; some 1 KB each.
_REMEMBERED = 50_000
# A visitor is not shown a code again that they said does not work.
_REPORTED_FOR = timedelta(days=1)
# While the database is away, and how many visits of that time are written in one transaction.
_LOOK_EVERY_S = 0.25
_SPOOLED_AT_ONCE = 200
_SWEEPER = 0x73776570  # "swep": one sweeper at a time, whichever worker's


@dataclass(frozen=True, slots=True)
class Look:
    """A scan as it stands: its routing, where its visitor is, whether they have joined."""

    routing: Routing
    standing: Fix | None
    joined: bool


@dataclass(slots=True, eq=False)
class _Turn:
    """A request that waits for its visit to be written."""

    scan: Scan
    decide: Callable[[Visit], None]
    done: asyncio.Future[Routing]
    opening: Opening | None = None  # of a scan that is new
    attempts: int = 0

    @property
    def key(self) -> Key:
        return self.scan.chain_id, self.scan.visitor_id, self.scan.entry

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


@dataclass(frozen=True, slots=True)
class _Mark:
    """So many records of a spool are in the database."""

    spool_id: uuid.UUID
    records: int


@dataclass(slots=True)
class _Remembered:
    """A scan, and its decisions as of a revision of its visitor (None: not read yet)."""

    scan: Scan
    revision: int | None = None
    routings: list[Routing] = field(default_factory=list)


@dataclass(slots=True)
class _Seats:
    """What changes in one code's counters."""

    asking: list[tuple[_Turn, Visit]] = field(default_factory=list)
    joined: int = 0
    released: int = 0
    late: list[Visit] = field(default_factory=list)


class Journal:
    """All that visitors write. One a worker.

    `on_room` is told of a code that has become full, or has room again. With a `spool` visitors are
    served while the database is away; `answers` says whether it can be written to.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        directory: Directory,
        settings: Settings,
        secret: bytes,
        *,
        on_room: Callable[[Counters], None] = lambda counters: None,
        spool: Spool | None = None,
        answers: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._pool = pool
        self._directory = directory
        self._settings = settings
        self._secret = secret
        self._on_room = on_room
        self._visits = Visits(directory, settings)
        self._allowance = Allowance(
            settings.max_holds_per_address, settings.max_holds_per_subnet, settings.hold_s
        )
        self._outage = Outage(directory, spool) if spool is not None else None
        self._answers = answers or self._pool_answers
        self._away = asyncio.Event()
        self._checking: asyncio.Task[None] | None = None
        self._taken: list[Spooled] = []
        self._remembered: OrderedDict[uuid.UUID, _Remembered] = OrderedDict()
        self._turns = Gathering(
            self._flush,
            most=settings.journal_batch,
            lanes=_LANES if settings.journal_batch > 1 else settings.database_pool,
            waiting=settings.journal_queue,
        )
        self._reads: Gathering[tuple[uuid.UUID, asyncio.Future[Scan | None]]] = Gathering(
            self._read_scans, most=500, lanes=1, waiting=settings.journal_queue
        )

    def __len__(self) -> int:
        """Requests that wait to be written."""
        return len(self._turns)

    # What visitors do

    async def open(
        self, entry: Entry, placement: str | None, client: scan.Client
    ) -> tuple[Scan, Routing]:
        """Record a scan. Who was here before gets their code at once; the others are asked where
        they are."""
        opening = scan.opened(entry, placement, client, self._secret)
        routing = await self._turn(opening.scan, self._visits.open, opening=opening)
        return opening.scan, routing

    async def locate(self, scanned: Scan, fix: Fix | None) -> Routing:
        """Send a visitor to the nearest store with a free seat; `fix` None: nobody knows where
        they are."""
        return await self._turn(scanned, lambda visit: self._visits.locate(visit, fix))

    async def choose(self, scanned: Scan, store: str) -> Routing:
        """Send a visitor to the store that they picked, or to the next one if it has no seat.

        Raises `errors.NotFound` if the entry has no such store.
        """
        return await self._turn(scanned, lambda visit: self._visits.choose(visit, store))

    async def tell(self, scanned: Scan, event: Event, about: uuid.UUID | None = None) -> Routing:
        """What the visitor's page tells of the code that it shows; the routing after that.

        `about` is that code, where the page says it. Raises `errors.Conflict` if the scan has not
        been shown a code that this could be about.
        """
        return await self._turn(scanned, lambda visit: self._visits.tell(visit, event, about))

    async def current(self, scanned: Scan) -> Routing:
        """The scan's routing as it stands."""
        if self._away.is_set():
            return self._last_known(scanned)
        async with db.acquire(self._pool) as connection:
            return await _current(connection, scanned)

    async def look(self, scanned: Scan) -> Look:
        """The scan as a page shows it."""
        if self._outage is not None and self._away.is_set():
            return Look(
                routing=self._last_known(scanned),
                standing=self._outage.standing(scanned),
                joined=self._outage.has_joined(scanned.scan_id),
            )
        async with db.acquire(self._pool) as connection:
            routing = await _current(connection, scanned)
            visitor = await _visitors.get_visitor(
                connection,
                chain_id=scanned.chain_id,
                visitor_id=scanned.visitor_id,
                entry=scanned.entry,
            )
            state = await hold.state(connection, scanned.chain_id, routing.hold_id)
        return Look(
            routing=routing,
            standing=locate.standing(_standing(visitor)) if visitor else None,
            joined=state is HoldState.JOINED,
        )

    async def find(self, scan_id: uuid.UUID) -> Scan:
        """Raises `errors.NotFound`."""
        known = self._remembered.get(scan_id)
        if known is not None:
            return known.scan
        if self._outage is not None and self._away.is_set():
            return self._find_spooled(self._outage, scan_id)
        future: asyncio.Future[Scan | None] = asyncio.get_running_loop().create_future()
        self._reads.put((scan_id, future))
        found = await future
        if found is None and self._outage is not None and (late := self._outage.find(scan_id)):
            found = late.scan  # not written yet
        if found is None or found.entry not in self._directory.entries:
            raise errors.NotFound("There is no such scan")
        self._remember(_Remembered(found))
        return found

    def options(self, entry: Entry, fix: Fix | None = None) -> route.Route:
        """Where a visitor there could be sent now; taking no seat."""
        return self._visits.options(entry, fix, datetime.now(UTC))

    def measure(self) -> None:
        if self._outage is not None:
            self._outage.spool.measure()

    async def drained(self) -> None:
        """Until everything that was asked for is written, or has failed."""
        await self._reads.drained()
        await self._turns.drained()

    # What happens by itself

    async def sweep(self) -> int:
        """Free the seats whose time is up, and forget positions that have served; how often a code
        had seats freed. One worker at a time does it for all: the others let it be."""
        freed = 0
        while counters := await self._expired():
            self._learn(counters)
            metrics.seats(expired=len(counters))
            freed += len(counters)
        async with db.acquire(self._pool) as connection:
            await _visitors.forget_positions(connection, minutes=self._settings.position_minutes)
        return freed

    async def _expired(self) -> list[Counters]:
        async with db.acquire(self._pool) as connection, connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _SWEEPER):
                return []
            return await hold.expire(connection)

    # One request's turn

    async def _turn(
        self,
        scanned: Scan,
        decide: Callable[[Visit], None],
        *,
        opening: Opening | None = None,
    ) -> Routing:
        if self._outage is not None and self._away.is_set():
            return await self._spooled(self._outage, scanned, decide, opening)
        done: asyncio.Future[Routing] = asyncio.get_running_loop().create_future()
        try:
            self._turns.put(_Turn(scanned, decide, done, opening))
        except errors.Unavailable:
            metrics.refused()
            raise
        return await done

    async def _flush(self, turns: list[_Turn]) -> None:
        """Write many visits in one transaction, and answer them."""
        # A visitor's requests take turns: of several, the first; the others wait for the next.
        first: dict[Key, _Turn] = {}
        later: list[_Turn] = []
        for turn in turns:
            if turn.done.done():
                continue  # whoever asked has gone
            if first.setdefault(turn.key, turn) is not turn:
                later.append(turn)
        if not first:
            return
        started = time.perf_counter()
        try:
            refused = await self._write(list(first.values()))
        except asyncpg.DeadlockDetectedError:
            refused = list(first.values())
            await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
        except errors.Unavailable as error:
            for turn in first.values():
                # It may or may not have been written: what is remembered may be old.
                self._remembered.pop(turn.scan.scan_id, None)
                turn.fail(error)
            refused = []
            self._check()
        except Exception as error:
            refused = []
            if len(first) == 1:
                for turn in first.values():
                    turn.fail(error)
            else:
                # One of them is at fault: each by itself, so that it fails no other.
                for turn in first.values():
                    await self._flush([turn])
        metrics.flushed(time.perf_counter() - started, len(first))
        again = refused + later
        for turn in refused:
            turn.attempts += 1
            if turn.attempts >= _ATTEMPTS:
                turn.fail(errors.Unavailable("Too many visitors at once"))
        if again:
            self._turns.put_first(again)

    async def _write(self, turns: list[_Turn], mark: "_Mark | None" = None) -> list[_Turn]:
        """One transaction; the turns whose seat was refused, of which nothing is written. `mark`:
        they come from a spool, and this is how far it is written then."""
        refused: list[_Turn] = []
        async with db.acquire(self._pool) as connection, connection.transaction():
            visits = await self._decided(connection, turns)
            counters, refused = await _seated(connection, visits, self._settings.hold_s)
            for turn in refused:
                del visits[turn]
            await self._record(connection, visits)
            if mark is not None:
                await _sql.mark_spool(connection, spool_id=mark.spool_id, records=mark.records)
        # It is durable.
        self._learn(counters)
        await self._heed(visits.values())
        for turn, visit in visits.items():
            self._remember_visit(visit)
            if turn.opening is not None:
                metrics.scanned(bot=visit.scan.bot is not None)
            if visit.taken is not None:
                self._allowance.granted(visit.scan)
            if visit.routing is not None:
                metrics.routed(visit.routing.outcome, visit.routing.reason)
            if not turn.done.done():
                turn.done.set_result(visit.answer)
        metrics.seats(
            granted=sum(visit.taken is not None for visit in visits.values()),
            rejected=len(refused),
            joined=sum(visit.joined for visit in visits.values()),
            released=sum(visit.freed for visit in visits.values()),
        )
        return refused

    async def _heed(self, visits: Iterable[Visit]) -> None:
        """Let codes that visitors say do not work be paused, if there are enough of them."""
        about = {(v.scan.chain_id, v.about.code_id) for v in visits if v.about is not None}
        if not about:
            return
        try:
            async with db.acquire(self._pool) as connection:
                for chain_id, code_id in about:
                    if await catalog.heed_complaints(connection, chain_id, code_id, self._settings):
                        log.warning("code paused: visitors say it fails", code_id=str(code_id))
                        await self._directory.refresh(connection)
        except (errors.Unavailable, asyncpg.PostgresError) as error:
            # What was said is kept; the next to say it is heard.
            log.warning("complaints not heeded", error=str(error))

    # While the database is away

    def _check(self) -> None:
        """Something could not be written: see whether the database is away."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.ensure_future(self._see_if_away())

    async def _see_if_away(self) -> None:
        if self._away.is_set() or await self._answers():
            return
        log.warning("the database is away")
        if self._outage is not None:
            self._outage.begin()
        self._away.set()
        await self._pool.expire_connections()

    async def _pool_answers(self) -> bool:
        try:
            async with db.acquire(self._pool) as connection:
                return not await connection.fetchval("SELECT pg_is_in_recovery()")
        except errors.Unavailable:
            return False

    async def watch(self) -> None:
        """Notice when the database is back, and write what was spooled. Beside all else, until it
        is cancelled."""
        while True:
            if self._away.is_set() and await self._answers():
                log.warning("the database is back")
                self._away.clear()
            if not self._away.is_set():
                try:
                    await self.write_spooled()
                except (errors.Unavailable, OSError) as error:
                    log.warning("the spool is not written yet", error=str(error))
                    self._check()
            await asyncio.sleep(_LOOK_EVERY_S)

    def _last_known(self, scanned: Scan) -> Routing:
        known = self._remembered.get(scanned.scan_id)
        if known is None or not known.routings:
            raise errors.Unavailable("The database does not answer")
        return known.routings[-1]

    def _find_spooled(self, away: Outage, scan_id: uuid.UUID) -> Scan:
        """A scan that another worker has opened meanwhile."""
        record = away.find(scan_id)
        if record is None:
            raise errors.Unavailable("The database does not answer")
        routings = [record.routing] if record.routing else []
        self._remember(_Remembered(record.scan, None, routings))
        return record.scan

    async def _spooled(
        self,
        away: Outage,
        scanned: Scan,
        decide: Callable[[Visit], None],
        opening: Opening | None,
    ) -> Routing:
        known = self._remembered.get(scanned.scan_id)
        if known is None:
            known = _Remembered(scanned)
            self._remember(known)
        known.revision = None  # what the database says of it is another thing
        visit = await away.visit(scanned, opening, known.routings, decide)
        if visit.routing is not None:
            known.routings.append(visit.routing)
        return visit.answer

    async def write_spooled(self) -> int:
        """Write what workers of this machine have spooled, each record once; how many. Raises
        `errors.Unavailable`; then it goes on another time."""
        if self._outage is None:
            return 0
        spool, written = self._outage.spool, 0
        self._taken += await spool.take()
        while self._taken:
            spooled = self._taken[0]
            records = await asyncio.to_thread(spooled.records)
            written += await self._write_records(spooled, records)
            await asyncio.to_thread(spooled.done)
            self._taken.pop(0)
        spool.emptied()
        if written:
            log.warning("what was spooled is written", records=written)
        return written

    async def _write_records(self, spooled: Spooled, records: list[bytes]) -> int:
        """In order; each transaction says how far it has come."""
        async with db.acquire(self._pool) as connection:
            start = at = int(await _sql.lock_spool(connection, spool_id=spooled.spool_id))
        while at < len(records):
            turns = self._next_turns(records[at : at + _SPOOLED_AT_ONCE])
            if turns and await self._could_write(turns, spooled.spool_id, at):
                at += len(turns)
            elif turns[1:] and await self._could_write(turns[:1], spooled.spool_id, at):
                at += 1  # one of the others is at fault
            else:
                log.error("a spooled record cannot be written: it is put aside")
                await asyncio.to_thread(spooled.reject, records[at])
                at += 1
        return at - start

    async def _could_write(self, turns: list[_Turn], spool_id: uuid.UUID, at: int) -> bool:
        try:
            await self._write(turns, _Mark(spool_id, at + len(turns)))
        except errors.Unavailable:
            raise
        except Exception as error:
            log.warning("spooled records not written", records=len(turns), error=str(error))
            return False
        return True

    def _next_turns(self, records: list[bytes]) -> list[_Turn]:
        """The first of these as turns, as far as they can be written together: a visitor's acts one
        after the other, and nothing that cannot be read."""
        turns: dict[Key, _Turn] = {}
        for text in records:
            try:
                record = outage.parse(text)
            except ValueError:
                break
            if record.scan.entry not in self._directory.entries:
                break
            done: asyncio.Future[Routing] = asyncio.get_running_loop().create_future()
            done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            decide = functools.partial(record.decide, directory=self._directory)
            turn = _Turn(record.scan, decide, done, record.opening)
            if turn.key in turns:
                break
            turns[turn.key] = turn
        return list(turns.values())

    # Deciding

    async def _decided(self, connection: db.Connection, turns: list[_Turn]) -> dict[_Turn, Visit]:
        """The visits, decided with their visitors locked. Who can't be decided is told so."""
        locked = await _locked(connection, turns)
        await self._read_routings(connection, turns, locked)
        budget = await self._allowance.budget(connection, (turn.scan for turn in turns))
        visits: dict[_Turn, Visit] = {}
        for turn in turns:
            visitor, now = locked[turn.key]
            known = self._remembered.get(turn.scan.scan_id)
            visit = Visit(
                scan=turn.scan,
                entry=self._directory.entries[turn.scan.entry],
                visitor=visitor,
                routings=known.routings if known else [],
                now=now,
                budget=budget,
            )
            try:
                turn.decide(visit)
                if visit.ask is None:
                    visit.answer  # noqa: B018 (there must be one)
            except Exception as error:
                turn.fail(error)
                continue
            visits[turn] = visit
        return visits

    async def _read_routings(
        self, connection: db.Connection, turns: list[_Turn], locked: _Locked
    ) -> None:
        """Have the decisions of these scans remembered as they are now."""
        stale: dict[uuid.UUID, _Remembered] = {}
        for turn in turns:
            revision = locked[turn.key][0].revision
            known = self._remembered.get(turn.scan.scan_id)
            if known is None or known.revision != revision:
                known = _Remembered(turn.scan, revision)
                self._remember(known)
                if turn.opening is None:
                    stale[turn.scan.scan_id] = known
        if not stale:
            return
        rows = await db.rows(
            _sql.read_routings(
                connection,
                chain_ids=[known.scan.chain_id for known in stale.values()],
                scan_ids=list(stale),
                since_ids=[uuid7_since(scan_id) for scan_id in stale],
            )
        )
        for row in rows:
            stale[row["scan_id"]].routings.append(show.routing(row))

    # Writing

    async def _record(self, connection: db.Connection, visits: dict[_Turn, Visit]) -> None:
        if openings := [turn.opening.row() for turn in visits if turn.opening is not None]:
            await _sql.write_scans(connection, **_columns(_SCAN, openings))
        fixes, holds, routings, visitors = [], [], [], []
        complaints, reports = [], []
        for visit in visits.values():
            scanned, visitor = visit.scan, visit.visitor
            standing, seat, held_at = visitor.standing, visitor.seat, visitor.held_at
            changed = visit.forgets
            if visit.fix is not None:
                fixes.append(locate.row(scanned, visit.fix, visit.now))
                if stands := locate.stands(visit.fix, visit.now):
                    standing, changed = stands, True
            if visit.forgets:
                seat = held_at = None
            if visit.taken is not None and visit.ask is not None:
                seat, held_at, changed = visit.taken, visit.now, True
                holds.append(hold.row(scanned, visit.ask.code, seat.hold_id, seat.held_until))
            if visit.walked_in is not None:
                seat, held_at, changed = visit.walked_in, visit.now, True
            if visit.routing is not None and visit.routing != visit.before:
                routings.append(show.row(scanned, visit.routing, visit.now))
                changed = changed or bool(visit.routings)
            else:
                visit.routing = None
            if visit.complaint is not None:
                about = visit.about
                code_id, store = (about.code_id, about.store) if about else (None, None)
                complaints.append(
                    scan.complaint(scanned, visit.complaint, code_id, store, visit.now)
                )
                if code_id is not None:
                    reports.append((scanned.chain_id, scanned.visitor_id, scanned.entry, code_id))
            if changed:
                visit.changed = True
                visitors.append(_visitor_row(scanned, seat, held_at, standing))
        if fixes or holds or routings or visitors:
            await _sql.write_visits(
                connection,
                **_columns(_FIX, fixes),
                **_columns(_HOLD, holds),
                **_columns(_ROUTING, routings),
                **_columns(_VISITOR, visitors),
            )
        if complaints:
            await _sql.write_complaints(connection, **_columns(_COMPLAINT, complaints))
        if reports:
            await _sql.remember_complaints(connection, **_columns(_REPORT, reports))
        await self._record_joins(connection, visits.values())

    async def _record_joins(self, connection: db.Connection, visits: Iterable[Visit]) -> None:
        evidence, joins, stronger, walked_in = [], [], [], []
        for visit in visits:
            if (joining := visit.joining) is None:
                continue
            shown, code, kind = joining.shown, joining.code, joining.evidence
            hold_id = visit.walked_in.hold_id if visit.walked_in else joining.hold_id
            if visit.walked_in is not None:
                walked_in.append(hold.joined_row(visit.scan, code, visit.walked_in.hold_id))
            evidence.append(
                join.evidence_row(visit.scan, hold_id, code, kind, visit.now, counts=joining.counts)
            )
            if visit.joined:
                chain = self._directory.chains[visit.scan.chain_id]
                store = chain.stores.get(code.store) if code.store else None
                placement = visit.entry.placements.get(visit.scan.placement or "")
                channel = placement.channel if placement else None
                joins.append(
                    join.row(visit.scan, shown, hold_id, code, store, kind, channel, visit.now)
                )
            elif joining.counts and hold_id is not None:
                stronger.append((visit.scan.chain_id, hold_id, kind.value))
        if evidence:
            await _sql.write_evidence(connection, **_columns(_EVIDENCE, evidence))
        if walked_in:
            await _sql.write_joined(connection, **_columns(_WALKED_IN, walked_in))
        if joins:
            await _sql.write_joins(connection, **_columns(_JOIN, joins))
        if stronger:
            await _sql.strengthen_joins(connection, **_columns(_STRONGER, stronger))

    # What is known

    def _learn(self, counters: Iterable[Counters]) -> None:
        for told in counters:
            if self._directory.counted(told):
                self._on_room(told)

    def _remember(self, known: _Remembered) -> None:
        self._remembered[known.scan.scan_id] = known
        self._remembered.move_to_end(known.scan.scan_id)
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)

    def _remember_visit(self, visit: Visit) -> None:
        known = self._remembered.get(visit.scan.scan_id)
        if known is None or known.revision != visit.visitor.revision:
            return  # forgotten, or another transaction's meanwhile
        if visit.changed:
            known.revision = visit.visitor.revision + 1
        if visit.routing is not None:
            known.routings.append(visit.routing)

    async def _read_scans(self, asked: list[tuple[uuid.UUID, asyncio.Future[Scan | None]]]) -> None:
        try:
            async with db.acquire(self._pool) as connection:
                rows = await db.rows(
                    _sql.read_scans(
                        connection,
                        scan_ids=[scan_id for scan_id, _ in asked],
                        chain_ids=list(self._directory.chains),
                    )
                )
        except Exception as error:
            if isinstance(error, errors.Unavailable):
                self._check()
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
            return
        found = {row["scan_id"]: Scan(**row) for row in rows}
        for scan_id, future in asked:
            if not future.done():
                future.set_result(found.get(scan_id))


# ---------------------------------------------------------------- what the database is asked


async def _current(connection: db.Connection, scanned: Scan) -> Routing:
    row = await _shown.current_routing(
        connection,
        chain_id=scanned.chain_id,
        scan_id=scanned.scan_id,
        since_id=uuid7_since(scanned.scan_id),
    )
    if row is None:
        raise errors.NotFound("This scan has no routing")
    return show.routing(row)


async def _locked(connection: db.Connection, turns: list[_Turn]) -> _Locked:
    """The visitors, locked until the commit, and the database's time."""
    meet = [turn.key for turn in turns if turn.opening is not None]
    known = [turn.key for turn in turns if turn.opening is None]
    rows: list[asyncpg.Record] = []
    if known:
        rows = await db.rows(_sql.lock_visitors(connection, **_columns(_KEY, known)))
        if len(rows) < len(known):
            # Who scanned while the database was away may come on before that scan is written.
            meet += set(known) - {_visitor_key(row) for row in rows}
    if meet:
        rows += await db.rows(_sql.meet_visitors(connection, **_columns(_KEY, meet)))
    return {_visitor_key(row): (_visitor(row), row["now"]) for row in rows}


async def _seated(
    connection: db.Connection, visits: dict[_Turn, Visit], hold_s: float
) -> tuple[list[Counters], list[_Turn]]:
    """Grant, join and free the seats that these visits are about.

    Their codes' counters, and the turns to which a seat was refused: of those nothing is done.
    """
    codes: dict[CodeKey, _Seats] = defaultdict(_Seats)
    joining: dict[uuid.UUID, Visit] = {}
    leaving: list[tuple[_Turn, Visit]] = []
    for turn, visit in visits.items():
        chain_id = visit.scan.chain_id
        if visit.ask is not None:
            codes[chain_id, visit.ask.code.code_id].asking.append((turn, visit))
        if visit.gives_up is not None:
            codes[chain_id, visit.gives_up.code_id]
            leaving.append((turn, visit))
        found = visit.joining
        if found is not None and found.counts:
            seats = codes[chain_id, found.code.code_id]
            if found.hold_id is None:
                seats.late.append(visit)
            else:
                joining[found.hold_id] = visit
    if not codes:
        return [], []
    if joining or leaving:
        # Their holds are looked at: the codes first, all of them at once and in order.
        await db.rows(_sql.lock_codes(connection, **_columns(_CODE, codes)))
    if joining:
        await _join(connection, joining, codes)
    counted = await _count(connection, codes)
    refused = _granted(codes, counted, hold_s)
    stay = set(refused)
    left = {
        visit.gives_up.hold_id: visit
        for turn, visit in leaving
        if visit.gives_up is not None and turn not in stay
    }
    released = [
        (visit.scan.chain_id, hold_id, HoldState.RELEASED.value) for hold_id, visit in left.items()
    ]
    if released:
        freed: dict[CodeKey, _Seats] = defaultdict(_Seats)
        for row in await db.rows(_sql.settle_holds(connection, **_columns(_SETTLED, released))):
            freed[row["chain_id"], row["code_id"]].released += 1
            left[row["hold_id"]].freed = True
        if freed:
            counted |= await _count(connection, freed)
    late = [
        (visit.scan.chain_id, visit.joining.hold_id)
        for seats in codes.values()
        for visit in seats.late
        if visit.joined and visit.joining is not None and visit.joining.hold_id is not None
    ]
    if late:
        await _sql.join_late(connection, **_columns(_HELD, late))
    return [
        Counters(row["code_id"], row["members"], row["held"], row["revision"])
        for row in counted.values()
    ], refused


async def _join(
    connection: db.Connection, joining: dict[uuid.UUID, Visit], codes: dict[CodeKey, _Seats]
) -> None:
    """Held seats become members'; who comes late asks for one."""
    settled = [
        (visit.scan.chain_id, hold_id, HoldState.JOINED.value) for hold_id, visit in joining.items()
    ]
    for row in await db.rows(_sql.settle_holds(connection, **_columns(_SETTLED, settled))):
        codes[row["chain_id"], row["code_id"]].joined += 1
        joining.pop(row["hold_id"]).joined = True
    if joining:
        asked = [(visit.scan.chain_id, hold_id) for hold_id, visit in joining.items()]
        for row in await db.rows(_sql.late_holds(connection, **_columns(_HELD, asked))):
            codes[row["chain_id"], row["code_id"]].late.append(joining[row["hold_id"]])


async def _count(
    connection: db.Connection, codes: Mapping[CodeKey, _Seats]
) -> dict[uuid.UUID, asyncpg.Record]:
    """Change the counters as far as there is room; what they are then, and what was granted."""
    rows = await db.rows(
        _sql.count_seats(
            connection,
            **_columns(_CODE, codes),
            asked=[len(seats.asking) for seats in codes.values()],
            joined=[seats.joined for seats in codes.values()],
            released=[seats.released for seats in codes.values()],
            late=[len(seats.late) for seats in codes.values()],
        )
    )
    return {row["code_id"]: row for row in rows}


def _granted(
    codes: Mapping[CodeKey, _Seats], counted: dict[uuid.UUID, asyncpg.Record], hold_s: float
) -> list[_Turn]:
    """Give the seats to those who asked first; the turns of the others."""
    refused: list[_Turn] = []
    for (_, code_id), seats in codes.items():
        row = counted.get(code_id)
        room = row["seats_granted"] if row else 0
        for _, visit in seats.asking[:room]:
            assert visit.ask is not None
            taken = hold.Hold(
                uuid7(),
                visit.scan.scan_id,
                code_id,
                HoldState.HELD,
                visit.now + timedelta(seconds=hold_s),
            )
            visit.taken = taken
            visit.routing = visit.ask.routing(taken.hold_id, taken.held_until)
        refused += (turn for turn, _ in seats.asking[room:])
        for visit in seats.late[: row["late_granted"] if row else 0]:
            visit.joined = True
            if visit.joining is not None and visit.joining.hold_id is None:
                visit.walked_in = hold.Hold(
                    uuid7(), visit.scan.scan_id, code_id, HoldState.JOINED, visit.now
                )
    return refused


# ---------------------------------------------------------------- rows and columns

_KEY = ("chain_ids", "visitor_ids", "entries")
_CODE = ("chain_ids", "code_ids")
_HELD = ("chain_ids", "hold_ids")
_SETTLED = (*_HELD, "states")
_STRONGER = (*_HELD, "evidence")
_REPORT = (*_KEY, "code_ids")
_SCAN = (
    "chain_ids", "scan_ids", "entries", "placements", "unknown_placements", "visitor_ids", "vias",
    "bots", "browsers", "languages", "address_hashes", "subnet_hashes", "scanned_ats",
)  # fmt: skip
_FIX = (
    "fix_chain_ids", "fix_ids", "fix_scan_ids", "sources", "datums", "lons", "lats",
    "accuracies_m", "provinces", "cities", "districts", "fixed_ats",
)  # fmt: skip
_HOLD = (
    "hold_chain_ids", "hold_ids", "hold_scan_ids", "hold_visitor_ids", "hold_entries",
    "hold_code_ids", "hold_stores", "held_untils", "address_hashes", "subnet_hashes",
)  # fmt: skip
_ROUTING = (
    "routing_chain_ids", "routing_ids", "routing_scan_ids", "outcomes", "reasons",
    "routing_sources", "routing_accuracies_m", "routing_provinces", "routing_cities",
    "routing_districts", "stores", "distances_m", "code_ids", "routing_hold_ids",
    "routing_held_untils", "hops", "choices", "routed_ats",
)  # fmt: skip
_VISITOR = (
    *_KEY, "visitor_hold_ids", "visitor_code_ids", "held_ats", "visitor_lons", "visitor_lats",
    "visitor_accuracies_m", "visitor_sources", "located_ats",
)  # fmt: skip
_WALKED_IN = (
    "chain_ids", "hold_ids", "scan_ids", "visitor_ids", "entries", "code_ids", "stores",
    "address_hashes", "subnet_hashes",
)  # fmt: skip
_COMPLAINT = (
    "chain_ids", "complaint_ids", "scan_ids", "visitor_ids", "code_ids", "stores", "kinds",
    "said_ats",
)  # fmt: skip
_EVIDENCE = (
    "chain_ids", "evidence_ids", "scan_ids", "hold_ids", "code_ids", "stores", "kinds", "counts",
    "seen_ats",
)  # fmt: skip
_JOIN = (
    "chain_ids", "join_ids", "scan_ids", "hold_ids", "visitor_ids", "entries", "placements",
    "channels", "code_ids", "stores", "provinces", "cities", "districts", "sources",
    "distances_m", "distance_bands", "evidence", "joined_ats",
)  # fmt: skip


def _columns(names: Sequence[str], rows: Iterable[Sequence[object]]) -> dict[str, Sequence[object]]:
    """Rows as the columns that `unnest` takes, by name."""
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return dict(zip(names, columns, strict=True))


def _visitor_key(row: asyncpg.Record) -> Key:
    return row["chain_id"], row["visitor_id"], row["entry"]


def _visitor(row: asyncpg.Record) -> Visitor:
    held = None
    if row["hold_id"] is not None and row["hold_state"] is not None:
        held = hold.Hold(
            row["hold_id"],
            row["hold_scan_id"],
            row["code_id"],
            HoldState(row["hold_state"]),
            row["held_until"],
        )
    recent = row["reported_at"] is not None and row["reported_at"] > row["now"] - _REPORTED_FOR
    return Visitor(
        revision=row["revision"],
        seat=held,
        held_at=row["held_at"],
        standing=_standing(row),
        reported=frozenset(row["reported"]) if recent else frozenset(),
    )


def _standing(row: asyncpg.Record) -> locate.Standing | None:
    if row["lon"] is None:
        return None
    return locate.Standing(
        row["lon"], row["lat"], row["accuracy_m"], Source(row["source"]), row["located_at"]
    )


def _visitor_row(
    scanned: Scan,
    seat: hold.Hold | None,
    held_at: datetime | None,
    standing: locate.Standing | None,
) -> tuple[object, ...]:
    return (
        scanned.chain_id,
        scanned.visitor_id,
        scanned.entry,
        seat.hold_id if seat else None,
        seat.code_id if seat else None,
        held_at,
        standing.lon if standing else None,
        standing.lat if standing else None,
        standing.accuracy_m if standing else None,
        standing.source.value if standing else None,
        standing.located_at if standing else None,
    )
