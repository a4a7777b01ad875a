"""The chain itself, by JSON: its name, its time zone and its currency."""

from typing import Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from service import chains
from service.http import context
from service.http.context import Hq, Json, Reader, ServiceDep, Text

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["chain"],
    dependencies=[Depends(context.storable)],
)


class ChainBody(BaseModel):
    """What is not named stays."""

    model_config = ConfigDict(extra="forbid")

    name: Text = ""
    timezone: Text = ""
    currency: Text = ""


@router.get("/chain")
async def get_chain(service: ServiceDep, caller: Reader) -> dict[str, Any]:
    async with service.connection() as connection:
        return await chains.get(connection, caller.chain_id)


@router.patch("/chain")
async def change_chain(body: ChainBody, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """Another name, time zone (of the IANA database) or currency (ISO 4217). In another time zone
    all sums by day are summed anew; orders keep the currency that they came with."""
    named = body.model_dump(include=body.model_fields_set)
    async with service.connection() as connection:
        done = await chains.change(connection, caller.chain_id, named)
    await service.refresh()
    return done
