"""The dry run, the reports and the joins, by JSON, CSV and XLSX."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response

from service import boards, moments, rollups
from service.domain import Role
from service.http import answers, context, formats, visitor
from service.http.context import Json, Reader, ServiceDep
from service.steps import join, report, show
from service.steps.report import Which

router = APIRouter(
    prefix="/api/v1",
    default_response_class=Json,
    tags=["reports"],
    dependencies=[Depends(context.storable)],
)


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


async def _which(
    service: ServiceDep,
    caller: Reader,
    since: str | None = None,
    until: str | None = None,
    entry: str | None = None,
    store: str | None = None,
    city: str | None = None,
    channel: str | None = None,
) -> Which:
    """Which scans, of those that the caller may see. A date alone as `until` means through the end
    of that day."""
    timezone = answers.timezone(service, caller)
    return Which(
        since=moments.instant(since, "since", timezone),
        until=moments.instant(until, "until", timezone, end_of_day=True),
        entry=entry or None,
        store=store or None,
        city=city or None,
        channel=channel or None,
        scope=caller.scope,
    )


Asked = Annotated[Which, Depends(_which)]


@router.get("/reports/funnel.xlsx")
@router.get("/reports/funnel.csv")
@router.get("/reports/funnel")
async def funnel(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    by: report.By = report.By.NONE,
    limit: formats.Limit = None,
    cursor: answers.Cursor = None,
) -> Response:
    """Scan-to-join conversion; bots are left out, and counted beside."""
    async with service.connection() as connection:
        found = await report.funnel_of(connection, caller.chain_id, which, by=by)
    found = formats.page(found, limit, cursor)
    return await formats.answer(request, found, report.COLUMNS, f"funnel-by-{by}")


@router.get("/reports/trend.xlsx")
@router.get("/reports/trend.csv")
@router.get("/reports/trend")
async def trend(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    by: Literal["hour", "day", "week", "month"] = "day",
) -> Response:
    """Every day (hour, week, month) of the period, and the change against the period before; by
    default the last 30 days."""
    async with service.connection() as connection:
        found = await boards.trend(connection, caller.chain_id, which, by=report.By(by))
    return await formats.answer(request, found, boards.TREND_COLUMNS, f"trend-by-{by}")


@router.get("/reports/stores.xlsx")
@router.get("/reports/stores.csv")
@router.get("/reports/stores")
async def stores(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    rank: boards.Rank = boards.Rank.JOINED,
    limit: formats.Limit = None,
    cursor: answers.Cursor = None,
) -> Response:
    """The leader board of stores, best first. Conversion and growth rank by the lower end of their
    95 % intervals, so that no small store wins by luck. By default of the last 30 days."""
    async with service.connection() as connection:
        found = await boards.stores(connection, caller.chain_id, which, rank=rank)
    found = formats.page(found, limit, cursor)
    return await formats.answer(request, found, boards.STORE_COLUMNS, f"stores-by-{rank}")


@router.get("/reports/managers.xlsx")
@router.get("/reports/managers.csv")
@router.get("/reports/managers")
async def managers(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    rank: boards.Rank = boards.Rank.JOINED,
    limit: formats.Limit = None,
    cursor: answers.Cursor = None,
) -> Response:
    """The same of managers, by the stores that are theirs now."""
    async with service.connection() as connection:
        found = await boards.managers(connection, caller.chain_id, which, rank=rank)
    found = formats.page(found, limit, cursor)
    return await formats.answer(request, found, boards.MANAGER_COLUMNS, f"managers-by-{rank}")


@router.get("/reports/placements.xlsx")
@router.get("/reports/placements.csv")
@router.get("/reports/placements")
async def placements(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    limit: formats.Limit = None,
    cursor: answers.Cursor = None,
) -> Response:
    """What each placement brought: recall (joins per printed piece), conversion, cost per join,
    revenue per piece."""
    async with service.connection() as connection:
        found = await boards.placements(connection, caller.chain_id, which)
    found = formats.page(found, limit, cursor)
    return await formats.answer(request, found, boards.PLACEMENT_COLUMNS, "placements")


@router.get("/reports/compare.xlsx")
@router.get("/reports/compare.csv")
@router.get("/reports/compare")
async def compare(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    a: Annotated[str, Query(min_length=1, max_length=64)] = "A",
    b: Annotated[str, Query(min_length=1, max_length=64)] = "B",
) -> Response:
    """Two variants of placements: the difference of their conversions, its 95 % interval, and in
    plain words whether that decides it."""
    async with service.connection() as connection:
        found = await boards.compare(connection, caller.chain_id, which, a, b)
    rows = (found["a"], found["b"])
    return await formats.answer(request, found, boards.COMPARE_COLUMNS, "compare", rows=rows)


@router.get("/reports/map.xlsx")
@router.get("/reports/map.csv")
@router.get("/reports/map")
async def map_of_stores(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    which: Asked,
    limit: formats.Limit = None,
    cursor: answers.Cursor = None,
) -> Response:
    """Every store: where it is, how it converts, and how full it is."""
    async with service.connection() as connection:
        found = await boards.map_of_stores(connection, caller.chain_id, which)
    found = formats.page(found, limit, cursor)
    return await formats.answer(request, found, boards.MAP_COLUMNS, "map")


@router.get("/reports/unserved.xlsx")
@router.get("/reports/unserved.csv")
@router.get("/reports/unserved")
async def unserved(
    request: Request,
    service: ServiceDep,
    caller: Reader,
    since: str | None = None,
    until: str | None = None,
    grid: Annotated[int | None, Query(ge=1, le=1000)] = None,
    limit: formats.Limit = None,
    cursor: answers.Cursor = None,
) -> Response:
    """Where visitors found nothing, and why. With `grid`, for a map: positions are the middles of
    squares of so many hundredths of a degree."""
    timezone = answers.timezone(service, caller)
    async with service.connection() as connection:
        rows = await report.unserved(
            connection,
            caller.chain_id,
            since=moments.instant(since, "since", timezone),
            until=moments.instant(until, "until", timezone, end_of_day=True),
            whole_chain=caller.role is not Role.MANAGER,
            grid=grid,
        )
        as_of = await rollups.as_of(connection)
    total = sum(row["scans"] for row in rows)
    found = formats.page({"as_of": as_of, "total": total, "rows": rows}, limit, cursor)
    return await formats.answer(request, found, report.UNSERVED_COLUMNS, "unserved")


@router.get("/reports/freshness")
async def freshness(service: ServiceDep, caller: Reader) -> dict[str, Any]:
    """Up to when everything that happened is in the reports, and how many seconds ago that was."""
    async with service.connection() as connection:
        as_of = await rollups.as_of(connection)
    behind_s = max(0.0, (datetime.now(UTC) - as_of).total_seconds())
    return {"as_of": as_of, "behind_s": round(behind_s, 3)}


@router.get("/joins")
async def joins(
    service: ServiceDep,
    caller: Reader,
    since: str | None = None,
    cursor: answers.Cursor = None,
    limit: answers.Limit = 100,
) -> dict[str, Any]:
    """Joins with their LBS tags, oldest first."""
    after = context.after_cursor_uuid(cursor)
    async with service.connection() as connection:
        rows = await join.exported(
            connection,
            caller.chain_id,
            after=after,
            since=moments.instant(since, "since", answers.timezone(service, caller)),
            stores=caller.scope,
            most=limit + 1,
        )
    return answers.page("joins", rows, limit, "join_id", join_json)


@router.post("/joins/{join_id}/left")
async def left(join_id: str, service: ServiceDep, caller: context.Hq) -> dict[str, Any]:
    """A member has left the group, as a CRM or a connected WeCom knows: their place is free again.
    Once is enough; again changes nothing."""
    found = context.parse_uuid(join_id, "join")
    return join_json(await service.journal.leave(caller.chain_id, found))


def join_json(row: asyncpg.Record) -> dict[str, Any]:
    """`next_url`: where a webhook's answer sends the visitor next."""
    return join.public(row) | {"next_url": row["next_url"]}
