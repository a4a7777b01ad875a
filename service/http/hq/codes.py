"""Group codes of all stores: the list, and one to look at and to change."""

from typing import Any

from fastapi import APIRouter, Response

from service import errors, lists
from service.http import codes as codes_api
from service.http import images
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute, checked, values_of
from service.web import hq
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

COLUMNS = (
    Column(key="store_name", link="url", note="label"),
    Column(key="city", sorts=False, wide=True),
    Column(key="store", filed=True),
    Column(key="label", filed=True),
    Column(key="kind", kind="words", wide=True),
    Column(key="state", kind="state"),
    Column(key="members", kind="number"),
    Column(key="held", kind="number", wide=True),
    Column(key="capacity", kind="number", wide=True),
    Column(key="fill", kind="share"),
    Column(key="expires_at", kind="moment", wide=True),
)
_STATES = ("serving", "nearly_full", "full", "expiring", "expired", "paused", "reported")


@router.get("/hq/codes")
@router.get("/hq/codes.{form}")
async def codes(desk: DeskDep, form: str = "") -> Response:
    ask = desk.ask(COLUMNS, form)
    state = desk.asked("state")
    state = state if state in _STATES else ""
    async with desk.service.connection() as connection:
        found = await lists.codes(connection, desk.caller.chain_id, ask, state=state or None)
    for row in found.rows:
        row["store_name"] = row["store_name"] or row["store"] or desk.say("field.fallback")
        row["url"] = hq.Query("/hq/code", {})(code=row["code_id"])
    table = desk.table("codes", COLUMNS, found, ask, keep={"state": state})
    if form:
        return await desk.download(table, form)
    return desk.html(
        "codes.html",
        "codes",
        table=table,
        choices=[
            ("state", desk.say("col.state"), [(s, desk.say(f"state.{s}")) for s in _STATES]),
        ],
    )


@router.get("/hq/code")
async def code(desk: DeskDep) -> Response:
    return await _code(desk, desk.asked("code"))


async def _code(desk: Desk, code_id: str, said: hq.Said | None = None) -> Response:
    """Raises `errors.NotFound`."""
    row = await codes_api.get_code(code_id, desk.service, desk.caller)
    known = desk.chain.stores.get(row["store"] or "")
    held = desk.service.directory.codes.get(row["code_id"])
    return desk.html(
        "code.html",
        "codes",
        status=422 if said else 200,
        code=row,
        store=known,
        store_url=figures.store_url(known.store) if known else "",
        image=images.image_url(held) if held else "",
        said=said,
    )


@router.post("/hq/code")
async def change_code(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    code_id = values.pop("code", "")
    change: dict[str, Any] = {
        name: values[name]
        for name in ("capacity", "members", "counted_by", "status", "position")
        if values.get(name)
    }
    if "expires_at" in values:
        change["expires_at"] = desk.moment(values["expires_at"])
    try:
        await codes_api.change_code(
            code_id, checked(codes_api.CodeChange, change), desk.service, desk.caller
        )
    except (errors.BadInput, errors.Conflict) as error:
        return await _code(desk, code_id, desk.said(error, values))
    return desk.done("/hq/code", "saved", code=code_id)
