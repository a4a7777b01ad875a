"""Who and what does best: leader boards of stores and managers, what placements brought, and two
variants side by side."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from service import boards, lists
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.web import console, hq, hq_charts
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

_DRAWN = 16
_OF = ("stores", "managers")
_GROWTH = (
    Column(key="joined_before", kind="number", wide=True),
    Column(key="growth", kind="change", why="growth_why"),
    Column(key="growth_low", kind="change", wide=True),
)
_FIGURES = (
    Column(key="scans", kind="number"),
    Column(key="joined", kind="number"),
    Column(key="conversion", kind="interval"),
    *_GROWTH,
    Column(key="ordered", kind="number", wide=True),
    Column(key="revenue", kind="money"),
)
_STORES = (
    Column(key="rank", kind="number"),
    Column(key="name", link="url", note="note"),
    Column(key="store", filed=True),
    Column(key="city", filed=True),
    *_FIGURES,
    Column(key="load", kind="share", wide=True),
)
_MANAGERS = (
    Column(key="rank", kind="number"),
    Column(key="name"),
    Column(key="stores", kind="number"),
    *_FIGURES,
)
_PLACEMENTS = (
    Column(key="name", link="url", note="placement"),
    Column(key="placement", filed=True),
    Column(key="entry", filed=True),
    Column(key="channel", kind="words", wide=True),
    Column(key="variant", wide=True),
    Column(key="printed", kind="number", wide=True),
    Column(key="cost", kind="money", wide=True),
    Column(key="scans", kind="number"),
    Column(key="joined", kind="number"),
    Column(key="conversion", kind="interval"),
    Column(key="recall", kind="share"),
    Column(key="cost_per_join", kind="decimal", wide=True),
    Column(key="revenue", kind="money", wide=True),
    Column(key="revenue_per_piece", kind="decimal", wide=True),
)


@router.get("/hq/boards")
@router.get("/hq/boards.{form}")
async def board(desk: DeskDep, form: str = "") -> Response:
    """Sorted by rank; any other column may be asked for, and the rank stays what it is."""
    chosen = desk.filters
    of = desk.asked("of") if desk.asked("of") in _OF else _OF[0]
    rank = next((r for r in boards.Rank if r.value == desk.asked("rank")), boards.Rank.JOINED)
    ranked = boards.stores if of == "stores" else boards.managers
    async with desk.service.connection() as connection:
        found = await ranked(
            connection, desk.caller.chain_id, chosen.which, rank=rank, visitors=False
        )
        cities = await lists.cities(connection, desk.caller.chain_id)
    rows = found["rows"]
    for row in rows:
        row["url"] = figures.store_url(row["store"]) if of == "stores" else ""
        row["note"] = " · ".join(filter(None, (row.get("store"), row.get("city"))))
        if not boards.growth_says(row["joined_before"]):
            row["growth"] = None
            row["growth_why"] = desk.say("boards.growth_why", count=row["joined_before"])
    table = desk.whole(
        "boards",
        _STORES if of == "stores" else _MANAGERS,
        rows,
        form,
        searched=("name", "store", "city") if of == "stores" else ("name",),
        default="rank",
        keep={**chosen.query, "of": of, "rank": rank.value},
    )
    if form:
        return await desk.download(table, form)
    link = hq.Query("/hq/boards", {**chosen.query, "of": of, "rank": rank.value})
    api = urlencode({"rank": rank.value, **chosen.api})
    return desk.html(
        "boards.html",
        "boards",
        filters=chosen,
        lists=figures.Lists.of(desk, cities, of=of, rank=rank.value),
        as_of=found["as_of"],
        growth_from=boards.GROWTH_FROM,
        of=of,
        ofs=[(each, link(of=each)) for each in _OF],
        rank=rank.value,
        ranks=[(each.value, link(rank=each.value)) for each in boards.Rank],
        chart=_leaders(desk, rows[:_DRAWN], rank) if any(row["scans"] for row in rows) else None,
        csv=f"/api/v1/reports/{of}.csv?{api}",
        table=table,
    )


def _leaders(desk: Desk, rows: list[dict[str, Any]], rank: boards.Rank) -> hq.Chart:
    first = rows[0]
    return hq.Chart(
        id="leaders",
        title=desk.say("boards.chart", rank=desk.say(f"rank.{rank}")),
        summary=desk.say(
            "boards.said",
            name=first["name"],
            joined=hq.number(first["joined"]),
            share=console.share(first["conversion"]),
        ),
        figure=hq_charts.intervals(
            [f"{row['rank']}  {row['name']}" for row in rows],
            rows,
            "conversion",
            urls=[row["url"] or None for row in rows],
        ),
        height=460 if len(rows) > 8 else 300,
    )


@router.get("/hq/results")
@router.get("/hq/results.{form}")
async def results(desk: DeskDep, form: str = "") -> Response:
    chosen = desk.filters
    async with desk.service.connection() as connection:
        found = await boards.placements(
            connection, desk.caller.chain_id, chosen.which, visitors=False
        )
        cities = await lists.cities(connection, desk.caller.chain_id)
    rows = found["rows"]
    for row in rows:
        row["url"] = figures.placement_url(row["entry"], row["placement"])
    table = desk.whole(
        "results",
        _PLACEMENTS,
        rows,
        form,
        searched=("name", "placement", "variant"),
        default="-joined",
        keep=chosen.query,
    )
    if form:
        return await desk.download(table, form)
    return desk.html(
        "results.html",
        "results",
        filters=chosen,
        lists=figures.Lists.of(desk, cities),
        as_of=found["as_of"],
        chart=_results(desk, rows) if any(row["scans"] for row in rows) else None,
        csv=f"/api/v1/reports/placements.csv?{urlencode(chosen.api)}",
        table=table,
    )


def _results(desk: Desk, rows: list[dict[str, Any]]) -> hq.Chart:
    drawn = sorted(rows, key=lambda row: (-row["joined"], row["placement"]))[:_DRAWN]
    return hq.Chart(
        id="results",
        title=desk.say("results.chart"),
        summary=desk.say(
            "results.said", name=drawn[0]["name"], joined=hq.number(drawn[0]["joined"])
        ),
        figure=hq_charts.intervals(
            [row["name"] for row in drawn],
            drawn,
            "conversion",
            urls=[row["url"] for row in drawn],
        ),
        height=460 if len(drawn) > 8 else 300,
    )


@router.get("/hq/compare")
async def compare(desk: DeskDep) -> Response:
    chosen = desk.filters
    known = sorted(
        {
            placement.variant
            for entry in desk.chain.entries.values()
            for placement in entry.placements.values()
            if placement.variant
        }
    )
    first = desk.asked("a") or (known[0] if known else "")
    others = [variant for variant in known if variant != first]
    second = desk.asked("b") or (others[0] if others else "")
    async with desk.service.connection() as connection:
        cities = await lists.cities(connection, desk.caller.chain_id)
        found = None
        if first and second:
            found = await boards.compare(
                connection, desk.caller.chain_id, chosen.which, first, second
            )
    both = [found["a"], found["b"]] if found else []
    return desk.html(
        "compare.html",
        "compare",
        filters=chosen,
        lists=figures.Lists.of(desk, cities, a=first, b=second),
        variants=known,
        a=first,
        b=second,
        found=found,
        sentence=found["sentence"][desk.lang] if found else "",
        chart=_variants(desk, both, found["sentence"][desk.lang]) if found else None,
        csv=f"/api/v1/reports/compare.csv?{urlencode({'a': first, 'b': second, **chosen.api})}",
    )


def _variants(desk: Desk, rows: list[dict[str, Any]], sentence: str) -> hq.Chart:
    shown = [{**row, "name": row["variant"]} for row in rows]
    columns = (Column(key="name", label="col.variant"), *figures.COUNTS)
    return hq.Chart(
        id="variants",
        title=desk.say("breakdown.chart"),
        summary=sentence,
        figure=hq_charts.intervals([row["variant"] for row in rows], rows, "conversion"),
        height=180,
        table=hq.Table(
            name="compare",
            columns=columns,
            rows=shown,
            total=len(shown),
            query=hq.Query("/hq/compare", {}),
        ),
    )
