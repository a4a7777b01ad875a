"""The journal: what visitors do, made durable before it is answered, many at a time.

While one transaction is under way, what arrives is gathered, and written by the next. One
transaction is: lock the visitors, decide each visit (service/visits.py), grant seats code by code,
write everything, commit. Locks are taken in one order by everybody (visitors, codes, holds; each by
key), so that nobody waits in a circle.

Visitors who have nothing yet go a shorter way, where they can: service/firsts.py.

A visit that is not granted the seat that it asked for is decided anew in the next transaction: by
then the worker knows that the code is full. A visit that fails fails alone: those that were written
with it are written again without it.
"""

import asyncio
import contextlib
import functools
import random
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
import structlog

from service import catalog, db, errors, firsts, metrics, outage, seating, writing
from service.allowance import Allowance, Budget
from service.directory import Directory
from service.domain import (
    Counters,
    Entry,
    Event,
    Fix,
    HoldState,
    Routing,
    Scan,
    uuid7_since,
)
from service.gathering import Gathering
from service.outage import Outage
from service.settings import Settings
from service.spool import Spool, Spooled
from service.steps import hold, join, locate, route, scan, show
from service.steps.scan import Opening
from service.visits import Decisions, Visit, Visitor, Visits
from service.writing import Key

_sql = db.load("journal")
_visitors = db.load("scan")
_shown = db.load("show")

log = structlog.get_logger("nearcode.journal")

_Locked: TypeAlias = dict[Key, tuple[Visitor, datetime]]

# Two at a time: while PostgreSQL writes the one, the next is decided.
_LANES = 2
_ATTEMPTS = 20
# Scans whose decisions a worker remembers, so as not to read them again; some 1 KB each.
_REMEMBERED = 50_000
# While the database is away, and how many visits of that time are written in one transaction.
_LOOK_EVERY_S = 0.25
_LOOK_AGAIN_S = 5.0  # where it is not the database that is at fault
_SPOOLED_AT_ONCE = 200
# What a spooled record itself can be at fault for.
_FAULTY = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    ValueError,  # asyncpg's own DataError is one
    errors.NotFound,
    errors.Conflict,
)
_SCAN = tuple(field.name for field in fields(Scan))
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
    new: bool = False  # its visitor seems to be new, too
    refused: set[uuid.UUID] = field(default_factory=set)  # the codes that had no seat for it
    attempts: int = 0
    replays: bool = False  # it has been answered already, and comes from a spool

    @property
    def key(self) -> Key:
        return writing.key_of(self.scan)

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
    """A scan, and its decisions as of a revision of its visitor (None: not read yet). `blank`: the
    visitor had nothing then, no seat, no place, and no code that failed them."""

    scan: Scan
    revision: int | None = None
    so_far: Decisions = field(default_factory=Decisions)
    blank: bool = False


def connections(settings: Settings) -> int:
    """How many a journal uses: those that write, one that reads, and those for what happens by
    itself."""
    return _lanes(settings) + 4


