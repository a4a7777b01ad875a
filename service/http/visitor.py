"""Visitors, by JSON: mini-programs, apps, and the page's own script. No key is needed.

scan -> locate -> route -> hold -> show -> join, one call a step.
"""

import uuid
from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from geo import datum as datums
from geo.point import InvalidPoint, Point
from service import errors, outbox
from service.domain import Entry, Event, Fix, Routing, Scan, Source, Store
from service.http import context
from service.http.context import Json, ServiceDep
from service.runtime import Service
from service.steps import join, locate, scan, show

router = APIRouter(prefix="/api/v1", default_response_class=Json, tags=["visitors"])

COOKIE = "nc_visitor"
_COOKIE_S = 400 * 86400  # the longest that browsers keep one
_APP_VISITORS = uuid.UUID("8a3c3a5e-3f0c-4d6b-9d0d-6e6561726364")  # name space of X-Visitor ids


_LONGEST_VISITOR = 256
_X_VISITOR = {
    "parameters": [
        {
            "name": "x-visitor",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "maxLength": _LONGEST_VISITOR},
        }
    ]
}


class ScanBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    entry: str = Field(max_length=64)
    placement: context.Text | None = Field(None, max_length=64)


class PositionBody(BaseModel):
    """A position, or `{"source": "ip"}` for what the IP address tells."""

    lon: float | None = None
    lat: float | None = None
    accuracy_m: float | None = Field(None, ge=0, allow_inf_nan=False)
    datum: str | None = Field(None, max_length=32)
    source: Source = Source.GPS


class StoreBody(BaseModel):
    store: str = Field(max_length=64)


class EventBody(BaseModel):
    """`code_id`: the code that it is about; else it is the one that the scan shows now."""

    event: Event
    code_id: uuid.UUID | None = None


@router.post("/scans", status_code=201, openapi_extra=context.takes(ScanBody) | _X_VISITOR)
async def open_scan(
    request: Request,
) -> Json:
    """Record a scan. `X-Visitor` is the app's own id of the device."""
    service = context.service_of(request)
    body = await context.body_of(request, ScanBody)
    entry = find_entry(service, body.entry)
    x_visitor = request.headers.get("x-visitor", "")
    if len(x_visitor) > _LONGEST_VISITOR:
        raise errors.BadInput.of("x-visitor", f"has more than {_LONGEST_VISITOR} characters")
    if x_visitor:
        visitor_id = uuid.uuid5(_APP_VISITORS, f"{entry.chain_id}/{x_visitor}")
    else:
        visitor_id = visitor_of(request) or uuid.uuid4()
    opened, _ = await service.journal.open(
        entry, body.placement, client_of(request, service, visitor_id, via="api")
    )
    response = Json({"scan_id": str(opened.scan_id)}, 201)
    if not x_visitor:
        set_visitor(response, visitor_id, service)
    return response


@router.get("/scans/{scan_id}")
async def current(scan_id: str, request: Request) -> Json:
    """The current Routing."""
    service = context.service_of(request)
    scanned = await find_scan(service, scan_id)
    routing = await service.journal.current(scanned)
    return Json(await public_with_next(service, scanned, routing))


@router.post("/scans/{scan_id}/position", openapi_extra=context.takes(PositionBody))
async def position(scan_id: str, request: Request) -> Json:
    """Where the visitor is; a Routing."""
    service = context.service_of(request)
    body = await context.body_of(request, PositionBody)
    scanned = await find_scan(service, scan_id)
    if body.source is Source.IP:
        fix = fix_by_address(service, scanned, request)
    elif body.source is Source.CHOSEN:
        raise errors.BadInput.of("source", "a store is chosen by POST .../store")
    else:
        fix = fix_by_phone(
            service, body.lon, body.lat, body.accuracy_m, body.datum, source=body.source
        )
    return Json(public(service, scanned, await service.journal.locate(scanned, fix)))


@router.post("/scans/{scan_id}/store", openapi_extra=context.takes(StoreBody))
async def choose(scan_id: str, request: Request) -> Json:
    """The store that the visitor picked; a Routing."""
    service = context.service_of(request)
    body = await context.body_of(request, StoreBody)
    scanned = await find_scan(service, scan_id)
    return Json(public(service, scanned, await service.journal.choose(scanned, body.store)))


@router.post("/scans/{scan_id}/events", openapi_extra=context.takes(EventBody))
async def tell(scan_id: str, request: Request) -> Json:
    """What the visitor did, or says of the code; the current Routing."""
    service = context.service_of(request)
    body = await context.body_of(request, EventBody)
    scanned = await find_scan(service, scan_id)
    routing = await service.journal.tell(scanned, body.event, body.code_id)
    return Json(await public_with_next(service, scanned, routing))


BUSY = (position, tell, open_scan, choose)


