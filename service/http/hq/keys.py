"""Keys for programs: the list, a new one, and the end of one. HQ alone sees them."""

from fastapi import APIRouter, Response

from service import errors
from service.domain import Role
from service.http import keys as api
from service.http.hq.desk import Desk, DeskDep, HqRoute, checked, values_of
from service.web import hq
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

COLUMNS = (
    Column(key="name", note="key_id"),
    Column(key="role", kind="words"),
    Column(key="stores", kind="list", wide=True),
    Column(key="created_at", kind="moment", wide=True),
    Column(key="status", kind="state"),
    Column(key="revoked_at", kind="moment", wide=True),
)


@router.get("/hq/keys")
@router.get("/hq/keys.{form}")
async def keys(desk: DeskDep, form: str = "") -> Response:
    return await _page(desk, form)


async def _page(
    desk: Desk, form: str = "", *, said: hq.Said | None = None, made: str = ""
) -> Response:
    if not desk.may_change:
        raise errors.NotAllowed("This needs an hq key")
    found = (await api.list_keys(desk.service, desk.caller))["keys"]
    rows = [{**row, "status": "revoked" if row["revoked_at"] else "active"} for row in found]
    table = desk.whole("keys", COLUMNS, rows, form, searched=("name",), default="-created_at")
    if form:
        return await desk.download(table, form)
    return desk.html(
        "keys.html",
        "keys",
        status=422 if said else 200,
        table=table,
        said=said,
        made=made,
        roles=[(role.value, desk.say(f"role.{role}")) for role in Role],
    )


@router.post("/hq/keys")
async def create(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    stores = [part.strip() for part in values.get("stores", "").replace("，", ",").split(",")]
    try:
        body = checked(
            api.KeyBody,
            {
                "role": values.get("role", ""),
                "name": values.get("name", ""),
                "stores": [store for store in stores if store],
            },
        )
        made = await api.create_key(body, desk.service, desk.caller)
    except errors.BadInput as error:
        return await _page(desk, said=desk.said(error, values))
    return await _page(desk, made=made["key"])


@router.post("/hq/keys/revoke")
async def revoke(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    await api.revoke_key(values.get("key_id", ""), desk.service, desk.caller)
    return desk.done("/hq/keys", "revoked")