def _lanes(settings: Settings) -> int:
    return _LANES if settings.journal_batch > 1 else settings.database_pool


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
        self._away = False
        # How far the database's clock is ahead of this worker's, as far as it has been seen.
        self.ahead = timedelta()
        self._checking: asyncio.Task[None] | None = None
        self._taken: list[Spooled] = []
        self._remembered: OrderedDict[uuid.UUID, _Remembered] = OrderedDict()
        self._turns = Gathering(
            self._flush,
            most=settings.journal_batch,
            lanes=_lanes(settings),
            waiting=settings.journal_queue,
        )
        self._reads: Gathering[tuple[uuid.UUID, asyncio.Future[_Remembered | None]]] = Gathering(
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
        routing = await self._turn(
            opening.scan, self._visits.open, opening=opening, new=not client.returns
        )
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

    async def leave(self, chain_id: uuid.UUID, join_id: uuid.UUID) -> asyncpg.Record:
        """A member has left: their place is free again. The join, with the time at which they left.
        Raises `errors.NotFound`."""
        async with db.acquire(self._pool) as connection, connection.transaction():
            found, freed = await join.leave(connection, chain_id, join_id)
        if found is None:
            raise errors.NotFound("There is no such join")
        if freed is not None:
            self._learn([freed])
        return found

    async def current(self, scanned: Scan) -> Routing:
        """The scan's routing as it stands."""
        if self._away:
            return self._last_known(scanned)
        async with self._reading() as connection:
            return await _current(connection, scanned)

    async def look(self, scanned: Scan) -> Look:
        """The scan as a page shows it."""
        if self._outage is not None and self._away:
            return Look(
                routing=self._last_known(scanned),
                standing=self._outage.standing(scanned),
                joined=self._outage.has_joined(scanned.scan_id),
            )
        async with self._reading() as connection:
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
            standing=locate.standing(writing.standing_of(visitor)) if visitor else None,
            joined=state is HoldState.JOINED,
        )

    async def find(self, scan_id: uuid.UUID) -> Scan:
        """Raises `errors.NotFound`."""
        known = self._remembered.get(scan_id)
        if known is not None:
            return known.scan
        if self._outage is not None and self._away:
            return self._find_spooled(self._outage, scan_id)
        found = await self._read_scan(scan_id)
        if found is None and self._outage is not None:
            # Not written yet, or written and gone from the spool since it was looked for.
            record = self._outage.find(scan_id)
            found = _Remembered(record.scan) if record else await self._read_scan(scan_id)
        if found is None or found.scan.entry not in self._directory.entries:
            raise errors.NotFound("There is no such scan")
        known = self._remembered.get(scan_id)
        if known is None:
            self._remember(found)
        return found.scan

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
        """Free the seats whose time is up, and forget positions that have served; how many seats
        were freed. One worker at a time does it for all: the others let it be."""
        freed = 0
        while seats := await self._expire():
            metrics.seats(expired=seats)
            freed += seats
        async with db.acquire(self._pool) as connection:
            await _visitors.forget_positions(connection, minutes=self._settings.position_minutes)
        return freed

    async def _expire(self) -> int:
        async with db.acquire(self._pool) as connection, connection.transaction():
            if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _SWEEPER):
                return 0
            counters, seats = await hold.expire(connection)
        self._learn(counters)
        return seats

    # One request's turn

    async def _turn(
        self,
        scanned: Scan,
        decide: Callable[[Visit], None],
        *,
        opening: Opening | None = None,
        new: bool = False,
    ) -> Routing:
        if self._outage is not None and self._away:
            return await self._spooled(self._outage, scanned, decide, opening)
        done: asyncio.Future[Routing] = asyncio.get_running_loop().create_future()
        try:
            self._turns.put(_Turn(scanned, decide, done, opening, new))
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
        refused, others = await self._go(list(first.values()))
        refused += await self._go_together(others)
        metrics.flushed(time.perf_counter() - started, len(first))
        again = refused + later
        for turn in refused:
            turn.attempts += 1
            if turn.attempts >= _ATTEMPTS:
                turn.fail(errors.Unavailable("Too many visitors at once"))
        if again:
            self._turns.put_first(again)

    async def _go_together(self, turns: list[_Turn]) -> list[_Turn]:
        """The common way: all in one transaction, or each by itself if one fails; the turns whose
        seat was refused."""
        if not turns:
            return []
        try:
            return await self._write(turns)
        except asyncpg.DeadlockDetectedError:
            await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
            return turns
        except errors.Unavailable as error:
            self._lose(turns, error)
        except Exception as error:
            if len(turns) == 1:
                turns[0].fail(error)
            else:
                # One of them is at fault: each by itself, so that it fails no other.
                return [again for turn in turns for again in await self._go_together([turn])]
        return []

    def _lose(self, turns: list[_Turn], error: errors.Unavailable) -> None:
        """The database has gone while these were being written."""
        for turn in turns:
            self._doubt(turn.scan)
            turn.fail(error)
        self._check()

    async def _write(self, turns: list[_Turn], mark: "_Mark | None" = None) -> list[_Turn]:
        """One transaction; the turns whose seat was refused, of which nothing is written. `mark`:
        they come from a spool, and this is how far it is written then."""
        async with db.acquire(self._pool) as connection, connection.transaction():
            visits = await self._decided(connection, turns)
            counters, turned_away = await seating.seat(connection, visits, self._settings.hold_s)
            refused = {visit: visits.pop(visit) for visit in turned_away}
            await writing.write(connection, self._directory, visits)
            if mark is not None:
                await _sql.mark_spool(connection, spool_id=mark.spool_id, records=mark.records)
        await self._written(visits, refused, counters)
        return list(refused.values())

    async def _written(
        self,
        visits: dict[Visit, _Turn],
        refused: dict[Visit, _Turn],
        counters: Iterable[Counters],
    ) -> None:
        """These visits are durable: remember, count and answer them."""
        self._learn(counters)
        for visit, turn in refused.items():
            assert visit.ask is not None
            turn.refused.add(visit.ask.code.code_id)
        if any(visit.ask and visit.ask.code.skipped(visit.now) is None for visit in refused):
            await self._catch_up()
        await self._heed(visits)
        for visit, turn in visits.items():
            self._remember_visit(visit)
            if turn.replays:
                self._doubt(visit.scan)  # there may be later decisions already
            if turn.opening is not None:
                metrics.scanned(bot=visit.scan.bot is not None)
            if visit.taken is not None:
                self._allowance.granted(visit.scan)
            if visit.routing is not None:
                metrics.routed(visit.routing.outcome, visit.routing.reason)
            if not turn.replays and not turn.done.done():
                turn.done.set_result(visit.answer)
        metrics.seats(
            granted=sum(visit.taken is not None for visit in visits),
            rejected=len(refused),
            joined=sum(visit.joined for visit in visits),
            released=sum(visit.freed for visit in visits),
        )

    # The short way

    async def _go(self, turns: list[_Turn]) -> tuple[list[_Turn], list[_Turn]]:
        """The short way, for whom it is; the turns whose seat was refused, and those that have not
        been written, and go the common way."""
        openings: list[_Turn] = []
        positions: list[_Turn] = []
        others: list[_Turn] = []
        near = self._allowance.near(turn.scan for turn in turns)
        for turn in turns:
            known = self._remembered.get(turn.scan.scan_id)
            if turn.scan.subnet_hash in near:
                others.append(turn)
            elif turn.opening is not None:
                (openings if turn.new else others).append(turn)
            elif known is not None and known.blank and known.revision is not None:
                positions.append(turn)
            else:
                others.append(turn)
        refused: list[_Turn] = []
        for some, fits, write in (
            (openings, firsts.is_opening, firsts.open_scans),
            (positions, firsts.is_position, firsts.positions),
        ):
            again, left = await self._write_firsts(some, fits, write)
            refused += again
            others += left
        return refused, others

    async def _write_firsts(
        self,
        turns: list[_Turn],
        fits: Callable[[Visit], bool],
        write: Callable[[db.Connection, Sequence[Visit]], Awaitable[firsts.Written]],
    ) -> tuple[list[_Turn], list[_Turn]]:
        left: list[_Turn] = []
        decided: list[tuple[Visit, _Turn]] = []
        now = self._database_now()
        for turn in turns:
            visit = self._visit(turn, Visitor(self._revision(turn)), now)
            try:
                turn.decide(visit)
                firsts.reserve(visit, self._settings.hold_s)
            except Exception:
                left.append(turn)  # to be told so on the common way
                continue
            if fits(visit):
                decided.append((visit, turn))
            else:
                left.append(turn)
        if not decided:
            return [], left
        try:
            async with db.acquire(self._pool) as connection:
                asked_at = datetime.now(UTC)
                written = await write(connection, [visit for visit, _ in decided])
        except errors.Unavailable as error:
            self._lose([turn for _, turn in decided], error)
            return [], left
        except Exception:
            # Whatever it is: on the common way it is found out whose fault it is.
            return [], left + [turn for _, turn in decided]
        if written.now is not None:
            self.ahead = written.now - asked_at
        done = {decided[number][0]: decided[number][1] for number in written.done}
        refused = {decided[number][0]: decided[number][1] for number in written.refused}
        for visit, turn in decided:
            if visit not in done and visit not in refused:
                self._doubt(turn.scan)
                left.append(turn)
            elif turn.opening is not None:
                self._remember(_Remembered(turn.scan, visit.visitor.revision, blank=True))
        await self._written(done, refused, written.counters)
        return list(refused.values()), left

    def _database_now(self) -> datetime:
        """What the database's clock says, as far as it is known."""
        return datetime.now(UTC) + self.ahead

    def _revision(self, turn: _Turn) -> int:
        """Of the turn's visitor, as it is remembered; 0 of one who is new."""
        known = self._remembered.get(turn.scan.scan_id)
        return known.revision or 0 if known is not None else 0

    async def _catch_up(self) -> None:
        """A code was refused that seems to have room: it has been changed, and nobody has told."""
        try:
            async with db.acquire(self._pool) as connection:
                await self._directory.refresh(connection)
        except (errors.Unavailable, asyncpg.PostgresError) as error:
            log.warning("the catalog is not read anew", error=str(error))

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

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[db.Connection]:
        """A connection for a reader, whose failure tells of an outage as well as a writer's."""
        try:
            async with db.acquire(self._pool) as connection:
                yield connection
        except errors.Unavailable:
            self._check()
            raise

    async def _see_if_away(self) -> None:
        if self._away or await self._answers():
            return
        log.warning("the database is away")
        if self._outage is not None:
            self._outage.begin()
        self._away = True
        await self._pool.expire_connections()

    async def _pool_answers(self) -> bool:
        try:
            async with db.acquire(self._pool) as connection:
                return bool(await connection.fetchval(db.WRITABLE))
        except errors.Unavailable:
            return False

    async def watch(self) -> None:
        """Notice when the database is back, and write what was spooled. Beside all else, until it
        is cancelled."""
        while True:
            try:
                if self._away and await self._answers():
                    log.warning("the database is back")
                    self._away = False
                if not self._away:
                    await self.write_spooled()
            except (errors.Unavailable, OSError) as error:
                log.warning("the spool is not written yet", error=str(error))
                self._check()
            except Exception:
                # What is in the spool stays there, and visitors are served all the same.
                log.exception("the spool cannot be written")
                await asyncio.sleep(_LOOK_AGAIN_S)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _last_known(self, scanned: Scan) -> Routing:
        """By this worker, or since the database went away by any."""
        known = self._remembered.get(scanned.scan_id)
        routings = known.so_far.routings if known is not None else []
        if self._outage is not None:
            routings = self._outage.routings(scanned.scan_id, routings)
        if not routings:
            raise errors.Unavailable("The database does not answer")
        return routings[-1]

    def _find_spooled(self, away: Outage, scan_id: uuid.UUID) -> Scan:
        """A scan that another worker has opened meanwhile."""
        record = away.find(scan_id)
        if record is None:
            raise errors.Unavailable("The database does not answer")
        self._remember(_Remembered(record.scan))
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
        visit = await away.visit(scanned, opening, known.so_far, self._database_now(), decide)
        if visit.routing is not None:
            known.so_far.add(visit.routing, visit.now)
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
            # Where one is at fault, those before it are written by themselves.
            while turns and not await self._could_write(turns, spooled.spool_id, at):
                turns = turns[: len(turns) // 2]
            if not turns:
                await self._put_aside(spooled, records[at])
            at += max(1, len(turns))
        return at - start

    async def _put_aside(self, spooled: Spooled, record: bytes) -> None:
        log.error("a spooled record cannot be written: it is put aside", file=spooled.path.name)
        await asyncio.to_thread(spooled.reject, record)

    async def _could_write(self, turns: list[_Turn], spool_id: uuid.UUID, at: int) -> bool:
        """False: one of them is at fault. Raises whatever else there may be: no record is given up
        for what is not its own fault."""
        try:
            await self._write(turns, _Mark(spool_id, at + len(turns)))
        except _FAULTY as error:
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
            decide = functools.partial(record.decide, directory=self._directory)
            turn = _Turn(record.scan, decide, done, record.opening, replays=True)
            if turn.key in turns:
                break
            turns[turn.key] = turn
        return list(turns.values())

    # Deciding

    async def _decided(self, connection: db.Connection, turns: list[_Turn]) -> dict[Visit, _Turn]:
        """The visits, decided with their visitors locked. Who can't be decided is told so."""
        new = [turn.key for turn in turns if turn.opening is not None]
        known = [turn.key for turn in turns if turn.opening is None]
        locked = await writing.lock(connection, new, known)
        await self._read_routings(connection, turns, locked)
        budget = await self._allowance.budget(connection, (turn.scan for turn in turns))
        visits: dict[Visit, _Turn] = {}
        for turn in turns:
            visitor, now = locked[turn.key]
            visit = self._visit(turn, visitor, now, budget)
            if turn.replays:
                turn.decide(visit)  # all or nothing
                visits[visit] = turn
                continue
            try:
                turn.decide(visit)
                if visit.ask is None:
                    visit.answer  # noqa: B018 (there must be one)
            except errors.Conflict as error:
                turn.fail(self._not_yet(turn.scan.scan_id) or error)
                continue
            except Exception as error:
                turn.fail(error)
                continue
            visits[visit] = turn
        return visits

    def _visit(
        self, turn: _Turn, visitor: Visitor, now: datetime, budget: Budget | None = None
    ) -> Visit:
        remembered = self._remembered.get(turn.scan.scan_id)
        return Visit(
            scan=turn.scan,
            entry=self._directory.entries[turn.scan.entry],
            visitor=visitor,
            so_far=remembered.so_far if remembered else Decisions(),
            now=now,
            opening=turn.opening,
            refused=frozenset(turn.refused),
            budget=budget,
        )

    def _not_yet(self, scan_id: uuid.UUID) -> errors.Unavailable | None:
        """Whether what a scan was shown is still in the spool, and not in the database yet."""
        if self._outage is None or self._outage.find(scan_id) is None:
            return None
        return errors.Unavailable("What this scan was shown is being written")

    async def _read_routings(
        self, connection: db.Connection, turns: list[_Turn], locked: _Locked
    ) -> None:
        """Have the decisions of these scans remembered as they are now."""
        stale: dict[uuid.UUID, _Remembered] = {}
        for turn in turns:
            visitor = locked[turn.key][0]
            known = self._remembered.get(turn.scan.scan_id)
            if known is None or known.revision != visitor.revision:
                stale[turn.scan.scan_id] = _Remembered(
                    turn.scan, visitor.revision, blank=visitor.is_blank
                )
        written = {turn.scan for turn in turns if turn.opening is None}
        asked = [known.scan for known in stale.values() if known.scan in written]
        if asked:
            for scan_id, found in (await writing.decisions(connection, asked)).items():
                stale[scan_id].so_far = found if found.routings else self._not_written(scan_id)
            # None at all: they were written, and went from the spool, between the two looks.
            gone = [known for known in asked if not stale[known.scan_id].so_far.routings]
            if gone and self._outage is not None:
                for scan_id, found in (await writing.decisions(connection, gone)).items():
                    stale[scan_id].so_far = found
        for known in stale.values():
            self._remember(known)

    def _not_written(self, scan_id: uuid.UUID) -> Decisions:
        """The decisions of a scan that the database does not know yet: of an outage that is just
        over."""
        known = self._remembered.get(scan_id)
        if known is not None and known.so_far.routings:
            return known.so_far
        record = self._outage.find(scan_id) if self._outage is not None else None
        if record is None or record.routing is None:
            return Decisions()
        return Decisions([record.routing], record.at)

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
            known.revision, known.blank = visit.visitor.revision + 1, False
        if visit.routing is not None:
            known.so_far.add(visit.routing, visit.now)

    def _doubt(self, scanned: Scan) -> None:
        """What is remembered may be old: it is read anew, unless the database is away, and this is
        all that there is."""
        if known := self._remembered.get(scanned.scan_id):
            known.revision = None

    async def _read_scan(self, scan_id: uuid.UUID) -> _Remembered | None:
        future: asyncio.Future[_Remembered | None] = asyncio.get_running_loop().create_future()
        self._reads.put((scan_id, future))
        return await future

    async def _read_scans(
        self, asked: list[tuple[uuid.UUID, asyncio.Future[_Remembered | None]]]
    ) -> None:
        try:
            async with db.acquire(self._pool) as connection:
                found = await self._scans(connection, list({scan_id for scan_id, _ in asked}))
        except Exception as error:
            if isinstance(error, errors.Unavailable):
                self._check()
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)
            return
        for scan_id, future in asked:
            if not future.done():
                future.set_result(found.get(scan_id))

    async def _scans(
        self, connection: db.Connection, scan_ids: list[uuid.UUID]
    ) -> dict[uuid.UUID, _Remembered]:
        """These scans; of visitors who have nothing yet with their decisions, so that they can go
        the short way."""
        rows = await db.rows(
            _sql.read_scans(
                connection,
                scan_ids=scan_ids,
                since_ids=[uuid7_since(scan_id) for scan_id in scan_ids],
                chain_ids=list(self._directory.chains),
            )
        )
        found: dict[uuid.UUID, _Remembered] = {}
        for row in rows:
            known = found.get(row["scan_id"])
            if known is None:
                scanned = Scan(**{name: row[name] for name in _SCAN})
                known = found[scanned.scan_id] = _Remembered(scanned)
                if row["blank"]:
                    known.revision, known.blank = row["revision"], True
            if row["outcome"] is not None:
                known.so_far.add(show.routing(row), row["routed_at"])
        return found


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
