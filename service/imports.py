"""Imports that go on after they were answered: a row tells how far each has come.

The worker that was asked does the work. If it dies, the import has done some of it: the row says
so after a minute, and the same file sent again does the rest.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import structlog

from service import bulk, db, errors
from service.domain import uuid7

log = structlog.get_logger("nearcode")

_sql = db.load("imports")

_AT_ONCE = 3
_NOTE_EVERY_S = 1
_LOST_AFTER_S = 60
_KEPT_DAYS = 30
_LOST = (
    "the worker that did this has ended: send the file again, what is done stays as it is, and the "
    "rest is done"
)

Work = Callable[[bulk.Progress], Awaitable[None]]


class Imports:
    """One worker's imports."""

    def __init__(self, connect: db.Connect) -> None:
        self._connect = connect
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(
        self,
        chain_id: uuid.UUID,
        actor_id: uuid.UUID | None,
        file: str,
        work: Work,
        *,
        dry_run: bool,
    ) -> uuid.UUID:
        """Begin; the import's id. Raises `errors.Unavailable` while several are under way."""
        if len(self._tasks) >= _AT_ONCE:
            raise errors.Unavailable("Several imports are under way: try again", retry_after_s=30)
        import_id = uuid7()
        async with self._connect() as connection:
            await _sql.begin(
                connection,
                chain_id=chain_id,
                import_id=import_id,
                file=file[:200],
                dry_run=dry_run,
                actor_id=actor_id,
            )
        task = asyncio.create_task(self._run(chain_id, import_id, work, dry_run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return import_id

    async def close(self) -> None:
        """End those under way; their rows say so."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    async def _run(
        self, chain_id: uuid.UUID, import_id: uuid.UUID, work: Work, dry_run: bool
    ) -> None:
        progress = bulk.Progress(dry_run=dry_run)
        noting = asyncio.create_task(self._noting(chain_id, import_id, progress))
        state = "failed"
        detail: str | None = _LOST
        try:
            await work(progress)
            state, detail = "done", None
        except errors.NearcodeError as error:
            detail = error.detail
        except asyncio.CancelledError:
            log.warning("an import was cut off", import_id=str(import_id))
        except Exception:
            log.exception("an import failed", import_id=str(import_id))
            detail = "something went wrong: see the log"
        noting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await noting
        await self._note(chain_id, import_id, progress)
        async with self._connect() as connection:
            await _sql.end(
                connection,
                chain_id=chain_id,
                import_id=import_id,
                state=state,
                detail=detail,
                report=report_of(progress),
            )

    async def _noting(
        self, chain_id: uuid.UUID, import_id: uuid.UUID, progress: bulk.Progress
    ) -> None:
        while True:
            await asyncio.sleep(_NOTE_EVERY_S)
            with contextlib.suppress(errors.Unavailable, asyncpg.PostgresError, OSError):
                await self._note(chain_id, import_id, progress)

    async def _note(
        self, chain_id: uuid.UUID, import_id: uuid.UUID, progress: bulk.Progress
    ) -> None:
        async with self._connect() as connection:
            await _sql.note(
                connection,
                chain_id=chain_id,
                import_id=import_id,
                total=progress.total,
                done=len(progress.lines),
                created=progress.count(bulk.Became.CREATED),
                unchanged=progress.count(bulk.Became.UNCHANGED),
                rejected=progress.count(bulk.Became.REJECTED),
            )


def report_of(progress: bulk.Progress) -> dict[str, Any]:
    """What an import did, as JSON: `rejected` by row; where they are pictures, `files`, what became
    of each; of a dry run `changes`, the first of what it would do."""
    rejected = [
        {"row": line.row, "field": line.field, "detail": line.why}
        | ({"reason": line.reason} if line.reason else {})
        | ({"file": line.file} if line.file else {})
        for line in progress.lines
        if line.became is bulk.Became.REJECTED
    ]
    files = [
        {"file": line.file, "store": line.store, "became": line.became.value}
        | ({"reason": line.reason, "detail": line.detail} if line.detail else {})
        for line in progress.lines
        if line.file
    ]
    changes = [
        {"subject": change.subject, "before": change.before, "after": change.after}
        for change in progress.changes
    ]
    return {
        "created": progress.count(bulk.Became.CREATED),
        "unchanged": progress.count(bulk.Became.UNCHANGED),
        "rejected": rejected,
        **({"files": files} if files else {}),
        **({"changes": changes} if progress.dry_run else {}),
    }


async def get(
    connection: db.Connection, chain_id: uuid.UUID, import_id: uuid.UUID
) -> asyncpg.Record:
    """Raises `errors.NotFound`."""
    row = await _sql.get(connection, chain_id=chain_id, import_id=import_id)
    if row is None:
        raise errors.NotFound("There is no such import")
    return row


async def latest(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    actor_id: uuid.UUID | None = None,
    after: uuid.UUID | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """Newest first; `actor_id`: of this one alone."""
    return await db.rows(
        _sql.latest(connection, chain_id=chain_id, actor_id=actor_id, after=after, most=most)
    )


async def sweep(connection: db.Connection) -> None:
    """Give up those whose worker has died, and forget what is old."""
    await _sql.give_up(connection, seconds=_LOST_AFTER_S, detail=_LOST)
    await _sql.forget(connection, days=_KEPT_DAYS)