@router.get("/entries/{entry}/stores")
async def stores(
    entry: str,
    service: ServiceDep,
    q: Annotated[str | None, Query(max_length=100)] = None,
    city: Annotated[str | None, Query(max_length=100)] = None,
    lon: float | None = None,
    lat: float | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """The stores that can serve now, nearest first when a position is given."""
    found = find_entry(service, entry)
    point = None
    if lon is not None or lat is not None:
        point = point_of(lon, lat)
    listed, _ = pickable(service, found, q=q, city=city, point=point, most=limit)
    return {"stores": listed, "next": None}


# What the page needs as well


def find_entry(service: Service, entry: str) -> Entry:
    """Raises `errors.NotFound`."""
    found = service.directory.entries.get(entry)
    if found is None:
        raise errors.NotFound(f"There is no entry {entry[:64]}")
    return found


async def find_scan(service: Service, scan_id: str) -> Scan:
    """Raises `errors.NotFound`."""
    return await service.journal.find(context.parse_uuid(scan_id, "scan"))


def visitor_of(request: Request) -> uuid.UUID | None:
    """The visitor that the cookie names."""
    try:
        return uuid.UUID(request.cookies.get(COOKIE, ""))
    except ValueError:
        return None


def set_visitor(response: Response, visitor_id: uuid.UUID, service: Service) -> None:
    response.set_cookie(
        COOKIE,
        visitor_id.hex,
        max_age=_COOKIE_S,
        httponly=True,
        secure=service.settings.public_url.startswith("https://"),
        samesite="lax",
    )


def client_of(
    request: Request, service: Service, visitor_id: uuid.UUID, *, via: str
) -> scan.Client:
    return scan.Client(
        visitor_id=visitor_id,
        via=via,
        returns=COOKIE in request.cookies,
        user_agent=request.headers.get("user-agent", ""),
        language=request.headers.get("accept-language", "")[:35] or None,
        address=context.address_of(request, service.settings),
    )


def point_of(lon: float | None, lat: float | None) -> Point:
    """Raises `errors.BadInput`."""
    missing = [
        errors.FieldError(name, "is needed")
        for name, value in (("lon", lon), ("lat", lat))
        if value is None
    ]
    if lon is None or lat is None:
        raise errors.BadInput(*missing)
    try:
        return Point(lon, lat)
    except InvalidPoint as error:
        raise errors.BadInput.of(error.field, str(error)) from error


def fix_by_phone(
    service: Service,
    lon: float | None,
    lat: float | None,
    accuracy_m: float | None,
    datum: str | None,
    *,
    source: Source = Source.GPS,
) -> Fix:
    """A phone's position; without an accuracy (or with 0, which phones give when they do not know
    it) the setting's. Raises `errors.BadInput`."""
    point = point_of(lon, lat)
    try:
        given = datums.parse(datum) if datum else datums.Datum.WGS84
    except datums.UnknownDatum as error:
        raise errors.BadInput.of("datum", str(error)) from error
    return locate.by_phone(
        point,
        datum=given,
        accuracy_m=accuracy_m or service.settings.gps_accuracy_m,
        source=source,
    )


def fix_by_address(service: Service, scanned: Scan, request: Request) -> Fix | None:
    policy = service.directory.entries[scanned.entry].ip_policy
    address = context.address_of(request, service.settings)
    return locate.by_address(service.locator, address, policy)


def may_lead_on(service: Service, scanned: Scan) -> bool:
    """Whether somebody is told of joins, and may answer with a page for the visitor."""
    return outbox.Event.JOIN_CREATED in service.directory.chains[scanned.chain_id].webhook_events


async def next_url(service: Service, scanned: Scan, routing: Routing) -> str | None:
    """The page that a webhook's answer names for a visitor who has joined, once it is known."""
    if routing.code_id is None or not may_lead_on(service, scanned):
        return None
    try:
        async with service.connection() as connection:
            return await join.next_url(
                connection, scanned.chain_id, scanned.scan_id, routing.hold_id
            )
    except errors.Unavailable:
        return None


async def public_with_next(service: Service, scanned: Scan, routing: Routing) -> dict[str, Any]:
    found = public(service, scanned, routing)
    url = await next_url(service, scanned, routing)
    return found if url is None else {**found, "next_url": url}


def public(service: Service, scanned: Scan, routing: Routing) -> dict[str, Any]:
    return show.public(service.directory, scanned.chain_id, routing)


def pickable(
    service: Service,
    entry: Entry,
    *,
    q: str | None = None,
    city: str | None = None,
    point: Point | None = None,
    most: int,
) -> tuple[list[dict[str, Any]], bool]:
    """Stores that can serve now, `most` at most, and whether there are more.

    By distance from `point`, or else by city and name.
    """
    options = service.journal.options(entry)
    chain = service.directory.chain_of(entry)
    words = (q or "").casefold().split()
    found: list[dict[str, Any]] = []
    near: Iterable[tuple[Store, float | None]]
    if point is not None:
        near = ((chain.stores[n.key], n.distance_m) for n in options.nearest_serving(point))
    else:
        near = ((store, None) for store in options.serving(city or None))
    for store, metres in near:
        if city and store.city != city:
            continue
        text = f"{store.store} {store.name} {store.address or ''} {store.city or ''} ".casefold()
        if not all(word in text for word in words):
            continue
        if len(found) == most:
            return found, True
        found.append(show.store(store, metres))
    return found, False
