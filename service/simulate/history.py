"""Months of past days, written by the code that decides and writes what visitors do today.

The session's clock stands where the history is (0009_crowd.sql: past.now()), so every query that
says now() means then; visits carry the moments at which they happened. A slot of some minutes to
hours is one transaction, and says in the same how far the history has come: whoever is interrupted
goes on from there. In a slot's end every seat is settled, so that nothing of the past is left to
services that run beside it.

The same seed and the same days on the same chain give the same history, but for the ids.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import asyncpg

from geo import datum as datums
from geo.point import Point
from service import accounts, catalog, db, errors, orders, rollups, seating, writing
from service.allowance import Budget
from service.directory import Chain, Directory
from service.domain import Entry, Fix, Routing, Scan, Source, uuid7
from service.order_rows import OrderRow
from service.settings import Settings
from service.simulate import buyers, crowd
from service.simulate.crowd import Act, Do, Plan, Seen, World
from service.simulate.managers import HOURS, Managers
from service.steps import hold, join, locate
from service.steps.scan import Client, Opening, opened
from service.visits import Decisions, Visit, Visits

_sql = db.load("history")

# About so many scans a transaction; slots are whole parts of a day.
_SCANS_A_SLOT = 700
_SLOTS_S = (900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
# After a slot's end, until its last seats have run out and the late have come: beside `hold_s`.
_AFTERWARDS_S = 600.0
# Orders of so many days are put at once, and those of the last days again by the next run: an order
# that is there already stays as it is.
_SOLD_AT_ONCE, _SOLD_AGAIN = timedelta(days=7), timedelta(days=9)
_LEAVING_SHARE, _LEAVING_DAYS = 0.11, 45.0
# The entries' own fallback codes came so long before the end: before that, who found no store found
# nothing.
_FALLBACK_DAYS = 7
_COUNTED_AT_ONCE = 20_000  # scans, before reports take notice of them
_ADDRESSES_TELL = 0.65  # share of addresses of which a database knows the city
_IP_RADIUS_M = 25_000.0


@dataclass(frozen=True, slots=True)
class Span:
    """What is to be written of an entry: from `since` to `until`, both on slots' borders."""

    chain_id: uuid.UUID
    entry: str
    seed: int
    scans_a_day: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, by this run."""

    since: datetime
    until: datetime
    scans: int = 0
    joins: int = 0
    left: int = 0
    orders: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.since,
            other.until,
            self.scans + other.scans,
            self.joins + other.joins,
            self.left + other.left,
            self.orders + other.orders,
        )


@asynccontextmanager
async def session(url: str) -> AsyncIterator[db.Connection]:
    """A connection that lives in the past. Its commits are not waited for: what a crash takes, the
    next run writes again. Raises `errors.Unavailable`."""
    connection = await db.connect(url)
    try:
        settings = {
            "search_path": "past, pg_catalog, public",
            "nearcode.now": "2000-01-01 00:00:00+00",
            "synchronous_commit": "off",
            **db.BY_KEY,
        }
        for name, value in settings.items():
            await connection.execute("SELECT set_config($1, $2, false)", name, value)
        yield connection
    except (asyncpg.InterfaceError, asyncpg.PostgresConnectionError, OSError) as error:
        if isinstance(error, ValueError):
            raise  # asyncpg's DataError: a value that fits no column
        raise errors.Unavailable("The database has gone away. What is written stays") from error
    finally:
        await connection.close()


async def write(
    url: str,
    span: Span,
    settings: Settings,
    *,
    habits: crowd.Habits | None = None,
    done: Callable[[Written], object] = lambda written: None,
) -> Written:
    """Write a span's days, or what is still missing of them. `done` is told of each slot.

    Raises `errors.Conflict` if the entry has another history, or scans of its own in these days,
    and `errors.BadInput` for a chain without stores.
    """
    reports = await db.connect(url)
    try:
        async with session(url) as connection:
            history = await _begin(connection, span, settings, habits or crowd.Habits())
            total = Written(history.since, history.since)
            till = _Till(reports, span, settings, history, history.since - _SOLD_AGAIN)
            counted = 0
            async for slot in history.slots():
                total += slot
                done(slot)
                if slot.until - till.sold_until >= _SOLD_AT_ONCE:
                    total += await till.sell(slot.until)
                if total.scans - counted >= _COUNTED_AT_ONCE:
                    await _count(reports)
                    counted = total.scans
            total += await till.sell(total.until)
        await _count(reports)
    finally:
        await reports.close()
    return total


async def _count(connection: db.Connection) -> None:
    """Let reports take notice of what is written."""
    await db.analyze(connection)  # else what has just grown is planned for as if it were empty
    await rollups.keep_up(connection)


@dataclass(frozen=True, slots=True)
class Begun:
    """A history that there is."""

    seed: int
    scans_a_day: int
    since: datetime
    written_until: datetime


async def begun(connection: db.Connection, chain_id: uuid.UUID) -> dict[str, Begun]:
    """A chain's histories by entry."""
    return {
        row["entry"]: Begun(row["seed"], row["scans_a_day"], row["since"], row["written_until"])
        for row in await db.rows(_sql.list_histories(connection, chain_id=chain_id))
    }


