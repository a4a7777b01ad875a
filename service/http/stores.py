"""Stores, by JSON: HQ makes and imports them, managers see their own."""

import asyncio
import dataclasses
from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, File, Response, UploadFile

from geo import datum as datums
from service import (
    catalog,
    errors,
    importing,
    tabular,
)
from service.http import answers, context
from service.http.context import Hq, Json, Reader, ServiceDep

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["stores"],
    dependencies=[Depends(context.storable)],
)


_STORE_NEEDS = ("name", "lon", "lat")
_STORE_MAY = (
    "brand", "address", "province", "city", "district", "datum", "tags", "service_area", "status",
)  # fmt: skip


@router.get("/stores")
async def list_stores(
    service: ServiceDep,
    caller: Reader,
    city: str | None = None,
    q: str | None = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """Stores by number; a manager sees their own."""
    async with service.connection() as connection:
        rows = await catalog.find_stores(
            connection,
            caller.chain_id,
            scope=caller.scope,
            city=city or None,
            q=q or None,
            after=context.after_cursor(cursor),
            most=limit + 1,
        )
    return answers.page("stores", rows, limit, "store", store_json)


@router.get("/stores/{store}")
async def get_store(store: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    answers.within(caller, store)
    async with service.connection() as connection:
        return store_json(await catalog.get_store(connection, caller.chain_id, store))


@router.put("/stores/{store}")
async def put_store(
    store: str, body: dict[str, Any], service: ServiceDep, caller: Hq, response: Response
) -> dict[str, Any]:
    """Create a store, or change it. What is left out stays as it is, null empties it."""
    unknown = sorted(body.keys() - {*_STORE_NEEDS, *_STORE_MAY})
    if unknown:
        raise errors.BadInput(
            *(errors.FieldError(name, "is no field of a store") for name in unknown)
        )
    async with service.connection() as connection:
        try:
            before = await catalog.get_store(connection, caller.chain_id, store.strip())
        except errors.NotFound:
            before = None
        row = _store_row(store, body, before)
        cleared = frozenset(name for name in _STORE_MAY if name in body and body[name] is None)
        await catalog.put_stores(connection, caller.chain_id, [row], cleared=cleared)
        found = await catalog.get_store(connection, caller.chain_id, row.store)
    await service.refresh()
    response.status_code = 200 if before else 201
    return store_json(found)


def _store_row(
    store: str, body: dict[str, Any], before: asyncpg.Record | None
) -> importing.StoreRow:
    """The body as a row of a table; a store that exists lends it name and position.

    Raises `errors.BadInput`.
    """
    lent = {} if before is None else {"name": before["name"]}
    stays = before is not None and not {"lon", "lat", "datum"} & body.keys()
    if before is not None and stays:
        lent |= {"lon": before["lon"], "lat": before["lat"]}
    values = {**lent, **body, "store": store}
    missing = [name for name in _STORE_NEEDS if name not in values]
    if missing:
        raise errors.BadInput(*(errors.FieldError(name, "is needed") for name in missing))
    parsed = importing.stores(tabular.one(values))
    if parsed.rejected:
        raise errors.BadInput(*(errors.FieldError(r.field, r.detail) for r in parsed.rejected))
    (row,) = parsed.rows
    if before is None or not stays:
        return row
    return dataclasses.replace(
        row,
        datum=datums.Datum(before["datum"]),
        given_lon=before["given_lon"],
        given_lat=before["given_lat"],
    )


@router.delete("/stores/{store}", status_code=204)
async def delete_store(store: str, service: ServiceDep, caller: Hq) -> Response:
    """Take a store and its codes out of service. What happened there stays in the reports."""
    async with service.connection() as connection:
        await catalog.delete_store(connection, caller.chain_id, store)
    await service.refresh()
    return Response(status_code=204)


@router.post("/stores/import")
async def import_stores(
    service: ServiceDep,
    caller: Hq,
    file: Annotated[UploadFile, File()],
    datum: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Stores from CSV, XLSX or GeoJSON. A rejected row keeps no other out."""
    data = await context.read_upload(file, "file", service.settings)
    default = parse_datum(datum)
    parsed = await asyncio.to_thread(
        lambda: importing.stores(answers.table(data, file.filename), datum=default)
    )
    async with service.connection() as connection:
        done = await catalog.put_stores(
            connection, caller.chain_id, parsed.rows, rejected=parsed.rejected, dry_run=dry_run
        )
    await service.refresh()
    return {
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
        "rejected": [answers.told(rejection) for rejection in done.rejected],
        **({"changes": answers.changes(done)} if dry_run else {}),
        "warnings": [answers.told(warning) for warning in parsed.warnings],
    }


def parse_datum(text: str | None) -> datums.Datum | None:
    """Raises `errors.BadInput`."""
    if not text:
        return None
    try:
        return datums.parse(text)
    except datums.UnknownDatum as error:
        raise errors.BadInput.of("datum", str(error)) from error


def store_json(row: asyncpg.Record) -> dict[str, Any]:
    """`lon`, `lat` are WGS-84; `given` is the position as it came, in `datum`."""
    return {
        "store": row["store"],
        "name": row["name"],
        "brand": row["brand"],
        "address": row["address"],
        "province": row["province"],
        "city": row["city"],
        "district": row["district"],
        "lon": row["lon"],
        "lat": row["lat"],
        "given": {"lon": row["given_lon"], "lat": row["given_lat"], "datum": row["datum"]},
        "tags": row["tags"],
        "service_area": row["service_area"],
        "status": row["status"],
        "updated_at": row["updated_at"],
    }
