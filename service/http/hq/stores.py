"""Stores: the list, and one store to look at and to edit."""

from typing import Any

import asyncpg
from fastapi import APIRouter, Response

from service import catalog, errors, lists
from service.http import stores as api
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute, values_of
from service.steps import report
from service.web import hq
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

COLUMNS = (
    Column(key="name", link="url", note="store"),
    Column(key="store", filed=True),
    Column(key="city", wide=True),
    Column(key="district", sorts=False, wide=True),
    Column(key="address", sorts=False, wide=True),
    Column(key="brand", wide=True),
    Column(key="status", kind="state"),
    Column(key="codes", kind="number", wide=True),
    Column(key="serving", kind="number"),
    Column(key="members", kind="number", wide=True),
    Column(key="seats", kind="number"),
)
_STATUSES = ("open", "closed", "dark")
_FIELDS = ("name", "brand", "address", "province", "city", "district", "datum", "status")


@router.get("/hq/stores")
@router.get("/hq/stores.{form}")
async def stores(desk: DeskDep, form: str = "") -> Response:
    ask = desk.ask(COLUMNS, form)
    city, status = desk.asked("city"), desk.asked("status")
    status = status if status in _STATUSES else ""
    async with desk.service.connection() as connection:
        found = await lists.stores(
            connection, desk.caller.chain_id, ask, city=city or None, status=status or None
        )
        cities = await lists.cities(connection, desk.caller.chain_id)
    for row in found.rows:
        row["url"] = figures.store_url(row["store"])
        if row["status"] == "open" and not row["serving"]:
            row["status"] = "dark"
    table = desk.table("stores", COLUMNS, found, ask, keep={"city": city, "status": status})
    if form:
        return await desk.download(table, form)
    return desk.html(
        "stores.html",
        "stores",
        table=table,
        choices=[
            ("city", desk.say("filters.city"), [(name, name) for name in cities]),
            (
                "status",
                desk.say("col.status"),
                [(each, desk.say(f"status.{each}")) for each in _STATUSES],
            ),
        ],
    )


@router.get("/hq/store")
async def store(desk: DeskDep) -> Response:
    number = desk.asked("store")
    if not number:
        if not desk.may_change:
            raise errors.NotFound("Only HQ makes new ones")
        return desk.html("store.html", "stores", **_form(None))
    return await _one(desk, number)


async def _one(desk: Desk, number: str, said: hq.Said | None = None) -> Response:
    """Raises `errors.NotFound`."""
    chosen = desk.filters
    async with desk.service.connection() as connection:
        row = await catalog.get_store(connection, desk.caller.chain_id, number)
        codes = await lists.codes(
            connection, desk.caller.chain_id, lists.Ask(most=200), store=number
        )
        found = await report.funnel(
            connection,
            desk.caller.chain_id,
            by=report.By.NONE,
            since=chosen.begins,
            until=chosen.ends,
            store=number,
        )
    return desk.html(
        "store.html",
        "stores",
        status=422 if said else 200,
        **{**_form(row, said), "codes": codes.rows, "total": found["total"]},
        breakdown=hq.Query("/hq/breakdown", {**chosen.query, "store": number})(by="day"),
    )


def _form(row: asyncpg.Record | None, said: hq.Said | None = None) -> dict[str, Any]:
    return {"store": None if row is None else dict(row), "said": said, "codes": [], "total": None}


@router.post("/hq/store")
async def save(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    number = values.pop("store", "")
    before = values.pop("before", "")
    body: dict[str, Any] = {name: values[name] or None for name in _FIELDS if name in values}
    body = {name: value for name, value in body.items() if value or name not in ("name", "status")}
    if "tags" in values:
        body["tags"] = [tag.strip() for tag in values["tags"].replace("，", ",").split(",")]
        body["tags"] = [tag for tag in body["tags"] if tag] or None
    for axis in ("lon", "lat"):
        if values.get(axis):
            body[axis] = values[axis]
    if "datum" in body and not {"lon", "lat"} & body.keys():
        del body["datum"]
    try:
        if not number:
            raise errors.BadInput.of("store", "is needed")
        if before and before != number:
            raise errors.BadInput.of("store", "cannot be changed")
        done = await api.put_store(number, body, desk.service, desk.caller, Response())
    except (errors.BadInput, errors.Conflict) as error:
        said = desk.said(error, {**values, "store": number})
        if before:
            return await _one(desk, before, said)
        return desk.html("store.html", "stores", status=422, **_form(None, said))
    return desk.done("/hq/store", "saved" if before else "created", store=done["store"])


@router.post("/hq/store/delete")
async def delete(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    await api.delete_store(values.get("store", ""), desk.service, desk.caller)
    return desk.done("/hq/stores", "deleted")
