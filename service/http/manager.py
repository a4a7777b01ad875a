"""The manager's page (`/m`): their stores, how full the codes are, what visitors say, what came of
it. For HQ it is every store of the chain, to search.

```
GET  /m                       the stores; `?store=` one of them alone
GET  /m/codes/{code_id}       a code, and all that can be done with it   (manager_codes)
GET  /m/add, /m/preview       a picture, then what it would be           (manager_adding)
GET  /m/test, /m/poster       what a visitor sees; the shop's poster     (manager_shop)
```
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

import asyncpg
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from service import catalog, complaints, directory, warnings
from service.domain import Role, StoreStatus
from service.http import context, manager_adding, manager_codes, manager_pages, manager_shop
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.http.manager_pages import MOST_STORES, Visit
from service.steps import report
from service.web import manager, manager_words

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_FOLD_FROM = 4  # stores: so many are shown in brief, to be unfolded
_MOST_WARNINGS = 1000  # of all stores that are shown


@router.get("/m")
async def stores(
    request: Request,
    service: ServiceDep,
    q: Annotated[str, Query()] = "",
    cursor: str | None = None,
    store: str | None = None,
    at: str | None = None,
    code: str | None = None,
    done: str | None = None,
) -> Response:
    """`store` shows that one alone; `at`, `code` and `done` say what a form has just brought about,
    and where."""
    visit = await manager_pages.visit(request, service)
    if isinstance(visit, Response):
        return visit
    where = store or at
    notice = None
    if where and done and f"done.{done}" in manager_words.KEYS:
        notice = manager.Notice(text=visit.say(f"done.{done}"), store=where, code_id=code)
    page = await _page(visit, q=q.strip()[:100], cursor=cursor, store=store, notice=notice)
    return manager_pages.html(manager.stores(visit.frame, page), visit.frame)


router.include_router(manager_adding.router)
router.include_router(manager_codes.router)
router.include_router(manager_shop.router)


@router.get("/m/{rest:path}")
async def stores_again(rest: str) -> Response:
    """Where a form was sent, typed or reloaded as an address."""
    return RedirectResponse("/m", 303)


async def _page(
    visit: Visit, *, q: str, cursor: str | None, store: str | None, notice: manager.Notice | None
) -> manager.StoresPage:
    """Raises `errors.NotFound` for a store that the caller may not see."""
    caller, many = visit.caller, manager_pages.many(visit.caller)
    async with visit.service.connection() as connection:
        if store is not None:
            rows = [await manager_pages.own_store(connection, caller, store)]
        else:
            rows = await catalog.find_stores(
                connection,
                caller.chain_id,
                scope=caller.scope,
                q=q or None,
                after=context.after_cursor(cursor or None),
                most=MOST_STORES + 1,
            )
        shown = rows[:MOST_STORES]
        cards = await _cards(connection, visit, shown)
        folded = len(cards) >= _FOLD_FROM
        attention = await _attention(connection, visit) if folded else []
    next_url = None
    if len(rows) > MOST_STORES:
        after = context.cursor(shown[-1]["store"])
        next_url = f"/m?{urlencode({'q': q, 'cursor': after})}"
    return manager.StoresPage(
        stores=cards,
        attention=attention,
        mine=caller.role is Role.MANAGER,
        q=q if many else None,
        single=store is not None and len(caller.stores) != 1,
        folded=folded,
        next_url=next_url,
        later=bool(cursor),
        notice=notice,
    )


async def _attention(connection: Any, visit: Visit) -> list[tuple[str, str]]:
    """A manager's stores that have warnings, the gravest first. HQ has a page for them."""
    if visit.caller.role is not Role.MANAGER:
        return []
    warned = await warnings.open_for(
        connection, visit.caller.chain_id, visit.caller.scope, most=_MOST_WARNINGS
    )
    return list({row["store"]: row["store_name"] for row in warned}.items())


async def _cards(
    connection: Any, visit: Visit, rows: Sequence[asyncpg.Record]
) -> list[manager.StoreCard]:
    chain_id = visit.caller.chain_id
    codes = {
        row["store"]: [
            directory.code_of(code)
            for code in await catalog.codes_of_store(connection, chain_id, row["store"])
        ]
        for row in rows
    }
    of_all = [code.code_id for own in codes.values() for code in own]
    said = await complaints.of_codes(connection, chain_id, of_all)
    figures = await _figures(connection, visit, list(codes))
    warned = await warnings.open_for(connection, chain_id, list(codes), most=_MOST_WARNINGS)
    return [
        manager.StoreCard(
            store=row["store"],
            name=row["name"],
            where=_where(row),
            closed=row["status"] != StoreStatus.OPEN.value,
            codes=codes[row["store"]],
            said={str(code_id): what for code_id, what in said.items()},
            figures=figures.get(row["store"], manager.Figures()),
            warnings=[warning for warning in warned if warning["store"] == row["store"]],
        )
        for row in rows
    ]


def _where(row: asyncpg.Record) -> str:
    """A store's number and address; the city, too, where the address does not name it."""
    address = row["address"] or ""
    city = None if row["city"] and row["city"] in address else row["city"]
    return " · ".join(filter(None, (row["store"], city, address)))


async def _figures(connection: Any, visit: Visit, stores: list[str]) -> dict[str, manager.Figures]:
    """Today's and this week's scans and joins, by store; by the chain's own days."""
    today = _midnight(visit.frame.now.astimezone(visit.frame.timezone))
    since = {"today": today, "week": _midnight(today - timedelta(days=today.weekday()))}
    found: dict[str, dict[str, int]] = {store: {} for store in stores}
    for when, at in since.items():
        funnel = await report.funnel(
            connection,
            visit.caller.chain_id,
            by=report.By.STORE,
            since=at,
            scope=stores,
            visitors=False,
        )
        for row in funnel["rows"]:
            if row["key"] in found:
                found[row["key"]][f"scans_{when}"] = row["scans"]
                found[row["key"]][f"joined_{when}"] = row["joined"]
    return {store: manager.Figures(**counts) for store, counts in found.items()}


def _midnight(local: datetime) -> datetime:
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
