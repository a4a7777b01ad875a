"""The log of changes: who, what, before, after, when; written in the change's own transaction.

Who acts is known at the door: the HTTP caller, the console session and the command line say so by
`act_as`, once, and what is changed from there on is theirs. Whoever changes something calls
`record` on the connection that changes it:

```
async with connection.transaction():
    ...
    await audit.record(connection, chain_id, "webhook.create", str(webhook_id), after={...})
```
"""

import contextlib
import itertools
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import asyncpg
import orjson

from service import db
from service.domain import uuid7

_sql = db.load("audit")


class ActorKind(StrEnum):
    PERSON = "person"  # of HQ, or a reader
    MANAGER = "manager"
    KEY = "key"  # a program, or whoever signed in with a key
    CLI = "cli"  # somebody on the server
    VISITORS = "visitors"  # what several of them said of a code
    SYSTEM = "system"  # nearcode itself


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes something; the name as it was then."""

    kind: ActorKind
    name: str
    actor_id: uuid.UUID | None = None


SYSTEM = Actor(ActorKind.SYSTEM, "nearcode")
VISITORS = Actor(ActorKind.VISITORS, "visitors")

_acting: ContextVar[Actor] = ContextVar("acting", default=SYSTEM)

# What must not be in a log, whoever hands it in.
_SECRET = re.compile(r"(.*_)?(hash|key|password|secret|token)")
_MOST_NAMED = 500


def act_as(actor: Actor) -> None:
    """From here on, in this task and those that it starts, it is they who change things."""
    _acting.set(actor)


@contextlib.contextmanager
def acting(actor: Actor) -> Iterator[None]:
    """The same for a block."""
    before = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(before)


def actor() -> Actor:
    """Who acts; `SYSTEM` where nobody has said so."""
    return _acting.get()


async def record(
    connection: db.Connection,
    chain_id: uuid.UUID,
    action: str,
    subject: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    store: str | None = None,
) -> None:
    """Log a change, in the transaction of `connection`.

    `action` is `thing.verb` (`code.create`); `subject` the thing's number, name or id; `store` the
    shop that it belongs to, if it does. Of `before` and `after` only what differs is kept: where
    both are given and nothing does, nothing was changed and nothing is logged.
    """
    if before is not None and after is not None:
        was, became = before, after
        before = {name: value for name, value in was.items() if became.get(name, value) != value}
        after = {name: value for name, value in became.items() if was.get(name) != value}
        if not after:
            return
    by = actor()
    await _sql.insert_record(
        connection,
        chain_id=chain_id,
        audit_id=uuid7(),
        actor_kind=by.kind.value,
        actor_id=by.actor_id,
        actor_name=by.name,
        action=action,
        subject=subject,
        store=store,
        before=_kept(before),
        after=_kept(after),
    )


async def forget(connection: db.Connection, days: float) -> None:
    """What was changed so many days ago; 0: nothing."""
    if days:
        await _sql.forget(connection, days=days)


def some(names: Iterable[object]) -> list[str]:
    """The first of the thousands of things that an import has changed."""
    return [str(name) for name in itertools.islice(names, _MOST_NAMED)]


def _kept(values: Mapping[str, Any] | None) -> Any:
    """As JSON has it, without secrets."""
    if values is None:
        return None
    told = {name: value for name, value in values.items() if not _SECRET.fullmatch(name)}
    return orjson.loads(orjson.dumps(told, default=str))


async def records(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    who: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: uuid.UUID | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """The log, newest first. `who`: an id, a kind or part of a name; `action`: whole, or the thing
    alone (`code`); `subject`: the thing, or the store that it belongs to; `until` is excluded;
    `before`: older than this record."""
    return await db.rows(
        _sql.list_records(
            connection,
            chain_id=chain_id,
            who=who,
            action=action,
            subject=subject,
            since=since,
            until=until,
            before=before,
            most=most,
        )
    )
