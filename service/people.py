"""People: those of HQ and readers, who sign in with e-mail and password, and managers, who come by
an invitation (see `invitations`).

A password is chosen by its owner alone, on a page behind a link that works once. Whoever made the
link hands it over; nearcode sends no mail.
"""

import hashlib
import re
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from service import accounts, audit, db, errors, passwords, signed_in
from service.accounts import Caller
from service.domain import Role, uuid7
from service.settings import Settings

_sql = db.load("people")

MOST_NAME = 200
_MOST_EMAIL = 254
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Link:
    """A link by which a person chooses a password: `token` is part of it, and told this once."""

    person: asyncpg.Record
    token: str
    expires_at: datetime

    def link(self, settings: Settings) -> str:
        return f"{settings.public_url}/hq/password/{self.token}"


def normal_email(email: str) -> str:
    """An address as it is kept and looked for. Raises `errors.BadInput`."""
    plain = email.strip().lower()
    if len(plain) > _MOST_EMAIL or not _EMAIL.fullmatch(plain):
        raise errors.BadInput.of("email", "an e-mail address, as in name@example.com")
    return plain


def check_name(name: str) -> str:
    """Raises `errors.BadInput`."""
    plain = " ".join(name.split())
    if not 0 < len(plain) <= MOST_NAME:
        raise errors.BadInput.of("name", f"1 to {MOST_NAME} characters")
    return plain


def caller(person: asyncpg.Record) -> Caller:
    """Whom a person is when they call."""
    return Caller(
        chain_id=person["chain_id"],
        person_id=person["person_id"],
        name=person["name"],
        role=Role(person["role"]),
        stores=frozenset(person["stores"]),
    )


# ---------------------------------------------------------------- who there is


async def create(
    connection: db.Connection,
    chain_id: uuid.UUID,
    role: Role,
    *,
    name: str,
    email: str,
    settings: Settings,
) -> Link:
    """A new person of HQ, or reader, and the link by which they choose their password.

    Raises `errors.BadInput`, `errors.Conflict` (the address is in use).
    """
    if role is Role.MANAGER:
        raise errors.BadInput.of("role", "a manager is invited; hq or read")
    plain = {"name": check_name(name), "email": normal_email(email), "role": role.value}
    async with connection.transaction():
        person_id = await _sql.insert_person(
            connection, chain_id=chain_id, person_id=uuid7(), stores=[], **plain
        )
        if person_id is None:
            raise errors.Conflict("Somebody signs in with this e-mail address already")
        await audit.record(connection, chain_id, "person.create", str(person_id), after=plain)
        return await password_link(connection, chain_id, person_id, settings)


async def add_manager(
    connection: db.Connection, chain_id: uuid.UUID, *, name: str, stores: frozenset[str]
) -> asyncpg.Record:
    """A manager who has come by an invitation; in their own name."""
    person_id = await _sql.insert_person(
        connection,
        chain_id=chain_id,
        person_id=uuid7(),
        name=name,
        email=None,
        role=Role.MANAGER.value,
        stores=sorted(stores),
    )
    person = await get(connection, chain_id, person_id)
    after = {"name": name, "role": Role.MANAGER.value, "stores": sorted(stores)}
    with audit.acting(caller(person).actor):
        await audit.record(connection, chain_id, "person.create", str(person_id), after=after)
    return person


async def get(
    connection: db.Connection, chain_id: uuid.UUID, person_id: uuid.UUID
) -> asyncpg.Record:
    """Raises `errors.NotFound`."""
    row = await _sql.get_person(connection, chain_id=chain_id, person_id=person_id)
    if row is None:
        raise errors.NotFound("There is no such person")
    return row


async def by_email(connection: db.Connection, email: str) -> asyncpg.Record | None:
    """Who may sign in with the address, of whatever chain; None for nobody."""
    try:
        plain = normal_email(email)
    except errors.BadInput:
        return None
    row: asyncpg.Record | None = await _sql.find_by_email(connection, email=plain)
    return row


