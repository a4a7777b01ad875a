"""All of HQ's pages. An address that none of them has leads back to the first."""

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from service.http.hq import (
    assets,
    attention,
    breakdown,
    chain,
    changes,
    codes,
    entries,
    hooks,
    imports,
    jobs,
    keys,
    leaders,
    maps,
    money,
    overview,
    staff,
    stores,
)
from service.http.hq.desk import HqRoute

router = APIRouter(include_in_schema=False, route_class=HqRoute)
_PAGES = (
    assets, overview, attention, maps, breakdown, leaders, stores, codes, entries, imports, jobs,
    staff, money, hooks, keys, chain, changes,
)  # fmt: skip
for _page in _PAGES:
    router.include_router(_page.router)


@router.get("/hq/{rest:path}")
async def overview_again(rest: str) -> Response:
    return RedirectResponse("/hq", 303)
