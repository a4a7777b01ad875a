"""Writing: how many visits become rows, and visitors' rows what is known of them.

Rows go as JSON, a table a parameter: names instead of positions, and a third of the work of arrays.
"""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import asyncpg
import orjson

from service import db, errors, outbox
from service.directory import Directory
from service.domain import HoldState, Scan, Source, uuid7_since
from service.outbox import Event
from service.steps import hold, join, locate, scan, show
from service.visits import Decisions, Visit, Visitor

_sql = db.load("journal")

Key: TypeAlias = tuple[uuid.UUID, uuid.UUID, str]
"""A visitor at an entry: chain, visitor, entry."""

_KEY = ("chain_ids", "visitor_ids", "entries")
_HELD = ("chain_ids", "hold_ids")
_SCAN = ("chain_ids", "scan_ids")

Row: TypeAlias = dict[str, Any]

# A visitor is not shown a code again that they said does not work.
_REPORTED_FOR = timedelta(days=1)


async def lock(
    connection: db.Connection, new: Iterable[Key], known: Iterable[Key]
) -> dict[Key, tuple[Visitor, datetime]]:
    """The visitors, locked until the commit, each with the database's time. Those who are new are
    made known."""
    meet, asked = list(new), list(known)
    rows: list[asyncpg.Record] = []
    if asked:
        rows = await db.rows(_sql.lock_visitors(connection, **db.columns(_KEY, asked)))
        if len(rows) < len(asked):
            # Who scanned while the database was away may come on before that scan is written.
            meet += set(asked) - {_key(row) for row in rows}
    if meet:
        rows += await db.rows(_sql.meet_visitors(connection, **db.columns(_KEY, meet)))
    had = [(row["chain_id"], row["hold_id"]) for row in rows if row["hold_id"] is not None]
    holds: dict[uuid.UUID, asyncpg.Record] = {}
    if had:
        found = await db.rows(_sql.read_holds(connection, **db.columns(_HELD, had)))
        holds = {row["hold_id"]: row for row in found}
    return {_key(row): (_visitor(row, holds), row["now"]) for row in rows}


async def decisions(
    connection: db.Connection, scans: Collection[Scan]
) -> dict[uuid.UUID, Decisions]:
    """What has been decided about these scans."""
    found = {scanned.scan_id: Decisions() for scanned in scans}
    rows = await db.rows(
        _sql.read_routings(
            connection,
            chain_ids=[scanned.chain_id for scanned in scans],
            scan_ids=list(found),
            since_ids=[uuid7_since(scan_id) for scan_id in found],
        )
    )
    for row in rows:
        found[row["scan_id"]].add(show.routing(row), row["routed_at"])
    return found


