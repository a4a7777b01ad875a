"""Retention: raw rows are dropped by whole months; the roll-ups of them stay."""

from dataclasses import dataclass
from datetime import date, datetime

import asyncpg

from service import db, errors, rollups

_sql = db.load("retention")

# Visitors wait meanwhile: rather another time.
_LOCK_TIMEOUT = "2s"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A month's partitions that are gone, and how many bytes they took."""

    month: date
    tables: tuple[str, ...]
    size_bytes: int


def first_kept(now: datetime, months: int) -> date:
    """The first day of the oldest month that is kept beside the current one."""
    place = now.year * 12 + now.month - 1 - months
    return date(place // 12, place % 12 + 1, 1)


async def due(connection: db.Connection, before: date) -> list[date]:
    """The months before that day whose raw rows are there."""
    return [row["month"] for row in await db.rows(_sql.months(connection, before=before))]


async def drop(connection: db.Connection, month: date) -> Dropped:
    """Drop a month's raw rows, once all that happened in it is in the roll-ups. Raises
    `errors.Conflict` if a seat of then is still held, or the tables are too busy just now."""
    await rollups.follow(connection)
    try:
        async with connection.transaction():
            await rollups.alone(connection)
            await _sql.limit_waiting(connection, timeout=_LOCK_TIMEOUT)
            tables = [
                row["name"] for row in await db.rows(_sql.partitions(connection, month=month))
            ]
            if await _sql.is_busy(connection, month=month):
                raise errors.Conflict(f"{month:%Y-%m} is still in use: it stays for now")
            size = int(await _sql.size(connection, names=tables))
            await _sql.note(connection, month=month)
            for table in tables:
                await connection.execute(f'DROP TABLE "{table}"', timeout=db.PATIENCE_S)
    except asyncpg.LockNotAvailableError as error:
        raise errors.Conflict(f"{month:%Y-%m}: the tables are busy, it stays for now") from error
    return Dropped(month, tuple(tables), size)
