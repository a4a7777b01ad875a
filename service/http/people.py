"""People, by JSON: HQ adds colleagues, changes managers' stores, and shows people out."""

import uuid
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from service import errors, people, signed_in, throttle
from service.accounts import Caller
from service.domain import Role
from service.http import answers, context
from service.http.context import Hq, Json, Reader, ServiceDep, Text
from service.runtime import Service

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["people"],
    dependencies=[Depends(context.storable)],
)


class PersonBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role
    name: Text = Field(min_length=1, max_length=people.MOST_NAME)
    email: Text = Field(max_length=254)


class PersonChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text | None = Field(None, max_length=people.MOST_NAME)
    email: Text | None = Field(None, max_length=254)
    role: Role | None = None
    stores: list[Text] | None = Field(None, max_length=1000)
    active: bool | None = None


class PasswordBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    current: str = Field(max_length=1000)
    new: str = Field(max_length=1000)


@router.get("/people")
async def list_people(
    service: ServiceDep,
    caller: Hq,
    role: Role | None = None,
    store: str | None = None,
    active: bool | None = None,
    q: str | None = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """Everybody who may sign in, oldest first. `store`: its managers; `q`: part of a name or
    address."""
    async with service.connection() as connection:
        rows = await people.people(
            connection,
            caller.chain_id,
            role=role,
            store=store or None,
            active=active,
            q=q or None,
            after=context.after_cursor_uuid(cursor),
            most=limit + 1,
        )
    return answers.page("people", rows, limit, "person_id", person_json)


@router.post("/people", status_code=201)
async def create_person(body: PersonBody, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """A colleague at HQ, or a reader. Hand them `password_link`: they choose their password there,
    once. Managers are invited."""
    async with service.connection() as connection:
        made = await people.create(
            connection,
            caller.chain_id,
            body.role,
            name=body.name,
            email=body.email,
            settings=service.settings,
        )
    return {**person_json(made.person), **_link(made, service)}


@router.get("/people/{person_id}")
async def get_person(person_id: str, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    async with service.connection() as connection:
        return person_json(await people.get(connection, caller.chain_id, _id(person_id)))


@router.patch("/people/{person_id}")
async def change_person(
    person_id: str, body: PersonChange, service: ServiceDep, caller: Hq
) -> dict[str, Any]:
    """Name, address, role, a manager's stores. With `active: false` they are signed out everywhere
    and cannot come back until it is `true`. Only what is sent changes."""
    change = body.model_dump(exclude_unset=True)
    for name, value in change.items():
        if value is None:
            raise errors.BadInput.of(name, "may not be null")
    if "role" in change:
        change["role"] = change["role"].value
    async with service.connection() as connection:
        row = await people.change(connection, caller.chain_id, _id(person_id), change, by=caller)
    return person_json(row)


@router.post("/people/{person_id}/password-link", status_code=201)
async def password_link(person_id: str, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """For a colleague who has forgotten their password: a link by which they choose another, once.
    The one before works no more."""
    async with service.connection() as connection:
        made = await people.password_link(
            connection, caller.chain_id, _id(person_id), service.settings
        )
        await throttle.forget_account(connection, service.secret, made.person["email"])
    return _link(made, service)


@router.delete("/people/{person_id}/sessions", status_code=204)
async def end_sessions(person_id: str, service: ServiceDep, caller: Hq) -> Response:
    """Sign a person out everywhere, at once."""
    async with service.connection() as connection, connection.transaction():
        person = await people.get(connection, caller.chain_id, _id(person_id))
        await signed_in.end_all(connection, caller.chain_id, person["person_id"])
    return Response(status_code=204)


async def with_password(found: Reader) -> Caller:
    """Who signs in with a password. Raises `errors.NotAllowed`."""
    if found.person_id is None or found.role is Role.MANAGER:
        raise errors.NotAllowed("Only who signs in with a password has one to change")
    return found


@router.put("/password", status_code=204)
async def change_password(
    body: PasswordBody, service: ServiceDep, caller: Annotated[Caller, Depends(with_password)]
) -> Response:
    """One's own, if one is signed in with a password. All other sessions of one's own end."""
    async with service.connection() as connection:
        person = await people.person_of(connection, caller)
        attempt = throttle.Attempt(service.secret, person["email"], None)
        await attempt.count(connection, service.settings)
        await people.change_password(connection, caller, body.current, body.new, service.settings)
        await attempt.forgive(connection)
    return Response(status_code=204)


def _id(text: str) -> uuid.UUID:
    return context.parse_uuid(text, "person")


def _link(made: people.Link, service: Service) -> dict[str, Any]:
    return {
        "password_link": made.link(service.settings),
        "password_link_until": made.expires_at,
    }


def person_json(row: asyncpg.Record) -> dict[str, Any]:
    """`email` is null for managers; lists also tell of `sessions` and when one was last `seen_at`,
    to the hour."""
    told = {
        "person_id": row["person_id"],
        "name": row["name"],
        "role": row["role"],
        "email": row["email"],
        "stores": row["stores"],
        "active": row["deactivated_at"] is None,
        "created_at": row["created_at"],
    }
    if "sessions" in row.keys():  # noqa: SIM118 (a record's `in` asks its values)
        told |= {"sessions": row["sessions"], "seen_at": row["seen_at"]}
    return told
