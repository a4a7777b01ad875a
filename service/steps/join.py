"""join: evidence turns a hold into a join, tagged with where it happened.

Evidence is kept whatever becomes of it. A seat becomes a member's when the evidence reaches what
its code is counted by; a seat that has expired meanwhile is taken again if there is room.
"""

import uuid
from datetime import datetime

import asyncpg

from service import db
from service.domain import (
    Code,
    Evidence,
    Routing,
    Scan,
    Store,
    distance_band,
    uuid7,
)

_sql = db.load("join")


def evidence_row(
    scan: Scan,
    hold_id: uuid.UUID | None,
    code: Code,
    evidence: Evidence,
    at: datetime,
    *,
    counts: bool,
) -> tuple[object, ...]:
    """The evidence that the visitor of that scan joined `code`."""
    return (
        scan.chain_id,
        uuid7(at),
        scan.scan_id,
        hold_id,
        code.code_id,
        code.store,
        evidence.value,
        counts,
        at,
    )


def row(
    scan: Scan,
    shown: Routing,
    hold_id: uuid.UUID | None,
    code: Code,
    store: Store | None,
    evidence: Evidence,
    channel: str | None,
    at: datetime,
) -> tuple[object, ...]:
    """The join of `shown`'s visitor, with its LBS tags: the store's place, or else the fix's."""
    tagged = store or shown.located
    return (
        scan.chain_id,
        uuid7(at),
        scan.scan_id,
        hold_id,
        scan.visitor_id,
        scan.entry,
        scan.placement,
        channel,
        code.code_id,
        code.store,
        tagged.province if tagged else None,
        tagged.city if tagged else None,
        tagged.district if tagged else None,
        shown.located.source.value if shown.located else None,
        shown.distance_m,
        distance_band(shown.distance_m),
        evidence.value,
        at,
    )


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
