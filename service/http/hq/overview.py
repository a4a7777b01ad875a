"""The first page: the period's funnel and trend against the period before, what needs attention,
how the stores and codes stand, and how fresh all of it is."""

from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from service import lists, printing
from service.directory import Chain
from service.domain import StoreStatus
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute
from service.steps import report
from service.web import code_states, console, hq, hq_charts
from service.web.code_states import CodeState

router = APIRouter(include_in_schema=False, route_class=HqRoute)

STAGES = ("scans", "located", "shown", "pressed", "joined")
_TOP = 8


@router.get("/hq")
async def overview(desk: DeskDep) -> Response:
    chosen = desk.filters
    today = datetime.combine(desk.now.astimezone(desk.timezone), datetime.min.time(), desk.timezone)
    async with desk.service.connection() as connection:
        asked = {"connection": connection, "chain_id": desk.caller.chain_id, **chosen.parts}
        days = await report.funnel(
            **asked, by=report.By.DAY, since=chosen.begins, until=chosen.ends
        )
        since, until = chosen.before
        before = await report.funnel(**asked, by=report.By.DAY, since=since, until=until)
        of_today = await report.funnel(**asked, by=report.By.NONE, since=today)
        stores = await report.funnel(
            **asked, by=report.By.STORE, since=chosen.begins, until=chosen.ends
        )
        cities = await report.funnel(
            **asked, by=report.By.CITY, since=chosen.begins, until=chosen.ends
        )
        unserved = await report.unserved(
            connection, desk.caller.chain_id, since=chosen.begins, until=chosen.ends
        )
        known = await lists.cities(connection, desk.caller.chain_id)
    best = sorted(
        (row for row in stores["rows"] if row["key"] is not None and row["joined"]),
        key=lambda row: (-row["joined"], row["key"]),
    )[:_TOP]
    largest = sorted(cities["rows"], key=lambda row: (-row["scans"], row["key"] or ""))[:_TOP]
    return desk.html(
        "overview.html",
        "overview",
        filters=chosen,
        lists=figures.Lists.of(desk, known),
        as_of=days["as_of"],
        total=days["total"],
        before=before["total"],
        today=of_today["total"],
        stages=STAGES,
        trend=_trend(desk, days, before),
        best=[figures.named(desk, "store", row) for row in best],
        cities=[figures.named(desk, "city", row) for row in largest],
        unserved=_by_reason(unserved),
        unserved_csv=f"/api/v1/reports/unserved.csv?{urlencode(_period(desk))}",
        estate=_estate(desk.chain, desk.now),
        entry=_first_entry(desk),
    )


def _period(desk: Desk) -> dict[str, str]:
    return {name: desk.filters.api[name] for name in ("since", "until")}


def _trend(desk: Desk, found: dict[str, Any], before: dict[str, Any]) -> hq.Chart:
    chosen, total = desk.filters, found["total"]
    rows = {date.fromisoformat(row["key"]): row for row in found["rows"]}
    days = [chosen.since + timedelta(days=n) for n in range(chosen.days)]
    earlier = {date.fromisoformat(row["key"]): row["scans"] for row in before["rows"]}
    most = max(days, key=lambda day: rows.get(day, {}).get("scans", 0))
    words = {
        "scans": desk.say("figure.scans"),
        "joined": desk.say("figure.joined"),
        "conversion": desk.say("figure.conversion"),
        "before": desk.say("overview.before"),
    }
    shown = [
        {"day": day, **rows[day]} if day in rows else {"day": day, **figures.NOTHING}
        for day in reversed(days)
    ]
    return hq.Chart(
        id="trend",
        title=desk.say("overview.trend"),
        summary=desk.say(
            "overview.trend_said",
            days=hq.number(chosen.days),
            scans=hq.number(total["scans"]),
            joined=hq.number(total["joined"]),
            share=console.share(total["conversion"]),
            day=console.day(desk.lang, most.isoformat()),
            most=hq.number(rows.get(most, {}).get("scans", 0)),
        )
        if total["scans"]
        else desk.say("overview.none_here"),
        figure=hq_charts.trend(
            days, rows, [earlier.get(day - timedelta(days=chosen.days)) for day in days], words
        ),
        height=380,
        table=hq.Table(
            name="trend",
            columns=(hq.Column(key="day", kind="day"), *figures.COUNTS),
            rows=shown,
            total=len(shown),
            query=hq.Query("/hq", chosen.query),
        ),
        csv=f"/api/v1/reports/funnel.csv?{urlencode({'by': 'day', **chosen.api})}",
    )


def _by_reason(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Reasons with numbers of scans, most first."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["reason"]] = sums.get(row["reason"], 0) + row["scans"]
    return sorted(sums.items(), key=lambda item: (-item[1], item[0]))


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
    dark: list[dict[str, Any]] = []
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
        else:
            dark.append(
                {
                    "store": store.store,
                    "name": store.name,
                    "city": store.city or "",
                    "url": figures.store_url(store.store),
                    "states": [state.value for state in dict.fromkeys(found)],
                }
            )
    dark.sort(key=lambda row: (row["city"], row["store"]))
    return {
        "stores": there,
        "open": opened,
        "serving": serving,
        "seats": seats,
        "states": {state.value: count for state, count in states.items()},
        "codes": sum(states.values()),
        "dark": dark[:_TOP],
        "dark_count": len(dark),
    }
