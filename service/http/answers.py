"""What the JSON of HQ and managers has in common: lists with cursors, reach, reports of imports.

A `read` key reads, an `hq` key does all in its chain, a `manager` key does the codes of its own
stores. Outside one's reach: 404.
"""

from typing import Annotated, Any
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import Query

from service import (
    catalog,
    errors,
    importing,
    tabular,
)
from service.accounts import Caller
from service.http import context
from service.runtime import Service

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=400)]


def within(caller: Caller, store: str) -> None:
    """Raises `errors.NotFound` for a store out of the caller's reach."""
    if not caller.sees_store(store):
        raise errors.NotFound(f"There is no store {store}")


def page(
    noun: str, rows: list[asyncpg.Record], limit: int, key: str, as_json: Any
) -> dict[str, Any]:
    """A list and its cursor; `rows` has one more than fits if there are more."""
    shown = rows[:limit]
    after = str(shown[-1][key]) if len(rows) > limit else None
    return {noun: [as_json(row) for row in shown], "next": context.cursor(after)}


def told(row: importing.Rejected | importing.Warned) -> dict[str, Any]:
    """A row of an import that was rejected or doubted."""
    return {"row": row.row, "field": row.field, "detail": row.detail}


def changes(done: catalog.Imported) -> list[dict[str, Any]]:
    """What a dry run would do, thing by thing."""
    return [
        {"subject": change.subject, "before": change.before, "after": change.after}
        for change in done.changes
    ]


def table(data: bytes, filename: str | None) -> tabular.Table:
    """An uploaded file's table. Raises `errors.BadInput`."""
    try:
        return tabular.read(data, filename)
    except tabular.UnreadableTable as error:
        raise errors.BadInput.of("file", str(error)) from error


def timezone(service: Service, caller: Caller) -> ZoneInfo:
    """The chain's: what days and times without an offset are in."""
    return ZoneInfo(service.directory.chains[caller.chain_id].timezone)
