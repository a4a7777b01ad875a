"""The map: stores by conversion or by load, and where people scanned and found nothing.

It is drawn on our own outlines of the provinces: map tiles would be asked of somebody else.
"""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from service import boards, lists, rollups
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.steps import report
from service.web import assets, hq, hq_charts
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

SHOWS = ("conversion", "load", "unserved")
# Hundredths of a degree, about 10 km: what is closer together is one place on a map of a country.
_GRID = 10
_STORE_COLUMNS = (
    Column(key="name", link="url", note="store"),
    Column(key="store", filed=True),
    Column(key="city", wide=True),
    Column(key="scans", kind="number"),
    Column(key="joined", kind="number"),
    Column(key="conversion", kind="interval"),
    Column(key="members", kind="number", wide=True),
    Column(key="capacity", kind="number", wide=True),
    Column(key="load", kind="share"),
    Column(key="lon", filed=True),
    Column(key="lat", filed=True),
)
_PLACE = ("reason", "province", "city", "district")
_UNSERVED_COLUMNS = (
    Column(key="reason", kind="words"),
    Column(key="province", wide=True),
    Column(key="city"),
    Column(key="district", wide=True),
    Column(key="scans", kind="number"),
)


@router.get("/hq/map")
@router.get("/hq/map.{form}")
async def map_page(desk: DeskDep, form: str = "") -> Response:
    chosen = desk.filters
    show = desk.asked("show") if desk.asked("show") in SHOWS else SHOWS[0]
    async with desk.service.connection() as connection:
        cities = await lists.cities(connection, desk.caller.chain_id)
        if show == "unserved":
            chain_id, since, until = desk.caller.chain_id, chosen.begins, chosen.ends
            squares = await report.unserved(
                connection, chain_id, since=since, until=until, grid=_GRID
            )
            rows = await report.unserved_by(connection, chain_id, _PLACE, since=since, until=until)
            as_of = await rollups.as_of(connection)
        else:
            found = await boards.map_of_stores(connection, desk.caller.chain_id, chosen.which)
            rows, squares, as_of = found["rows"], [], found["as_of"]
    for row in rows:
        row["url"] = figures.store_url(row["store"]) if "store" in row else ""
    table = desk.whole(
        "map",
        _UNSERVED_COLUMNS if show == "unserved" else _STORE_COLUMNS,
        rows,
        form,
        searched=("city", "province", "district") if show == "unserved" else ("name", "store"),
        default="-load" if show == "load" else "-scans",
        keep={**chosen.query, "show": show},
    )
    if form:
        return await desk.download(table, form)
    api = {"grid": str(_GRID)} if show == "unserved" else {}
    noun = "unserved" if show == "unserved" else "map"
    return desk.html(
        "map.html",
        "map",
        filters=chosen,
        lists=figures.Lists.of(desk, cities, show=show),
        as_of=as_of,
        showing=show,
        shows=[(each, hq.Query("/hq/map", chosen.query)(show=each)) for each in SHOWS],
        chart=_unserved(desk, squares) if show == "unserved" else _stores(desk, rows, show),
        outlines=assets.url("provinces.json"),
        csv=f"/api/v1/reports/{noun}.csv?{urlencode({**chosen.api, **api})}",
        table=table,
    )


def _stores(desk: Desk, rows: list[dict[str, Any]], show: str) -> hq.Chart:
    there = [row for row in rows if row["status"] == "open"]
    words = {
        "scans": desk.say("figure.scans"),
        "joined": desk.say("figure.joined"),
        "conversion": desk.say("figure.conversion"),
        "load": desk.say("col.load"),
    }
    known = [row[show] for row in there if row[show] is not None]
    return hq.Chart(
        id="map",
        title=desk.say(f"map.{show}"),
        summary=desk.say(
            f"map.{show}_said",
            count=hq.number(len(there)),
            known=hq.number(len(known)),
            full=hq.number(sum(value >= 1 for value in known)),
        ),
        figure=hq_charts.map_of_stores(there, show, words),
        height=620,
        map=True,
    )


def _unserved(desk: Desk, rows: list[dict[str, Any]]) -> hq.Chart:
    placed = [row for row in rows if row["lon"] is not None]
    nowhere = sum(row["scans"] for row in rows) - sum(row["scans"] for row in placed)
    names = {
        reason: hq.word(desk.lang, "reason", reason) for reason in {row["reason"] for row in rows}
    }
    return hq.Chart(
        id="map",
        title=desk.say("map.unserved"),
        summary=desk.say(
            "map.unserved_said",
            scans=hq.number(sum(row["scans"] for row in placed)),
            places=hq.number(len({(row["lon"], row["lat"]) for row in placed})),
            nowhere=hq.number(nowhere),
        ),
        figure=hq_charts.map_of_unserved(placed, names, desk.say("figure.scans")),
        height=620,
        map=True,
    )
