"""join: evidence turns a hold into a join, tagged with where it happened.

Evidence is kept whatever becomes of it. A seat becomes a member's when the evidence reaches what
its code is counted by; a seat that has expired meanwhile is taken again if there is room.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from service import db, outbox
from service.domain import (
    Code,
    Counters,
    Evidence,
    Routing,
    Scan,
    Store,
    distance_band,
    uuid7,
)

_sql = db.load("join")
_journal = db.load("journal")


def evidence_row(
    scan: Scan,
    hold_id: uuid.UUID | None,
    code: Code,
    evidence: Evidence,
    at: datetime,
    *,
    counts: bool,
) -> dict[str, Any]:
    """The evidence that the visitor of that scan joined `code`."""
    return {
        "chain_id": scan.chain_id,
        "evidence_id": uuid7(at),
        "scan_id": scan.scan_id,
        "hold_id": hold_id,
        "code_id": code.code_id,
        "store": code.store,
        "kind": evidence.value,
        "counts": counts,
        "seen_at": at,
    }


def row(
    scan: Scan,
    shown: Routing,
    hold_id: uuid.UUID | None,
    code: Code,
    store: Store | None,
    evidence: Evidence,
    channel: str | None,
    at: datetime,
) -> dict[str, Any]:
    """The join of `shown`'s visitor, with its LBS tags: the store's place, or else the fix's."""
    tagged = store or shown.located
    return {
        "chain_id": scan.chain_id,
        "join_id": uuid7(at),
        "scan_id": scan.scan_id,
        "hold_id": hold_id,
        "visitor_id": scan.visitor_id,
        "entry": scan.entry,
        "placement": scan.placement,
        "channel": channel,
        "code_id": code.code_id,
        "store": code.store,
        "province": tagged.province if tagged else None,
        "city": tagged.city if tagged else None,
        "district": tagged.district if tagged else None,
        "source": shown.located.source.value if shown.located else None,
        "distance_m": shown.distance_m,
        "distance_band": distance_band(shown.distance_m),
        "evidence": evidence.value,
        "joined_at": at,
    }


PUBLIC = (
    "join_id", "scan_id", "visitor_id", "entry", "placement", "channel", "code_id", "store",
    "province", "city", "district", "source", "distance_m", "distance_band", "evidence",
    "joined_at", "left_at",
)  # fmt: skip


def public(row: Mapping[str, Any]) -> dict[str, Any]:
    """A join with its LBS tags, as the API and webhooks tell it."""
    return {name: row.get(name) for name in PUBLIC}


def created(row: Mapping[str, Any]) -> dict[str, Any]:
    """The news of a join, for the outbox; `row` is the join's."""
    return outbox.row(row["chain_id"], outbox.Event.JOIN_CREATED, public(row), row["joined_at"])


async def leave(
    connection: db.Connection, chain_id: uuid.UUID, join_id: uuid.UUID
) -> tuple[asyncpg.Record | None, Counters | None]:
    """A member has left. The join as it then stands, None if there is none; and the code's counters
    if a place was freed: who leaves twice leaves once. Runs in the caller's transaction."""
    key = {"chain_id": chain_id, "join_id": join_id}
    found = await _sql.get_join(connection, **key)
    if found is None:
        return None, None
    # The code before its hold, as everybody does.
    await db.rows(
        _journal.lock_codes(connection, chain_ids=[chain_id], code_ids=[found["code_id"]])
    )
    before = await _sql.get_join(connection, **key)
    freed = await _sql.leave(connection, **key)
    after = await _sql.get_join(connection, **key)
    if before["left_at"] is None:
        await outbox.put(
            connection, chain_id, outbox.Event.JOIN_LEFT, public(after), at=after["left_at"]
        )
    return after, freed and Counters(**freed)


async def next_url(
    connection: db.Connection,
    chain_id: uuid.UUID,
    scan_id: uuid.UUID,
    hold_id: uuid.UUID | None,
) -> str | None:
    """Where a CRM sends the visitor of that scan, or of that seat, since they have joined."""
    found: str | None = await _sql.next_url(
        connection, chain_id=chain_id, scan_id=scan_id, hold_id=hold_id
    )
    return found


async def exported(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    after: uuid.UUID | None = None,
    since: datetime | None = None,
    stores: list[str] | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """Joins with their LBS tags, oldest first, from behind `after`; of all stores by default."""
    return await db.rows(
        _sql.list_joins(
            connection, chain_id=chain_id, after=after, since=since, stores=stores, most=most
        )
    )
