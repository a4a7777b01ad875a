"""The H5 page: the same steps as the JSON, for a phone's browser, with or without JavaScript.

```
GET  /q/{entry}                     scan: the code again, or "where are you?"
GET  /q/{entry}/s/{scan_id}         the scan as it stands; `X-Fragment: 1` for its inside alone
GET  /q/{entry}/s/{scan_id}/stores  the list to pick from
POST /q/{entry}/s/{scan_id}/locate | store | tell    by form; back to the scan
```
"""

import dataclasses
import secrets
import uuid
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from geo.point import InvalidPoint, Point
from service import browsers, errors
from service.domain import Code, Entry, Event, Outcome, Reason, Routing, Scan
from service.http import context, images, visitor
from service.http.context import ServiceDep
from service.journal import Look
from service.runtime import Service
from service.steps import show
from service.web import render

router = APIRouter(include_in_schema=False)

_NEXT = (Reason.NEXT_STORE, Reason.NEXT_CODE, Reason.FALLBACK)
_NEARBY = 5
_LISTED = 30


@router.get("/q/{entry}")
async def scan(entry: str, request: Request) -> Response:
    """A poster was scanned; `?p=` names the placement."""
    service, p = context.service_of(request), request.query_params.get("p")
    found = service.directory.entries.get(entry)
    if found is None:
        page = _page(request, service, entry, view="missing")
        return _html(render.visitor(page), nonce=page.nonce, status=404)
    if browsers.prefetch_in(request.headers):
        # Nobody looks yet, and what is answered now may be shown later without asking again.
        return Response(status_code=503, headers={"Cache-Control": "no-store"})
    visitor_id = visitor.visitor_of(request) or uuid.uuid4()
    client = visitor.client_of(request, service, visitor_id, via="page")
    try:
        opened, routing = await service.journal.open(found, p, client)
    except errors.Unavailable as error:
        return _unavailable(request, service, entry, error)
    if routing.outcome is Outcome.CODE:
        page = await _show(request, service, opened, await service.journal.look(opened))
    else:
        page = _page(request, service, entry, view="locate", scan_id=str(opened.scan_id))
    response = _html(render.visitor(page), nonce=page.nonce)
    visitor.set_visitor(response, visitor_id, service)
    return response


@router.get("/q/{entry}/s/{scan_id}")
async def current(entry: str, scan_id: str, request: Request, service: ServiceDep) -> Response:
    """The scan as it stands: a reload is no new scan."""
    try:
        scanned = await _scan(service, entry, scan_id)
        look = await service.journal.look(scanned)
    except errors.NotFound:
        return RedirectResponse(f"/q/{entry}", 303)
    except errors.Unavailable as error:
        return _unavailable(request, service, entry, error, scan_id)
    return _answer(request, await _show(request, service, scanned, look))


@router.get("/q/{entry}/s/{scan_id}/stores")
async def stores(
    entry: str,
    scan_id: str,
    request: Request,
    service: ServiceDep,
    q: Annotated[str, Query(max_length=100)] = "",
    city: Annotated[str, Query(max_length=100)] = "",
    lon: str = "",
    lat: str = "",
) -> Response:
    """The stores that can serve now, to pick one by hand."""
    try:
        scanned = await _scan(service, entry, scan_id)
        standing = (await service.journal.look(scanned)).standing
    except errors.NotFound:
        return RedirectResponse(f"/q/{entry}", 303)
    except errors.Unavailable as error:
        return _unavailable(request, service, entry, error, scan_id)
    where = _point(lon, lat) or (standing.point if standing else None)
    found = service.directory.entries[scanned.entry]
    listed, more = visitor.pickable(service, found, q=q, city=city, point=where, most=_LISTED)
    page = _page(request, service, entry, view="stores", scan_id=str(scanned.scan_id))
    page = dataclasses.replace(
        page,
        nearby=listed,
        more=more,
        cities=service.journal.options(found).cities(),
        q=q,
        city=city,
    )
    return _answer(request, page)


def _point(lon: str, lat: str) -> Point | None:
    """A position in the address, where it is one: here it only orders a list."""
    try:
        return Point(float(lon), float(lat))
    except (InvalidPoint, ValueError):
        return None


@router.post("/q/{entry}/s/{scan_id}/locate")
async def locate(entry: str, scan_id: str, request: Request, service: ServiceDep) -> Response:
    """Without JavaScript there is no position but the IP address's."""

    async def work(scanned: Scan) -> None:
        await service.journal.locate(scanned, visitor.fix_by_address(service, scanned, request))

    return await _post(request, service, entry, scan_id, work)


@router.post("/q/{entry}/s/{scan_id}/store")
async def choose(
    entry: str,
    scan_id: str,
    request: Request,
    service: ServiceDep,
    store: Annotated[str, Form(max_length=64)] = "",
) -> Response:
    async def work(scanned: Scan) -> None:
        await service.journal.choose(scanned, store)

    return await _post(request, service, entry, scan_id, work)


