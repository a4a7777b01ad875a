"""hold: one seat for one visitor, kept until it is joined, released, or its time is up.

Seats are counters on the code's row, and every hold a row of its own (docs/decisions/0003). A
grant is one conditional update: PostgreSQL locks the code's row, checks the room, and counts.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime

import asyncpg

from service import db
from service.domain import Code, Counters, HoldState, Scan, uuid7

_sql = db.load("hold")


@dataclass(frozen=True, slots=True)
class Hold:
    hold_id: uuid.UUID
    scan_id: uuid.UUID
    code_id: uuid.UUID
    state: HoldState
    held_until: datetime
    live: bool  # held, and its time is not up

    @property
    def has_seat(self) -> bool:
        return self.live or self.state is HoldState.JOINED


async def take(
    connection: db.Connection, scan: Scan, code: Code, *, hold_s: float
) -> tuple[Hold | None, Counters | None]:
    """A seat of `code` for the scan's visitor, or None if it has none; and the code's counters.

    The caller has locked the visitor: nobody else can seat them meanwhile.
    """
    key = {"chain_id": code.chain_id, "code_id": code.code_id}
    # A grant that fails has locked the code's row all the same, if it had to wait for another.
    # Two visitors who walk the same full codes in opposite orders would then block each other;
    # rolled back to here, the lock is gone.
    attempt = connection.transaction()
    await attempt.start()
    counters = await _sql.take_seat(connection, **key)
    if counters is None:
        await attempt.rollback()
        counters = await _sql.counters(connection, **key)
        return None, counters and Counters(**counters)
    await attempt.commit()
    hold_id = uuid7()
    row = await _sql.insert_hold(
        connection,
        chain_id=scan.chain_id,
        hold_id=hold_id,
        scan_id=scan.scan_id,
        visitor_id=scan.visitor_id,
        entry=scan.entry,
        code_id=code.code_id,
        store=code.store,
        hold_s=hold_s,
    )
    await _sql.seat_visitor(
        connection,
        chain_id=scan.chain_id,
        visitor_id=scan.visitor_id,
        entry=scan.entry,
        hold_id=hold_id,
        code_id=code.code_id,
    )
    hold = Hold(hold_id, scan.scan_id, code.code_id, HoldState.HELD, row["held_until"], live=True)
    return hold, Counters(**counters)


async def find(
    connection: db.Connection, chain_id: uuid.UUID, hold_id: uuid.UUID | None
) -> Hold | None:
    if hold_id is None:
        return None
    row = await _sql.get_hold(connection, chain_id=chain_id, hold_id=hold_id)
    if row is None:
        return None
    return Hold(
        row["hold_id"],
        row["scan_id"],
        row["code_id"],
        HoldState(row["state"]),
        row["held_until"],
        row["live"],
    )


async def release(
    connection: db.Connection, chain_id: uuid.UUID, hold_id: uuid.UUID
) -> Counters | None:
    """Free a held seat; None if it was not held any more (a member's seat stays)."""
    row = await _sql.release(connection, chain_id=chain_id, hold_id=hold_id)
    return row and Counters(**row)


async def forget_seat(connection: db.Connection, scan: Scan) -> None:
    """The visitor comes back to nothing: the next scan starts anew."""
    await _sql.unseat_visitor(
        connection, chain_id=scan.chain_id, visitor_id=scan.visitor_id, entry=scan.entry
    )


async def expire(connection: db.Connection, *, most: int = 1000) -> list[Counters]:
    """Free the seats whose time is up, `most` at a time; the counters of their codes."""
    rows: list[asyncpg.Record] = await db.rows(_sql.expire_due(connection, most=most))
    return [Counters(**row) for row in rows]


async def shrink(
    connection: db.Connection, chain_id: uuid.UUID, code_id: uuid.UUID, seats: int
) -> None:
    """Give back the `seats` youngest held seats of a code; the caller counts them off the code."""
    await _sql.release_newest(connection, chain_id=chain_id, code_id=code_id, seats=seats)
