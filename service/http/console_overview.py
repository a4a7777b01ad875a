"""HQ's page (`/hq`): what became of the scans, what went unserved, and how the codes stand."""

import contextlib
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from service import errors, moments, printing
from service.accounts import Caller
from service.directory import Chain
from service.domain import Entry, Placement, Role, StoreStatus
from service.http import console_pages, sessions
from service.http.console_pages import PageRoute
from service.http.context import ServiceDep
from service.runtime import Service
from service.steps import report
from service.web import code_states, console

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ROWS = 20
_DARK = 12
_PLACEMENTS = 50
_DAYS = 30


@router.get("/hq")
async def overview(
    request: Request,
    service: ServiceDep,
    by: str = "city",
    since: str = "",
) -> Response:
    """Today and the last 30 days. `by` and `since` are for the detailed table and for what went
    unserved; what they can't mean counts as not said."""
    caller = await sessions.caller(request, service)
    if caller is None:
        return console_pages.door(request, "hq")
    if caller.role is Role.MANAGER:
        return RedirectResponse("/m", 303)
    frame = console_pages.frame_of(request, "hq", service, caller)
    page = await _overview(frame, service, caller, by, since)
    return console_pages.html(console.overview(frame, page), frame)


@router.get("/hq/{rest:path}")
async def overview_again(rest: str) -> Response:
    return RedirectResponse("/hq", 303)


_BYS = (report.By.CITY, report.By.STORE, report.By.PLACEMENT, report.By.DAY)


async def _overview(
    frame: console.Frame, service: Service, caller: Caller, by_name: str, since_text: str
) -> console.Overview:
    chain = service.directory.chains[caller.chain_id]
    today = frame.now.astimezone(frame.timezone).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {
        "hq.today": today,
        "hq.week": today - timedelta(days=6),
        "hq.month": today - timedelta(days=_DAYS - 1),
    }
    month = starts["hq.month"]
    by = next((known for known in _BYS if known.value == by_name), report.By.CITY)
    since = month
    with contextlib.suppress(errors.BadInput):
        since = moments.instant(since_text, "since", frame.timezone) or month
    async with service.connection() as connection:
        key = {"connection": connection, "chain_id": caller.chain_id}
        of_today = await report.funnel(**key, by=report.By.NONE, since=today)
        of_month = await report.funnel(**key, by=report.By.NONE, since=month)
        rows = (await report.funnel(**key, by=by, since=since))["rows"]
        unserved = await report.unserved(**key, since=since)
    period = since.date().isoformat() if since in starts.values() else since.isoformat()

    def view(by: str, since: str) -> str:
        return f"/hq?{urlencode({'by': by, 'since': since})}#rows"

    shown = sorted(
        rows,
        key=lambda row: row["key"] or "" if by is report.By.DAY else row["scans"],
        reverse=True,
    )[: _DAYS if by is report.By.DAY else _ROWS]
    report_query = {"since": period}
    return console.Overview(
        today=of_today["total"],
        month=of_month["total"],
        by=by.value,
        bys=[
            console.Choice(key=f"by.{b}", url=view(b.value, period), chosen=b is by) for b in _BYS
        ],
        periods=[
            console.Choice(
                key=key, url=view(by.value, start.date().isoformat()), chosen=start == since
            )
            for key, start in starts.items()
        ],
        rows=[_row(chain, caller, by, row) for row in shown],
        row_count=len(rows),
        rows_csv=f"/api/v1/reports/funnel.csv?{urlencode({'by': by.value, **report_query})}",
        unserved=_by_reason_and_city(unserved),
        unserved_csv=f"/api/v1/reports/unserved.csv?{urlencode(report_query)}",
        estate=_estate(chain, caller, frame.now),
        entries=[_entry_card(service, entry) for entry in chain.entries.values()],
    )


def _row(chain: Chain, caller: Caller, by: report.By, row: dict[str, Any]) -> console.Row:
    """A report's row with the name of what its key stands for."""
    key: str | None = row["key"]
    name, note, url = key, "", None
    if key is not None and by is report.By.STORE and (store := chain.stores.get(key)):
        name, note = store.name, " · ".join(filter(None, (key, store.city)))
        url = _store_url(caller, key)
    elif key is not None and by is report.By.PLACEMENT:
        found = next(
            (e.placements[key] for e in chain.entries.values() if key in e.placements), None
        )
        name, note = (found.name, key) if found else (key, "")
    return console.Row(name=name, note=note, url=url, figures=row)


def _store_url(caller: Caller, store: str) -> str | None:
    """Where HQ edits a store's codes; a read key has no such place."""
    return f"/m?{urlencode({'store': store})}" if caller.role is Role.HQ else None


def _by_reason_and_city(rows: list[dict[str, Any]]) -> list[console.Unserved]:
    """Most first."""
    sums: dict[tuple[str, str | None], int] = {}
    for row in rows:
        key = row["reason"], row["city"] or row["province"]
        sums[key] = sums.get(key, 0) + row["scans"]
    ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or ""))
    return [
        console.Unserved(reason=reason, city=city, scans=scans)
        for (reason, city), scans in ordered[:_ROWS]
    ]


def _estate(chain: Chain, caller: Caller, now: datetime) -> console.Estate:
    """What the chain has, and what of it can serve. By this worker's knowledge of the seats, which
    may be a moment behind the database's."""
    states = dict.fromkeys(code_states.CodeState, 0)
    there = open_stores = serving = seats = 0
    dark: list[tuple[str, str, console.DarkStore]] = []
    for store in chain.stores.values():
        if store.status is StoreStatus.DELETED:
            continue
        there += 1
        codes = chain.codes_of(store.store)
        found = [code_states.state_of(code, now) for code in codes]
        for state in found:
            states[state] += 1
        if store.status is not StoreStatus.OPEN:
            continue
        open_stores += 1
        if any(state.takes_members for state in found):
            serving += 1
            seats += code_states.seats_left(codes, now)
        else:
            row = console.DarkStore(
                name=store.name,
                city=store.city,
                url=_store_url(caller, store.store),
                states=tuple(dict.fromkeys(found)),
            )
            dark.append((store.city or "", store.store, row))
    dark.sort(key=lambda item: item[:2])
    return console.Estate(
        stores=there,
        open_stores=open_stores,
        serving_stores=serving,
        states=states,
        seats_left=seats,
        dark=[row for _, _, row in dark[:_DARK]],
        more_dark=max(0, len(dark) - _DARK),
    )


def _entry_card(service: Service, entry: Entry) -> console.EntryCard:
    placements = sorted(entry.placements.values(), key=lambda p: p.placement)
    picture = f"/api/v1/entries/{quote(entry.entry)}/qr.{{form}}"

    def download(placement: Placement) -> console.Download:
        return console.Download(
            name=placement.name,
            url=f"{picture}?{urlencode({'placement': placement.placement})}",
            note=placement.channel,
        )

    return console.EntryCard(
        name=entry.name,
        visitor_url=printing.entry_url(service.settings.public_url, entry.entry),
        code=console.Download(name=entry.name, url=picture),
        placements=[download(placement) for placement in placements[:_PLACEMENTS]],
        placement_count=len(placements),
    )
