"""Entry codes and placements: lists, and one of each to look at, to print and to edit."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Response

from service import catalog, errors, lists, printing
from service.domain import IpPolicy
from service.http import entries as api
from service.http.hq import figures
from service.http.hq.desk import Desk, DeskDep, HqRoute, checked, values_of
from service.web import hq
from service.web.hq import Column

router = APIRouter(include_in_schema=False, route_class=HqRoute)

COLUMNS = (
    Column(key="name", link="url", note="entry"),
    Column(key="entry", filed=True),
    Column(key="link", link="link", sorts=False, label="field.url", wide=True),
    Column(key="placements", kind="number"),
    Column(key="radius_m", kind="number", wide=True),
    Column(key="brands", kind="list", sorts=False, wide=True),
    Column(key="ip_policy", kind="words", wide=True),
)
PLACEMENT_COLUMNS = (
    Column(key="name", link="url", note="placement"),
    Column(key="placement", filed=True),
    Column(key="entry", wide=True),
    Column(key="channel", kind="words"),
    Column(key="store_name", link="store_url", wide=True),
    Column(key="variant", wide=True),
    Column(key="printed", kind="number"),
    Column(key="cost", kind="money", wide=True),
)
_MOST = 10_000
CHANNELS = ("poster", "package_card", "sms", "online_ad")


@router.get("/hq/entries")
@router.get("/hq/entries.{form}")
async def entries(desk: DeskDep, form: str = "") -> Response:
    async with desk.service.connection() as connection:
        found = await catalog.entries(connection, desk.caller.chain_id, most=_MOST)
    rows = []
    for row in found:
        known = desk.chain.entries.get(row["entry"])
        rows.append(
            {
                **api.entry_json(row, desk.service),
                "link": printing.entry_url(desk.service.settings.public_url, row["entry"]),
                "url": f"/hq/entry?{urlencode({'entry': row['entry']})}",
                "placements": len(known.placements) if known else 0,
            }
        )
    table = desk.whole("entries", COLUMNS, rows, form, searched=("entry", "name"))
    if form:
        return await desk.download(table, form)
    return desk.html("entries.html", "entries", table=table)


@router.get("/hq/entry")
async def entry(desk: DeskDep) -> Response:
    name = desk.asked("entry")
    if not name:
        if not desk.may_change:
            raise errors.NotFound("Only HQ makes new ones")
        return desk.html("entry.html", "entries", **_blank(desk))
    return await _one(desk, name)


def _blank(desk: Desk, said: hq.Said | None = None) -> dict[str, Any]:
    return {
        "entry": None,
        "said": said,
        "placements": None,
        "ip_policies": [(each.value, desk.say(f"ip_policy.{each}")) for each in IpPolicy],
        "default_radius": hq.number(desk.service.settings.radius_m),
    }


async def _one(desk: Desk, name: str, said: hq.Said | None = None) -> Response:
    """Raises `errors.NotFound`."""
    found = await api.get_entry(name, desk.service, desk.caller)
    ask = lists.Ask(most=20)
    async with desk.service.connection() as connection:
        placements = await lists.placements(connection, desk.caller.chain_id, ask, entry=name)
    table = _placement_table(desk, placements, ask, entry=name)
    return desk.html(
        "entry.html",
        "entries",
        status=422 if said else 200,
        **{**_blank(desk, said), "entry": found, "placements": table},
        picture=figures.picture_of(name),
    )


@router.post("/hq/entry")
async def save(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    name, before = values.get("entry", ""), values.pop("before", "")
    body: dict[str, Any] = {
        "name": values.get("name", ""),
        "radius_m": values.get("radius_m") or None,
        "brands": _several(values.get("brands", "")) or None,
        "ip_policy": values.get("ip_policy") or IpPolicy.CHOOSE,
        "fallback": _several(values.get("fallback", "")) or None,
    }
    try:
        if before:
            change = checked(api.EntryChange, body)
            await api.change_entry(before, change, desk.service, desk.caller)
        else:
            new = checked(api.EntryBody, {"entry": name, **body})
            await api.create_entry(new, desk.service, desk.caller)
    except (errors.BadInput, errors.Conflict) as error:
        said = desk.said(error, values)
        if before:
            return await _one(desk, before, said)
        return desk.html("entry.html", "entries", status=422, **_blank(desk, said))
    return desk.done("/hq/entry", "saved" if before else "created", entry=before or name)


def _several(text: str) -> list[str]:
    found = (part.strip() for part in text.replace("，", ",").replace("、", ",").split(","))
    return [part for part in found if part]


# ---------------------------------------------------------------- placements


def _placement_table(desk: Desk, found: lists.Found, ask: lists.Ask, **keep: str) -> hq.Table:
    for row in found.rows:
        row["url"] = figures.placement_url(row["entry"], row["placement"])
        row["store_url"] = figures.store_url(row["store"]) if row["store"] else ""
    return desk.table("placements", PLACEMENT_COLUMNS, found, ask, keep=keep, path="/hq/placements")


@router.get("/hq/placements")
@router.get("/hq/placements.{form}")
async def placements(desk: DeskDep, form: str = "") -> Response:
    ask = desk.ask(PLACEMENT_COLUMNS, form)
    entry, channel = desk.asked("entry"), desk.asked("channel")
    async with desk.service.connection() as connection:
        found = await lists.placements(
            connection, desk.caller.chain_id, ask, entry=entry or None, channel=channel or None
        )
    table = _placement_table(desk, found, ask, entry=entry, channel=channel)
    if form:
        return await desk.download(table, form)
    offered = figures.Lists.of(desk, [])
    return desk.html(
        "placements.html",
        "placements",
        table=table,
        choices=[
            ("entry", desk.say("filters.entry"), offered.entries),
            (
                "channel",
                desk.say("filters.channel"),
                [(each, hq.word(desk.lang, "channel", each)) for each in offered.channels],
            ),
        ],
    )


@router.get("/hq/placement")
async def placement(desk: DeskDep) -> Response:
    entry, name = desk.asked("entry"), desk.asked("placement")
    if not name:
        return _placement_form(desk, entry, None)
    return _placement_form(desk, entry, _known(desk, entry, name))


def _known(desk: Desk, entry: str, name: str) -> dict[str, Any]:
    """Raises `errors.NotFound`."""
    known = desk.chain.entries.get(entry)
    found = known.placements.get(name) if known else None
    if found is None:
        raise errors.NotFound(f"There is no placement {name}")
    return {
        "entry": entry,
        "placement": found.placement,
        "name": found.name,
        "channel": found.channel,
        "store": found.store,
        "printed": found.printed,
        "cost": found.cost,
        "variant": found.variant,
    }


def _placement_form(
    desk: Desk, entry: str, found: dict[str, Any] | None, said: hq.Said | None = None
) -> Response:
    offered = figures.Lists.of(desk, [])
    return desk.html(
        "placement.html",
        "placements",
        status=422 if said else 200,
        entry=entry,
        entries=offered.entries,
        channels=sorted({*CHANNELS, *offered.channels}),
        placement=found,
        said=said,
        url=printing.entry_url(desk.service.settings.public_url, entry, found["placement"])
        if found
        else "",
        picture=figures.picture_of(entry, found["placement"]) if found else "",
    )


@router.post("/hq/placement")
async def save_placement(desk: DeskDep) -> Response:
    async with desk.sent() as form:
        values = values_of(form)
    entry, before = values.pop("entry", ""), values.pop("before", "")
    name = before or values.get("placement", "")
    body = {
        key: values.get(key) or None
        for key in ("name", "channel", "store", "printed", "cost", "variant")
    }
    known = desk.chain.entries.get(entry)
    try:
        if not before and known and name in known.placements:
            raise errors.BadInput.of("placement", f"{name} is taken")
        new = checked(
            api.PlacementBody,
            {
                **body,
                "placement": name,
                "name": body["name"] or "",
                "channel": body["channel"] or "",
            },
        )
        await api.put_placement(entry, new, desk.service, desk.caller, Response())
    except (errors.BadInput, errors.Conflict) as error:
        found = _known(desk, entry, before) if before else None
        return _placement_form(desk, entry, found, desk.said(error, values))
    return desk.done("/hq/placement", "saved" if before else "created", entry=entry, placement=name)