@router.post("/q/{entry}/s/{scan_id}/tell")
async def tell(
    entry: str,
    scan_id: str,
    request: Request,
    service: ServiceDep,
    event: Annotated[Event, Form()],
    code: Annotated[uuid.UUID | None, Form()] = None,
) -> Response:
    async def work(scanned: Scan) -> None:
        await service.journal.tell(scanned, event, code)

    return await _post(request, service, entry, scan_id, work)


async def _post(
    request: Request, service: Service, entry: str, scan_id: str, work: Any
) -> Response:
    """Do it, and show the scan as it then stands. What can't be done leaves it as it was."""
    try:
        await work(await _scan(service, entry, scan_id))
    except (errors.NotFound, errors.Conflict):
        pass
    except errors.Unavailable as error:
        return _unavailable(request, service, entry, error, scan_id)
    return RedirectResponse(f"/q/{entry}/s/{scan_id}", 303)


async def _scan(service: Service, entry: str, scan_id: str) -> Scan:
    scanned = await visitor.find_scan(service, scan_id)
    if scanned.entry != entry:
        raise errors.NotFound("There is no such scan")
    return scanned


# What the page is given


def _page(
    request: Request,
    service: Service,
    entry: str,
    *,
    view: render.View,
    scan_id: str | None = None,
    gone: bool = False,
) -> render.Page:
    found = service.directory.entries.get(entry)
    chain = service.directory.chain_of(found) if found else None
    return render.Page(
        lang=render.language(request.headers.get("accept-language")),
        nonce=secrets.token_urlsafe(12),
        chain_name=chain.name if chain else "",
        entry=entry,
        entry_name=found.name if found else "",
        scan_id=scan_id,
        view=view,
        gone=gone,
        locate_timeout_s=service.settings.locate_timeout_s,
        attributions=list(service.locator.attributions),
    )


async def _show(request: Request, service: Service, scanned: Scan, look: Look) -> render.Page:
    """The page of a scan as it stands."""
    where = look.standing.point if look.standing else None
    routing = look.routing
    code = service.directory.codes.get(routing.code_id) if routing.code_id else None
    if routing.outcome is Outcome.CODE and not look.joined and not _serves(service, code):
        # To look changes nothing: the page asks anew.
        return _page(
            request,
            service,
            scanned.entry,
            view="locate",
            scan_id=str(scanned.scan_id),
            gone=True,
        )
    page = page_of_routing(request, service, scanned.entry, routing, where)
    known = code is not None
    return dataclasses.replace(
        page,
        scan_id=str(scanned.scan_id),
        joined=look.joined,
        awaits_next=known and visitor.may_lead_on(service, scanned),
        next_url=await visitor.next_url(service, scanned, routing) if look.joined else None,
    )


def _serves(service: Service, code: Code | None) -> bool:
    return code is not None and service.directory.chains[code.chain_id].still_serves(
        code, datetime.now(UTC)
    )


def page_of_routing(
    request: Request, service: Service, entry: str, routing: Routing, where: Point | None
) -> render.Page:
    """What a decision looks like to somebody who stands `where`, if that is known."""
    views: dict[Outcome, render.View] = {
        Outcome.CODE: "code",
        Outcome.CHOOSE: "choose",
        Outcome.UNSERVED: "unserved",
    }
    found = service.directory.entries[entry]
    public = show.public(service.directory, found.chain_id, routing)
    code = service.directory.codes.get(routing.code_id) if routing.code_id else None
    if code is not None:
        public["code"]["image"] = images.image_url(code)
    nearby: list[dict[str, Any]] = []
    if routing.outcome is Outcome.UNSERVED:
        nearby, _ = visitor.pickable(service, found, point=where, most=_NEARBY)
    return dataclasses.replace(
        _page(request, service, entry, view=views[routing.outcome]),
        routing=public,
        passed=_passed(service, found, routing),
        nearby=nearby,
        cities=[] if routing.outcome is Outcome.CODE else service.journal.options(found).cities(),
    )


def _passed(service: Service, entry: Entry, routing: Routing) -> tuple[str, str] | None:
    """The store or code before it that could not serve, and why: what "the next one" is said
    about."""
    if not routing.hops or routing.reason not in _NEXT:
        return None
    hop = routing.hops[0]
    store = service.directory.chain_of(entry).stores.get(hop.store or "")
    return (store.name, hop.skipped.value) if store else None


# Answers

_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'nonce-{0}'; script-src 'nonce-{0}'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def _answer(request: Request, page: render.Page) -> Response:
    if request.headers.get("x-fragment"):
        return _html(render.fragment(page))
    return _html(render.visitor(page), nonce=page.nonce)


def _unavailable(
    request: Request,
    service: Service,
    entry: str,
    error: errors.Unavailable,
    scan_id: str | None = None,
) -> Response:
    page = _page(request, service, entry, view="unavailable", scan_id=scan_id)
    response = _html(render.visitor(page), nonce=page.nonce, status=503)
    response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _html(text: str, *, nonce: str = "none", status: int = 200) -> HTMLResponse:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": _POLICY.format(nonce),
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(text, status, headers)


BUSY = (scan,)
