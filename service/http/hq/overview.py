"""The first page: the period's funnel and trend against the period before, what needs attention,
how the stores and codes stand, and how fresh all of it is."""

import asyncio
import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from service import boards, db, lists, printing, warnings
from service.directory import Chain
from service.domain import StoreStatus
from service.http.hq import attention, figures
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.http.hq.filters import Filters
from service.steps import report
from service.steps.report import By
from service.web import code_states, console, hq, hq_charts
from service.web.code_states import CodeState
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

STAGES = ("scans", "located", "shown", "pressed", "joined")
_TOP = 8
_MOST_DAYS = 92  # as many are told one by one; more than these by weeks


@router.get("/hq")
async def overview(desk: DeskDep) -> Response:
    chosen = desk.filters
    chain_id = desk.caller.chain_id
    async with desk.service.connection() as connection:
        trend = await boards.trend(connection, chain_id, chosen.which, by=_step(chosen))
        found = await report.read(connection, chain_id, chosen.which, ("stores", "places"))
        of_today = await _today(desk, connection, trend["rows"])
        unserved = await report.unserved_by(
            connection, chain_id, ("reason",), since=chosen.begins, until=chosen.ends
        )
        known = await lists.cities(connection, chain_id)
        wrong = await warnings.open_for(connection, chain_id, None, most=_TOP)
    stores, cities = await asyncio.to_thread(
        lambda: (_counted(found, By.STORE), _counted(found, By.CITY))
    )
    best = sorted(
        (row for row in stores if row["key"] is not None and row["joined"]),
        key=lambda row: (-row["joined"], row["key"]),
    )[:_TOP]
    largest = sorted(cities, key=lambda row: (-row["scans"], row["key"] or ""))[:_TOP]
    return desk.html(
        "overview.html",
        "overview",
        filters=chosen,
        lists=figures.Lists.of(desk, known),
        as_of=trend["as_of"],
        total=trend["total"],
        before=trend["before"]["total"],
        change=trend["change"],
        today=of_today,
        stages=STAGES,
        trend=_trend(desk, trend),
        warnings=[attention.told(desk, row) for row in wrong],
        best=[figures.named(desk, "store", row) for row in best],
        cities=[figures.named(desk, "city", row) for row in largest],
        unserved=_by_reason(unserved),
        unserved_csv=f"/api/v1/reports/unserved.csv?{urlencode(_period(desk))}",
        estate=_estate(desk.chain, desk.now),
        entry=_first_entry(desk),
    )


def _step(chosen: Filters) -> By:
    return By.WEEK if chosen.days > _MOST_DAYS else By.DAY


def _counted(found: report.Read, by: By) -> list[dict[str, Any]]:
    rows = report.counted(found, by, visitors=False)
    return [{"key": key, **counts} for key, counts in rows]


async def _today(
    desk: Desk, connection: db.Connection, rows: list[dict[str, Any]]
) -> Mapping[str, Any]:
    """Today's figures: of the trend, if it goes that far."""
    day = desk.now.astimezone(desk.timezone).date()
    if rows and rows[-1]["key"] == day.isoformat():
        return rows[-1]
    since = datetime.combine(day, datetime.min.time(), desk.timezone)
    which = dataclasses.replace(desk.filters.which, since=since, until=None)
    found = await report.funnel_of(connection, desk.caller.chain_id, which, by=By.NONE)
    total: dict[str, Any] = found["total"]
    return total


def _period(desk: Desk) -> dict[str, str]:
    return {name: desk.filters.api[name] for name in ("since", "until")}


def _trend(desk: Desk, found: dict[str, Any]) -> hq.Chart:
    chosen, total, rows, words_of = desk.filters, found["total"], found["rows"], "overview.trend"
    if found["by"] == By.WEEK:
        rows, words_of = [_from_monday(row) for row in rows], "overview.weeks"
    most = max(rows, key=lambda row: row["scans"])
    words = {
        "scans": desk.say("figure.scans"),
        "joined": desk.say("figure.joined"),
        "conversion": desk.say("figure.conversion"),
        "before": desk.say("overview.before"),
    }
    summary = desk.say("overview.none_here")
    if total["scans"]:
        summary = desk.say(
            f"{words_of}_said",
            count=hq.number(len(rows)),
            scans=hq.number(total["scans"]),
            joined=hq.number(total["joined"]),
            share=console.share(total["conversion"]),
            day=console.day(desk.lang, most["key"]),
            most=hq.number(most["scans"]),
        )
    return hq.Chart(
        id="trend",
        title=desk.say(words_of),
        summary=summary,
        figure=hq_charts.trend(rows, words),
        height=460,
        table=hq.Table(
            name="trend",
            columns=(Column(key="key", kind="day", label=f"{words_of}_column"), *figures.COUNTS),
            rows=rows[::-1],
            total=len(rows),
            query=hq.Query("/hq", chosen.query),
        ),
        csv=f"/api/v1/reports/trend.csv?{urlencode({**chosen.api, 'by': found['by']})}",
    )


def _from_monday(row: dict[str, Any]) -> dict[str, Any]:
    """A week's row, keyed by the day that it begins on."""
    return {**row, "key": datetime.strptime(f"{row['key']}-1", "%G-W%V-%u").date().isoformat()}


def _by_reason(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Reasons with numbers of scans, most first."""
    found = ((row["reason"], row["scans"]) for row in rows)
    return sorted(found, key=lambda item: (-item[1], item[0]))


def _first_entry(desk: Desk) -> dict[str, str] | None:
    for entry in desk.chain.entries.values():
        url = printing.entry_url(desk.service.settings.public_url, entry.entry)
        return {"name": entry.name, "url": url, "picture": figures.picture_of(entry.entry)}
    return None


def _estate(chain: Chain, now: datetime) -> dict[str, Any]:
    """What the chain has, and what of it can serve, by this worker's knowledge of the seats, which
    may be a moment behind the database's."""
    states = dict.fromkeys(reversed(CodeState), 0)
    there = opened = serving = seats = 0
    for store in chain.stores.values():
        if store.status is StoreStatus.DELETED:
            continue
        there += 1
        found = [code_states.state_of(code, now) for code in store.codes]
        for state in found:
            states[state] += 1
        if store.status is not StoreStatus.OPEN:
            continue
        opened += 1
        if any(state.takes_members for state in found):
            serving += 1
            seats += code_states.seats_left(store.codes, now)
    return {
        "stores": there,
        "open": opened,
        "serving": serving,
        "seats": seats,
        "states": {state.value: count for state, count in states.items()},
        "codes": sum(states.values()),
    }
