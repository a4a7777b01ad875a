"""Entries and placements, by JSON: HQ makes them."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from service import (
    catalog,
    printing,
)
from service.domain import (
    ENTRY_PATTERN,
    PLACEMENT_PATTERN,
    IpPolicy,
)
from service.http import answers, context
from service.http.context import Hq, Json, Reader, ServiceDep, Text
from service.runtime import Service

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["entries"],
    dependencies=[Depends(context.storable)],
)


class EntryBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    entry: str = Field(pattern=f"^{ENTRY_PATTERN.pattern}$")
    name: Text = Field(min_length=1, max_length=200)
    radius_m: float | None = Field(None, gt=0, le=20_100_000, allow_inf_nan=False)
    brands: list[Text] | None = None
    ip_policy: IpPolicy = IpPolicy.CHOOSE
    fallback: str | list[str] | None = None


class EntryChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Text = Field("", min_length=1, max_length=200)
    radius_m: float | None = Field(None, gt=0, le=20_100_000, allow_inf_nan=False)
    brands: list[Text] | None = None
    ip_policy: IpPolicy = IpPolicy.CHOOSE
    fallback: str | list[str] | None = None


def _entry_values(sent: dict[str, Any]) -> dict[str, Any]:
    values = dict(sent)
    if "brands" in values:
        values["brands"] = tuple(values["brands"] or ())
    if "fallback" in values:
        fallback = values["fallback"] or ()
        values["fallback"] = (fallback,) if isinstance(fallback, str) else tuple(fallback)
    return values


@router.get("/entries")
async def list_entries(
    service: ServiceDep, caller: Reader, cursor: answers.Cursor = None, limit: answers.Limit = 100
) -> dict[str, Any]:
    async with service.connection() as connection:
        rows = await catalog.entries(
            connection, caller.chain_id, after=context.after_cursor(cursor), most=limit + 1
        )
    return answers.page("entries", rows, limit, "entry", lambda row: entry_json(row, service))


@router.post("/entries", status_code=201)
async def create_entry(body: EntryBody, service: ServiceDep, caller: Hq) -> dict[str, Any]:
    """A unified code. `fallback`: code ids, or payloads of codes that belong to no store."""
    values = _entry_values(body.model_dump(exclude={"entry"}))
    async with service.connection() as connection:
        row = await catalog.create_entry(
            connection,
            caller.chain_id,
            body.entry,
            catalog.EntryValues(**values),
            datetime.now(UTC),
            service.settings,
        )
    await service.refresh()
    return entry_json(row, service)


@router.get("/entries/{entry}")
async def get_entry(entry: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    async with service.connection() as connection:
        return entry_json(await catalog.get_entry(connection, caller.chain_id, entry), service)


@router.patch("/entries/{entry}")
async def change_entry(
    entry: str, body: EntryChange, service: ServiceDep, caller: Hq
) -> dict[str, Any]:
    change = _entry_values(body.model_dump(exclude_unset=True))
    async with service.connection() as connection:
        row = await catalog.change_entry(
            connection, caller.chain_id, entry, change, datetime.now(UTC), service.settings
        )
    await service.refresh()
    return entry_json(row, service)


class PlacementBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    placement: str = Field(pattern=f"^{PLACEMENT_PATTERN.pattern}$")
    name: Text = Field(min_length=1, max_length=200)
    channel: Text = Field(min_length=1, max_length=64)
    store: Text | None = Field(None, max_length=64)
    printed: int | None = Field(None, ge=0, le=2_000_000_000)
    cost: float | None = Field(None, ge=0, le=1e11, allow_inf_nan=False)
    variant: Text | None = Field(None, max_length=64)


@router.get("/entries/{entry}/placements")
async def list_placements(
    entry: str,
    service: ServiceDep,
    caller: Reader,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    async with service.connection() as connection:
        await catalog.get_entry(connection, caller.chain_id, entry)
        rows = await catalog.placements(
            connection, caller.chain_id, entry, after=context.after_cursor(cursor), most=limit + 1
        )
    return answers.page(
        "placements", rows, limit, "placement", lambda row: placement_json(row, service)
    )


@router.post("/entries/{entry}/placements", status_code=201)
async def put_placement(
    entry: str, body: PlacementBody, service: ServiceDep, caller: Hq, response: Response
) -> dict[str, Any]:
    """A placement. Sent again under the same name it is changed, and answered with 200."""
    async with service.connection() as connection:
        row = await catalog.put_placement(connection, caller.chain_id, entry, body.model_dump())
    await service.refresh()
    response.status_code = 201 if row["created"] else 200
    return placement_json(row, service)


def entry_json(row: asyncpg.Record, service: Service) -> dict[str, Any]:
    return {
        "entry": row["entry"],
        "name": row["name"],
        "radius_m": row["radius_m"],
        "brands": row["brands"],
        "ip_policy": row["ip_policy"],
        "fallback": row["fallback"],
        "url": printing.entry_url(service.settings.public_url, row["entry"]),
    }


def placement_json(row: asyncpg.Record, service: Service) -> dict[str, Any]:
    url = printing.entry_url(service.settings.public_url, row["entry"], row["placement"])
    return {
        "entry": row["entry"],
        "placement": row["placement"],
        "name": row["name"],
        "channel": row["channel"],
        "store": row["store"],
        "printed": row["printed"],
        "cost": None if row["cost"] is None else float(row["cost"]),
        "variant": row["variant"],
        "url": url,
    }