def bounds(
    now: datetime, days: int, timezone: ZoneInfo, settings: Settings
) -> tuple[datetime, datetime]:
    """The last `days` days and today until a while ago: all that was held then is settled now."""
    today = now.astimezone(timezone).date()
    since = _midnight(today - timedelta(days=days), timezone)
    return since, now - timedelta(seconds=settings.hold_s + 2 * _AFTERWARDS_S)


async def _begin(
    connection: db.Connection, span: Span, settings: Settings, habits: crowd.Habits
) -> "_History":
    secret = await accounts.installation_secret(connection)
    key = {"chain_id": span.chain_id, "entry": span.entry}
    clock = _Clock(span.since)
    directory = Directory(clock)
    await directory.refresh(connection)
    chain = directory.chains[span.chain_id]
    async with connection.transaction():
        await db.ensure_partitions(connection, span.since, datetime.now(UTC))
        begun = await _sql.get_history(connection, **key)
        if begun is None:
            asleep = [
                number
                for number, store in chain.stores.items()
                if not chain.can_serve(store, span.since)
            ]
            await _refuse_strangers(connection, span, span.since)
            await _sql.begin_history(
                connection,
                **key,
                seed=span.seed,
                scans_a_day=span.scans_a_day,
                since=span.since,
                asleep=sorted(asleep),
            )
            await _sql.put_catalog_back(
                connection,
                chain_id=span.chain_id,
                since=span.since,
                fallback_since=span.until - timedelta(days=_FALLBACK_DAYS),
            )
            begun = await _sql.get_history(connection, **key)
        elif (begun["seed"], begun["scans_a_day"]) != (span.seed, span.scans_a_day):
            raise errors.Conflict(
                f"The entry {span.entry} has a history of the seed {begun['seed']} with "
                f"{begun['scans_a_day']} scans a day: go on with that one"
            )
        elif span.since < begun["since"]:
            raise errors.Conflict(
                f"The entry {span.entry} has a history from {begun['since']:%Y-%m-%d} on: "
                "nothing can be put before it"
            )
        fallback_since = await _sql.fallback_since(connection, chain_id=span.chain_id)
    places = [
        crowd.Place(store.store, store.point, store.province, store.city)
        for store in chain.stores.values()
        if store.status == "open"
    ]
    if not places:
        raise errors.BadInput.of("chain", "there is no open store that a crowd could go to")
    entry = directory.entries[span.entry]
    posted = [
        crowd.Posted(each.placement, each.channel, each.store, each.printed, each.variant)
        for each in entry.placements.values()
    ]
    world = World(places, posted, seed=span.seed, habits=habits)
    managers = Managers(span.chain_id, span.seed, frozenset(begun["asleep"]), settings)
    return _History(
        connection=connection,
        span=span,
        began=begun["since"],
        since=begun["written_until"],
        settings=settings,
        secret=secret,
        clock=clock,
        directory=directory,
        world=world,
        managers=managers,
        fallback_since=fallback_since,
    )


async def _refuse_strangers(connection: db.Connection, span: Span, since: datetime) -> None:
    """No history is mixed with what has really happened."""
    asked = {"chain_id": span.chain_id, "since": since, "until": span.until}
    if await _sql.has_scans(connection, **asked):
        raise errors.Conflict(
            "The chain has scans of its own in these days: a history is for a chain without any"
        )


