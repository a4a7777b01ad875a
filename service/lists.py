"""What HQ's console lists, sorted, searched and cut into pages by PostgreSQL.

Each list answers its rows of one page, and how many there are on all of them.
"""

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from service import db

_sql = db.load("lists")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Which part of a list: `sort` is a column, '' the list's own order; `most` rows after the
    first `skip`."""

    q: str = ""
    sort: str = ""
    down: bool = False
    most: int = 50
    skip: int = 0

    def bound(self) -> dict[str, Any]:
        return {
            "q": self.q or None,
            "sort": self.sort,
            "down": self.down,
            "most": self.most,
            "skip": self.skip,
        }


@dataclass(frozen=True, slots=True)
class Found:
    rows: list[dict[str, Any]]
    total: int


async def stores(
    connection: db.Connection,
    chain_id: uuid.UUID,
    ask: Ask,
    *,
    city: str | None = None,
    status: str | None = None,
) -> Found:
    """`status`: open, closed, or dark: open and without a code that can serve."""
    return await _found(
        _sql.stores(connection, chain_id=chain_id, city=city, status=status, **ask.bound()), ask
    )


async def codes(
    connection: db.Connection,
    chain_id: uuid.UUID,
    ask: Ask,
    *,
    state: str | None = None,
    store: str | None = None,
) -> Found:
    return await _found(
        _sql.codes(connection, chain_id=chain_id, state=state, store=store, **ask.bound()), ask
    )


async def placements(
    connection: db.Connection,
    chain_id: uuid.UUID,
    ask: Ask,
    *,
    entry: str | None = None,
    channel: str | None = None,
) -> Found:
    return await _found(
        _sql.placements(connection, chain_id=chain_id, entry=entry, channel=channel, **ask.bound()),
        ask,
    )


async def orders(
    connection: db.Connection,
    chain_id: uuid.UUID,
    ask: Ask,
    *,
    since: datetime,
    until: datetime,
    member_hash: bytes | None = None,
    matched: bool | None = None,
    store: str | None = None,
) -> Found:
    """`member_hash`: of the member that `ask.q` names, if it names one; `until` is excluded."""
    return await _found(
        _sql.orders(
            connection,
            chain_id=chain_id,
            since=since,
            until=until,
            member_hash=member_hash,
            matched=matched,
            store=store,
            **ask.bound(),
        ),
        ask,
    )


async def cities(connection: db.Connection, chain_id: uuid.UUID) -> list[str]:
    return [row["city"] for row in await db.rows(_sql.cities(connection, chain_id=chain_id))]


async def _found(query: AsyncIterator[asyncpg.Record], ask: Ask) -> Found:
    rows = [dict(row) for row in await db.rows(query)]
    return Found(rows, rows[0]["total"] if rows else 0)