async def id_of(connection: db.Connection, chain_id: uuid.UUID, email: str) -> uuid.UUID:
    """Who in the chain has the address, active or not. Raises `errors.BadInput`,
    `errors.NotFound`."""
    plain = normal_email(email)
    found: uuid.UUID | None = await _sql.id_of_email(connection, chain_id=chain_id, email=plain)
    if found is None:
        raise errors.NotFound(f"Nobody has the address {plain}")
    return found


async def people(
    connection: db.Connection,
    chain_id: uuid.UUID,
    *,
    role: Role | None = None,
    store: str | None = None,
    active: bool | None = None,
    q: str | None = None,
    after: uuid.UUID | None = None,
    most: int,
) -> list[asyncpg.Record]:
    """People, oldest first, with how many `sessions` each has and when one was last used
    (`seen_at`). `store`: its managers; `q`: part of a name or address."""
    return await db.rows(
        _sql.list_people(
            connection,
            chain_id=chain_id,
            role=None if role is None else role.value,
            store=store,
            active=active,
            q=q,
            after=after,
            most=most,
        )
    )


async def change(
    connection: db.Connection,
    chain_id: uuid.UUID,
    person_id: uuid.UUID,
    change: dict[str, Any],
    *,
    by: Caller | None = None,
) -> asyncpg.Record:
    """Change some of name, email, role, stores, active.

    Who is made inactive is signed out everywhere, and their links are worth nothing any more. `by`
    may not shut themselves out. Raises `errors.NotFound`, `errors.BadInput`, `errors.Conflict`.
    """
    async with connection.transaction():
        before = await _sql.lock_person(connection, chain_id=chain_id, person_id=person_id)
        if before is None:
            raise errors.NotFound("There is no such person")
        was = _values(before)
        after = {**was, **change}
        if "name" in change:
            after["name"] = check_name(change["name"])
        await _check_role(connection, chain_id, was, after, change)
        own = by is not None and by.person_id == person_id
        if own and (after["role"] != was["role"] or not after["active"]):
            raise errors.Conflict("Nobody takes away their own rights: let another do it")
        try:
            async with connection.transaction():
                await _sql.update_person(
                    connection, chain_id=chain_id, person_id=person_id, **after
                )
        except asyncpg.UniqueViolationError as error:
            raise errors.Conflict("Somebody signs in with this e-mail address already") from error
        await audit.record(
            connection, chain_id, "person.update", str(person_id), before=was, after=after
        )
        if was["active"] and not after["active"]:
            await signed_in.end_all(connection, chain_id, person_id)
            key = {"chain_id": chain_id, "person_id": person_id}
            await _sql.end_password_links(connection, **key)
            await _sql.revoke_invitations_of(connection, **key)
        return await get(connection, chain_id, person_id)


async def _check_role(
    connection: db.Connection,
    chain_id: uuid.UUID,
    was: dict[str, Any],
    after: dict[str, Any],
    change: dict[str, Any],
) -> None:
    """Managers have stores, others an address. Raises `errors.BadInput`."""
    is_manager = was["role"] == Role.MANAGER.value
    if (after["role"] == Role.MANAGER.value) != is_manager:
        raise errors.BadInput.of("role", "a manager stays one, and nobody else becomes one")
    if is_manager:
        if "email" in change:
            raise errors.BadInput.of("email", "managers sign in by invitation")
        if "stores" in change:
            await accounts.check_stores(connection, chain_id, frozenset(change["stores"]))
            after["stores"] = sorted(set(change["stores"]))
        return
    if change.get("stores"):
        raise errors.BadInput.of("stores", f"the role {after['role']} is for the whole chain")
    if "email" in change:
        after["email"] = normal_email(change["email"])


def _values(person: asyncpg.Record) -> dict[str, Any]:
    columns = ("name", "email", "role", "stores")
    values = {column: person[column] for column in columns}
    return {**values, "active": person["deactivated_at"] is None}


# ---------------------------------------------------------------- passwords


