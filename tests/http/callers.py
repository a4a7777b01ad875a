"""Everybody who may call a chain: its keys, and people who are signed in."""

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from service import accounts, db, people, signed_in
from service.accounts import Caller
from service.domain import Role
from service.settings import Settings
from tests import running
from tests.http import chains
from tests.running import Running

COOKIE = "nc_session"
MANAGER = "王店长"


def add_people(
    service: Running, chain: str = running.CHAIN, stores: tuple[str, ...] = running.MANAGED
) -> dict[str, Caller]:
    """A person of each role, by role; they have no passwords yet."""

    async def work() -> dict[str, Caller]:
        connection = await db.connect(service.database_url)
        try:
            chain_id = await accounts.chain_id_of(connection, chain)
            found = {}
            for role in (Role.HQ, Role.READ):
                email = f"{role}-{uuid.uuid4().hex[:8]}@example.com"
                made = await people.create(
                    connection,
                    chain_id,
                    role,
                    name=f"{role}同事",
                    email=email,
                    settings=service.settings,
                )
                found[role.value] = people.caller(made.person)
            manager = await people.add_manager(
                connection, chain_id, name=MANAGER, stores=frozenset(stores)
            )
            return {**found, "manager": people.caller(manager)}
        finally:
            await connection.close()

    return running.run(work())


def session_of(service: Running, caller: Caller, settings: Settings | None = None) -> str:
    """A new session's token, as if they had just signed in."""

    async def work() -> str:
        connection = await db.connect(service.database_url)
        try:
            return await signed_in.start(
                connection,
                caller,
                settings or service.settings,
                agent="Mozilla/5.0 (iPhone) MicroMessenger/8.0",
                instead_of="",
            )
        finally:
            await connection.close()

    return running.run(work())


@contextlib.contextmanager
def signed_in_as(service: Running, caller: Caller) -> Iterator[httpx.Client]:
    """Their browser: it sends the session's cookie, but no token."""
    with chains.opened(service.base_url) as client:
        client.cookies.set(COOKIE, session_of(service, caller))
        yield client


def token_of(client: httpx.Client) -> str:
    """What changes by this browser's session carry."""
    told: dict[str, Any] = running.answered(client.get("/api/v1/me"))
    return str(told["csrf_token"])


def execute(service: Running, statement: str, *values: object) -> None:
    async def work() -> None:
        connection = await db.connect(service.database_url)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    running.run(work())
