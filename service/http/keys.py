"""API keys, by JSON: HQ makes and revokes them."""

from typing import Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from service import (
    accounts,
)
from service.domain import (
    Role,
)
from service.http import context
from service.http.context import Hq, Json, ServiceDep, Text

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["keys"],
    dependencies=[Depends(context.storable)],
)


class KeyBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role
    name: Text = Field("", max_length=200)
    stores: list[Text] = []


@router.get("/keys")
async def list_keys(service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """Every key of the chain, without the key itself, which nobody can read again."""
    async with service.connection() as connection:
        rows = await accounts.keys(connection, caller.chain_id)
    return {"keys": [dict(row) for row in rows], "next": None}


@router.post("/keys", status_code=201)
async def create_key(body: KeyBody, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    async with service.connection() as connection:
        key_id, key = await accounts.create_key(
            connection,
            caller.chain_id,
            body.role,
            name=body.name or body.role.value,
            stores=frozenset(body.stores),
        )
    return {"key_id": key_id, "key": key, "role": body.role, "stores": sorted(set(body.stores))}


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(key_id: str, service: ServiceDep, caller: Hq) -> Response:
    async with service.connection() as connection:
        await accounts.revoke_key(connection, caller.chain_id, context.parse_uuid(key_id, "key"))
    return Response(status_code=204)
