"""The outbox: what happened, for other systems, written by the transaction in which it happened.

So nothing is told of what was rolled back, and nothing that was committed is left untold, whoever
dies in between. `webhook_delivery` sends it afterwards.

```
async with connection.transaction():
    ...
    await outbox.put(connection, chain_id, Event.ORDER_MATCHED, {"order": ...})
```

An event is kept only for endpoints that want it at that moment (`webhooks`).
"""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from service import db
from service.domain import uuid7

_sql = db.load("outbox")


class Event(StrEnum):
    """What endpoints may ask to hear of."""

    WARNING_RAISED = "warning.raised"
    WARNING_CLOSED = "warning.closed"
    JOIN_CREATED = "join.created"
    JOIN_LEFT = "join.left"
    ORDER_MATCHED = "order.matched"


def row(
    chain_id: uuid.UUID, event: str, data: Mapping[str, Any], at: datetime | None = None
) -> dict[str, Any]:
    """An event as a row; `at`: when it happened, by default now. What is sent is set down here:
    it is the same bytes at every attempt."""
    told = {"type": str(event), "timestamp": at or datetime.now(UTC), "data": data}
    return {
        "chain_id": chain_id,
        "event_id": uuid7(),
        "event": str(event),
        "body": orjson.dumps(told, default=str, option=orjson.OPT_UTC_Z).decode(),
    }


async def put(
    connection: db.Connection,
    chain_id: uuid.UUID,
    event: Event,
    *data: Mapping[str, Any],
    at: datetime | None = None,
) -> None:
    """Tell of one or more events of a kind, in the transaction of `connection`."""
    await put_rows(connection, [row(chain_id, event, each, at) for each in data])


async def put_rows(connection: db.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """The same for rows that `row` has made."""
    if rows:
        await write(connection, rows=orjson.dumps(rows, default=str).decode())


async def write(connection: db.Connection, rows: str) -> None:
    """The same for such rows as JSON."""
    await _sql.put(connection, rows=rows)


async def wanting(connection: db.Connection, events: Iterable[Event]) -> Collection[uuid.UUID]:
    """The chains in which somebody wants to hear of one of these."""
    found = await db.rows(_sql.wanting(connection, events=[event.value for event in events]))
    return {each["chain_id"] for each in found}
