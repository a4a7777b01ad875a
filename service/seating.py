"""Seats: what many visits ask for, join and leave, settled code by code in one transaction.

Locks are taken in the journal's order: the visitors are locked, here follow the codes, all at once
and by key, and then their holds.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

import asyncpg

from service import db
from service.domain import Counters, HoldState, uuid7
from service.steps import hold
from service.visits import Visit

_sql = db.load("journal")

CodeKey: TypeAlias = tuple[uuid.UUID, uuid.UUID]
"""A code: chain, code."""

_CODE = ("chain_ids", "code_ids")
_HELD = ("chain_ids", "hold_ids")
_SETTLED = (*_HELD, "states")
_CHANGE = (*_CODE, "asked", "joined", "released", "late")


@dataclass(slots=True)
class _Seats:
    """What changes in one code's counters."""

    asking: list[Visit] = field(default_factory=list)
    joined: int = 0
    released: int = 0
    late: list[Visit] = field(default_factory=list)


async def seat(
    connection: db.Connection, visits: Collection[Visit], hold_s: float
) -> tuple[list[Counters], list[Visit]]:
    """Grant, join and free the seats that these visits are about.

    Their codes' counters, and the visits to which a seat was refused: of those nothing is done.
    """
    codes: dict[CodeKey, _Seats] = defaultdict(_Seats)
    joining: dict[uuid.UUID, Visit] = {}
    leaving: list[Visit] = []
    for visit in visits:
        chain_id = visit.scan.chain_id
        if visit.ask is not None:
            codes[chain_id, visit.ask.code.code_id].asking.append(visit)
        if visit.gives_up is not None:
            codes.setdefault((chain_id, visit.gives_up.code_id), _Seats())  # to be locked
            leaving.append(visit)
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
        await db.rows(_sql.lock_codes(connection, **db.columns(_CODE, codes)))
    if joining:
        await _join(connection, joining, codes)
    counted = await _count(connection, codes)
    refused = _granted(codes, counted, hold_s)
    left = {
        visit.gives_up.hold_id: visit
        for visit in leaving
        if visit.gives_up is not None and visit not in refused
    }
    released = [
        (visit.scan.chain_id, hold_id, HoldState.RELEASED.value) for hold_id, visit in left.items()
    ]
    if released:
        freed: dict[CodeKey, _Seats] = defaultdict(_Seats)
        for row in await db.rows(_sql.settle_holds(connection, **db.columns(_SETTLED, released))):
            freed[row["chain_id"], row["code_id"]].released += 1
            left[row["hold_id"]].freed = True
        counted |= await _count(connection, freed)
    late = [
        (visit.scan.chain_id, visit.joining.hold_id)
        for seats in codes.values()
        for visit in seats.late
        if visit.joined and visit.joining is not None and visit.joining.hold_id is not None
    ]
    if late:
        await _sql.join_late(connection, **db.columns(_HELD, late))
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
    for row in await db.rows(_sql.settle_holds(connection, **db.columns(_SETTLED, settled))):
        codes[row["chain_id"], row["code_id"]].joined += 1
        joining.pop(row["hold_id"]).joined = True
    if joining:
        asked = [(visit.scan.chain_id, hold_id) for hold_id, visit in joining.items()]
        for row in await db.rows(_sql.late_holds(connection, **db.columns(_HELD, asked))):
            codes[row["chain_id"], row["code_id"]].late.append(joining[row["hold_id"]])


async def _count(
    connection: db.Connection, codes: Mapping[CodeKey, _Seats]
) -> dict[uuid.UUID, asyncpg.Record]:
    """Change the counters as far as there is room; what they are then, and what was granted. Codes
    of which nothing changes are let be."""
    changes = [
        (*code, len(seats.asking), seats.joined, seats.released, len(seats.late))
        for code, seats in codes.items()
        if seats.asking or seats.joined or seats.released or seats.late
    ]
    if not changes:
        return {}
    rows = await db.rows(_sql.count_seats(connection, **db.columns(_CHANGE, changes)))
    return {row["code_id"]: row for row in rows}


def _granted(
    codes: Mapping[CodeKey, _Seats], counted: dict[uuid.UUID, asyncpg.Record], hold_s: float
) -> list[Visit]:
    """Give the seats to those who asked first; the others."""
    refused: list[Visit] = []
    for (_, code_id), seats in codes.items():
        row = counted.get(code_id)
        room = row["seats_granted"] if row else 0
        for visit in seats.asking[:room]:
            assert visit.ask is not None
            taken = hold.Hold(
                uuid7(visit.now),
                visit.scan.scan_id,
                code_id,
                HoldState.HELD,
                visit.now + timedelta(seconds=hold_s),
            )
            visit.taken = taken
            visit.routing = visit.ask.routing(taken.hold_id, taken.held_until)
        refused += seats.asking[room:]
        for visit in seats.late[: row["late_granted"] if row else 0]:
            visit.joined = True
            if visit.joining is not None and visit.joining.hold_id is None:
                visit.walked_in = hold.Hold(
                    uuid7(), visit.scan.scan_id, code_id, HoldState.JOINED, visit.now
                )
    return refused
