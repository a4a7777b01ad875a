"""Firsts: the first scan, and the first position, of a visitor who has nothing yet.

They are most of what a campaign brings, and need less than other visits: no seat is looked at,
there is no evidence, and nothing to be given back. So each kind is decided from what the worker
remembers, and written by one statement, which sees whether that still holds, takes the seats, and
is its own transaction. Whoever it does not hold for any more is not written, and goes the common
way.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import asyncpg

from service import db, writing
from service.domain import Counters, HoldState, uuid7
from service.steps import hold, locate, show
from service.visits import Visit

_sql = db.load("firsts")

Row: TypeAlias = dict[str, Any]


@dataclass(slots=True)
class Written:
    """What became of some visits, by their places in the list. Those in none of the lists were not
    written, because their visitors are not as they were remembered."""

    done: list[int]
    refused: list[int]  # their code had no seat left
    counters: list[Counters]
    now: datetime | None  # the database's


def is_opening(visit: Visit) -> bool:
    """Whether this is a first scan, which is asked where it is made."""
    routing = visit.routing
    return (
        visit.opening is not None
        and routing is not None
        and routing.located is None
        and visit.ask is None
    )


def is_position(visit: Visit) -> bool:
    """Whether this is a first position that has led to a seat, a choice, or nowhere."""
    routing = visit.routing
    return (
        visit.fix is not None
        and routing is not None
        and routing.located is visit.fix
        and routing != visit.before
        and visit.complaint is None
        and visit.joining is None
        and visit.gives_up is None
    )


def reserve(visit: Visit, hold_s: float) -> None:
    """Give the visit the seat that it asks for, if the database will grant it."""
    if visit.ask is not None:
        until = visit.now + timedelta(seconds=hold_s)
        seat = hold.Hold(uuid7(), visit.scan.scan_id, visit.ask.code.code_id, HoldState.HELD, until)
        visit.taken = seat
        visit.routing = visit.ask.routing(seat.hold_id, until)


async def open_scans(connection: db.Connection, visits: Sequence[Visit]) -> Written:
    """New scans of visitors whom the database does not know."""
    rows = [_opening(number, visit) for number, visit in enumerate(visits)]
    found = await db.rows(_sql.open_scans(connection, rows=writing.as_json(rows)))
    return Written([row["n"] for row in found], [], [], _now(found))


async def positions(connection: db.Connection, visits: Sequence[Visit]) -> Written:
    """First positions, with the seats that were reserved for them."""
    rows = [_position(number, visit) for number, visit in enumerate(visits)]
    found = await db.rows(_sql.locate(connection, rows=writing.as_json(rows)))
    told: Mapping[uuid.UUID, asyncpg.Record] = {
        row["code_id"]: row for row in found if row["revision"] is not None
    }
    for row in found:
        visits[row["n"]].changed = bool(row["granted"])
    return Written(
        [row["n"] for row in found if row["granted"]],
        [row["n"] for row in found if not row["granted"]],
        [
            Counters(code_id, row["members"], row["held"], row["revision"])
            for code_id, row in told.items()
        ],
        _now(found),
    )


def _now(rows: Sequence[asyncpg.Record]) -> datetime | None:
    return rows[0]["now"] if rows else None


def _opening(number: int, visit: Visit) -> Row:
    opening, routing = visit.opening, visit.routing
    assert opening is not None
    assert routing is not None
    row = show.row(visit.scan, routing, visit.now)
    row |= opening.row()
    row["n"] = number
    return row


def _position(number: int, visit: Visit) -> Row:
    scan, fix, routing, seat = visit.scan, visit.fix, visit.routing, visit.taken
    assert fix is not None
    assert routing is not None
    row = show.row(scan, routing, visit.now)
    at = locate.row(scan, fix, visit.now)
    row["coarse_lon"], row["coarse_lat"] = at.pop("lon"), at.pop("lat")
    row |= at  # the routing is as seen from this fix
    row["n"] = number
    row["visitor_id"], row["entry"] = scan.visitor_id, scan.entry
    row["revision"] = visit.visitor.revision
    row["decided_at"] = visit.now
    if stands := locate.stands(fix, visit.now):
        row["lon"], row["lat"] = stands.lon, stands.lat
    if seat is not None:
        row["address_hash"], row["subnet_hash"] = scan.address_hash, scan.subnet_hash
    else:
        row["code_id"] = row["hold_id"] = None
    return row
