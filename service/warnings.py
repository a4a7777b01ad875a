"""Warnings: what will break soon, or has broken; each raised once, and closed when it is mended.

```
filling        a code is 80 % full    expiring       a code expires within 48 hours
nearly_full    95 %                   expiring_soon  12 hours
full           100 %                  expired        it has
reported       several visitors say that a code does not work: it was paused
not_serving    an open store has no code that could take one more visitor
```

A warning is open exactly while what it warns of is so: a code that is full is filling, too. `check`
compares every code and store with the open warnings, in one statement, and writes the differences,
with the news of them, in one transaction. So it does not matter who changed what, or who died in
between: the next look finds it. Visitors' own transactions do nothing for it.

Seats that are held count as taken, and most of them come back by themselves within minutes. So that
a code between 79 and 80 % does not raise the same again and again, a warning of what depends on
seats is closed at once only if somebody has edited the code or store since (a head count, a new
picture, a pause, a second code); else after it has been well for `NEARCODE_WARN_QUIET_S`.

A store that has never had a code is not warned of, unless a placement is there: it has not begun.
Codes that are paused, and those of stores that are closed, are neither filling nor expiring:
nobody is sent there.
"""

import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import asyncpg

from service import db, outbox
from service.directory import Directory
from service.domain import uuid7
from service.outbox import Event
from service.settings import Settings

_sql = db.load("warnings")

# A day on which all codes of a large chain expire is taken in pieces.
_MOST_AT_ONCE = 10_000
_LOCK = 0x7761726E  # "warn": one look at a time, whichever worker's


class Kind(StrEnum):
    FILLING = "filling"
    NEARLY_FULL = "nearly_full"
    FULL = "full"
    EXPIRING = "expiring"
    EXPIRING_SOON = "expiring_soon"
    EXPIRED = "expired"
    REPORTED = "reported"
    NOT_SERVING = "not_serving"

    @property
    def severity(self) -> "Severity":
        return _SEVERITY[self]


class Severity(StrEnum):
    NOTICE = "notice"  # there is time
    WARNING = "warning"  # today
    CRITICAL = "critical"  # visitors are sent elsewhere, or nowhere


_SEVERITY = {
    Kind.FILLING: Severity.NOTICE,
    Kind.NEARLY_FULL: Severity.WARNING,
    Kind.FULL: Severity.CRITICAL,
    Kind.EXPIRING: Severity.NOTICE,
    Kind.EXPIRING_SOON: Severity.WARNING,
    Kind.EXPIRED: Severity.CRITICAL,
    Kind.REPORTED: Severity.CRITICAL,
    Kind.NOT_SERVING: Severity.CRITICAL,
}

# Of one family the gravest says it all: a page need not show the others of the same code.
_FAMILIES = {
    Kind.FILLING: ("room", 1),
    Kind.NEARLY_FULL: ("room", 2),
    Kind.FULL: ("room", 4),
    Kind.EXPIRING: ("time", 1),
    Kind.EXPIRING_SOON: ("time", 3),
    Kind.EXPIRED: ("time", 5),
    Kind.REPORTED: ("word", 6),
    Kind.NOT_SERVING: ("store", 7),
}

# What comes and goes with the seats that visitors hold.
_OF_SEATS = frozenset((Kind.FILLING, Kind.NEARLY_FULL, Kind.FULL, Kind.NOT_SERVING))


_ASK_EVERY_S = 1.0
# A look may take this share of the time: where there are millions of codes, it comes less often.
_MOST_OF_TIME = 0.05


async def check_if_due(connection: db.Connection, settings: Settings) -> tuple[int, int]:
    """`check`, unless some worker has done so within `NEARCODE_WARNINGS_S` and nothing was edited
    since."""
    started = time.monotonic()
    async with connection.transaction():
        if not await _sql.try_lock(connection, key=_LOCK):
            return 0, 0
        if not await _sql.take_turn(connection, every_s=settings.warnings_s):
            return 0, 0
        done = await check(connection, settings)
        pause_s = (time.monotonic() - started) / _MOST_OF_TIME
        await _sql.end_turn(connection, pause_s=pause_s)
    return done


async def check(
    connection: db.Connection, settings: Settings, at: datetime | None = None
) -> tuple[int, int]:
    """Raise and close what is due in all chains; how many of each. `at`: the time, by default
    PostgreSQL's. If another worker is looking just now, nothing is done."""
    async with connection.transaction():
        if not await _sql.try_lock(connection, key=_LOCK):
            return 0, 0
        found = await db.rows(
            _sql.differences(
                connection,
                filling=settings.warn_filling_percent,
                nearly_full=settings.warn_nearly_full_percent,
                expiring_hours=settings.warn_expiring_hours,
                expiring_soon_hours=settings.warn_expiring_soon_hours,
                at=at,
                most=_MOST_AT_ONCE,
            )
        )
        new = [row for row in found if row["warning_id"] is None]
        mended: list[asyncpg.Record] = []
        noted: list[tuple[asyncpg.Record, datetime | None]] = []
        quiet = timedelta(seconds=settings.warn_quiet_s)
        for row in found:
            if row["warning_id"] is None:
                continue
            since = row["mended_since"]
            if row["wrong"]:
                noted.append((row, None))
            elif (
                row["kind"] not in _OF_SEATS
                or row["version"] > row["version_then"]
                or (since or row["at"]) + quiet <= row["at"]
            ):
                mended.append(row)
            elif since is None:
                noted.append((row, row["at"]))
        raised = await _raise(connection, new) if new else []
        closed = await _close(connection, mended) if mended else []
        if noted:
            await _note(connection, noted)
        for rows, event in ((raised, Event.WARNING_RAISED), (closed, Event.WARNING_CLOSED)):
            await _tell(connection, rows, event)
        return len(raised), len(closed)


