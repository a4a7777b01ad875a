"""What a visitor in the shop would see now, and the poster that hangs there."""

import asyncio
import dataclasses
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from geo import datum as datums
from geo.point import Point
from service import posters
from service.domain import Entry, Outcome, Routing
from service.http import console_pages, manager_pages, pages
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.http.manager_pages import Visit
from service.steps import locate
from service.web import manager, render
from service.web.poster import Paper
from service.web.words import Lang

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_LANGS: dict[str, Lang] = {"zh": "zh", "en": "en"}
_IN_THE_SHOP_M = 10.0  # metres: as good as a phone's position gets

# The page is only looked at: it sends nothing, and has no script that would.
_LOOK_ONLY = (
    "default-src 'none'; img-src 'self' data:; style-src 'nonce-{0}'; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


@router.get("/m/test")
async def try_it(
    request: Request, service: ServiceDep, store: str = "", entry: str | None = None
) -> Response:
    """The visitor's own page, as it would be for somebody in the shop; no scan and no seat."""
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    async with service.connection() as connection:
        shop = await manager_pages.own_store(connection, visit.caller, store)
    entries = posters.entries_of(service.directory, visit.caller.chain_id, shop["brand"])
    if not entries:
        page = manager.PosterPage(store=store, store_name=shop["name"], entries=())
        return manager_pages.html(manager.poster(visit.frame, page), visit.frame)
    chosen = posters.entry_of(entries, entry) if entry else entries[0]
    fix = locate.by_phone(
        Point(shop["lon"], shop["lat"]),
        datum=datums.Datum.WGS84,
        accuracy_m=_IN_THE_SHOP_M,
    )
    routing = service.journal.options(chosen, fix).explain()
    frame = visit.frame
    seen = dataclasses.replace(
        pages.page_of_routing(request, service, chosen.entry, routing, fix.point),
        lang=frame.lang,
        nonce=frame.nonce,
        trial=_trial(visit, store, shop["name"], entries, chosen, routing),
    )
    response = console_pages.html(render.visitor(seen), frame)
    response.headers["Content-Security-Policy"] = _LOOK_ONLY.format(frame.nonce)
    return response


def _trial(
    visit: Visit, store: str, name: str, entries: list[Entry], chosen: Entry, routing: Routing
) -> render.Trial:
    others = [
        (each.name, f"/m/test?{urlencode({'store': store, 'entry': each.entry})}",
         each.entry == chosen.entry)
        for each in entries
    ]  # fmt: skip
    return render.Trial(
        text=visit.say("test.banner", store=name),
        verdict=_verdict(visit, store, routing),
        back_url=f"/m?{urlencode({'store': store})}",
        back=visit.say("back.stores"),
        entries=others if len(others) > 1 else (),
    )


def _verdict(visit: Visit, store: str, routing: Routing) -> str:
    """Whether visitors are led to this store, and if not, where, and why."""
    if routing.outcome is Outcome.CHOOSE:
        return visit.say("test.choose")
    if routing.outcome is not Outcome.CODE:
        return visit.say("test.nothing")
    if routing.store == store:
        return visit.say("test.own")
    if routing.store is None:
        return visit.say("test.fallback")
    other = visit.service.directory.chains[visit.caller.chain_id].stores[routing.store].name
    hop = next((hop for hop in routing.hops if hop.store == store), None)
    if hop is None:
        return visit.say("test.other", store=other)
    why = visit.say(f"test.why.{hop.skipped.value}")
    return visit.say("test.other_why", store=other, why=why)


@router.get("/m/poster")
async def poster(request: Request, service: ServiceDep, store: str = "") -> Response:
    """Which paper, which language."""
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    async with service.connection() as connection:
        shop = await manager_pages.own_store(connection, visit.caller, store)
    entries = posters.entries_of(service.directory, visit.caller.chain_id, shop["brand"])
    page = manager.PosterPage(store=store, store_name=shop["name"], entries=entries)
    return manager_pages.html(manager.poster(visit.frame, page), visit.frame)


@router.get("/m/poster.pdf")
async def poster_pdf(
    request: Request,
    service: ServiceDep,
    store: str = "",
    entry: Annotated[str | None, Query(max_length=64)] = None,
    paper: str = "",
    lang: str = "",
) -> Response:
    """As `GET /api/v1/stores/{store}/poster.pdf`; here a store's number may hold anything."""
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    async with service.connection() as connection:
        await manager_pages.own_store(connection, visit.caller, store)
        wanted = await posters.of_store(
            connection,
            service.directory,
            visit.caller.chain_id,
            store,
            entry=entry,
            public_url=service.settings.public_url,
        )
    await service.refresh()
    size, said = Paper.A5 if paper == Paper.A5 else Paper.A4, _LANGS.get(lang, visit.frame.lang)
    page = await asyncio.to_thread(posters.drawn, wanted, size, said)
    return Response(
        page,
        media_type="application/pdf",
        headers={"Content-Disposition": posters.disposition(store, size, said, attachment=True)},
    )
