"""The dry run, the reports and the joins, by JSON and CSV."""

from typing import Annotated, Any

import asyncpg
from fastapi import APIRouter, Depends, Query, Request, Response

from service import (
    moments,
)
from service.domain import (
    Role,
)
from service.http import answers, context, visitor
from service.http.context import Json, Reader, ServiceDep
from service.steps import join, report, show

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
    timezone = answers.timezone(service, caller)
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
    timezone = answers.timezone(service, caller)
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


def _wants_csv(request: Request) -> bool:
    return request.url.path.endswith(".csv") or "text/csv" in request.headers.get("accept", "")


def _csv(text: str, name: str) -> Response:
    return Response(
        text,
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )


def join_json(row: asyncpg.Record) -> dict[str, Any]:
    names = (
        "join_id", "scan_id", "visitor_id", "entry", "placement", "channel", "code_id", "store",
        "province", "city", "district", "source", "distance_m", "distance_band", "evidence",
        "joined_at", "left_at",
    )  # fmt: skip
    return {name: row[name] for name in names}
