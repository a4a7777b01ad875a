"""Invitations of managers, by JSON: HQ makes them, one by one or by a table, and revokes them."""

import asyncio
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, File, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from service import importing, invitations, people
from service.http import answers, context
from service.http.context import Hq, Json, ServiceDep, Text
from service.runtime import Service

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["invitations"],
    dependencies=[Depends(context.storable)],
)


class InvitationBody(BaseModel):
    """Either `stores`, with a name or without; or `person_id`, a manager who has another phone."""

    model_config = ConfigDict(extra="forbid")

    stores: list[Text] = Field([], max_length=importing.STORES_MAX)
    name: Text = Field("", max_length=people.MOST_NAME)
    person_id: str | None = None


@router.get("/invitations")
async def list_invitations(
    service: ServiceDep,
    caller: Hq,
    state: invitations.State | None = None,
    store: str | None = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """Newest first, without their links, which nobody can read again."""
    async with service.connection() as connection:
        rows = await invitations.invitations(
            connection,
            caller.chain_id,
            state=state,
            store=store or None,
            after=context.after_cursor_uuid(cursor),
            most=limit + 1,
        )
    return answers.page("invitations", rows, limit, "invitation_id", invitation_json)


@router.post("/invitations", status_code=201)
async def create_invitation(
    body: InvitationBody, service: ServiceDep, caller: Hq
) -> dict[str, Any]:
    """A link, and its QR code, that signs in the phone on which it is opened: once."""
    person_id = None if body.person_id is None else context.parse_uuid(body.person_id, "person")
    async with service.connection() as connection:
        made = await invitations.create(
            connection,
            caller.chain_id,
            service.settings,
            stores=body.stores,
            name=body.name,
            person_id=person_id,
        )
    return made_json(made, service)


@router.post("/invitations/import")
async def import_invitations(
    service: ServiceDep, caller: Hq, file: Annotated[UploadFile, File()]
) -> dict[str, Any]:
    """A link for each row of a CSV or XLSX: `store` (several with commas between) and `name`, which
    may be left out. A rejected row keeps no other out."""
    data = await context.read_upload(file, "file", service.settings)
    parsed = await asyncio.to_thread(lambda: importing.managers(answers.table(data, file.filename)))
    async with service.connection() as connection:
        made = await invitations.create_many(
            connection,
            caller.chain_id,
            parsed.rows,
            service.settings,
            rejected=parsed.rejected,
        )
    return {
        "created": [{"row": row, **made_json(each, service)} for row, each in made.created],
        "rejected": [answers.told(rejection) for rejection in made.rejected],
    }


@router.delete("/invitations/{invitation_id}", status_code=204)
async def revoke_invitation(invitation_id: str, service: ServiceDep, caller: Hq) -> Response:
    """Let its link work no more; one that was used stays used (409)."""
    async with service.connection() as connection:
        await invitations.revoke(
            connection, caller.chain_id, context.parse_uuid(invitation_id, "invitation")
        )
    return Response(status_code=204)


def made_json(made: invitations.Made, service: Service) -> dict[str, Any]:
    """The link is told this once; `qr` are pictures of it, for as long as it works."""
    link = made.link(service.settings)
    return {
        "invitation_id": made.invitation_id,
        "name": made.name,
        "stores": made.stores,
        "expires_at": made.expires_at,
        "link": link,
        "qr": {form: f"{link}/qr.{form}" for form in ("png", "svg")},
    }


def invitation_json(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "invitation_id": row["invitation_id"],
        "name": row["name"],
        "stores": row["stores"],
        "state": row["state"],
        "person_id": row["person_id"],
        "created_at": row["created_at"],
        "expires_at": row["expires_at"],
        "used_at": row["used_at"],
        "revoked_at": row["revoked_at"],
    }
