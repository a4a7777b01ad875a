"""Sessions, by JSON: everybody sees and ends their own, HQ those of its chain."""

from typing import Any

import asyncpg
from fastapi import APIRouter, Depends, Request, Response

from service import signed_in
from service.accounts import Caller
from service.domain import Role
from service.http import answers, context, sessions
from service.http.context import Json, Reader, ServiceDep

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["sessions"],
    dependencies=[Depends(context.storable)],
)


@router.get("/me")
async def me(request: Request, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    """Who calls; in a session with its token, which changes must carry as `X-CSRF-Token`."""
    told: dict[str, Any] = {
        "kind": caller.actor.kind,
        "id": caller.actor.actor_id,
        "name": caller.name,
        "role": caller.role,
        "stores": caller.scope,
    }
    if caller.session_id is not None:
        told["session_id"] = caller.session_id
        told["csrf_token"] = sessions.token(request, service)
    return told


@router.get("/sessions")
async def list_sessions(
    service: ServiceDep,
    caller: Reader,
    own: bool = False,
    person_id: str | None = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """Browsers that are signed in, oldest first: HQ sees its chain's, or those of one person, or
    with `own` just its own; others see their own. `current` is the one that asks."""
    person = None if person_id is None else context.parse_uuid(person_id, "person")
    async with service.connection() as connection:
        rows = await signed_in.sessions(
            connection,
            caller.chain_id,
            of=caller if own or caller.role is not Role.HQ else None,
            person_id=person,
            after=context.after_cursor_uuid(cursor),
            most=limit + 1,
        )
    return answers.page(
        "sessions", rows, limit, "session_id", lambda row: session_json(row, caller)
    )


@router.delete("/sessions/{session_id}", status_code=204)
async def end_session(session_id: str, service: ServiceDep, caller: Reader) -> Response:
    """Sign a browser out, at once."""
    async with service.connection() as connection:
        await signed_in.end(
            connection,
            caller.chain_id,
            context.parse_uuid(session_id, "session"),
            of=None if caller.role is Role.HQ else caller,
        )
    return Response(status_code=204)


def session_json(row: asyncpg.Record, caller: Caller) -> dict[str, Any]:
    """`seen_at` is right to the hour."""
    return {
        "session_id": row["session_id"],
        "person_id": row["person_id"],
        "key_id": row["key_id"],
        "name": row["name"],
        "role": row["role"],
        "device": signed_in.device(row["agent"]),
        "created_at": row["created_at"],
        "seen_at": row["seen_at"],
        "expires_at": row["expires_at"],
        "current": row["session_id"] == caller.session_id,
    }