async def password_link(
    connection: db.Connection, chain_id: uuid.UUID, person_id: uuid.UUID, settings: Settings
) -> Link:
    """A link by which a person chooses a new password; an older one works no more.

    Raises `errors.NotFound`, `errors.Conflict` for managers and who may not sign in.
    """
    async with connection.transaction():
        person = await get(connection, chain_id, person_id)
        if person["email"] is None:
            raise errors.Conflict("Managers have no password: invite them again")
        if person["deactivated_at"] is not None:
            raise errors.Conflict("This person is not active")
        await _sql.end_password_links(connection, chain_id=chain_id, person_id=person_id)
        token = secrets.token_urlsafe(32)
        expires_at = await _sql.insert_password_link(
            connection,
            chain_id=chain_id,
            link_id=uuid7(),
            person_id=person_id,
            token_hash=_hash(token),
            lasts=timedelta(hours=settings.password_link_hours),
        )
        told = {"hours": settings.password_link_hours}
        await audit.record(connection, chain_id, "person.reset", str(person_id), after=told)
    return Link(person, token, expires_at)


async def behind_password_link(connection: db.Connection, token: str) -> asyncpg.Record:
    """Whose password the link lets one choose. Raises `errors.Gone`."""
    row = await _sql.find_password_link(connection, token_hash=_hash(token))
    if row is None:
        raise errors.Gone("This link was used already, or it is too old")
    return row


async def use_password_link(
    connection: db.Connection, token: str, password: str, settings: Settings
) -> asyncpg.Record:
    """Choose a password by a link, which works no more then; all of the person's sessions end.

    Raises `errors.Gone`, `errors.BadInput` (the link stays good).
    """
    person = await behind_password_link(connection, token)
    passwords.check(password, person["name"], person["email"])
    password_hash = await passwords.hashed(password, settings)
    async with connection.transaction():
        if await _sql.use_password_link(connection, token_hash=_hash(token)) is None:
            raise errors.Gone("This link was used already, or it is too old")
        with audit.acting(caller(person).actor):
            await _set_password(connection, person, password_hash)
    return person


async def person_of(connection: db.Connection, found: Caller) -> asyncpg.Record:
    """The person who calls, if they sign in with a password. Raises `errors.NotAllowed`."""
    if found.person_id is None or found.role is Role.MANAGER:
        raise errors.NotAllowed("Only who signs in with a password has one to change")
    return await get(connection, found.chain_id, found.person_id)


async def change_password(
    connection: db.Connection, found: Caller, current: str, new: str, settings: Settings
) -> None:
    """Another password for who knows the present one; their other sessions end.

    Raises `errors.NotAllowed` for whoever has none, `errors.BadInput`.
    """
    person = await person_of(connection, found)
    if not await passwords.matches(person["password_hash"], current, settings):
        raise errors.BadInput.of("current", "this is not your password")
    passwords.check(new, person["name"], person["email"])
    password_hash = await passwords.hashed(new, settings)
    async with connection.transaction():
        await _set_password(connection, person, password_hash, but=found.session_id)


async def rehash(
    connection: db.Connection, person: asyncpg.Record, password: str, settings: Settings
) -> None:
    """Keep a password that was just found right with the parameters of now."""
    if passwords.outdated(person["password_hash"], settings):
        password_hash = await passwords.hashed(password, settings)
        await _sql.set_password(
            connection,
            chain_id=person["chain_id"],
            person_id=person["person_id"],
            password_hash=password_hash,
        )


async def _set_password(
    connection: db.Connection,
    person: asyncpg.Record,
    password_hash: str,
    *,
    but: uuid.UUID | None = None,
) -> None:
    key = {"chain_id": person["chain_id"], "person_id": person["person_id"]}
    await _sql.set_password(connection, **key, password_hash=password_hash)
    await _sql.end_password_links(connection, **key)
    await signed_in.end_all(connection, **key, but=but)
    subject = str(person["person_id"])
    await audit.record(connection, person["chain_id"], "person.password", subject)


async def tidy(connection: db.Connection) -> None:
    """Forget the links that ended long ago."""
    await _sql.forget_old_links(connection)


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
