"""Who may do what: chains, callers, and the keys of programs.

A caller is a program with its key, or a person in a session (see `people`, `signed_in`). A key is
`nck_` and 32 random bytes; only its SHA-256 is kept. Outside their chain or their stores a caller
finds nothing, as if it did not exist.
"""

import hashlib
import re
import secrets
import uuid
import zoneinfo
from dataclasses import dataclass

import asyncpg

from service import audit, db, errors
from service.domain import Role, uuid7

_sql = db.load("accounts")

_CHAIN = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: one of `key_id` and `person_id` is set; `session_id` where they are signed in."""

    chain_id: uuid.UUID
    name: str
    role: Role
    stores: frozenset[str] = frozenset()
    key_id: uuid.UUID | None = None
    person_id: uuid.UUID | None = None
    session_id: uuid.UUID | None = None

    @property
    def actor(self) -> audit.Actor:
        """Whom the log names."""
        if self.key_id is not None:
            return audit.Actor(audit.ActorKind.KEY, self.name, self.key_id)
        is_manager = self.role is Role.MANAGER
        kind = audit.ActorKind.MANAGER if is_manager else audit.ActorKind.PERSON
        return audit.Actor(kind, self.name, self.person_id)

    def sees_store(self, store: str | None) -> bool:
        """A manager sees their own stores; HQ and readers see the whole chain."""
        return self.role is not Role.MANAGER or (store is not None and store in self.stores)

    @property
    def scope(self) -> list[str] | None:
        """The stores that queries are limited to; None: all of the chain."""
        return sorted(self.stores) if self.role is Role.MANAGER else None


async def create_chain(
    connection: db.Connection, chain: str, name: str, timezone: str = "Asia/Shanghai"
) -> uuid.UUID:
    """Make a chain; the one that stands under that name if there is one.

    Raises `errors.BadInput`.
    """
    if not _CHAIN.fullmatch(chain):
        raise errors.BadInput.of("chain", "lower-case letters, digits and dashes, 64 at most")
    if timezone not in zoneinfo.available_timezones():
        raise errors.BadInput.of("timezone", f"{timezone} is none; write Asia/Shanghai, say")
    async with connection.transaction():
        made = await _sql.insert_chain(
            connection, chain_id=uuid7(), chain=chain, name=name, timezone=timezone
        )
        if made is not None:
            after = {"name": name, "timezone": timezone}
            await audit.record(connection, made, "chain.create", chain, after=after)
    return await chain_id_of(connection, chain)


async def chain_id_of(connection: db.Connection, chain: str | None) -> uuid.UUID:
    """The chain of that name; the only one if none is named. Raises `errors.BadInput`."""
    if chain is not None:
        row = await _sql.get_chain(connection, chain=chain)
        if row is None:
            raise errors.BadInput.of("chain", f"there is no chain {chain}")
        found: uuid.UUID = row["chain_id"]
        return found
    chains = await db.rows(_sql.list_chains(connection))
    if len(chains) == 1:
        only: uuid.UUID = chains[0]["chain_id"]
        return only
    known = ", ".join(row["chain"] for row in chains)
    raise errors.BadInput.of(
        "chain", f"name one of: {known}" if chains else "there is no chain yet: create one"
    )


async def chains(connection: db.Connection) -> list[asyncpg.Record]:
    return await db.rows(_sql.list_chains(connection))


async def create_key(
    connection: db.Connection,
    chain_id: uuid.UUID,
    role: Role,
    *,
    name: str,
    stores: frozenset[str] = frozenset(),
) -> tuple[uuid.UUID, str]:
    """A new key: its id, and the key itself, which nobody can read again.

    Raises `errors.BadInput`: a manager's key needs stores that exist, no other key takes any.
    """
    if role is Role.MANAGER:
        await check_stores(connection, chain_id, stores)
    elif stores:
        raise errors.BadInput.of("stores", f"a key of the role {role} is for the whole chain")
    key_id, key = uuid7(), f"nck_{secrets.token_urlsafe(32)}"
    told = {"name": name, "role": role.value, "stores": sorted(stores)}
    async with connection.transaction():
        await _sql.insert_key(
            connection, chain_id=chain_id, key_id=key_id, key_hash=_hash(key), **told
        )
        await audit.record(connection, chain_id, "key.create", str(key_id), after=told)
    return key_id, key


async def check_stores(
    connection: db.Connection, chain_id: uuid.UUID, stores: frozenset[str]
) -> None:
    """A manager's stores: at least one, and all of them exist. Raises `errors.BadInput`."""
    if not stores:
        raise errors.BadInput.of("stores", "a manager needs at least one store")
    unknown = await db.rows(
        _sql.unknown_stores(connection, chain_id=chain_id, stores=sorted(stores))
    )
    if unknown:
        names = ", ".join(row["store"] for row in unknown)
        raise errors.BadInput.of("stores", f"there is no store {names}")


async def caller_of(connection: db.Connection, key: str) -> Caller | None:
    """Whom a key stands for; None for a key that is not known or was revoked."""
    row = await _sql.find_key(connection, key_hash=_hash(key))
    if row is None:
        return None
    return Caller(
        chain_id=row["chain_id"],
        key_id=row["key_id"],
        name=row["name"],
        role=Role(row["role"]),
        stores=frozenset(row["stores"]),
    )


async def keys(connection: db.Connection, chain_id: uuid.UUID) -> list[asyncpg.Record]:
    return await db.rows(_sql.list_keys(connection, chain_id=chain_id))


async def revoke_key(connection: db.Connection, chain_id: uuid.UUID, key_id: uuid.UUID) -> None:
    """Raises `errors.NotFound`."""
    async with connection.transaction():
        row = await _sql.lock_key(connection, chain_id=chain_id, key_id=key_id)
        if row is None:
            raise errors.NotFound(f"There is no key {key_id}")
        if row["revoked_at"] is None:
            await _sql.revoke_key(connection, chain_id=chain_id, key_id=key_id)
            was = {"name": row["name"], "role": row["role"], "stores": row["stores"]}
            await audit.record(connection, chain_id, "key.revoke", str(key_id), before=was)


async def installation_secret(connection: db.Connection) -> bytes:
    """What addresses are hashed and cookies signed with: made once, kept in the database."""
    secret: bytes = await _sql.keep_secret(connection, secret=secrets.token_bytes(32))
    return secret


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