class _Clock:
    """What time it is, to a directory in the past."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@dataclass(slots=True)
class _Story:
    """One scan as it goes on."""

    plan: Plan
    acts: Generator[Act, Seen, None]
    scan: Scan
    opening: Opening
    at: datetime
    so_far: Decisions = field(default_factory=Decisions)
    # The next act, and what was refused to it.
    act: Act | None = None
    refused: frozenset[uuid.UUID] = frozenset()
    joined: bool = False

    @property
    def key(self) -> writing.Key:
        return writing.key_of(self.scan)

    @property
    def is_new(self) -> bool:
        return not self.so_far.routings

    def next(self, seen: Seen | None) -> None:
        """What its visitor does, having seen that; None: nothing more."""
        try:
            self.act = self.acts.send(seen) if seen is not None else next(self.acts)
        except StopIteration:
            self.act = None
            return
        self.at += timedelta(seconds=self.act.pause_s)
        self.refused = frozenset()


_Complaint: TypeAlias = tuple[datetime, uuid.UUID]
"""When, and of which code."""


@dataclass(slots=True, kw_only=True)
class _History:
    connection: db.Connection
    span: Span
    began: datetime
    since: datetime  # what is before is written
    settings: Settings
    secret: bytes
    clock: _Clock
    directory: Directory
    world: World
    managers: Managers
    fallback_since: datetime | None

    async def slots(self) -> AsyncIterator[Written]:
        """Write what is missing, slot by slot."""
        visits = Visits(self.directory, self.settings)
        timezone = ZoneInfo(self.chain.timezone)
        day = self.since.astimezone(timezone).date()
        coming = self._coming(day, timezone)
        while (start := _midnight(day, timezone)) < self.span.until:
            end = _midnight(day + timedelta(days=1), timezone)
            plans = await coming
            # The next day's crowd is thought of while PostgreSQL writes this one's.
            coming = self._coming(day + timedelta(days=1), timezone)
            place = 0
            slot_s = _slot_s(self.span.scans_a_day)
            if start < self.since or end > self.span.until:
                slot_s = min(slot_s, 3600)  # a part of a day: as much of it as there is
            while start < end:
                until = min(start + timedelta(seconds=slot_s), end)
                first = place
                while place < len(plans) and plans[place].at < until:
                    place += 1
                if until > self.span.until:
                    await coming
                    return
                if start >= self.since:
                    yield await self._slot(visits, plans[first:place], start, until, timezone)
                start = until
            day += timedelta(days=1)

        await coming

    def _coming(self, day: date, timezone: ZoneInfo) -> "asyncio.Task[list[Plan]]":
        return asyncio.create_task(
            asyncio.to_thread(self.world.day, day, timezone, self.span.scans_a_day)
        )

    @property
    def chain(self) -> Chain:
        return self.directory.chains[self.span.chain_id]

    @property
    def entry(self) -> Entry:
        return self.directory.entries[self.span.entry]

    async def _slot(
        self,
        visits: Visits,
        plans: Sequence[Plan],
        since: datetime,
        until: datetime,
        timezone: ZoneInfo,
    ) -> Written:
        """One slot, in one transaction."""
        self.clock.now = since
        known = self.entry.fallback
        if self.fallback_since is None or since < self.fallback_since:
            self.entry.fallback = ()
        changed = False
        try:
            async with self.connection.transaction():
                await self._claim(since)
                left = await self._leave(since, until)
                stories = self._stories(plans)
                complained = await self._go_on(visits, stories)
                # All seats run out that nobody has joined; then come the late.
                await self._set_clock(until + self._afterwards)
                while (expired := await hold.expire(self.connection))[1]:
                    for told in expired[0]:
                        self.directory.counted(told)
                await _sql.plan_once(self.connection)
                complained += await self._go_on(visits, stories, late=True)
                changed |= await self._heed(complained)
                if looking := _managers_look(since, until, timezone):
                    await self._set_clock(looking)
                    changed |= await self.managers.look(
                        self.connection, self.chain, looking, timezone
                    )
                await self._put_back(self.clock.now)
                await _sql.mark_history(
                    self.connection,
                    chain_id=self.span.chain_id,
                    entry=self.span.entry,
                    written_until=until,
                )
        finally:
            self.entry.fallback = known
        if changed:
            await self.directory.refresh(self.connection)
        joins = sum(story.joined for story in stories)
        return Written(since, until, len(stories), joins, left)

    @property
    def _afterwards(self) -> timedelta:
        return timedelta(seconds=self.settings.hold_s + _AFTERWARDS_S)

    async def _set_clock(self, now: datetime) -> None:
        self.clock.now = now
        await _sql.set_clock(self.connection, now=now.isoformat())

    async def _claim(self, since: datetime) -> None:
        """Raises `errors.Conflict` if another run has written this slot meanwhile."""
        await self._set_clock(since)
        known = await _sql.lock_history(
            self.connection, chain_id=self.span.chain_id, entry=self.span.entry
        )
        if known["written_until"] > since:
            raise errors.Conflict("Another run writes this history already")

    def _stories(self, plans: Sequence[Plan]) -> list[_Story]:
        """The scans of a slot; a visitor who comes twice in it comes once."""
        stories: dict[int, _Story] = {}
        for plan in plans:
            if plan.number in stories:
                continue
            client = Client(
                crowd.visitor_id(self.span.seed, plan.number), "page", plan.user_agent, "zh-CN"
            )
            new = opened(self.entry, plan.placement, client, self.secret, plan.at)
            acts = crowd.behave(plan, self.settings.hold_s)
            story = _Story(plan, acts, new.scan, new, plan.at)
            story.next(None)
            stories[plan.number] = story
        return list(stories.values())

    async def _go_on(
        self, visits: Visits, stories: Sequence[_Story], *, late: bool = False
    ) -> list[_Complaint]:
        """Act by act, all of them at once, until nobody does anything more but the late, who let
        their seats run out. What they complained of."""
        complained: list[_Complaint] = []
        while acting := [
            story
            for story in stories
            if story.act is not None and (late or story.act.pause_s <= self.settings.hold_s)
        ]:
            complained += await self._act(visits, acting)
        return complained

    async def _act(self, visits: Visits, stories: Sequence[_Story]) -> list[_Complaint]:
        """One act of each, as the journal writes them; whose seat was refused decides anew."""
        complained: list[_Complaint] = []
        waiting = list(stories)
        while waiting:
            await self._set_clock(max(story.at for story in waiting))
            new = [story.key for story in waiting if story.is_new]
            known = [story.key for story in waiting if not story.is_new]
            locked = await writing.lock(self.connection, new, known)
            decided: dict[Visit, _Story] = {}
            for story in waiting:
                visit = Visit(
                    scan=story.scan,
                    entry=self.entry,
                    visitor=locked[story.key][0],
                    so_far=story.so_far,
                    now=story.at,
                    opening=story.opening if story.is_new else None,
                    refused=story.refused,
                    budget=Budget(0, 0),
                )
                self._decide(visits, visit, story)
                decided[visit] = story
            counters, refused = await seating.seat(self.connection, decided, self.settings.hold_s)
            waiting = []
            for visit in refused:
                assert visit.ask is not None
                story = decided.pop(visit)
                story.refused |= {visit.ask.code.code_id}
                waiting.append(story)
            await writing.write(self.connection, self.directory, decided)
            for told in counters:
                self.directory.counted(told)
            for visit, story in decided.items():
                if visit.routing is not None:
                    story.so_far.add(visit.routing, visit.now)
                if visit.about is not None:
                    complained.append((visit.now, visit.about.code_id))
                story.joined |= visit.joined
                story.next(_seen(visit.answer))
        return complained

    def _decide(self, visits: Visits, visit: Visit, story: _Story) -> None:
        act, plan = story.act, story.plan
        assert act is not None
        if act.do is Do.OPEN:
            visits.open(visit)
        elif act.do is Do.POSITION:
            fix = locate.by_phone(plan.point, datum=datums.Datum.WGS84, accuracy_m=plan.accuracy_m)
            visits.locate(visit, fix)
        elif act.do is Do.IP:
            told = crowd.share_of(self.span.seed, plan.number, "address") < _ADDRESSES_TELL
            visits.locate(visit, _by_address(plan.home) if told else None)
        elif act.do is Do.PICK:
            assert act.store is not None
            visits.choose(visit, act.store)
        else:
            assert act.event is not None
            visits.tell(visit, act.event)

    # What others do

    async def _leave(self, since: datetime, until: datetime) -> int:
        """Members whose time has come leave."""
        leavers = await db.rows(
            _sql.leavers(
                self.connection,
                chain_id=self.span.chain_id,
                since=since,
                until=until,
                share=_LEAVING_SHARE,
                days=_LEAVING_DAYS,
            )
        )
        for row in leavers:
            await self._set_clock(row["leaves_at"])
            _, freed = await join.leave(self.connection, self.span.chain_id, row["join_id"])
            if freed is not None:
                self.directory.counted(freed)
        return len(leavers)

    async def _heed(self, complained: Sequence[_Complaint]) -> bool:
        """Codes that several visitors complained of were paused at that; whether one was."""
        times = Counter(code_id for _, code_id in complained)
        paused: set[uuid.UUID] = set()
        for at, code_id in sorted(complained, key=lambda complaint: complaint[0]):
            if code_id in paused or times[code_id] < self.settings.complaints_to_pause:
                continue
            await self._set_clock(at)
            if await catalog.heed_complaints(
                self.connection, self.span.chain_id, code_id, self.settings
            ):
                paused.add(code_id)
        return bool(paused)

    async def _put_back(self, now: datetime) -> None:
        """What was put up or logged in this transaction, was so then."""
        chain_id = self.span.chain_id
        await _sql.put_new_codes_back(self.connection, chain_id=chain_id)
        rows = await db.rows(_sql.new_records(self.connection, chain_id=chain_id))
        if rows:
            then = [uuid7(now + timedelta(milliseconds=place)) for place in range(len(rows))]
            await _sql.put_records_back(
                self.connection,
                chain_id=chain_id,
                audit_ids=[row["audit_id"] for row in rows],
                then_ids=then,
            )


@dataclass(slots=True)
class _Till:
    """What members buy: put as the chain's own till would send it, some days at once."""

    connection: db.Connection  # of today
    span: Span
    settings: Settings
    history: _History
    sold_until: datetime

    async def sell(self, until: datetime) -> Written:
        """The orders of the days until then, the last of which is sold again, and whole, later."""
        timezone = ZoneInfo(self.history.chain.timezone)
        first = max(self.sold_until, self.history.began).astimezone(timezone).date()
        last = until.astimezone(timezone).date()
        chain_id = self.span.chain_id
        _, currency = await orders.terms(self.connection, chain_id)
        oldest = _midnight(first, timezone) - timedelta(days=buyers.REMEMBERED_DAYS)
        roster = [
            buyers.Member(*row)
            for row in await db.rows(
                _sql.roster(
                    self.connection,
                    chain_id=chain_id,
                    entry=self.span.entry,
                    since=oldest,
                    until=until,
                )
            )
        ]
        matching = orders.Matching(
            self.history.secret, timedelta(days=self.settings.order_window_days)
        )
        joined = [each for each in roster if each.joined_at >= _midnight(first, timezone)]
        for start in range(0, len(joined), orders.BATCH):
            told = buyers.told(joined[start : start + orders.BATCH])
            await orders.tell_members(self.connection, chain_id, told, matching)
        # Else what has just grown is planned for as if it were empty.
        await self.connection.execute("ANALYZE joins, member_keys, orders, scan_orders")
        sold: list[OrderRow] = []
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            end = _midnight(day + timedelta(days=1), timezone)
            since = _midnight(day, timezone) - timedelta(days=buyers.REMEMBERED_DAYS)
            sold += buyers.orders(
                [each for each in roster if since <= each.joined_at < end],
                day,
                timezone,
                until,
                seed=self.span.seed,
                currency=currency,
            )
        put = await orders.put_all(self.connection, chain_id, sold, matching)
        self.sold_until = _midnight(last, timezone)
        return Written(until, until, orders=put.created)


