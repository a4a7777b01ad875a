"""What is kept of pictures: a small copy beside each code, and for a while what waits for a yes."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from service import db, errors, reading
from service.domain import uuid7

_sql = db.load("copies")

PENDING_MINUTES = 15
"""How long a picture that was read and shown waits for a yes."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A picture that was read, and waits for a yes."""

    pending_id: uuid.UUID
    payload: str
    copy: reading.Copy


async def keep(
    connection: db.Connection, chain_id: uuid.UUID, copies: Mapping[uuid.UUID, reading.Copy]
) -> None:
    """Keep the copies, by code; one that is there already is replaced."""
    if not copies:
        return
    await _sql.keep(
        connection,
        chain_id=chain_id,
        code_ids=list(copies),
        pictures=[copy.data for copy in copies.values()],
        media_type=reading.COPY_MEDIA_TYPE,
        widths=[copy.width for copy in copies.values()],
        heights=[copy.height for copy in copies.values()],
    )


async def drop(
    connection: db.Connection, chain_id: uuid.UUID, code_ids: Sequence[uuid.UUID]
) -> None:
    if code_ids:
        await _sql.drop(connection, chain_id=chain_id, code_ids=list(code_ids))


async def of_code(
    connection: db.Connection, chain_id: uuid.UUID, code_id: uuid.UUID
) -> asyncpg.Record:
    """`picture`, `media_type`, `width`, `height`, `stored_at`. Raises `errors.NotFound`."""
    row = await _sql.picture_of(connection, chain_id=chain_id, code_id=code_id)
    if row is None:
        raise errors.NotFound("No picture of this code is kept")
    return row


async def put_aside(
    connection: db.Connection, chain_id: uuid.UUID, store: str, payload: str, copy: reading.Copy
) -> uuid.UUID:
    """Keep what was read for `PENDING_MINUTES`, for this store alone; by which id it is found."""
    pending_id = uuid7()
    await _sql.put_aside(
        connection,
        chain_id=chain_id,
        pending_id=pending_id,
        store=store,
        payload=payload,
        picture=copy.data,
        width=copy.width,
        height=copy.height,
    )
    return pending_id


async def pending(
    connection: db.Connection, chain_id: uuid.UUID, store: str, pending_id: uuid.UUID
) -> Pending:
    """Raises `errors.NotFound` if it has waited too long, or is another store's."""
    row = await _sql.pending(
        connection,
        chain_id=chain_id,
        pending_id=pending_id,
        store=store,
        minutes=PENDING_MINUTES,
    )
    if row is None:
        raise errors.NotFound("This picture has waited too long: send it again")
    return Pending(
        pending_id, row["payload"], reading.Copy(row["picture"], row["width"], row["height"])
    )


async def settle(connection: db.Connection, chain_id: uuid.UUID, pending_id: uuid.UUID) -> None:
    """It waits no more."""
    await _sql.settle(connection, chain_id=chain_id, pending_id=pending_id)


async def sweep(connection: db.Connection) -> int:
    """Forget what has waited too long; how many there were."""
    gone: int = await _sql.sweep(connection, minutes=PENDING_MINUTES)
    return gone