class Watch:
    """One worker's part in looking: `look` often, it asks when it may be due."""

    def __init__(self, pool: asyncpg.Pool, directory: Directory, settings: Settings) -> None:
        self._pool, self._directory, self._settings = pool, directory, settings
        self._seen = 0  # the catalog's versions at the last look
        self._due_at = 0.0

    async def look(self) -> None:
        """Every `NEARCODE_WARNINGS_S`, and sooner if somebody has edited the catalog."""
        now = time.monotonic()
        versions = sum(chain.version for chain in self._directory.chains.values())
        if now < self._due_at and versions == self._seen:
            return
        async with db.acquire(self._pool) as connection:
            await check_if_due(connection, self._settings)
        # What was edited while it could not be looked at is seen with the next look that is due.
        self._seen, self._due_at = versions, now + min(self._settings.warnings_s, _ASK_EVERY_S)


async def _raise(connection: db.Connection, new: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
    return await db.rows(
        _sql.raise_warnings(
            connection,
            chain_ids=[row["chain_id"] for row in new],
            warning_ids=[uuid7() for _ in new],
            kinds=[row["kind"] for row in new],
            stores=[row["store"] for row in new],
            code_ids=[row["code_id"] for row in new],
            versions=[row["version"] for row in new],
            at=new[0]["at"],
        )
    )


async def _close(
    connection: db.Connection, mended: Sequence[asyncpg.Record]
) -> list[asyncpg.Record]:
    return await db.rows(
        _sql.close_warnings(
            connection,
            chain_ids=[row["chain_id"] for row in mended],
            warning_ids=[row["warning_id"] for row in mended],
            at=mended[0]["at"],
        )
    )


async def _tell(connection: db.Connection, rows: Sequence[asyncpg.Record], event: Event) -> None:
    """To those systems that want to hear of it."""
    wanting = await outbox.wanting(connection, [event]) if rows else ()
    asked = [row for row in rows if row["chain_id"] in wanting]
    if not asked:
        return
    told = await db.rows(
        _sql.get_warnings(
            connection,
            chain_ids=[row["chain_id"] for row in asked],
            warning_ids=[row["warning_id"] for row in asked],
        )
    )
    await outbox.put_rows(
        connection, [outbox.row(row["chain_id"], event, public(row)) for row in told]
    )


async def _note(
    connection: db.Connection, noted: Sequence[tuple[asyncpg.Record, datetime | None]]
) -> None:
    await _sql.note_warnings(
        connection,
        chain_ids=[row["chain_id"] for row, _ in noted],
        warning_ids=[row["warning_id"] for row, _ in noted],
        mended_sinces=[since for _, since in noted],
        # Whoever edits it from here on mends it.
        versions=[row["version"] if row["wrong"] else row["version_then"] for row, _ in noted],
    )


# ---------------------------------------------------------------- asking


async def open_for(
    connection: db.Connection,
    chain_id: uuid.UUID,
    scope: list[str] | None,
    *,
    store: str | None = None,
    most: int = 100,
) -> list[asyncpg.Record]:
    """What a page shows: of each code and store the gravest open warning of each family, the
    gravest first. `scope`: the stores that may be seen (`Caller.scope`), None for all; `store`: of
    this one alone.

    Besides the warning's own columns each has `store_name`, `city`, and its code's `label`,
    `members`, `held`, `capacity` and `expires_at` as they are now. `web.warning_words` puts it into
    words.
    """
    return await db.rows(
        _sql.open_warnings(
            connection,
            chain_id=chain_id,
            scope=scope,
            store=store,
            kinds=[kind.value for kind in _FAMILIES],
            families=[family for family, _ in _FAMILIES.values()],
            gravities=[gravity for _, gravity in _FAMILIES.values()],
            most=most,
        )
    )


async def counts(
    connection: db.Connection, chain_id: uuid.UUID, scope: list[str] | None
) -> dict[Kind, int]:
    """How many are open, by kind; kinds of which none is are left out."""
    rows = await db.rows(_sql.count_open(connection, chain_id=chain_id, scope=scope))
    return {Kind(row["kind"]): row["warnings"] for row in rows}


async def listed(
    connection: db.Connection,
    chain_id: uuid.UUID,
    scope: list[str] | None,
    *,
    store: str | None = None,
    past: bool = False,
    before: uuid.UUID | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """Every open warning, newest first; with `past` those that are closed, too. `before`: older
    than this one."""
    return await db.rows(
        _sql.list_warnings(
            connection,
            chain_id=chain_id,
            scope=scope,
            store=store,
            past=past,
            before=before,
            most=most,
        )
    )


def public(row: asyncpg.Record) -> dict[str, Any]:
    """A warning as the API and webhooks tell it."""
    names = (
        "warning_id", "kind", "store", "store_name", "city", "code_id", "label", "details",
        "raised_at", "closed_at",
    )  # fmt: skip
    return {name: row[name] for name in names} | {"severity": Kind(row["kind"]).severity.value}


async def forget(connection: db.Connection, settings: Settings) -> None:
    """Those that were closed long ago."""
    if settings.warnings_days:
        await _sql.forget_closed(connection, days=settings.warnings_days)
