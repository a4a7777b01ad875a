"""Roll-ups: what reports are read from, kept equal to the raw rows (docs/decisions/0015).

Whoever writes something of a scan calls `touch` in the same transaction; `follow` reads anew what
became of the scans that were touched, and makes anew the chunks that they are in. One session at a
time does it for all.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from service import db, errors

_sql = db.load("rollups")

_LOCK = 0x726F6C6C  # "roll": one session at a time, whichever worker's
KEEPER = 0x6B656570  # "keep": one worker at a time does what comes round
# Scans of one transaction.
_AT_ONCE = 10_000
# As many as are followed before a report is read, so that it knows of what has just happened.
_AT_A_READ = 500


async def touch(
    connection: db.Connection, chain_id: uuid.UUID, scan_ids: Iterable[uuid.UUID]
) -> None:
    """What became of these scans has changed, in the transaction that this runs in."""
    if found := list(scan_ids):
        await _sql.touch(connection, chain_id=chain_id, scan_ids=found)


async def follow(connection: db.Connection, *, most: int | None = None) -> int:
    """Bring the roll-ups up to now, or as far as `most` touches lead; how many there were. In
    transactions of its own."""
    done = 0
    while most is None or done < most:
        at_once = _AT_ONCE if most is None else min(_AT_ONCE, most - done)
        taken = await _round(connection, at_once)
        done += taken
        if taken < at_once:
            break
    return done


async def keep_up(connection: db.Connection) -> int:
    """One worker's turn to bring the roll-ups up to now; nothing if another is at it."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", KEEPER):
        return 0
    try:
        done = await follow(connection)
        while await merge(connection):
            pass
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", KEEPER)
    return done


async def catch_up(connection: db.Connection) -> None:
    """Before a report is read: if only a little waits, it is not left waiting."""
    waiting = await _sql.waiting(connection, most=_AT_A_READ + 1)
    if 0 < waiting <= _AT_A_READ:
        await follow(connection, most=_AT_A_READ)


async def as_of(connection: db.Connection) -> datetime:
    """Everything that was committed before then is in the roll-ups, as they are seen by the
    transaction that this runs in."""
    found: datetime = (await _sql.freshness(connection))["as_of"]
    return found


async def alone(connection: db.Connection) -> None:
    """Nobody changes the roll-ups until the transaction ends that this runs in."""
    await _sql.begin(connection, lock=_LOCK)


async def merge(connection: db.Connection, *, most: int = 200) -> int:
    """Make one chunk of the several of a quiet hour or day; of how many."""
    async with connection.transaction():
        await _begin(connection)
        await _sql.ranges_to_merge(connection, most=most)
        merged = int(await connection.fetchval("SELECT count(*) FROM rollup_ranges"))
        if merged:
            await _repack(connection)
    return merged


async def _round(connection: db.Connection, most: int) -> int:
    async with connection.transaction():
        await _begin(connection)
        started = await connection.fetchval("SELECT now()")
        taken = int(await _sql.take(connection, most=most))
        if taken:
            await _sql.number_stores(connection)
            await _sql.number_placements(connection)
            await _sql.number_places(connection)
            await _sql.number_visitors(connection)
            await _sql.number_facts(connection)
            await _sql.write_facts(connection)
            await _repack(connection)
        if taken < most:
            await _sql.fresh(connection, at=started)
    return taken


async def _begin(connection: db.Connection) -> None:
    await _sql.begin(connection, lock=_LOCK)
    await _make_tables(connection)


async def _make_tables(connection: db.Connection) -> None:
    await _sql.make_batch(connection)
    await _sql.make_facts(connection)
    await _sql.make_ranges(connection)


async def _repack(connection: db.Connection) -> None:
    await _sql.spare_dropped(connection)
    await _sql.drop_chunks(connection)
    await _sql.pack_chunks(connection)


# ---------------------------------------------------------------- the roll-ups against the raw rows


@dataclass(frozen=True, slots=True)
class Compared:
    """A time's roll-ups against its raw rows: scans of which there are no facts, facts of no scan,
    and facts that say something else; chunks that say other than the facts, and facts that are not
    in exactly one."""

    scans: int
    missing: int
    surplus: int
    wrong: int
    chunks: int
    outside: int

    @property
    def equal(self) -> bool:
        return not (self.missing or self.surplus or self.wrong or self.chunks or self.outside)


async def span(connection: db.Connection, chain_id: uuid.UUID) -> tuple[datetime, datetime] | None:
    """When the first and the last scan were made whose raw rows are there; None without any."""
    found = await _sql.raw_span(connection, chain_id=chain_id)
    return (found["first_at"], found["last_at"]) if found["first_at"] is not None else None


async def is_dropped(connection: db.Connection, since: datetime, until: datetime) -> bool:
    """Whether the raw rows of any of this time are gone: its roll-ups are all that there is."""
    return bool(await _sql.is_dropped(connection, since=since, until=until))


async def check(
    connection: db.Connection, chain_id: uuid.UUID, since: datetime, until: datetime
) -> Compared:
    """Compare the roll-ups of a time with its raw rows, in one snapshot; visitors may go on."""
    period = {"chain_id": chain_id, "since": since, "until": until}
    async with connection.transaction(isolation="repeatable_read"):
        await _make_tables(connection)
        await _sql.read_stories(connection, **period)
        await _sql.number_facts(connection)
        facts = await _sql.compare_facts(connection, **period)
        chunks = await _sql.compare_chunks(connection, **period)
    return Compared(**facts, chunks=chunks["wrong"], outside=chunks["outside"])


async def rebuild(
    connection: db.Connection, chain_id: uuid.UUID, since: datetime, until: datetime
) -> None:
    """Make the roll-ups of a time anew from its raw rows. Raises `errors.Conflict` if those are
    gone."""
    if await is_dropped(connection, since, until):
        raise errors.Conflict("The raw rows of this time are gone: its roll-ups stay as they are")
    period = {"chain_id": chain_id, "since": since, "until": until}
    async with connection.transaction():
        await _begin(connection)
        await _sql.forget_facts(connection, **period)
        await _sql.touch_time(connection, **period)
        await _sql.ranges_of_time(connection, **period)
        await _repack(connection)
    await follow(connection)
