"""hold: one seat for one visitor, kept until it is joined, released, or its time is up.

Seats are counters on the code's row, and every hold a row of its own (docs/decisions/0003). The
journal grants them; here they run out and are given back.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from service import db
from service.domain import Code, Counters, HoldState, Scan

_sql = db.load("hold")


@dataclass(frozen=True, slots=True)
class Hold:
    hold_id: uuid.UUID
    scan_id: uuid.UUID
    code_id: uuid.UUID
    state: HoldState
    held_until: datetime

    def has_seat(self, now: datetime) -> bool:
        """Whether the seat is the visitor's: held and not run out, or joined."""
        if self.state is HoldState.HELD:
            return self.held_until > now
        return self.state is HoldState.JOINED


def row(scan: Scan, code: Code, seat: Hold) -> dict[str, Any]:
    """A new seat's row."""
    return {
        "chain_id": scan.chain_id,
        "hold_id": seat.hold_id,
        "scan_id": scan.scan_id,
        "visitor_id": scan.visitor_id,
        "entry": scan.entry,
        "code_id": code.code_id,
        "store": code.store,
        "held_until": seat.held_until,
        "address_hash": scan.address_hash,
        "subnet_hash": scan.subnet_hash,
    }


async def state(
    connection: db.Connection, chain_id: uuid.UUID, hold_id: uuid.UUID | None
) -> HoldState | None:
    if hold_id is None:
        return None
    found = await _sql.hold_state(connection, chain_id=chain_id, hold_id=hold_id)
    return HoldState(found) if found else None


async def expire(connection: db.Connection, *, most: int = 1000) -> tuple[list[Counters], int]:
    """Free the seats whose time is up, `most` at a time; the counters of their codes, and how many
    seats that were. The last that its transaction does."""
    await _sql.plan_anew(connection)
    rows: list[asyncpg.Record] = await db.rows(_sql.expire_due(connection, most=most))
    counters = [
        Counters(row["code_id"], row["members"], row["held"], row["revision"]) for row in rows
    ]
    return counters, sum(row["seats"] for row in rows)


async def shrink(
    connection: db.Connection, chain_id: uuid.UUID, code_id: uuid.UUID, seats: int
) -> None:
    """Give back the `seats` youngest held seats of a code; the caller, who has locked the code,
    counts them off it."""
    await _sql.release_newest(connection, chain_id=chain_id, code_id=code_id, seats=seats)
