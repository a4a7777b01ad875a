"""report: what became of the scans. Conversion is defined in `sql/report.sql`, and only there."""

import csv
import io
import math
import uuid
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

import asyncpg

from service import db

_sql = db.load("report")

COUNTS = (
    "scans", "visitors", "located", "shown", "pressed", "reported", "verified", "joined", "left",
)  # fmt: skip
COLUMNS = ("key", *COUNTS, "conversion", "conversion_low", "conversion_high")
UNSERVED_COLUMNS = ("reason", "province", "city", "district", "lon", "lat", "scans")

_Z_95 = 1.959963984540054  # the standard normal's 97.5 % quantile


class By(StrEnum):
    """What a report's rows are."""

    STORE = "store"
    BRAND = "brand"
    PROVINCE = "province"
    CITY = "city"
    DISTRICT = "district"
    ENTRY = "entry"
    PLACEMENT = "placement"
    CHANNEL = "channel"
    VARIANT = "variant"
    SOURCE = "source"
    DAY = "day"  # of the scan, in the chain's time zone
    WEEK = "week"  # ISO 8601: 2026-W05
    MONTH = "month"
    HOUR = "hour"
    NONE = "none"  # one row: all


async def funnel(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    by: By,
    since: datetime | None = None,
    until: datetime | None = None,
    entry: str | None = None,
    store: str | None = None,
    city: str | None = None,
    channel: str | None = None,
    scope: list[str] | None = None,
) -> dict[str, Any]:
    """`{total, rows}`: rows by key, null last; `until` is excluded. Bots are left out."""
    async with connection.transaction(readonly=True):
        await _sql.plan_anew(connection)
        found = await db.rows(
            _sql.funnel(
                connection,
                chain_id=chain_id,
                by=by.value,
                since=since,
                until=until,
                entry=entry,
                store=store,
                city=city,
                channel=channel,
                scope=scope,
            )
        )
    total = next(_row(row, "total") for row in found if row["kind"] == "total")
    if by is By.NONE:
        return {"total": total, "rows": [{**total, "key": "all"}]}
    return {
        "total": total,
        "rows": [_row(row, row["key"]) for row in found if row["kind"] == "row"],
    }


def _row(row: asyncpg.Record, key: str | None) -> dict[str, Any]:
    counts = {name: row[name] for name in COUNTS}
    low, high = wilson(counts["joined"], counts["scans"])
    conversion = counts["joined"] / counts["scans"] if counts["scans"] else None
    return {
        "key": key,
        **counts,
        "conversion": _share(conversion),
        "conversion_low": _share(low),
        "conversion_high": _share(high),
    }


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def wilson(successes: int, trials: int) -> tuple[float, float] | tuple[None, None]:
    """The 95 % score interval of a proportion; nothing for no trials.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, Journal of
    the American Statistical Association 22 (1927), doi:10.1080/01621459.1927.10502953.
    """
    if trials == 0:
        return None, None
    share, z2 = successes / trials, _Z_95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = (
        _Z_95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    )
    return max(0.0, middle - half), min(1.0, middle + half)


async def unserved(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    whole_chain: bool = True,
) -> list[dict[str, Any]]:
    """Where scans ended without a code, and why, most first; places to about 1 km."""
    async with connection.transaction(readonly=True):
        await _sql.plan_anew(connection)
        rows = await db.rows(
            _sql.unserved(
                connection, chain_id=chain_id, since=since, until=until, scope_all=whole_chain
            )
        )
    return [dict(row) for row in rows]


def as_csv(rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> str:
    """Rows as CSV with a byte order mark, so that Excel reads Chinese; no cell is a formula."""
    text = io.StringIO()
    text.write("\ufeff")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row[column]) for column in columns] for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula is quoted (OWASP, CSV injection)."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