async def write(connection: db.Connection, directory: Directory, visits: Collection[Visit]) -> None:
    """All that these visits change, but for the seats' counters. Says in each visit whether what is
    remembered of the visitor changes, and drops a decision that is the one before."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for visit in visits:
        _collect(visit, directory, rows)
    if rows["scans"]:
        await _sql.write_scans(connection, rows=as_json(rows["scans"]))
    if rows["fixes"] or rows["holds"] or rows["routings"] or rows["visitors"]:
        tables = ("fixes", "holds", "routings", "visitors")
        await _sql.write_visits(connection, **{table: as_json(rows[table]) for table in tables})
    for table, query in (
        ("complaints", _sql.write_complaints),
        ("reports", _sql.remember_complaints),
        ("evidence", _sql.write_evidence),
        ("joined", _sql.write_joined),
        ("joins", _sql.write_joins),
        ("stronger", _sql.strengthen_joins),
        ("outbox", outbox.write),
    ):
        if rows[table]:
            await query(connection, rows=as_json(rows[table]))
    touched = [(visit.scan.chain_id, visit.scan.scan_id) for visit in visits]
    await _sql.touch_scans(connection, **db.columns(_SCAN, touched))


def _collect(visit: Visit, directory: Directory, rows: dict[str, list[Row]]) -> None:
    scanned, visitor, now = visit.scan, visit.visitor, visit.now
    standing, seat, held_at = visitor.standing, visitor.seat, visitor.held_at
    changed = visit.forgets
    if visit.opening is not None:
        rows["scans"].append(visit.opening.row())
    if visit.fix is not None:
        rows["fixes"].append(locate.row(scanned, visit.fix, now))
        if stands := locate.stands(visit.fix, now):
            standing, changed = stands, True
    if visit.forgets:
        seat = held_at = None
    if visit.taken is not None and visit.ask is not None:
        seat, held_at, changed = visit.taken, now, True
        rows["holds"].append(hold.row(scanned, visit.ask.code, seat))
    keeps = seat is not None and seat.state is HoldState.HELD and visit.gives_up is None
    if visit.walked_in is not None and not keeps:
        seat, held_at, changed = visit.walked_in, now, True
    if visit.routing is not None and visit.routing != visit.before:
        rows["routings"].append(show.row(scanned, visit.routing, now))
        changed = changed or bool(visit.so_far.routings)
    else:
        visit.routing = None
    if visit.complaint is not None:
        rows["complaints"].append(scan.complaint(scanned, visit.complaint, visit.about, now))
        if visit.about is not None:
            rows["reports"].append(_key_row(scanned) | {"code_id": visit.about.code_id})
    if changed:
        visit.changed = True
        rows["visitors"].append(_visitor_row(scanned, seat, held_at, standing))
    if visit.joining is not None:
        _collect_joining(visit, directory, rows)


def _collect_joining(visit: Visit, directory: Directory, rows: dict[str, list[Row]]) -> None:
    joining = visit.joining
    assert joining is not None
    scanned, code, kind = visit.scan, joining.code, joining.evidence
    hold_id = joining.hold_id
    if visit.walked_in is not None:
        hold_id = visit.walked_in.hold_id
        rows["joined"].append(hold.row(scanned, code, visit.walked_in))
    rows["evidence"].append(
        join.evidence_row(scanned, hold_id, code, kind, visit.now, counts=joining.counts)
    )
    if visit.joined:
        store = directory.chains[scanned.chain_id].stores.get(code.store) if code.store else None
        placement = visit.entry.placements.get(scanned.placement or "")
        channel = placement.channel if placement else None
        row = join.row(scanned, joining.shown, hold_id, code, store, kind, channel, visit.now)
        rows["joins"].append(row)
        if Event.JOIN_CREATED in directory.chains[scanned.chain_id].webhook_events:
            rows["outbox"].append(join.created(row))
    elif joining.counts and hold_id is not None:
        rows["stronger"].append(
            {"chain_id": scanned.chain_id, "hold_id": hold_id, "evidence": kind.value}
        )


def as_json(rows: list[Row]) -> str:
    """Rows as a parameter of `json_to_recordset`. Raises `errors.BadInput` for half of a character,
    which no UTF-8 has."""
    try:
        return orjson.dumps(rows, default=_default).decode()
    except TypeError as error:
        raise errors.BadInput.of("body", f"holds a value that cannot be kept: {error}") from error


def _default(value: object) -> str:
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, uuid.UUID):
        return str(value)  # asyncpg's own kind
    raise TypeError(f"{type(value).__name__} is no JSON")


def key_of(scanned: Scan) -> Key:
    return scanned.chain_id, scanned.visitor_id, scanned.entry


def _key_row(scanned: Scan) -> Row:
    return {
        "chain_id": scanned.chain_id,
        "visitor_id": scanned.visitor_id,
        "entry": scanned.entry,
    }


def _key(row: asyncpg.Record) -> Key:
    return row["chain_id"], row["visitor_id"], row["entry"]


def _visitor(row: asyncpg.Record, holds: Mapping[uuid.UUID, asyncpg.Record]) -> Visitor:
    held = None
    if seat := holds.get(row["hold_id"]):
        held = hold.Hold(
            seat["hold_id"],
            seat["scan_id"],
            seat["code_id"],
            HoldState(seat["state"]),
            seat["held_until"],
        )
    recent = row["reported_at"] is not None and row["reported_at"] > row["now"] - _REPORTED_FOR
    return Visitor(
        revision=row["revision"],
        seat=held,
        held_at=row["held_at"],
        standing=standing_of(row),
        reported=frozenset(row["reported"]) if recent else frozenset(),
    )


def standing_of(row: asyncpg.Record) -> locate.Standing | None:
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
) -> Row:
    return _key_row(scanned) | {
        "hold_id": seat.hold_id if seat else None,
        "code_id": seat.code_id if seat else None,
        "held_at": held_at,
        "lon": standing.lon if standing else None,
        "lat": standing.lat if standing else None,
        "accuracy_m": standing.accuracy_m if standing else None,
        "source": standing.source.value if standing else None,
        "located_at": standing.located_at if standing else None,
    }
