"""Invitations: links that make somebody a manager of stores, or sign one in on another phone.

A link works once, for `NEARCODE_INVITATION_DAYS`, until it is revoked. Who has used it is signed in
and needs no password. Its token is 32 random bytes, told when the invitation is made; only the
SHA-256 of it is kept.
"""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import asyncpg

from service import accounts, audit, db, errors, people
from service.domain import Role, uuid7
from service.importing import ManagerRow, Rejected
from service.settings import Settings

_sql = db.load("invitations")


class State(StrEnum):
    OPEN = "open"
    USED = "used"
    REVOKED = "revoked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Made:
    """An invitation, and the `token` in its link, which cannot be told again."""

    invitation_id: uuid.UUID
    name: str
    stores: tuple[str, ...]
    expires_at: datetime
    token: str

    def link(self, settings: Settings) -> str:
        return link(self.token, settings)


def link(token: str, settings: Settings) -> str:
    """What a manager opens."""
    return f"{settings.public_url}/m/join/{token}"


@dataclass(frozen=True, slots=True)
class ManyMade:
    """What a table of managers has led to: each with its row, in the table's order."""

    created: tuple[tuple[int, Made], ...]
    rejected: tuple[Rejected, ...]


async def create(
    connection: db.Connection,
    chain_id: uuid.UUID,
    settings: Settings,
    *,
    stores: Sequence[str] = (),
    name: str = "",
    person_id: uuid.UUID | None = None,
) -> Made:
    """Invite somebody to stores; or (`person_id`) a manager who is there, on another phone. Without
    a name it is that of the stores.

    Raises `errors.BadInput`, `errors.NotFound` (person), `errors.Conflict` (no manager, or one who
    is not active).
    """
    async with connection.transaction():
        if person_id is not None:
            if stores or name:
                raise errors.BadInput.of("person_id", "name and stores are the person's own")
            person = await people.get(connection, chain_id, person_id)
            if person["role"] != Role.MANAGER.value or person["deactivated_at"] is not None:
                raise errors.Conflict("This is no manager who may sign in")
            name, stores = person["name"], person["stores"]
        else:
            stores = list(dict.fromkeys(store.strip() for store in stores))
            await accounts.check_stores(connection, chain_id, frozenset(stores))
            name = people.check_name(name or await _named_after(connection, chain_id, stores))
        return await _insert(connection, chain_id, settings, name, stores, person_id)


async def create_many(
    connection: db.Connection,
    chain_id: uuid.UUID,
    rows: Sequence[ManagerRow],
    settings: Settings,
    *,
    rejected: tuple[Rejected, ...] = (),
) -> ManyMade:
    """Invite the managers of a table. A row that is rejected keeps no other out."""
    made: list[tuple[int, Made]] = []
    refused = list(rejected)
    async with connection.transaction():
        for row in rows:
            try:
                invitation = await create(
                    connection, chain_id, settings, stores=row.stores, name=row.name or ""
                )
            except errors.BadInput as error:
                first = error.errors[0]
                field = "store" if first.field == "stores" else first.field
                refused.append(Rejected(row.row, field, first.detail))
            else:
                made.append((row.row, invitation))
    refused.sort(key=lambda rejection: rejection.row)
    return ManyMade(tuple(made), tuple(refused))


async def _named_after(
    connection: db.Connection, chain_id: uuid.UUID, stores: Sequence[str]
) -> str:
    rows = await db.rows(_sql.stores_of(connection, chain_id=chain_id, stores=list(stores)))
    name = "、".join(row["name"] for row in rows)
    return name if len(name) <= people.MOST_NAME else f"{name[: people.MOST_NAME - 1]}…"


async def _insert(
    connection: db.Connection,
    chain_id: uuid.UUID,
    settings: Settings,
    name: str,
    stores: Sequence[str],
    person_id: uuid.UUID | None,
) -> Made:
    invitation_id, token = uuid7(), secrets.token_urlsafe(32)
    expires_at: datetime = await _sql.insert_invitation(
        connection,
        chain_id=chain_id,
        invitation_id=invitation_id,
        token_hash=_hash(token),
        name=name,
        stores=list(stores),
        person_id=person_id,
        lasts=timedelta(days=settings.invitation_days),
    )
    after = {"name": name, "stores": stores, "person_id": person_id, "expires_at": expires_at}
    await audit.record(connection, chain_id, "invitation.create", str(invitation_id), after=after)
    return Made(invitation_id, name, tuple(stores), expires_at, token)


async def invitations(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    state: State | None = None,
    store: str | None = None,
    after: uuid.UUID | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """Invitations with their `state`, newest first, without the link, which nobody can read again.
    `after`: older than this one."""
    return await db.rows(
        _sql.list_invitations(
            connection,
            chain_id=chain_id,
            state=None if state is None else state.value,
            store=store,
            after=after,
            most=most,
        )
    )


async def revoke(connection: db.Connection, chain_id: uuid.UUID, invitation_id: uuid.UUID) -> None:
    """Let a link work no more. Raises `errors.NotFound`, `errors.Conflict` (it was used: end the
    manager's sessions instead)."""
    async with connection.transaction():
        row = await _sql.lock_invitation(connection, chain_id=chain_id, invitation_id=invitation_id)
        if row is None:
            raise errors.NotFound("There is no such invitation")
        if row["used_at"] is not None:
            raise errors.Conflict("It was used: end the manager's sessions instead")
        if row["revoked_at"] is None:
            await _sql.revoke_invitation(connection, chain_id=chain_id, invitation_id=invitation_id)
            was = {"name": row["name"], "stores": row["stores"]}
            subject = str(invitation_id)
            await audit.record(connection, chain_id, "invitation.revoke", subject, before=was)


async def behind(connection: db.Connection, token: str) -> asyncpg.Record:
    """The invitation behind a link, with its `state`. Raises `errors.NotFound`."""
    row = await _sql.find_invitation(connection, token_hash=_hash(token))
    if row is None:
        raise errors.NotFound("There is no such invitation")
    return row


async def stores_of(connection: db.Connection, invitation: asyncpg.Record) -> list[tuple[str, str]]:
    """Number and name of each store that it is for, in its order; those that are gone left out."""
    rows = await db.rows(
        _sql.stores_of(connection, chain_id=invitation["chain_id"], stores=invitation["stores"])
    )
    return [(row["store"], row["name"]) for row in rows]


async def use(connection: db.Connection, token: str) -> asyncpg.Record:
    """Use a link up; the person who comes in by it, made now if it is for nobody yet.

    Of any who try at the same time, one comes in. Raises `errors.NotFound`, `errors.Gone`.
    """
    async with connection.transaction():
        row = await _sql.use_invitation(connection, token_hash=_hash(token))
        if row is None:
            state = (await behind(connection, token))["state"]
            raise errors.Gone(f"This invitation is {state}")
        chain_id, invitation_id = row["chain_id"], row["invitation_id"]
        if row["person_id"] is None:
            person = await people.add_manager(
                connection, chain_id, name=row["name"], stores=frozenset(row["stores"])
            )
            await _sql.came_by(
                connection,
                chain_id=chain_id,
                invitation_id=invitation_id,
                person_id=person["person_id"],
            )
        else:
            person = await people.get(connection, chain_id, row["person_id"])
        with audit.acting(people.caller(person).actor):
            told = {"name": person["name"], "person_id": person["person_id"]}
            subject = str(invitation_id)
            await audit.record(connection, chain_id, "invitation.use", subject, after=told)
    return person


async def tidy(connection: db.Connection) -> None:
    """Forget the invitations that ended long ago."""
    await _sql.forget_old_invitations(connection)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
