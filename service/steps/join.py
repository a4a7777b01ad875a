"""join: evidence turns a hold into a join, tagged with where it happened.

Evidence is kept whatever becomes of it. A seat becomes a member's when the evidence reaches what
its code is counted by; a seat that has expired meanwhile is taken again if there is room.
"""

import uuid
from datetime import UTC, datetime

import asyncpg

from service import db
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


async def witness(
    connection: db.Connection,
    scan: Scan,
    shown: Routing,
    code: Code,
    store: Store | None,
    evidence: Evidence,
    channel: str | None,
) -> Counters | None:
    """Keep the evidence that the visitor of `shown` joined `code`.

    The code's counters if they changed. The same evidence twice is kept once.
    The caller has locked the visitor.
    """
    counts = evidence.counts_for(code.counted_by)
    known = await _sql.has_evidence(
        connection,
        chain_id=scan.chain_id,
        scan_id=scan.scan_id,
        hold_id=shown.hold_id,
        kind=evidence.value,
    )
    if not known:
        await _sql.insert_evidence(
            connection,
            chain_id=scan.chain_id,
            evidence_id=uuid7(),
            scan_id=scan.scan_id,
            hold_id=shown.hold_id,
            code_id=code.code_id,
            store=code.store,
            kind=evidence.value,
            counts=counts,
            seen_at=datetime.now(UTC),
        )
    if not counts or shown.hold_id is None:
        return None
    key = {"chain_id": scan.chain_id, "hold_id": shown.hold_id}
    seat = await _sql.join_held(connection, **key)
    if seat is None:
        seat = await _sql.join_late(connection, **key, code_id=code.code_id)
    if seat is None:
        await _sql.strengthen_join(connection, **key, evidence=evidence.value)
        return None
    tagged = store or shown.located
    await _sql.insert_join(
        connection,
        **key,
        join_id=uuid7(),
        scan_id=scan.scan_id,
        visitor_id=scan.visitor_id,
        entry=scan.entry,
        placement=scan.placement,
        channel=channel,
        code_id=code.code_id,
        store=code.store,
        province=tagged.province if tagged else None,
        city=tagged.city if tagged else None,
        district=tagged.district if tagged else None,
        source=shown.located.source.value if shown.located else None,
        distance_m=shown.distance_m,
        distance_band=distance_band(shown.distance_m),
        evidence=evidence.value,
        joined_at=datetime.now(UTC),
    )
    return Counters(**seat)


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
