"""HQ and managers, by JSON: stores, codes, entries, placements, keys, reports, joins.

A `read` key reads, an `hq` key does all in its chain, a `manager` key does the codes of its own
stores. Outside one's reach: 404.
"""

import asyncio
import dataclasses
import zipfile
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import asyncpg
from fastapi import APIRouter, Depends, File, Query, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from geo import datum as datums
from service import (
    accounts,
    catalog,
    errors,
    importing,
    moments,
    pictures,
    printing,
    tabular,
)
from service.accounts import Caller
from service.domain import (
    ENTRY_PATTERN,
    PLACEMENT_PATTERN,
    CodeStatus,
    CountedBy,
    IpPolicy,
    Role,
)
from service.http import context, visitor
from service.http.context import Editor, Hq, Json, Moment, Reader, ServiceDep, Text
from service.runtime import Service
from service.steps import join, report, show

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["hq"],
    dependencies=[Depends(context.storable)],
)

_STORE_NEEDS = ("name", "lon", "lat")
_STORE_MAY = (
    "brand", "address", "province", "city", "district", "datum", "tags", "service_area", "status",
)  # fmt: skip

Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(max_length=400)]


# ---------------------------------------------------------------- stores


@router.get("/stores")
async def list_stores(
    service: ServiceDep,
    caller: Reader,
    city: str | None = None,
    q: str | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
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
    return _page("stores", rows, limit, "store", store_json)


@router.get("/stores/{store}")
async def get_store(store: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    _within(caller, store)
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
        lambda: importing.stores(_table(data, file.filename), datum=default)
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
        "rejected": [_told(rejection) for rejection in done.rejected],
        "warnings": [_told(warning) for warning in parsed.warnings],
    }


def parse_datum(text: str | None) -> datums.Datum | None:
    """Raises `errors.BadInput`."""
    if not text:
        return None
    try:
        return datums.parse(text)
    except datums.UnknownDatum as error:
        raise errors.BadInput.of("datum", str(error)) from error


def _table(data: bytes, filename: str | None) -> tabular.Table:
    try:
        return tabular.read(data, filename)
    except tabular.UnreadableTable as error:
        raise errors.BadInput.of("file", str(error)) from error


# ---------------------------------------------------------------- codes


class CodeBody(BaseModel):
    """A new code by its payload."""

    model_config = ConfigDict(extra="forbid")

    payload: str = Field(max_length=2000)
    capacity: int | None = None
    members: int | None = None
    expires_at: Moment | None = None
    label: Text | None = Field(None, max_length=200)
    counted_by: CountedBy | None = None


class CodeChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    capacity: int | None = None
    members: int | None = None
    counted_by: CountedBy | None = None
    status: CodeStatus | None = None
    expires_at: Moment | None = None
    position: int | None = Field(None, ge=0, le=10_000)
    label: Text | None = Field(None, max_length=200)


@router.get("/stores/{store}/codes")
async def list_codes(store: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    """A store's codes in the order in which they are filled."""
    _within(caller, store)
    async with service.connection() as connection:
        await catalog.get_store(connection, caller.chain_id, store)
        rows = await catalog.codes_of_store(connection, caller.chain_id, store)
    return {"codes": [code_json(row) for row in rows], "next": None}


@router.post("/stores/{store}/codes", status_code=201)
async def create_code(
    store: str, request: Request, service: ServiceDep, caller: Editor
) -> dict[str, Any]:
    """Put up a code: multipart with a picture as `image`, or JSON with its `payload`."""
    _within(caller, store)
    body = await _code_body(request, service)
    new = catalog.NewCode(
        store=store,
        payload=body.payload,
        kind=catalog.kind_of(body.payload),
        capacity=body.capacity,
        members=body.members,
        expires_at=body.expires_at,
        label=body.label,
        counted_by=body.counted_by,
    )
    async with service.connection() as connection:
        row = await catalog.create_code(
            connection,
            caller.chain_id,
            new,
            datetime.now(UTC),
            service.settings,
            scope=caller.scope,
        )
    await service.refresh()
    return code_json(row)


async def _code_body(request: Request, service: Service) -> CodeBody:
    """The body in either form, the payload read from the picture if there is one."""
    kind = request.headers.get("content-type", "")
    try:
        if not kind.startswith("multipart/form-data"):
            return CodeBody.model_validate_json(await request.body())
        async with request.form(max_files=1, max_fields=20) as form:
            values: dict[str, Any] = {k: v for k, v in form.items() if isinstance(v, str) and v}
            image = form.get("image")
            if image is not None and not isinstance(image, str):
                picture = await context.read_upload(image, "image", service.settings)
                values["payload"] = await asyncio.to_thread(catalog.decode, picture)
            elif "payload" not in values:
                raise errors.BadInput.of("image", "a picture of the code is needed")
            return CodeBody.model_validate(values)
    except ValidationError as error:
        raise errors.BadInput(
            *(
                errors.FieldError(".".join(map(str, e["loc"])) or "body", e["msg"])
                for e in error.errors()
            )
        ) from error


@router.post("/codes/import")
async def import_codes(
    service: ServiceDep,
    caller: Editor,
    file: Annotated[UploadFile, File()],
    dry_run: bool = False,
) -> dict[str, Any]:
    """Codes from a CSV or XLSX, or a ZIP of pictures named by store (SH001.png, SH001-2.jpg)."""
    data = await context.read_upload(file, "file", service.settings)
    await service.refresh()  # stores that another worker has made a moment ago
    stores = service.directory.chains[caller.chain_id].stores.keys()
    timezone = _timezone(service, caller)
    parsed = await asyncio.to_thread(_codes_in, data, file.filename, stores, timezone)
    async with service.connection() as connection:
        done = await catalog.import_codes(
            connection,
            caller.chain_id,
            parsed.rows,
            datetime.now(UTC),
            service.settings,
            rejected=parsed.rejected,
            scope=caller.scope,
            dry_run=dry_run,
        )
    await service.refresh()
    return {
        "created": done.created,
        "unchanged": done.unchanged,
        "rejected": [_told(rejection) for rejection in done.rejected],
    }


def _codes_in(
    data: bytes, filename: str | None, stores: Collection[str], timezone: ZoneInfo
) -> importing.Parsed[importing.CodeRow]:
    if pictures.is_archive(data):
        try:
            return pictures.codes(pictures.in_zip(data), stores)
        except zipfile.BadZipFile as error:
            raise errors.BadInput.of("file", f"the ZIP can't be read: {error}") from error
    return importing.codes(_table(data, filename), tz=timezone)


@router.get("/codes/{code_id}")
async def get_code(code_id: str, service: ServiceDep, caller: Reader) -> dict[str, Any]:
    return code_json(await _own_code(service, caller, code_id))


@router.patch("/codes/{code_id}")
async def change_code(
    code_id: str, body: CodeChange, service: ServiceDep, caller: Editor
) -> dict[str, Any]:
    """Capacity, head count, pause, resume, order. Only what is sent changes."""
    await _own_code(service, caller, code_id)
    change = body.model_dump(exclude_unset=True)
    for name in ("capacity", "members", "counted_by", "status", "position"):
        if name in change and change[name] is None:
            raise errors.BadInput.of(name, "may not be null")
    async with service.connection() as connection:
        row = await catalog.change_code(
            connection,
            caller.chain_id,
            context.parse_uuid(code_id, "code"),
            change,
            service.settings,
            scope=caller.scope,
        )
    await service.refresh()
    return code_json(row)


@router.put("/codes/{code_id}/image")
async def renew_code(
    code_id: str, service: ServiceDep, caller: Editor, image: Annotated[UploadFile, File()]
) -> dict[str, Any]:
    """A new picture in the code's place: same store, order and capacity; a new expiry."""
    before = await _own_code(service, caller, code_id)
    picture = await context.read_upload(image, "image", service.settings)
    payload = await asyncio.to_thread(catalog.decode, picture)
    async with service.connection() as connection:
        row = await catalog.renew_code(
            connection,
            caller.chain_id,
            before["code_id"],
            payload,
            datetime.now(UTC),
            service.settings,
            scope=caller.scope,
        )
    await service.refresh()
    return code_json(row)


async def _own_code(service: Service, caller: Caller, code_id: str) -> asyncpg.Record:
    async with service.connection() as connection:
        row = await catalog.get_code(
            connection, caller.chain_id, context.parse_uuid(code_id, "code")
        )
    if not caller.sees_store(row["store"]):
        raise errors.NotFound("There is no such code")
    return row


# ---------------------------------------------------------------- entries and placements


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
    service: ServiceDep, caller: Reader, cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    async with service.connection() as connection:
        rows = await catalog.entries(
            connection, caller.chain_id, after=context.after_cursor(cursor), most=limit + 1
        )
    return _page("entries", rows, limit, "entry", lambda row: entry_json(row, service))


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
    entry: str, service: ServiceDep, caller: Reader, cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    async with service.connection() as connection:
        await catalog.get_entry(connection, caller.chain_id, entry)
        rows = await catalog.placements(
            connection, caller.chain_id, entry, after=context.after_cursor(cursor), most=limit + 1
        )
    return _page("placements", rows, limit, "placement", lambda row: placement_json(row, service))


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


# ---------------------------------------------------------------- route, reports, joins


@router.get("/route")
async def explain(
    service: ServiceDep,
    caller: Reader,
    entry: str,
    lon: float,
    lat: float,
    datum: str | None = None,
    accuracy_m: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
) -> dict[str, Any]:
    """What a visitor there would be shown, and every hop on the way; takes no seat."""
    found = await context.own_entry(service, caller, entry)
    fix = visitor.fix_by_phone(service, lon, lat, accuracy_m, datum)
    return show.public(
        service.directory, caller.chain_id, service.journal.options(found, fix).explain()
    )


@router.get("/reports/funnel.csv")
@router.get("/reports/funnel")
async def funnel(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    by: report.By = report.By.NONE,
    since: str | None = None,
    until: str | None = None,
    entry: str | None = None,
    store: str | None = None,
    city: str | None = None,
    channel: str | None = None,
) -> Response:
    """Scan-to-join conversion. A date alone as `until` means through the end of that day."""
    timezone = _timezone(service, caller)
    async with service.connection() as connection:
        found = await report.funnel(
            connection,
            caller.chain_id,
            by=by,
            since=moments.instant(since, "since", timezone),
            until=moments.instant(until, "until", timezone, end_of_day=True),
            entry=entry or None,
            store=store or None,
            city=city or None,
            channel=channel or None,
            scope=caller.scope,
        )
    if _wants_csv(request):
        return _csv(report.as_csv(found["rows"], report.COLUMNS), f"funnel-by-{by}")
    return Json(found)


@router.get("/reports/unserved.csv")
@router.get("/reports/unserved")
async def unserved(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    since: str | None = None,
    until: str | None = None,
) -> Response:
    """Where visitors found nothing, and why."""
    timezone = _timezone(service, caller)
    async with service.connection() as connection:
        rows = await report.unserved(
            connection,
            caller.chain_id,
            since=moments.instant(since, "since", timezone),
            until=moments.instant(until, "until", timezone, end_of_day=True),
            whole_chain=caller.role is not Role.MANAGER,
        )
    if _wants_csv(request):
        return _csv(report.as_csv(rows, report.UNSERVED_COLUMNS), "unserved")
    return Json({"total": sum(row["scans"] for row in rows), "rows": rows})


@router.get("/joins")
async def joins(
    service: ServiceDep,
    caller: Reader,
    since: str | None = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> dict[str, Any]:
    """Joins with their LBS tags, oldest first."""
    after = context.after_cursor_uuid(cursor)
    async with service.connection() as connection:
        rows = await join.exported(
            connection,
            caller.chain_id,
            after=after,
            since=moments.instant(since, "since", _timezone(service, caller)),
            stores=caller.scope,
            most=limit + 1,
        )
    return _page("joins", rows, limit, "join_id", join_json)


def _timezone(service: Service, caller: Caller) -> ZoneInfo:
    return ZoneInfo(service.directory.chains[caller.chain_id].timezone)


def _wants_csv(request: Request) -> bool:
    return request.url.path.endswith(".csv") or "text/csv" in request.headers.get("accept", "")


def _csv(text: str, name: str) -> Response:
    return Response(
        text,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


# ---------------------------------------------------------------- keys


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


# ---------------------------------------------------------------- as JSON


def _within(caller: Caller, store: str) -> None:
    if not caller.sees_store(store):
        raise errors.NotFound(f"There is no store {store}")


def _page(
    noun: str, rows: list[asyncpg.Record], limit: int, key: str, as_json: Any
) -> dict[str, Any]:
    """A list and its cursor; `rows` has one more than fits if there are more."""
    shown = rows[:limit]
    after = str(shown[-1][key]) if len(rows) > limit else None
    return {noun: [as_json(row) for row in shown], "next": context.cursor(after)}


def _told(row: importing.Rejected | importing.Warned) -> dict[str, Any]:
    return {"row": row.row, "field": row.field, "detail": row.detail}


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


def code_json(row: asyncpg.Record) -> dict[str, Any]:
    """`serving`: whether the next visitor could be shown it."""
    expired = row["expires_at"] is not None and row["expires_at"] <= datetime.now(UTC)
    room = row["members"] + row["held"] < row["capacity"]
    # Null: a fallback code, which stands behind no store.
    open_store = row["store_status"] in (None, "open")
    return {
        "code_id": row["code_id"],
        "store": row["store"],
        "kind": row["kind"],
        "payload": row["payload"],
        "label": row["label"],
        "capacity": row["capacity"],
        "members": row["members"],
        "held": row["held"],
        "counted_by": row["counted_by"],
        "status": row["status"],
        "serving": row["status"] == "active" and not expired and room and open_store,
        "expires_at": row["expires_at"],
        "position": row["position"],
        "image": f"/c/{row['code_id']}.png",
    }


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


def join_json(row: asyncpg.Record) -> dict[str, Any]:
    names = (
        "join_id", "scan_id", "visitor_id", "entry", "placement", "channel", "code_id", "store",
        "province", "city", "district", "source", "distance_m", "distance_band", "evidence",
        "joined_at", "left_at",
    )  # fmt: skip
    return {name: row[name] for name in names}