def _midnight(day: date, timezone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=timezone).astimezone(UTC)


def _slot_s(scans_a_day: int) -> int:
    """Of a day's busiest hours a slot has no more than is written well at once."""
    wanted = 86400 * _SCANS_A_SLOT / (2 * scans_a_day)
    return max((slot for slot in _SLOTS_S if slot <= wanted), default=_SLOTS_S[0])


def _managers_look(since: datetime, until: datetime, timezone: ZoneInfo) -> datetime | None:
    """When they last do so in a slot, if they do."""
    moment = (until - timedelta(seconds=1)).astimezone(timezone).replace(minute=0, second=0)
    while moment >= since:
        if moment.hour in HOURS:
            return moment.astimezone(UTC)
        moment = (moment.astimezone(UTC) - timedelta(hours=1)).astimezone(timezone)
    return None


def _by_address(home: crowd.Place) -> Fix:
    """What an IP address tells of somebody near that store: their city, roughly."""
    near = Point(round(home.point.lon, 1), round(home.point.lat, 1))
    return Fix(
        point=near,
        accuracy_m=_IP_RADIUS_M,
        source=Source.IP,
        province=home.province,
        city=home.city,
    )


def _seen(routing: Routing) -> Seen:
    return Seen(routing.outcome, tuple(offer.store for offer in routing.choices))
