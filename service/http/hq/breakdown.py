"""What became of the scans, by any of the report's keys: a chart, and a table to sort."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from service import lists
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.steps import report
from service.web import console, hq, hq_charts
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

BYS = (
    report.By.CITY, report.By.STORE, report.By.PLACEMENT, report.By.CHANNEL, report.By.DAY,
    report.By.HOUR, report.By.WEEK, report.By.MONTH, report.By.PROVINCE, report.By.DISTRICT,
    report.By.BRAND, report.By.ENTRY, report.By.VARIANT, report.By.SOURCE,
)  # fmt: skip
_OF_TIME = (report.By.DAY, report.By.HOUR, report.By.WEEK, report.By.MONTH)
_DRAWN = 16


@router.get("/hq/breakdown")
@router.get("/hq/breakdown.{form}")
async def breakdown(desk: DeskDep, form: str = "") -> Response:
    chosen = desk.filters
    by = next((known for known in BYS if known.value == desk.asked("by")), report.By.CITY)
    async with desk.service.connection() as connection:
        found = await report.funnel(
            connection,
            desk.caller.chain_id,
            by=by,
            since=chosen.begins,
            until=chosen.ends,
            **chosen.parts,
        )
        cities = await lists.cities(connection, desk.caller.chain_id)
    rows = [figures.named(desk, by.value, row) for row in found["rows"]]
    columns = (
        Column(key="name", label=f"by.{by}", link="url", note="note"),
        *figures.COUNTS,
    )
    table = desk.whole(
        "breakdown",
        columns,
        rows,
        form,
        searched=("name", "note"),
        default="-name" if by in _OF_TIME else "-scans",
        keep={**chosen.query, "by": by.value},
    )
    if form:
        return await desk.download(table, form)
    links = figures.Lists.of(desk, cities, by=by.value)
    return desk.html(
        "breakdown.html",
        "breakdown",
        filters=chosen,
        lists=links,
        by=by.value,
        bys=[(each.value, hq.Query("/hq/breakdown", chosen.query)(by=each.value)) for each in BYS],
        chart=_chart(desk, by, rows) if len(rows) > 1 else None,
        table=table,
        total=found["total"],
        csv=f"/api/v1/reports/funnel.csv?{urlencode({'by': by.value, **chosen.api})}",
    )


def _chart(desk: Desk, by: report.By, rows: list[dict[str, Any]]) -> hq.Chart:
    """The conversion of those with the most scans, each with its interval."""
    if by in _OF_TIME:
        drawn = sorted(rows, key=lambda row: row["key"] or "")[-_DRAWN * 2 :]
    else:
        drawn = sorted(rows, key=lambda row: (-row["scans"], row["key"] or ""))[:_DRAWN]
    best = max(drawn, key=lambda row: (row["conversion_low"] or 0, row["scans"]))
    return hq.Chart(
        id="by",
        title=desk.say("breakdown.chart"),
        summary=desk.say(
            "breakdown.said", name=best["name"], share=console.share(best["conversion"])
        ),
        figure=hq_charts.intervals(
            [row["name"] for row in drawn],
            drawn,
            "conversion",
            urls=[row["url"] or None for row in drawn],
        ),
        height=460 if len(drawn) > 8 else 300,
    )
